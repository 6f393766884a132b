"""`Library`: one lock for all that a command does, failures that cost nothing, old keywords."""

import logging
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Run
from virtue import Library
from virtue.errors import ModelError
from virtue.indexer import Progress
from virtue.store import open_store

INTRUDER = """
import sys, time
from pathlib import Path
from virtue.errors import LockedError
from virtue.store import Store, open_store
from virtue.store.layout import LOCK_NOTE

folder, command = Path(sys.argv[1]), sys.argv[2]
def holder():
    try:
        return (folder / LOCK_NOTE).read_text()
    except OSError:
        return ""
print("waiting", flush=True)
while command not in holder() and not folder.with_suffix(".over").exists():
    time.sleep(0.001)
with open_store(folder) as store:
    while True:
        try:
            with store.write("the intruder"):
                print("in", flush=True)
                sys.stdin.read()
            break
        except LockedError:
            pass
"""
"""Waits until a command writes to a library, tries without a pause to write too, and stays once it is in."""


@pytest.fixture
def library(tmp_path: Path, demo_library: Path) -> Path:
    """A library that is to be calibrated anew."""
    folder = Path(shutil.copytree(demo_library, tmp_path / "library"))
    with closing(sqlite3.connect(folder / "catalogue.db")) as catalogue, catalogue:
        catalogue.execute("DELETE FROM distributions")
    return folder


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["index"], "photos: 13 unchanged; "),
        (["reindex"], "photos: 13 unchanged; "),
        (["verify", "--repair"], "repaired\n"),
    ],
)
def test_no_other_writer_slips_in_between_the_steps_of_a_command(
    virtue: Run, library: Path, command: list[str], says: str
) -> None:
    if command[0] == "verify":
        rows = library / "regions-1.f16"
        content = bytearray(rows.read_bytes())
        content[100] ^= 1
        rows.write_bytes(content)
    name = f"virtue {' '.join(command)}"
    start = [sys.executable, "-c", INTRUDER, library, name]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as intruder:
        assert intruder.stdin and intruder.stdout
        assert intruder.stdout.readline() == "waiting\n"
        done = virtue(*command, "-d", library)
        library.with_suffix(".over").touch()
        assert intruder.stdout.readline() == "in\n"
        intruder.stdin.close()
        assert intruder.wait() == 0
    assert done.returncode == 0, done.stderr.decode()
    assert says in done.stderr.decode()
    with Library(library) as opened:
        assert opened.search("a dog")[0].percentile is not None


def test_a_failed_reindex_leaves_searches_as_they_were(library: Path) -> None:
    with Library(library) as opened:
        before = [(hit.path, hit.score) for hit in opened.search("a dog")]
        with pytest.raises(ModelError, match="nosuch"):
            opened.reindex("nosuch")
        assert [(hit.path, hit.score) for hit in opened.search("a dog")] == before
        assert opened.index().unchanged == 13
    with Library(library) as opened:
        with pytest.raises(ModelError, match="nosuch"):
            opened.reindex("nosuch")
        assert [(hit.path, hit.score) for hit in opened.search("a dog")] == before


def test_progress_tells_every_stage(library: Path) -> None:
    events: list[Progress] = []
    with open_store(library) as store, store.write("test") as writer:
        writer.refresh_indexes(max_scanned_floats=0)
    with Library(library) as opened:
        opened.index(rehash=True, progress=events.append)
        opened.tune(progress=events.append)
    stages = {event.stage: event for event in events}
    assert list(stages) == ["walking", "indexing", "indexes"]
    walking, indexing = stages["walking"], stages["indexing"]
    assert (walking.what, walking.done, walking.total) == ("looking for photos", 13, None)
    assert (indexing.what, indexing.done, indexing.total) == ("indexing", 13, 13)
    assert "tuning searches of regions by images" in {event.what for event in events}


def test_old_keywords_still_work(library: Path, tmp_path: Path) -> None:
    with open_store(library) as store, store.write("test") as writer:
        writer.refresh_indexes(max_scanned_floats=0)
    said: list[tuple[str, int, int]] = []
    events: list[Progress] = []

    def say(what: str, done: int, total: int) -> None:
        said.append((what, done, total))

    with Library(library) as opened:
        with pytest.warns(DeprecationWarning, match="progress="):
            opened.tune(say=say)
        assert ("tuning searches of regions by images", 0) in {(what, done) for what, done, _ in said}
        with pytest.warns(DeprecationWarning, match="progress="):
            opened.index(progress=events.append, say=say)
        assert {event.stage for event in events} == {"walking"}
        with pytest.warns(DeprecationWarning, match="progress="):
            opened.reindex(say=say)
        expected = opened.search("a dog")
    with pytest.warns(DeprecationWarning, match="vectors_device="):
        held = Library(library, hold="cpu")
    with held:
        assert held.search("a dog") == expected


def test_the_log_tells_what_a_run_did(tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8 not a picture")
    with caplog.at_level(logging.INFO, "virtue"), Library(tmp_path / "new") as opened:
        report = opened.index(photos, ocr=False)
    ((_, reason),) = report.problems
    assert f"skipped {photos / 'bad.jpg'}: {reason}" in caplog.messages
    assert f"indexed {tmp_path / 'new'}: {report.summary()}" in caplog.messages


def test_the_log_is_silent_unless_a_program_listens() -> None:
    program = "import logging, virtue; logging.getLogger('virtue').error('x')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
