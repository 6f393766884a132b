"""Forgetting by filters and by ids."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from virtue import Library
from virtue.errors import InputError


def names(library: Library) -> list[str]:
    return [Path(photo.paths[0]).stem for photo in library.photos(order="path")]


def test_photos_are_forgotten_by_a_filter_with_all_their_files(library: Library) -> None:
    assert library.forget(where="tag = home") == 2, "the cat lies at two paths"
    assert names(library) == ["coins", "dog", "rocket"]
    report = library.index()
    assert (report.forgotten, report.indexed, report.unchanged) == (2, 0, 3)
    assert library.forget(where=["rating > 1", "rating < 4"]) == 1
    assert library.forget(where="rating = 0") == 0
    assert names(library) == ["coins", "rocket"] and library.verify() == []
    with library.store.read() as snapshot:
        assert len(snapshot.forgotten()) == 2


def test_photos_are_forgotten_by_their_ids(library: Library) -> None:
    ids = {Path(photo.paths[0]).stem: photo.photo_id for photo in library.photos()}
    assert library.forget(photo_ids=[ids["dog"], ids["coins"]]) == 2
    assert names(library) == ["cat", "rocket"]
    with pytest.raises(InputError, match=f"no photo {ids['dog']}, and nothing was forgotten"):
        library.forget(photo_ids=iter([ids["cat"], ids["dog"]]))
    assert names(library) == ["cat", "rocket"]
    assert library.forget(photo_ids=[]) == 0


def test_what_contradicts_itself_forgets_nothing(library: Library) -> None:
    for arguments in ({"where": "rating > 0", "photo_ids": [1]}, {"where": "rating > 0", "undo": True}):
        with pytest.raises(InputError, match="one of them"):
            library.forget(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of them"):
        library.forget("cat.jpg", photo_ids=[1])
    with pytest.raises(InputError, match="there is no field 'colour'"):
        library.forget(where="colour = red")
    assert library.count() == 4


def answered(library: Library, answer: bytes) -> tuple[int, bytes]:
    """Runs `forget --where` on a terminal, and says what it exits with and shows."""
    ours, terminal = pty.openpty()
    command = [sys.executable, "-m", "virtue", "forget", "--where", "tag = animal", "-d", library.folder]
    with subprocess.Popen(command, stdin=terminal, stderr=subprocess.PIPE) as program:
        os.close(terminal)
        os.write(ours, answer)
        assert program.stderr
        shown = program.stderr.read()
    os.close(ours)
    return program.returncode, shown


def test_the_command_asks_before_it_forgets_what_matches(library: Library, virtue: Run) -> None:
    status, shown = answered(library, b"no\n")
    assert (status, library.count()) == (2, 4)
    assert shown.startswith(b"forget 2 photos that match? [y/N] ") and b"nothing was forgotten" in shown
    status, shown = answered(library, b"y\n")
    assert (status, library.count()) == (0, 2)
    assert b"forgot 3 files" in shown


def test_without_a_terminal_the_command_needs_yes(library: Library, virtue: Run) -> None:
    command = ("forget", "-d", library.folder)
    done = virtue(*command, "--where", "rating = 1")
    assert done.returncode == 2 and library.count() == 4
    assert done.stderr == b"virtue: 1 photo that matches, and nothing was forgotten: say --yes to forget it\n"
    done = virtue(*command, "--where", "rating = 1", "--yes", env={"VIRTUE_WHERE": "rating > 0"})
    assert (done.returncode, done.stderr) == (0, b"forgot 1 file\n")
    assert names(library) == ["cat", "dog", "rocket"]
    done = virtue(*command, "--where", "rating = 1", "--yes")
    assert (done.returncode, done.stderr) == (1, b"no photo matches the filter\n")
    assert virtue(*command, "cat.jpg", "--where", "rating = 1").returncode == 2
    assert virtue(*command, env={"VIRTUE_WHERE": "rating > 0"}).returncode == 2
    assert library.count() == 3
