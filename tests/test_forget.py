"""What is forgotten stays forgotten, and nothing else is: through the command line and `Library`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from virtue import Library
from virtue.embedder import Embedder
from virtue.errors import InputError
from virtue.store import open_store


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with open_store(tmp_path / "library", create=True) as store:
        shelf = Shelf(tmp_path, store)
        for number in range(3):
            shelf.photo(f"{number}.png", (number * 80, 10, 20))
        yield shelf


@pytest.fixture
def library(shelf: Shelf) -> Iterator[Library]:
    shelf.index()
    with Library(shelf.folder / "library") as opened:
        yield opened


def names(shelf: Shelf) -> set[str]:
    return set(shelf.files())


def listed(shelf: Shelf) -> list[str]:
    with shelf.store.read() as snapshot:
        assert snapshot.counts().forgotten == len(snapshot.forgotten())
        return [Path(os.fsdecode(photo.path)).name for photo in snapshot.forgotten()]


@pytest.mark.parametrize(
    "kind", [str, Path, os.fsencode, lambda path: [path], lambda path: iter([str(path)])]
)
def test_one_path_or_several_of_any_kind(shelf: Shelf, library: Library, kind: Callable[[Path], Any]) -> None:
    assert library.forget(kind(shelf.photos / "1.png")) == 1
    assert names(shelf) == {"0.png", "2.png"}


def test_a_path_that_is_not_known_forgets_nothing(shelf: Shelf, library: Library) -> None:
    for paths in ("nosuch.png", "/nosuch", [shelf.photos / "1.png", "nosuch"], [shelf.photos, "/tmp/nosuch"]):
        with pytest.raises(InputError, match=r"nothing at .*nosuch"):
            library.forget(paths)
    for empty in ("", b"", [shelf.photos / "1.png", ""]):
        with pytest.raises(InputError, match="empty"):
            library.forget(empty)
    assert library.forget([]) == 0
    assert len(names(shelf)) == 3 and listed(shelf) == []


def test_a_forgotten_photo_is_passed_by_whatever_it_is_called(shelf: Shelf, library: Library) -> None:
    path = shelf.photos / "1.png"
    library.forget(path)
    assert listed(shelf) == ["1.png"]
    report = shelf.index()
    assert (report.forgotten, report.unchanged, shelf.model.pictures) == (1, 2, 0)
    path.rename(shelf.photos / "other.png")
    shutil.copy(shelf.photos / "other.png", shelf.photos / "copy.png")
    for rehash in (False, True):
        report = shelf.index(rehash=rehash)
        assert (report.forgotten, shelf.model.pictures) == (2, 0)
        assert "2 passed by, as they were forgotten" in report.summary()
    assert names(shelf) == {"0.png", "2.png"}
    shelf.photo("0.png").write_bytes((shelf.photos / "other.png").read_bytes())
    assert shelf.index().forgotten == 3
    assert shelf.files()["0.png"].missing, "it holds a forgotten photo now"


def test_naming_the_file_or_undo_takes_it_off_the_list(shelf: Shelf, library: Library) -> None:
    path = shelf.photos / "1.png"
    library.forget(path)
    assert shelf.index(path).indexed == 1
    assert listed(shelf) == [] and "1.png" in names(shelf)
    library.forget([path, shelf.photos / "2.png"])
    with pytest.raises(InputError, match=r"0\.png was forgotten"):
        library.forget([path, shelf.photos / "0.png"], undo=True)
    assert len(listed(shelf)) == 2
    assert library.forget(path, undo=True) == 1
    (shelf.photos / "2.png").rename(shelf.photos / "new.png")
    assert library.forget(shelf.photos / "new.png", undo=True) == 1, "known by its content"
    assert shelf.index().indexed == 2
    library.forget([shelf.photos / "1.png", shelf.photos / "new.png"])
    assert library.forget(shelf.photos, undo=True) == 2, "a folder stands for all below it"


def test_undo_of_a_folder_finds_what_was_renamed_into_it(shelf: Shelf, library: Library) -> None:
    library.forget([shelf.photos / "0.png", shelf.photos / "1.png"])
    (shelf.photos / "album").mkdir()
    (shelf.photos / "1.png").rename(shelf.photos / "album" / "new.png")
    (shelf.photos / "album" / "notes.png").write_bytes(bytes(10))
    assert library.forget(shelf.photos / "album", undo=True) == 1
    assert shelf.index().indexed == 1
    assert names(shelf) == {"2.png", "new.png", "notes.png"}
    with pytest.raises(InputError, match="album was forgotten"):
        library.forget(shelf.photos / "album", undo=True)
    assert library.forget(shelf.folder, undo=True) == 1


def test_a_root_goes_with_its_photos_and_leaves_nothing_on_the_list(shelf: Shelf, library: Library) -> None:
    assert library.roots_below(shelf.photos) == [bytes(shelf.photos)]
    assert library.roots_below(shelf.folder) == [bytes(shelf.photos)]
    assert library.roots_below(shelf.photos / "1.png") == []
    assert library.forget(shelf.photos) == 3
    assert names(shelf) == set() and listed(shelf) == []
    assert shelf.index().indexed == 3
    assert library.forget(shelf.folder) == 3
    assert listed(shelf) == []


def test_a_folder_below_a_root_stays_forgotten(shelf: Shelf, library: Library) -> None:
    shelf.photo("private/a.png", "blue")
    shelf.photo("private/b.png", "green")
    shelf.index()
    shelf.index(shelf.photos / "private", regions=1)
    assert library.forget(shelf.photos / "private") == 2
    report = shelf.index()
    assert (report.indexed, report.forgotten) == (0, 2)
    assert listed(shelf) == ["a.png", "b.png"]


def test_one_of_two_copies_goes_and_the_other_stays(shelf: Shelf, library: Library) -> None:
    shutil.copy(shelf.photos / "1.png", shelf.photos / "copy.png")
    shelf.index()
    assert library.forget(shelf.photos / "1.png") == 1
    assert "copy.png" in names(shelf) and listed(shelf) == []
    library.forget(shelf.photos / "copy.png")
    assert listed(shelf) == ["copy.png"]


def test_old_names_of_a_photo_go_with_it(shelf: Shelf, library: Library) -> None:
    """As a library of an older version has them."""
    old = shelf.files()["1.png"]
    (shelf.photos / "1.png").rename(shelf.photos / "new.png")
    shelf.index()
    with shelf.store.write("test") as writer:
        from virtue.store import FileRecord

        gone = FileRecord(bytes(shelf.photos / "old.png"), old.size, old.mtime_ns, None, old.hash)
        writer.commit(files=[gone], missing=[gone.path])
    assert library.forget(shelf.photos / "new.png") == 2
    assert names(shelf) == {"0.png", "2.png"} and listed(shelf) == ["new.png"]


def test_a_photo_found_elsewhere_is_moved(shelf: Shelf, library: Library) -> None:
    (shelf.photos / "1.png").rename(shelf.photos / "new.png")
    report = shelf.index()
    assert (report.relinked, report.missing) == (1, 0)
    assert names(shelf) == {"0.png", "new.png", "2.png"}
    shelf.photo("only/here.png", "blue")
    shelf.index()
    (shelf.photos / "only" / "here.png").rename(shelf.photos / "there.png")
    report = shelf.index()
    assert (report.relinked, report.missing) == (1, 0), "though its folder is empty now"
    assert "here.png" not in names(shelf)


def test_missing_photos_are_let_go_but_not_those_of_a_disk_that_is_away(shelf: Shelf) -> None:
    other, third = shelf.folder / "other", shelf.folder / "third"
    for folder in (other, third, shelf.photos / "sub"):
        folder.mkdir()
        shutil.copy(shelf.photo(f"{folder.name}.png", (9, len(folder.name) * 20, 90)), folder / "x.png")
        (shelf.photos / f"{folder.name}.png").unlink()
    shelf.index(shelf.photos, other, third)
    (shelf.photos / "1.png").unlink()
    (other / "x.png").unlink()
    (third / "x.png").unlink()
    (shelf.photos / "sub" / "x.png").unlink()
    shelf.index(shelf.photos, other, third)
    with shelf.store.write("test") as writer:
        writer.commit(missing=[bytes(f / "x.png") for f in (other, third, shelf.photos / "sub")])
        writer.commit(missing=[bytes(shelf.photos / "1.png"), bytes(shelf.photos / "2.png")])
    third.rmdir()
    with Library(shelf.folder / "library") as library:
        done = library.forget_missing()
        assert (done.forgotten, done.back) == (1, 1)
        assert set(done.kept.values()) == {bytes(other), bytes(third), bytes(shelf.photos / "sub")}
        assert "1.png" not in names(shelf) and listed(shelf) == []
        assert shelf.files()["2.png"].missing, "the file is there: the next run finds it"
        (shelf.photos / "sub").rmdir()
        assert library.forget_missing().forgotten == 1, "a folder that was deleted"


def test_a_missing_photo_that_may_be_a_file_that_cannot_be_read_is_kept(
    shelf: Shelf, library: Library
) -> None:
    (shelf.photos / "1.png").unlink()
    before = (shelf.photos / "2.png").stat()
    (shelf.photos / "2.png").rename(shelf.folder / "held.png")
    broken = shelf.photos / "renamed.png"
    broken.write_bytes(bytes(before.st_size))
    os.utime(broken, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [path for path, _ in shelf.index().problems] == [bytes(broken)]
    done = library.forget_missing()
    assert (done.forgotten, done.renamed) == (1, {bytes(shelf.photos / "2.png"): bytes(broken)})
    (shelf.folder / "held.png").rename(broken)
    assert shelf.index(rehash=True).relinked == 1
    assert names(shelf) == {"0.png", "renamed.png"}


def disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_forgotten_is_gone_from_everything(shelf: Shelf) -> None:
    pytest.importorskip("pyarrow")
    shelf.photos.joinpath("1.txt").write_text("a most private caption")
    shelf.index()
    folder = shelf.folder / "library"
    assert b"a most private caption" in disk(folder)
    with Library(folder, embedder=Embedder(ColourModel())) as library:
        library.export_parquet(shelf.folder / "before.parquet")
        shutil.copytree(folder, shelf.folder / "twin")
        library.forget(shelf.photos / "1.png")
        assert shelf.captions() == set()
        assert library.export_parquet(shelf.folder / "after.parquet").photos == 2
        library.compact()
        assert b"a most private caption" not in disk(folder)
        done = library.import_parquet(shelf.folder / "before.parquet")
        assert (done.photos, done.forgotten) == (0, 1)
        assert "1 passed by, as they were forgotten here" in done.summary()
        assert library.merge(shelf.folder / "twin").forgotten == 1
        assert library.store.verify() == []
    assert names(shelf) == {"0.png", "2.png"}


def test_on_the_command_line(virtue: Run, photos: Path) -> None:
    def run(*words: object, status: int = 0, **env: str) -> str:
        done = virtue(*words, "-d", "lib", env=env)
        assert done.returncode == status, done.stderr.decode()
        return done.stderr.decode() + done.stdout.decode()

    one, two, three, *others = sorted(photos.glob("*.jpg"))
    for path in others:
        path.unlink()
    run("index", photos)
    assert run("forget", one) == "forgot 1 file\n"
    assert "1 passed by, as they were forgotten" in run("index")
    status = json.loads(virtue("status", "--json", "-d", "lib").stdout)
    assert (status["photos"], status["forgotten"], status["missing"]) == (2, 1, 0)
    assert run("status", "--forgotten").startswith(f"{one}\t20")
    two.unlink()
    run("index")
    assert run("status", "--missing") == f"{two}\n"
    assert json.loads(run("status", "--missing", "--json")) == {"path": str(two)}
    assert "--yes" in run("forget", photos, status=2)
    assert "--yes" in run("forget", photos, status=2, VIRTUE_YES="1")
    assert "name what to forget" in run("forget", status=2, VIRTUE_MISSING="1")
    assert "empty" in run("forget", "", status=2)
    assert run("forget", "--missing") == "forgot 1 file\n"
    assert run("forget", "--missing", status=1) == "forgot 0 files\n"
    assert "name what to forget" in run("forget", "--missing", three, status=2)
    assert "1 photo can be indexed again" in run("forget", "--undo", one)
    assert "1 indexed" in run("index")
    assert run("forget", "--yes", photos) == "forgot 2 files\n"


def test_the_list_moves_along_with_a_folder(shelf: Shelf, library: Library) -> None:
    library.forget(shelf.photos / "1.png")
    shelf.photos.rename(shelf.folder / "pictures")
    library.move(shelf.photos, shelf.folder / "pictures")
    shelf.photos = shelf.folder / "pictures"
    assert (shelf.index().forgotten, shelf.index().unchanged) == (1, 2)
    assert library.forget(shelf.photos / "1.png", undo=True) == 1


def test_an_unreadable_photo_can_be_forgotten(shelf: Shelf, library: Library) -> None:
    path = shelf.photos / "1.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert len(shelf.index().problems) == 1
    library.forget(path)
    path.write_bytes(whole)
    assert shelf.index().forgotten == 1
