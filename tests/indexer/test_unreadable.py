"""Files that cannot be read for a while lose nothing, and are tried again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from tests.indexer.test_workers import children
from tests.store.hardship import POSIX, POWERLESS
from virtue.errors import InputError
from virtue.indexer import Progress, reindex, worker_process
from virtue.store import open_store

pytestmark = POSIX

ILL = Path("/proc/self/mem")
"""A regular file whose reading fails with EIO."""


@pytest.fixture
def told(shelf: Shelf) -> Shelf:
    """A photo with a box and a caption that a user gave, and one without."""
    shelf.photo("a.png", "red")
    shelf.photo("b.png", "blue")
    words = shelf.folder / "words.csv"
    words.write_text("path,caption,x,y,w,h\nphotos/a.png,a red door,10,10,20,20\n")
    assert shelf.index(captions=words, regions=2, follow_links=True).indexed == 2
    return shelf


def make_ill(path: Path) -> None:
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(ILL)


def cut(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".kept"))
    path.write_bytes(path.read_bytes()[:60])


HARM = pytest.mark.parametrize("harm", [make_ill, cut])


def has_all(shelf: Shelf) -> bool:
    given = [r.box.xywh for r in shelf.regions("a.png") if r.origin == "annotation"]
    return given == [(10, 10, 20, 20)] and ("a.png", "file", "a red door") in shelf.captions()


@HARM
@pytest.mark.parametrize("options", [{}, {"rehash": True}, {"regions": 4}])
def test_a_file_that_cannot_be_read_keeps_all(
    told: Shelf, harm: Callable[[Path], None], options: dict[str, object]
) -> None:
    path = told.photos / "a.png"
    harm(path)
    report = told.index(**options)
    assert [os.fsdecode(path) for path, _ in report.problems] == [str(path)]
    state = told.files()["a.png"]
    assert state.hash and state.problem and not state.missing
    assert has_all(told)
    again = told.index()
    assert (again.problems, again.known_problems) == ([], 1)
    path.with_suffix(".kept").replace(path)
    mended = told.index()
    assert (mended.problems, mended.known_problems) == ([], 0)
    assert told.files()["a.png"].problem is None
    assert has_all(told)


@HARM
def test_reindexing_waits_for_files_that_cannot_be_read(told: Shelf, harm: Callable[[Path], None]) -> None:
    path = told.photos / "a.png"
    harm(path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"a photo could not be read, such as .*a\.png .*old vectors"):
            reindex(told.store, ColourModel("colours-2"), workers=1)
        with told.store.read() as snapshot:
            assert snapshot.generation and snapshot.generation.fingerprint == "colours-1"
        assert has_all(told)
    path.with_suffix(".kept").replace(path)
    reindex(told.store, ColourModel("colours-2"), workers=1)
    with told.store.read() as snapshot:
        assert snapshot.generation and snapshot.generation.fingerprint == "colours-2"
    assert has_all(told)


@HARM
def test_what_is_given_for_a_file_that_cannot_be_read_is_told(
    told: Shelf, harm: Callable[[Path], None]
) -> None:
    harm(told.photos / "a.png")
    words = told.folder / "words.csv"
    words.write_text("path,caption\nphotos/a.png,another\n")
    (warning,) = told.index(captions=words).warnings
    assert warning.startswith("a photo that captions or annotations were given for could not be read")
    assert has_all(told)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_that_is_stopped_or_killed_gives_no_verdict(
    shelf: Shelf, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "START_TIMEOUT", 15.0)  # of one that is stopped while it starts
    for count in range(6):
        shelf.photo(f"{count}.png", (40 * count, 0, 0))
    hit = []

    def harm(progress: Progress) -> None:
        if progress.stage == "indexing" and not hit:
            hit.extend(children())
            for child in hit:
                os.kill(child, number)

    first = shelf.index(timeout=2.0, progress=harm)
    assert len(first.problems) <= 2
    assert all(state.judged_by is None for state in shelf.files().values())
    assert shelf.index().problems == []
    assert all(state.problem is None for state in shelf.files().values())
    assert len(shelf.files()) == 6


def test_the_verdict_of_another_reader_is_not_taken_over(shelf: Shelf) -> None:
    (shelf.photos / "text.jpg").write_text("no picture")
    assert len(shelf.index().problems) == 1
    assert "Pillow" in (shelf.files()["text.jpg"].judged_by or "")
    opened: list[int] = []

    def count(progress: Progress) -> None:
        if progress.stage == "indexing":
            opened.append(progress.done)

    assert shelf.index(progress=count).known_problems == 1
    assert opened == []
    with sqlite3.connect(shelf.store.folder / "catalogue.db") as catalogue:
        catalogue.execute("UPDATE files SET judged_by = 'virtue 0.1'")
    assert shelf.index(progress=count).known_problems == 1
    assert opened[-1] == 1
    assert "Pillow" in (shelf.files()["text.jpg"].judged_by or "")


@pytest.mark.parametrize("year", [1601, 2300])
def test_files_of_any_time_are_indexed(shelf: Shelf, year: int) -> None:
    path = shelf.photo("a.png")
    path.with_suffix(".txt").write_text("a red door")
    for each in (path, path.with_suffix(".txt")):
        os.utime(each, (0, (year - 1970) * 31_556_952))
    assert shelf.index().indexed == 1
    assert shelf.index().unchanged == 1


def test_a_folder_that_is_not_mounted_keeps_a_library_from_being_reindexed(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.photo("drive/2020/b.png", "blue")
    shelf.index()
    drive = shelf.photos / "drive"
    drive.rename(shelf.folder / "away")
    drive.mkdir()
    for _ in range(2):
        with pytest.raises(InputError, match=r"drive/2020 holds no photos, and had 1"):
            reindex(shelf.store, ColourModel("colours-2"), workers=1)
        report = shelf.index()
    assert report.missing == 0
    with shelf.store.write("compact") as writer:
        writer.compact()
    drive.rmdir()
    (shelf.folder / "away").rename(drive)
    assert shelf.index().relinked == 1
    assert len(shelf.regions("b.png")) == 5
    reindex(shelf.store, ColourModel("colours-2"), workers=1)


def test_an_empty_sub_folder_is_told(shelf: Shelf) -> None:
    shelf.photo("a.png")
    shelf.photo("drive/b.png", "blue").unlink()
    shelf.photo("drive/b.png", "blue")
    shelf.index()
    (shelf.photos / "drive" / "b.png").unlink()
    (warning,) = shelf.index().warnings
    assert "drive holds no photos, and had 1" in warning


def test_a_link_that_leads_nowhere_keeps_what_was_below_it(shelf: Shelf) -> None:
    shelf.photo("a.png")
    drive = shelf.folder / "drive"
    drive.mkdir()
    shelf.photo("b.png", "blue").rename(drive / "b.png")
    (shelf.photos / "linked").symlink_to(drive)
    assert shelf.index(follow_links=True).indexed == 2
    drive.rename(shelf.folder / "away")
    report = shelf.index()
    assert [(os.path.basename(path), why) for path, why in report.problems] == [
        (b"linked", "folder that cannot be looked at")
    ]
    assert not shelf.files()["b.png"].missing
    assert len(shelf.regions("b.png")) == 5
    (shelf.folder / "away").rename(drive)
    assert shelf.index().unchanged == 2


def test_files_without_rights_are_tried_again(virtue: Run, photos: Path) -> None:
    for path in sorted(photos.iterdir())[3:]:
        path.unlink()
    locked = sorted(photos.iterdir())[0]
    locked.chmod(0)
    command = ("index", photos, "--regions", "none", "-d", "lib", "--strict")
    first, again = (virtue(*command, before=POWERLESS) for _ in range(2))
    assert (first.returncode, again.returncode) == (2, 2)
    assert f"{locked}: permission denied" in first.stderr.decode()
    assert "permission denied" not in again.stderr.decode()
    assert "1 known problem;" in again.stderr.decode()
    assert b"permission denied" in virtue("status", "--problems", "-d", "lib").stdout
    locked.chmod(0o644)
    mended = virtue(*command, before=POWERLESS)
    assert mended.returncode == 0
    assert "1 indexed" in mended.stderr.decode()


def test_a_text_beside_a_photo_is_tried_again(virtue: Run, photos: Path) -> None:
    text = photos / "dog.txt"
    for path in photos.iterdir():
        if path.stem != "dog":
            path.unlink()
    text.write_text("a red kite")
    command = ("index", photos, "--regions", "none", "-d", "lib")
    assert virtue(*command).returncode == 0
    text.write_text("a blue kite!")
    text.chmod(0)
    done = [virtue(*command, before=POWERLESS).stderr.decode() for _ in range(2)]
    assert ["its caption is left out" in told for told in done] == [True, False]

    def found() -> str:
        return virtue("search", "a kite", "--find", "captions", "-d", "lib").stdout.decode()

    assert "a red kite" in found()
    again = virtue("index", photos, "--regions", "2", "-d", "lib", before=POWERLESS)
    assert b"embedded again" in again.stderr
    assert "a red kite" in found()
    text.chmod(0o644)
    assert virtue(*command).returncode == 0
    assert "a blue kite!" in found() and "red" not in found()


def test_a_sub_folder_that_cannot_be_looked_at_keeps_what_is_below_it(
    virtue: Run, tmp_path: Path, photos: Path
) -> None:
    below = photos / "above" / "below"
    below.mkdir(parents=True)
    first, _, *others = sorted(photos.glob("*.jpg"))
    for path in others:
        path.unlink()
    first.rename(below / "a.jpg")
    command = ("index", photos, "--regions", "none", "-d", "lib")
    assert virtue(*command).returncode == 0
    for rights in (0o644, 0o000):
        (photos / "above").chmod(rights)
        done = virtue(*command, before=POWERLESS)
        (photos / "above").chmod(0o755)
        assert "folder that cannot be" in done.stderr.decode()
        with open_store(tmp_path / "lib", read_only=True) as store, store.read() as snapshot:
            counts = snapshot.counts()
        assert (counts.photos, counts.missing) == (2, 0)
        assert counts.problems >= 1
    assert virtue(*command).returncode == 0
    with open_store(tmp_path / "lib", read_only=True) as store, store.read() as snapshot:
        assert (snapshot.counts().missing, snapshot.counts().problems) == (0, 0)


def test_a_repair_that_would_lose_vectors_changes_nothing(virtue: Run, tmp_path: Path, photos: Path) -> None:
    for path in sorted(photos.iterdir())[3:]:
        path.unlink()
    assert virtue("index", photos, "--regions", "none", "-d", "lib").returncode == 0
    with open(tmp_path / "lib" / "regions-1.f16", "r+b") as rows:
        rows.seek(100)
        rows.write(b"\1")
    before = (tmp_path / "lib" / "regions-1.f16").read_bytes()
    locked = sorted(photos.glob("*.jpg"))[0]
    for harm, mend in (
        (lambda: photos.rename("away"), lambda: Path("away").rename(photos)),
        (lambda: locked.chmod(0), lambda: locked.chmod(0o644)),
    ):
        harm()
        done = virtue("verify", "--repair", "-d", "lib", before=POWERLESS)
        mend()
        assert done.returncode == 1
        assert "nothing was repaired, since the files of" in done.stdout.decode()
        assert (tmp_path / "lib" / "regions-1.f16").read_bytes() == before
        with open_store(tmp_path / "lib", read_only=True) as store, store.read() as snapshot:
            assert snapshot.counts().regions == snapshot.counts().photos
    assert virtue("verify", "--repair", "-d", "lib", before=POWERLESS).returncode == 0
    assert virtue("verify", "-d", "lib").returncode == 0


def test_a_folder_whose_path_is_too_long_is_told(shelf: Shelf) -> None:
    kept = shelf.photo("a.png")
    here = os.getcwd()
    try:
        os.chdir(shelf.photos)
        for _ in range(20):
            os.mkdir("d" * 250)
            shutil.copy(kept, "d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(here)
    report = shelf.index(regions="none")
    assert report.problems
    assert all("name too long" in why.lower() for _, why in report.problems)
    again = shelf.index()
    assert (again.problems, again.missing, again.unchanged) == ([], 0, report.indexed + report.relinked)
    assert again.known_problems == len(report.problems)
