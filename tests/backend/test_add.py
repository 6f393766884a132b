"""Pictures added as bytes, under names of a program's own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES, Run
from tests.indexer.colours import ColourModel
from virtue import Embedder, Library, Photo
from virtue.errors import InputError, LockedError
from virtue.store import open_store


def content(name: str) -> bytes:
    return (EXAMPLES / "photos" / f"{name}.jpg").read_bytes()


def named(library: Library, name: str) -> Photo:
    (photo,) = [photo for photo in library.photos() if photo.name == name]
    return photo


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with two pictures of a program's own."""
    folder = tmp_path_factory.mktemp("stocked") / "shop"
    with Library(folder) as library:
        report = library.add({"4711-Q": content("cat"), "shoes/9": content("rocket")}, regions=2, ocr=False)
        assert (report.indexed, report.problems) == (2, [])
    return folder


@pytest.fixture
def shop(stocked: Path, tmp_path: Path) -> Iterator[Library]:
    """A copy of it, to change as one likes."""
    with Library(shutil.copytree(stocked, tmp_path / "shop")) as library:
        yield library


def test_what_was_added_is_found_by_its_name(shop: Library) -> None:
    cat, rocket = (shop.search(content(name), top=1)[0] for name in ("cat", "rocket"))
    assert (cat.name, rocket.name) == ("4711-Q", "shoes/9")
    assert Path(cat.path).read_bytes() == content("cat")
    assert cat.as_json()["name"] == "4711-Q"
    assert shop.count("path ~ 4711*") == 1
    assert shop.verify() == []


NAMES = ["東京 1.jpg", "..", ".hidden", "@eaDir", "a%b", "100%.jpg", "A:B*?.PNG", "x" * 190, "c. "]


def test_names_come_back_as_they_were(shop: Library) -> None:
    pictures = {name: content("dog") + bytes([number]) for number, name in enumerate(NAMES)}
    assert shop.add(pictures.items(), regions=0, ocr=False).indexed == len(NAMES)
    for name in NAMES:
        assert Path(named(shop, name).paths[0]).read_bytes() == pictures[name]
    assert shop.index().unchanged == 2 + len(NAMES)
    assert {os.path.dirname(photo.paths[0]) for photo in shop.photos()} == {
        os.path.realpath(shop.folder / "virtue-pictures")
    }


