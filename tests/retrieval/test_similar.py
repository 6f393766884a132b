"""Near-duplicates, with the bundled model on example photos, and by hashes alone."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from tests.conftest import EXAMPLES, Run
from tests.store.builders import DIM, file, name, photo
from tests.store.hardship import POSIX
from virtue import Library
from virtue.errors import EmptyLibraryError, InputError, PictureError
from virtue.retrieval.similar import similar
from virtue.retrieval.similar_group import Similar
from virtue.store import PhotoInfo, open_store

PHOTOS = EXAMPLES / "photos"


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def lines(group: list[Similar]) -> list[tuple[str | None, str]]:
    return [(found.tier, Path(found.path).name) for found in group]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos, copies of two of them, and pictures in one colour, which all have one hash."""
    place = tmp_path_factory.mktemp("photos")
    for each in ("street", "cat", "coffee", "pagoda"):
        shutil.copy(PHOTOS / f"{each}.jpg", place)
    shutil.copy(PHOTOS / "street.jpg", place / "street again.jpg")
    street, cat = Image.open(PHOTOS / "street.jpg"), Image.open(PHOTOS / "cat.jpg")
    (place / "street small.jpg").write_bytes(jpeg(street.resize((street.width // 2, street.height // 2))))
    (place / "cat coarse.jpg").write_bytes(jpeg(cat, 40))
    for colour in ("white", "black", "snow"):
        Image.new("RGB", (64, 48), colour).save(place / f"{colour}.png")
    return place


@pytest.fixture(scope="module")
def library(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    made = Library(tmp_path_factory.mktemp("library"))
    made.index(folder, regions="none", ocr=False, workers=1)
    return made


def test_a_library_names_its_duplicates_the_largest_picture_first(library: Library) -> None:
    cat, street = library.similar()
    assert lines(cat)[1:] == [("same-picture", lines(cat)[1][1])]
    assert {Path(found.path).name for found in cat} == {"cat.jpg", "cat coarse.jpg"}
    assert lines(street) == [
        (None, "street again.jpg"),
        ("same-bytes", "street.jpg"),
        ("same-picture", "street small.jpg"),
    ]
    first, copy, small = street
    assert first.photo_id == copy.photo_id != small.photo_id
    assert (first.score, copy.score, copy.distance) == (1, 1, 0)
    assert 0.55 <= small.score < 1 and small.distance <= 8
    assert small.width == first.width // 2


def test_groups_may_be_taken_by_one_thread_after_the_other(library: Library) -> None:
    groups = library.similar_groups()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        found = [one.submit(next, groups).result(), *other.submit(list, groups).result()]
    assert found == library.similar()


def test_a_photo_of_the_library_has_its_near_duplicates(library: Library, folder: Path) -> None:
    (group,) = library.similar(folder / "street.jpg")
    assert lines(group) == [
        (None, "street.jpg"),
        ("same-bytes", "street again.jpg"),
        ("same-picture", "street small.jpg"),
    ]


def test_a_photo_from_elsewhere_is_compared_too(library: Library, tmp_path: Path) -> None:
    with Image.open(PHOTOS / "cat.jpg") as cat:
        w, h = cat.size
        brighter = ImageEnhance.Brightness(cat.crop((w // 40, h // 40, w - w // 40, h - h // 40)))
        (tmp_path / "cat.jpg").write_bytes(jpeg(brighter.enhance(1.1)))
    (group,) = library.similar(tmp_path / "cat.jpg")
    assert group[0].photo_id is None and group[0].path == str(tmp_path / "cat.jpg")
    assert {Path(found.path).name for found in group[1:]} == {"cat.jpg", "cat coarse.jpg"}
    assert {found.tier for found in group[1:]} <= {"same-picture", "similar"}
    shutil.copy(PHOTOS / "cat.jpg", tmp_path / "copy.jpg")
    (group,) = library.similar(tmp_path / "copy.jpg")
    assert lines(group)[:2] == [(None, "copy.jpg"), ("same-bytes", "cat.jpg")]


def test_what_is_similar_is_up_to_the_threshold(library: Library, folder: Path) -> None:
    assert library.similar(folder / "coffee.jpg") == []
    (group,) = library.similar(folder / "coffee.jpg", threshold=-1)
    assert len(group) == 10
    assert {found.tier for found in group[1:]} == {"similar"}
    scores = [found.score for found in group]
    assert scores == sorted(scores, reverse=True)


def test_a_folder_has_a_group_for_each_photo(library: Library, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(PHOTOS / "pagoda.jpg", tmp_path / "in" / "b.jpg")
    shutil.copy(PHOTOS / "cat.jpg", tmp_path / "a.jpg")
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path / "c.jpg")
    (tmp_path / "note.txt").write_text("not a photo")
    (tmp_path / "d.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"d\.jpg.*left out"):
        groups = library.similar(tmp_path)
    assert [Path(group[0].path).name for group in groups] == ["a.jpg", "b.jpg"]
    assert lines(groups[1])[1] == ("same-bytes", "pagoda.jpg")


def test_pictures_in_one_colour_are_not_all_the_same(library: Library, folder: Path) -> None:
    assert not [line for group in library.similar() for line in lines(group) if line[1].endswith("png")]
    for group in library.similar(folder / "white.png"):
        assert {found.tier for found in group[1:]} == {"similar"}


def test_what_cannot_be_compared_is_said(library: Library, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder .*nosuch"):
        library.similar(tmp_path / "nosuch")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"bad\.jpg"):
        library.similar(tmp_path / "bad.jpg")
    with (
        Library.create(tmp_path / "empty") as empty,
        pytest.raises(EmptyLibraryError, match="nothing is indexed"),
    ):
        empty.similar()


def test_a_file_that_is_gone_is_no_duplicate(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            writer.commit([photo(1)], [file("/a.jpg", 1), file("/b.jpg", 1), file("/c.jpg", 1)])
            writer.commit(missing=[b"/b.jpg"])
        [group] = similar(store, lambda: pytest.fail("no model is needed"))
        assert [found.raw_path for found in group] == [b"/a.jpg", b"/c.jpg"]
        with store.write("test") as writer:
            writer.commit(missing=[b"/c.jpg"])
        assert [*similar(store, lambda: pytest.fail("no model is needed"))] == []


@pytest.fixture
def one_photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTOS / "cat.jpg", tmp_path / "photos" / "m.jpg")
    return tmp_path / "photos" / "m.jpg"


def told(virtue: Run, *arguments: object) -> list[list[dict[str, Any]]]:
    """The groups that `virtue similar --json` prints."""
    done = virtue("similar", "--json", *arguments)
    assert done.returncode in (0, 1), done.stderr
    files = [json.loads(line) for line in done.stdout.splitlines()]
    return [[*group] for _, group in groupby(files, itemgetter("group"))]


def names(group: list[dict[str, Any]]) -> list[tuple[str | None, str, bool]]:
    return [(file["tier"], Path(file["path"]).name, file["removable"]) for file in group]


def test_a_link_is_no_copy_of_its_target(virtue: Run, one_photo: Path) -> None:
    folder = one_photo.parent
    (folder / "a.jpg").symlink_to("m.jpg")
    (folder / "b.jpg").hardlink_to(one_photo)
    shutil.copy(one_photo, folder / "n.jpg")
    assert virtue("index", folder, "--regions", "none").returncode == 0
    wanted = [
        (None, "b.jpg", False),
        ("same-file", "m.jpg", False),
        ("same-file", "a.jpg", False),
        ("same-bytes", "n.jpg", True),
    ]
    (group,) = told(virtue)
    assert names(group) == wanted
    assert [file["same_file_as"] for file in group] == [None, *2 * [str(folder / "b.jpg")], None]
    (group,) = told(virtue, folder / "a.jpg")
    assert names(group) == wanted, "whichever of its names is given"
    first, second = told(virtue, folder)
    assert names(first) == [*wanted[:3], ("same-bytes", "n.jpg", False)]
    assert names(second)[0] == (None, "n.jpg", False)
    done = virtue("similar").stdout.splitlines()
    assert [line.split(b"\t")[0] for line in done] == [b"-", b"same-file", b"same-file", b"same-bytes"]


def test_a_folder_that_two_names_lead_to_holds_no_copies(virtue: Run, one_photo: Path) -> None:
    other = one_photo.parent.parent / "Pictures"
    other.symlink_to(one_photo.parent)
    for folder in (other, one_photo.parent):
        assert virtue("index", folder, "--regions", "none").returncode == 0
    (group,) = told(virtue)
    assert names(group) == [(None, "m.jpg", False), ("same-file", "m.jpg", False)]
    assert group[0]["path"] == str(one_photo)


def test_whichever_way_leads_to_a_file_it_is_one(virtue: Run, one_photo: Path) -> None:
    """Links to links, to folders, hard links in other folders, and names through `..`."""
    folder, other = one_photo.parent, one_photo.parent.parent / "other"
    other.mkdir()
    (other / "one").symlink_to(folder)
    (other / "two").symlink_to("one")
    (other / "nested.jpg").symlink_to("two/m.jpg")
    (other / "hard.jpg").hardlink_to(one_photo)
    shutil.copy(one_photo, other / "z.jpg")
    for named in (other / "two", other / "one", other, folder):
        assert virtue("index", named, "--regions", "none").returncode == 0
    for asked in ((), (folder / ".." / "photos" / "m.jpg",), (other / "nested.jpg",), (other / "two",)):
        (group,) = told(virtue, *asked)
        assert {Path(file["path"]).name for file in group if file["removable"]} == {"z.jpg"}
        assert [file["tier"] for file in group].count("same-file") == len(group) - 2
        assert os.path.realpath(group[0]["path"]) == group[0]["path"], "the real file comes first"


def test_what_is_removable_leaves_a_file_of_every_photo(virtue: Run, one_photo: Path) -> None:
    folder, contents = one_photo.parent, set()
    for number in range(3):
        shutil.copy(one_photo, folder / f"{number}.jpg")
        Image.new("RGB", (64, 48), (80 * number, 90, 200)).save(folder / f"x{number}.png")
        shutil.copy(folder / f"x{number}.png", folder / f"a{number}.png")
        (folder / f"l{number}.png").symlink_to(f"a{number}.png")
    contents = {path.read_bytes() for path in folder.iterdir()}
    assert virtue("index", folder, "--regions", "none").returncode == 0
    gone = [Path(file["path"]) for group in told(virtue) for file in group if file["removable"]]
    assert len(gone) == 6
    for path in gone:
        path.unlink()
    assert {path.read_bytes() for path in folder.iterdir()} == contents


def test_a_copy_that_changed_since_is_not_removable(virtue: Run, one_photo: Path) -> None:
    copy = shutil.copy(one_photo, one_photo.with_name("n.jpg"))
    assert virtue("index", one_photo.parent, "--regions", "none").returncode == 0
    assert [removable for *_, removable in names(told(virtue)[0])] == [False, True]
    status = os.stat(copy)
    content = bytearray(Path(copy).read_bytes())
    content[-10] ^= 1
    Path(copy).write_bytes(content)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [removable for *_, removable in names(told(virtue)[0])] == [False, False]
    Path(copy).unlink()
    assert [removable for *_, removable in names(told(virtue)[0])] == [False, False]


def receipt(number: int) -> Image.Image:
    chance, page = random.Random(number), Image.new("RGB", (600, 1000), (250, 250, 245))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(24)
    for line in range(20):
        words = chance.choice(("milk", "bread", "apples", "cheese")), f"{chance.randint(100, 999) / 100}"
        for x, text in zip((40, 460), words, strict=True):
            draw.text((x, 130 + line * 36), text, fill=(40, 40, 40), font=font)
    return page


def test_only_pixels_tell_that_pictures_are_the_same(virtue: Run, tmp_path: Path) -> None:
    """Receipts of one shop have nearly one hash and nearly one vector."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        receipt(number).save(folder / f"receipt{number}.png")
    receipt(1).resize((480, 800)).save(folder / "small1.jpg", quality=85)
    assert virtue("index", folder, "--regions", "none").returncode == 0
    groups = [{(tier, name) for tier, name, _ in names(group)} for group in told(virtue)]
    assert {(None, "receipt1.png"), ("same-picture", "small1.jpg")} in [
        {line for line in group if line[0] != "similar"} for group in groups
    ]
    assert sum(tier == "same-picture" for group in groups for tier, _ in group) == 1
    (group,) = told(virtue, folder / "receipt1.png")
    assert {(tier, name) for tier, name, _ in names(group)} == {
        (None, "receipt1.png"),
        ("same-picture", "small1.jpg"),
        ("similar", "receipt0.png"),
        ("similar", "receipt2.png"),
    }
    assert not any(removable for group in told(virtue) for *_, removable in names(group))
    (folder / "receipt1.png").unlink()
    tiers = {tier for group in told(virtue) for tier, name, _ in names(group) if name == "small1.jpg"}
    assert "same-picture" not in tiers, "what cannot be opened cannot be compared"


@POSIX
def test_what_is_no_file_does_not_hang(virtue: Run, one_photo: Path) -> None:
    folder = one_photo.parent
    assert virtue("index", folder, "--regions", "none").returncode == 0
    os.mkfifo(folder / "pipe.jpg")
    done = virtue("similar", folder, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"pipe.jpg: not a regular file: left out" in done.stderr
    done = virtue("similar", folder / "pipe.jpg", timeout=60)
    assert done.returncode == 2 and b"pipe.jpg: not a regular file" in done.stderr
    done = virtue("import", folder / "pipe.jpg", timeout=60)
    assert done.returncode == 2 and b"pipe.jpg: not a regular file" in done.stderr


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), centres=st.integers(1, 20))
def test_all_pictures_of_near_hashes_are_found(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, centres: int
) -> None:
    """All have the same vectors, so that the hashes decide."""
    rng = np.random.default_rng(seed)
    around = rng.integers(0, 2**63, centres)
    hashes = []
    for _ in range(count):
        bits = rng.choice(64, rng.integers(0, 9), replace=False)
        hashes.append(int(rng.choice(around)) ^ sum(1 << int(bit) for bit in bits))
    sizes = rng.integers(1, 5, count).tolist()
    with open_store(tmp_path_factory.mktemp("library"), create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            infos = [PhotoInfo(name(n), sizes[n], 9, phash=hashes[n]) for n in range(count)]
            photos = [photo(n, seed=7, info=info) for n, info in enumerate(infos)]
            writer.commit(photos, [file(b"/%03d.jpg" % n, n) for n in range(count)])
        found = similar(store, lambda: pytest.fail("no model is needed"))
    numbers = [[int(each.path[1:4]) for each in group] for group in found]
    left = sorted(range(count), key=lambda n: (-sizes[n], n))
    expected = []
    while left:
        first, *left = left
        near = [n for n in left if (hashes[first] ^ hashes[n]).bit_count() <= 8]
        left = [n for n in left if n not in near]
        expected += [[first, *sorted(near)]] if near else []
    assert numbers == sorted(expected)
