"""A library whose folder may not be written to, or is gone while work is under way: one clear sentence,
and nothing lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.builders import DIM, file, filled, found, photo
from tests.store.hardship import POSIX, unwritable
from virtue import Library
from virtue.errors import StoreError, VirtueError
from virtue.store import open_store
from virtue.store.writer import Writer

WORKS: dict[str, Callable[[Library, Path], object]] = {
    "compact": lambda library, place: library.compact(),
    "dry run": lambda library, place: library.compact(dry_run=True),
    "export": lambda library, place: library.export_parquet(place / "y.parquet"),
    "import": lambda library, place: library.import_parquet(place / "x.parquet"),
    "merge": lambda library, place: library.merge(place / "other"),
    "forget": lambda library, place: library.forget(["/photos/2.jpg"]),
    "moved": lambda library, place: library.move("/photos", place),
}


def shelf(place: Path) -> Path:
    """A library with dead rows, and what it could take in."""
    folder = place / "library"
    with filled(folder, 40) as store, store.write("test") as writer:
        writer.forget([b"/photos/%d.jpg" % n for n in range(10)])
    with filled(place / "other", 0) as store, store.write("test") as writer:
        writer.commit([photo(90)], [file("/90.jpg", 90)])
    with Library(place / "other") as other:
        other.export_parquet(place / "x.parquet")
    return folder


def held(folder: Path) -> list[tuple[bytes, float]]:
    with open_store(folder) as store, store.read() as snapshot:
        assert store.verify() == []
        return sorted(found(snapshot))


@pytest.mark.parametrize("work", WORKS)
def test_a_folder_that_vanished(tmp_path: Path, work: str) -> None:
    folder = shelf(tmp_path)
    before = held(folder)
    library = Library(folder)
    assert library.store.verify() == []
    folder.rename(tmp_path / "unmounted")
    with library, pytest.raises(VirtueError) as caught:
        WORKS[work](library, tmp_path)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not folder.exists()
    (tmp_path / "unmounted").rename(folder)
    assert held(folder) == before


CHANGES: dict[str, Callable[[Writer], object]] = {
    "compact": lambda writer: writer.compact(),
    "commit": lambda writer: writer.commit([photo(99)], [file("/99.jpg", 99)]),
    "generation": lambda writer: (writer.generation("b", "b", DIM), writer.commit([photo(99)])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_vanishes_under_a_writer(tmp_path: Path, change: str) -> None:
    folder = shelf(tmp_path)
    before = held(folder)
    with open_store(folder) as store:
        with pytest.raises(StoreError, match=str(folder)), store.write("test") as writer:
            folder.rename(tmp_path / "unmounted")
            CHANGES[change](writer)
        (tmp_path / "unmounted").rename(folder)
        with store.write("test"):
            pass
    assert held(folder) == before


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from tests.store.test_out_of_reach import WORKS
from virtue import Library
from virtue.errors import VirtueError
place = Path(sys.argv[1])

def attempt(work, **options):
    try:
        with Library(place / "library", **options) as library:
            WORKS[work](library, place)
    except VirtueError as error:
        print(error)
    else:
        print("done")

# Loads all modules, which may lie where only root can read.
with Library(place / "spare") as spare:
    for work in WORKS:
        WORKS[work](spare, place)
(place / "y.parquet").unlink()
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for work in WORKS:
    attempt(work)
    attempt(work, read_only=True)
"""


@POSIX
def test_a_folder_without_writing_rights(tmp_path: Path) -> None:
    folder = shelf(tmp_path)
    filled(tmp_path / "spare", 3).close()
    before = held(folder)
    with unwritable(folder):
        tmp_path.chmod(0o777)
        command = [sys.executable, "-c", UNPRIVILEGED, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert len(said) == 2 * len(WORKS)
    for number, work in enumerate(WORKS):
        plain, read_only = said[2 * number : 2 * number + 2]
        assert plain == f"the library {folder} cannot be written to: open it read-only"
        # Only what reads is done where nothing may be written.
        expected = (
            "done" if work == "export" else f"the library {folder} was opened read-only: open it for writing"
        )
        assert read_only == expected
    assert held(folder) == before