def test_what_cannot_be_added_is_a_sentence(shop: Library, tmp_path: Path) -> None:
    cat = named(shop, "4711-Q")
    for wrong, why in ((" ", "is no name"), ("x" * 300, "too long a name"), ("\ud800", "it is no text")):
        with pytest.raises(InputError, match=why):
            shop.add({"new": content("dog"), wrong: content("dog")})
    with pytest.raises(InputError, match="two pictures are called 'new'"):
        shop.add([("new", content("dog")), ("new", content("cat"))])
    with pytest.raises(InputError, match="must be the bytes of a file, not str"):
        shop.add({"new": "dog.jpg"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="with its name"):
        shop.add(content("dog"))
    report = shop.add({"broken": b"no picture", "4711-Q": b"none either", "dog": content("dog")}, regions=0)
    assert report.indexed == 1
    assert sorted((Path(os.fsdecode(path)).name, "picture" in why) for path, why in report.problems) == [
        ("4711-Q%.jpg", True), ("broken%.jpg", True),
    ]  # fmt: skip
    assert named(shop, "4711-Q") == cat
    assert sorted(os.listdir(shop.folder / "virtue-pictures")) == [
        "4711-Q%.jpg", "dog%.jpg", "shoes%2F9%.jpg",
    ]  # fmt: skip
    assert shop.verify() == []


def test_a_name_gets_another_picture_and_keeps_what_was_said(shop: Library) -> None:
    shop.annotate(named(shop, "4711-Q").photo_id, captions=["best seller"], rating=5)
    assert shop.add(content("dog"), "4711-Q").reembedded == 1
    dog = named(shop, "4711-Q")
    assert (dog.captions[-1], dog.rating) == ("best seller", 5)
    assert shop.search(content("dog"), top=1)[0].name == "4711-Q" and shop.count() == 2
    assert shop.add(content("dog"), "4711-Q").unchanged == 1
    assert shop.add(content("dog"), "twin", regions=0).relinked == 1
    assert shop.count() == 2 and len(named(shop, "4711-Q").paths) == 2


def test_it_outlasts_runs_over_folders_and_another_model(shop: Library, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    shutil.copy(EXAMPLES / "photos" / "coins.jpg", tmp_path / "folder")
    assert shop.index(tmp_path / "folder", regions=0).indexed == 1
    assert shop.index(tmp_path, regions=0).missing == 0, "the library lies in what is indexed"
    assert shop.index(rehash=True).missing == 0
    assert {photo.name for photo in shop.photos()} == {"4711-Q", "shoes/9", None}
    assert shop.reindex(Embedder(ColourModel())).reembedded == 3
    assert named(shop, "shoes/9").width == 640


def test_forgetting_keeps_the_bytes_until_compaction(shop: Library, virtue: Run) -> None:
    file = Path(named(shop, "4711-Q").paths[0])
    assert shop.forget(photo_ids=[named(shop, "4711-Q").photo_id]) == 1
    assert shop.index().forgotten == 1 and shop.count() == 1
    assert shop.forget(file, undo=True) == 1
    assert shop.index().indexed == 1
    assert shop.forget(file) == 1
    shop.compact()
    assert not file.exists() and shop.count() == 1
    assert shop.forget([file.parent]) == 1
    assert shop.index().forgotten == 1, "the folder is indexed as before"
    assert shop.add(content("rocket"), "shoes/9").indexed == 1
    shop.compact()
    assert named(shop, "shoes/9") and shop.verify() == []


def test_merge_takes_the_bytes_along(shop: Library, tmp_path: Path) -> None:
    with Library(tmp_path / "other") as other:
        other.add(content("coins"), "shoes/9", regions=0)
        summary = other.merge(shop.folder)
        assert (summary.photos, summary.left_out) == (1, 1)
        assert named(other, "4711-Q").paths == (
            os.path.realpath(other.folder) + "/virtue-pictures/4711-Q%.jpg",
        )
        assert Path(named(other, "shoes/9").paths[0]).read_bytes() == content("coins")
        shutil.rmtree(shop.folder)
        assert other.index(rehash=True).unchanged == 2
        assert other.verify() == []


def test_merged_bytes_are_looked_after_in_a_library_that_had_none(shop: Library, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    shutil.copy(EXAMPLES / "photos" / "coins.jpg", album)
    with Library(album / ".virtue") as library:
        assert library.index(album, regions=0).indexed == 1
        assert library.merge(shop.folder).photos == 2
        shutil.rmtree(shop.folder)
        report = library.index()
        assert (report.unchanged, report.missing, report.warnings) == (3, 0, [])
        assert len(named(library, "shoes/9").paths) == 1 and library.verify() == []


def test_an_export_names_the_pictures(shop: Library, tmp_path: Path) -> None:
    shop.export_parquet(tmp_path / "shop.parquet")
    with Library(tmp_path / "other") as other:
        other.import_parquet(tmp_path / "shop.parquet")
        assert {photo.name for photo in other.photos()} == {"4711-Q", "shoes/9"}
        assert other.search(content("cat"), top=1)[0].name == "4711-Q"
    with Library(tmp_path / "other") as other:
        assert other.add(content("dog"), "dog", regions=0).indexed == 1
    with Library(tmp_path / "other") as other:
        assert Path(named(other, "4711-Q").paths[0]).read_bytes() == content("cat")


def test_a_library_that_was_moved_or_copied_has_its_pictures(shop: Library, tmp_path: Path) -> None:
    shop.close()
    shutil.copytree(shop.folder, tmp_path / "copy")
    os.rename(shop.folder, tmp_path / "moved")
    for place in ("copy", "moved"):
        with Library(tmp_path / place) as library:
            assert library.index(rehash=True).unchanged == 2
            assert Path(named(library, "4711-Q").paths[0]).parent == tmp_path / place / "virtue-pictures"


def test_a_moved_library_opens_while_another_process_writes(shop: Library, tmp_path: Path) -> None:
    shop.close()
    os.rename(shop.folder, tmp_path / "moved")
    with (
        open_store(tmp_path / "moved") as store,
        store.write("another program"),
        Library(tmp_path / "moved") as library,
    ):
        assert library.search("a cat", top=1)[0].name == "4711-Q"
    with Library(tmp_path / "moved") as library:
        assert os.path.isfile(library.search("a cat", top=1)[0].path)


def test_a_cold_search_does_not_pay_for_pictures_that_were_added(shop: Library) -> None:
    assert shop.count() == 2, "opened once where it lies"
    program = (
        "import sys; from virtue import Library\n"
        "with Library(sys.argv[1]) as library: library.search('a cat')\n"
        "print(sorted({'sqlalchemy', 'virtue.indexer.indexing'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program, shop.folder], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_verify_tells_of_a_picture_that_is_gone(shop: Library, virtue: Run) -> None:
    Path(named(shop, "4711-Q").paths[0]).write_bytes(content("dog"))
    (fault,) = shop.verify()
    assert "the picture '4711-Q' that was added is gone, or another one" in fault.what
    done = virtue("verify", "-d", shop.folder)
    assert done.returncode == 1 and b"4711-Q" in done.stdout


ADD = """
import sys
from pathlib import Path
from virtue import Library
from virtue.errors import LockedError
with Library(sys.argv[1]) as library:
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        while True:
            try:
                content = Path(sys.argv[4]).read_bytes() + bytes([number])
                library.add(content, f"{number}", regions=0, ocr=False)
                break
            except LockedError:
                pass
"""


def test_two_writers_lose_nothing(shop: Library) -> None:
    cat = EXAMPLES / "photos" / "cat.jpg"
    with shop.store.write("another program"), Library(shop.folder) as other, pytest.raises(LockedError):
        other.add(content("dog"), "dog")
    assert not list((shop.folder / "virtue-pictures").glob("dog*"))
    starts = [
        [sys.executable, "-c", ADD, str(shop.folder), *map(str, span), str(cat)] for span in ((0, 2), (2, 4))
    ]
    programs = [subprocess.Popen(start) for start in starts]
    assert [program.wait() for program in programs] == [0, 0]
    assert {photo.name for photo in shop.photos()} == {"4711-Q", "shoes/9", *map(str, range(4))}
    assert shop.verify() == []


def test_the_command_line_shows_names(shop: Library, virtue: Run) -> None:
    done = virtue("search", EXAMPLES / "photos" / "cat.jpg", "-n", 1, "--json", "-d", shop.folder)
    assert json.loads(done.stdout)["name"] == "4711-Q"
