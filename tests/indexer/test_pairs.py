"""A RAW beside a picture of the same stem and moment is one more path of that photo."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from PIL import Image

from tests.indexer.shelf import Shelf
from tests.raw_files import SHOT, make_dng, make_jpeg
from virtue import Library
from virtue.indexer import Report

RED, BLUE = Image.new("RGB", (80, 60), (220, 30, 30)), Image.new("RGB", (80, 60), (30, 30, 220))
LATER = "2024:05:06 07:08:10"


def shoot(folder: Path, stem: str = "shot", *, raw: str = SHOT, jpeg: str | None = SHOT) -> tuple[Path, Path]:
    """Puts a pair there: the RAW is blue, what the camera made of it is red."""
    folder.mkdir(exist_ok=True)
    pair = folder / f"{stem}.dng", folder / f"{stem}.jpg"
    pair[0].write_bytes(make_dng(BLUE, taken=raw))
    pair[1].write_bytes(make_jpeg(RED, jpeg))
    return pair


def counts(report: Report) -> dict[str, int]:
    names = ("indexed", "reembedded", "relinked", "paired", "unchanged", "missing", "forgotten")
    return {name: count for name in names if (count := getattr(report, name))} | (
        {"problems": len(report.problems)} if report.problems else {}
    )


def photos(shelf: Shelf) -> dict[str, tuple[str, ...]]:
    """The names of each photo that is there, by the colour of what was embedded."""
    with Library(shelf.folder / "library") as library:
        listed = {photo.hash: photo for photo in library.photos()}
    found = {}
    for hash, photo in listed.items():
        files = {hashlib.sha256(Path(path).read_bytes()).digest(): path for path in photo.paths}
        kind = "red" if files[hash].endswith(".jpg") else "blue"
        found[kind] = tuple(Path(path).name for path in photo.paths)
    return found


def test_a_pair_is_one_photo_with_two_paths(shelf: Shelf) -> None:
    raw, jpeg = shoot(shelf.photos)
    assert counts(shelf.index(regions=0)) == {"indexed": 1, "paired": 1}
    assert shelf.model.pictures == 1
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}  # the picture first, whatever the alphabet says
    hash = hashlib.sha256(jpeg.read_bytes()).digest()
    assert {state.hash for state in shelf.files().values()} == {hash}
    assert [region.path for region in shelf.regions("shot.jpg")] == [os.fsencode(jpeg)]
    assert shelf.regions("shot.dng") == []
    assert counts(shelf.index()) == {"unchanged": 2}
    assert shelf.model.pictures == 0
    with Library(shelf.folder / "library") as library:
        assert library.similar() == []  # they are no copies of each other
    assert raw.exists()


def test_another_moment_or_none_makes_two_photos(shelf: Shelf) -> None:
    shoot(shelf.photos / "a", jpeg=LATER)
    shoot(shelf.photos / "b", "undated", jpeg=None)
    report = shelf.index(regions=0)
    assert counts(report) == {"indexed": 3, "relinked": 1}  # both RAW files have the same bytes
    assert counts(shelf.index()) == {"unchanged": 4}


def test_a_zone_that_only_one_knows_does_not_matter(shelf: Shelf) -> None:
    _, jpeg = shoot(shelf.photos)
    exif = Image.open(jpeg).getexif()
    exif.get_ifd(34665)[36881] = "+02:00"
    RED.save(jpeg, exif=exif)
    assert counts(shelf.index(regions=0)) == {"indexed": 1, "paired": 1}


def test_a_picture_that_comes_later_takes_the_raw_in(shelf: Shelf) -> None:
    _, jpeg = shoot(shelf.photos)
    content = jpeg.read_bytes()
    jpeg.unlink()
    assert counts(shelf.index(regions=0)) == {"indexed": 1}
    assert photos(shelf) == {"blue": ("shot.dng",)}
    jpeg.write_bytes(content)
    assert counts(shelf.index()) == {"indexed": 1, "paired": 1}
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}


def test_deleting_the_picture_leaves_the_raw_as_a_photo_of_its_own(shelf: Shelf) -> None:
    raw, jpeg = shoot(shelf.photos)
    shelf.index(regions=0)
    jpeg.unlink()
    assert counts(shelf.index()) == {"reembedded": 1, "missing": 1}
    assert photos(shelf) == {"blue": ("shot.dng",)}
    raw.unlink()
    assert shelf.index().missing == 1


def test_deleting_the_raw_leaves_the_picture(shelf: Shelf) -> None:
    raw, _ = shoot(shelf.photos)
    shelf.index(regions=0)
    raw.unlink()
    shelf.index()
    assert shelf.model.pictures == 0
    assert photos(shelf) == {"red": ("shot.jpg",)}


def test_editing_either_file(shelf: Shelf) -> None:
    raw, jpeg = shoot(shelf.photos)
    shelf.index(regions=0)
    jpeg.write_bytes(make_jpeg(RED.resize((90, 60))))
    report = shelf.index()
    assert (report.reembedded, shelf.model.pictures) == (1, 1)
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}
    raw.write_bytes(make_dng(BLUE, camera="Workshop Two"))
    assert counts(shelf.index()) == {"unchanged": 2}
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}
    jpeg.write_bytes(make_jpeg(RED, LATER))
    shelf.index()
    assert photos(shelf) == {"red": ("shot.jpg",), "blue": ("shot.dng",)}


def test_moving_the_pair_embeds_nothing(shelf: Shelf) -> None:
    shoot(shelf.photos / "a")
    shelf.index(regions=0)
    shutil.move(shelf.photos / "a", shelf.photos / "b")
    report = shelf.index()
    assert (shelf.model.pictures, report.missing) == (0, 0)
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}
    assert {path.parent.name for path in map(Path, paths(shelf))} == {"b"}


def paths(shelf: Shelf) -> list[str]:
    with Library(shelf.folder / "library") as library:
        return [path for photo in library.photos() for path in photo.paths]


def test_forgetting_the_picture_forgets_the_raw_beside_it(shelf: Shelf) -> None:
    raw, jpeg = shoot(shelf.photos)
    shelf.photo("other.png", "green")
    shelf.index(regions=0)
    with Library(shelf.folder / "library") as library:
        assert library.forget(jpeg) == 2
    assert counts(shelf.index()) == {"unchanged": 1, "forgotten": 2}
    with Library(shelf.folder / "library") as library:
        library.forget(jpeg, undo=True)
    assert counts(shelf.index()) == {"indexed": 1, "paired": 1, "unchanged": 1}
    assert raw.exists()


def test_a_damaged_picture_costs_itself_alone(shelf: Shelf) -> None:
    _, jpeg = shoot(shelf.photos)
    content = bytearray(make_jpeg(Image.effect_noise((400, 300), 90).convert("RGB")))
    jpeg.write_bytes(content[: len(content) // 3])
    report = shelf.index(regions=0)
    assert counts(report) == {"indexed": 1, "problems": 1}
    assert report.problems[0][0] == os.fsencode(jpeg) and "cut off" in report.problems[0][1]
    assert shelf.index().problems == []
    jpeg.write_bytes(make_jpeg(RED))
    shelf.index()
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}


def test_the_raw_named_by_itself_finds_its_picture(shelf: Shelf) -> None:
    raw, jpeg = shoot(shelf.photos)
    shelf.index(jpeg, regions=0)
    assert counts(shelf.index(raw, regions=0)) == {"paired": 1}
    assert photos(shelf) == {"red": ("shot.jpg", "shot.dng")}


def test_captions_beside_the_raw_are_of_the_photo(shelf: Shelf) -> None:
    raw, _ = shoot(shelf.photos)
    raw.with_name("shot.dng.txt").write_text("on the pier")
    shelf.index(regions=0)
    assert shelf.captions() == {("shot.jpg", "sidecar", "on the pier")}
