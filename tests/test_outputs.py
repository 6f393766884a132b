"""What commands write: files that are not overwritten, streams that cannot be written, exit statuses."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run

PROGRAM = [sys.executable, "-m", "virtue"]


@pytest.fixture
def cat(home: Path, example_photos: Path) -> Path:
    return Path(shutil.copy(example_photos / "cat.jpg", home / "cat.jpg"))


@pytest.mark.parametrize("command", [["search", "a dog", "--html"], ["export"]], ids=["--html", "export"])
def test_what_is_no_such_file_is_not_overwritten(
    virtue: Run, demo_library: Path, cat: Path, tmp_path: Path, command: list[str]
) -> None:
    def run(path: Path, *more: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        return virtue(*command, path, *more, "-d", demo_library, env=env)

    other = tmp_path / "mine.html"
    other.write_text("<!doctype html><title>My garden</title>")
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for path in (cat, other, link, tmp_path / "pipe", tmp_path):
        before = path.read_bytes() if path.is_file() else None
        for env in ({}, {"VIRTUE_FORCE": "1"}):
            done = run(path, **env)
            assert (done.returncode, done.stdout) == (2, b"")
            assert done.stderr.count(b"\n") == 1
            assert b"exists and is not" in done.stderr and b"--force" in done.stderr
        assert before == (path.read_bytes() if path.is_file() else None)
    new = tmp_path / "new"
    for _ in "once", "again":  # what it wrote itself it may write again
        assert run(new).returncode == 0
    shutil.copy(new, other)
    content = cat.read_bytes()
    assert run(cat, "--force").returncode == 0
    assert cat.read_bytes()[:4] != content[:4]
    assert {path.name for path in tmp_path.iterdir()} == {"home", "mine.html", "link", "pipe", "new"}


def test_an_export_may_have_a_name_in_no_encoding(virtue: Run, demo_library: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.parquet"
    done = virtue("export", name, "-d", demo_library)
    assert done.returncode == 0 and b"\\xff.parquet" in done.stderr
    assert virtue("import", name, "-d", "new").returncode == 0


def run(*words: object, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, *map(str, words)], stderr=subprocess.PIPE, check=False, **settings)


def test_results_that_cannot_be_written_are_an_error(home: Path, demo_library: Path) -> None:
    for command in (["search", "a dog"], ["search", "a dog", "--json"], ["status"], ["models"]):
        database = [] if command == ["models"] else ["-d", demo_library]
        with open("/dev/full", "w") as full:
            done = run(*command, *database, stdout=full)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(
            b"virtue: the results cannot be written to stdout (no space"
        )
        assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
        done = run(*command, *database, preexec_fn=lambda: os.close(1))
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(
            b"virtue: the results cannot be written to stdout (bad file"
        )


def test_a_reader_that_has_enough_is_no_error(home: Path, demo_library: Path) -> None:
    command = [*PROGRAM, "search", "a dog", "-n", "300", "--all-regions", "--json", "-d", str(demo_library)]
    for errors in (subprocess.PIPE, subprocess.STDOUT):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as running:
            assert running.stdout is not None
            running.stdout.close()
            noted = running.stderr.read() if running.stderr else b""
        assert (running.returncode, noted) == (0, b"")


def test_closed_streams_do_no_harm(home: Path, example_photos: Path, tmp_path: Path) -> None:
    """Or the catalogue would get the number of stdout, and what is printed."""
    closing = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.executable, sys.argv[1:])"
    index = [*PROGRAM, "index", example_photos / "cat.jpg", "-d", "lib", "--json"]
    done = subprocess.run([sys.executable, "-c", closing, *map(str, index)], check=False)
    assert done.returncode == 2
    assert run("verify", "-d", "lib", stdout=subprocess.PIPE).returncode == 0
    done = run("search", "a cat", "-d", "lib", stdout=subprocess.PIPE)
    assert b"cat.jpg" in done.stdout


BROKEN = """
import sys
from virtue.library import Library
from virtue.cli import main
def fail(*_, **__): raise {error}
Library.search = fail
main(["search", "a dog", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("IndexError('list\\nindex')", b"virtue: a mistake in virtue itself (IndexError: list index)"),
        ("OSError(5, 'Input/output error', 'x')", b"virtue: [Errno 5] Input/output error: 'x'"),
        ("MemoryError()", b"virtue: there is not enough memory"),
        ("ImportError('libfoo.so.3')", b"virtue: a mistake in virtue itself (ImportError: libfoo.so.3)"),
        ("RecursionError('too deep')", b"virtue: a mistake in virtue itself (RecursionError"),
    ],
)
def test_what_was_not_foreseen_is_an_error_of_one_line(home: Path, error: str, told: bytes) -> None:
    program = [sys.executable, "-c", BROKEN.format(error=error)]
    done = subprocess.run(program, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(told) and done.stderr.count(b"\n") == 1
    done = subprocess.run([*program, "--debug"], capture_output=True, check=False)
    assert done.returncode == 2 and b"Traceback" in done.stderr


def test_an_error_with_its_traceback_is_still_an_error(virtue: Run) -> None:
    done = virtue("search", "a dog", "-d", "nosuch", "--debug")
    assert done.returncode == 2 and b"Traceback" in done.stderr


def test_a_working_directory_that_is_gone(home: Path, demo_library: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    removing = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); os.execv(sys.executable, sys.argv[2:])"
    )

    def run(*words: object) -> subprocess.CompletedProcess[bytes]:
        place.mkdir()
        command = [sys.executable, "-c", removing, place, *PROGRAM, *words]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run([*map(str, command)], capture_output=True, env=env, check=False)

    for command in (["search", "a dog"], ["index", "photos"], ["status", "-d", "lib"], ["init"]):
        done = run(*command)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1
        assert b"Traceback" not in done.stderr
    assert run("status", "-d", demo_library).returncode == 0


def test_a_full_disk_can_be_searched_read_only(home: Path, demo_library: Path, tmp_path: Path) -> None:
    library = shutil.copytree(demo_library, tmp_path / "full.virtue")

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = run(
        "search", "a dog", "-f", "--read-only", "-d", library, stdout=subprocess.PIPE, preexec_fn=no_room
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(b"dog.jpg")


def test_the_end_of_its_terminal_keeps_what_is_done(home: Path, example_photos: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(70):
        for path in example_photos.glob("*.jpg"):
            (photos / f"{number}-{path.name}").write_bytes(path.read_bytes() + bytes([number]))
    command = [*PROGRAM, "index", str(photos), "-d", "lib", "--regions", "none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as running:
        while not list(Path("lib").glob("regions-*.f16")) and running.poll() is None:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGHUP)
        running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGHUP
    assert run("verify", "-d", "lib", stdout=subprocess.PIPE).returncode == 0
