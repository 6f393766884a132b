"""`virtue index --watch` and `Library.watch`: what changes in folders is indexed while they run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from virtue import Library, Report
from virtue.errors import InputError

PATIENCE = 60.0
"""Seconds after which a test gives up: many times what anything here takes."""


class Watching:
    """A `virtue index --watch` that runs, and what it says."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "virtue", "index", *map(os.fsencode, map(_text, words)), "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell starts what is in its background with this signal ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._said: list[str] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._more:
                self._said.append(line.decode().rstrip("\n"))
                self._more.notify()

    def hear(self, part: str) -> list[str]:
        """Waits for a line with this in it; returns all lines since the last one that was heard."""
        with self._more:
            assert self._more.wait_for(lambda: any(part in line for line in self._said), PATIENCE), self._said
            end = next(place for place, line in enumerate(self._said) if part in line) + 1
            heard, self._said = self._said[:end], self._said[end:]
            return heard

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, list[str], bytes]:
        """Returns the exit status, what was said last, and all that went to stdout."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        assert self.process.stdout
        out = self.process.stdout.read()
        self._thread.join()
        return status, self._said, out


def _text(word: object) -> str:
    return os.fsdecode(word) if isinstance(word, bytes | Path) else str(word)


Start = Callable[..., Watching]


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `virtue index ... --watch` on a library of its own, and ends it in the end."""
    started = []

    def start(*words: object, library: Path | None = None) -> Watching:
        started.append(Watching(*words, "-d", library or tmp_path / "library"))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with one photo."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    paint(folder / "red.png", "red")
    return folder


def paint(path: Path | bytes, colour: str) -> None:
    picture = BytesIO()
    Image.new("RGB", (80, 60), colour).save(picture, os.fsdecode(path)[-3:])
    with open(path, "wb") as file:  # at once: a slow machine may look in between
        file.write(picture.getvalue())


def noise() -> bytes:
    """A JPEG of a megabyte or so."""
    pixels = np.random.default_rng(1).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    path = Path("noise.jpg")
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def names(library: Path) -> list[str]:
    with Library(library, read_only=True) as opened:
        return sorted(os.path.basename(photo.paths[0]) for photo in opened.photos() if photo.paths)


# -- what changes -------------------------------------------------------------------------------------------


def test_what_changes_is_indexed_and_each_run_is_one_line(start: Start, shelf: Path) -> None:
    library = shelf / "library"  # inside the folder: what is written there is no change
    watching = start(shelf, library=library)
    assert watching.hear("watching")[0].startswith("photos: 1 indexed; ")
    paint(shelf / "blue.png", "blue")
    (shelf / "notes.log").write_text("nothing to index")
    assert [line.split(";")[0] for line in watching.hear("photos")] == ["photos: 1 indexed, 1 unchanged"]
    (shelf / "new" / "deep").mkdir(parents=True)
    paint(shelf / "new" / "deep" / "green.png", "green")
    assert "1 indexed, 2 unchanged" in watching.hear("photos")[0]
    (shelf / "new").rename(shelf / "newer")
    assert "1 moved, copied or back again, 2 unchanged" in watching.hear("photos")[0]
    (shelf / "red.txt").write_text("a red wall")
    (shelf / "blue.png").unlink()
    assert "1 with new captions, 1 unchanged, 1 missing" in watching.hear("photos")[0]
    paint(os.fsencode(shelf) + b"/odd\xff.png", "pink")  # the watcher's library cannot say this name
    assert "1 indexed, 2 unchanged" in watching.hear("photos")[0]
    paint(shelf / "last.png", "orange")
    assert "1 indexed, 3 unchanged" in watching.hear("photos")[0]
    status, said, data = watching.end()  # a slow machine may have indexed the last one while it was written
    assert (status, said[-1], data) == (130, "interrupted; what was done is kept", b"")
    assert names(library) == ["green.png", "last.png", "odd\udcff.png", "red.png"]


def test_a_file_that_is_still_written_is_no_problem_and_a_broken_one_is_named(
    start: Start, shelf: Path
) -> None:
    content = noise()
    watching = start(shelf)
    watching.hear("watching")
    with (shelf / "slow.jpg").open("wb") as stream:
        for place in range(0, len(content), len(content) // 4):
            stream.write(content[place : place + len(content) // 4])
            stream.flush()
            time.sleep(2)
    heard = watching.hear("photos: 1 indexed")
    assert not any("slow.jpg" in line or "could not be read" in line for line in heard)
    (shelf / "broken.jpg").write_bytes(content[:3000])
    assert watching.hear("broken.jpg")[-1].endswith(
        "broken.jpg: cut off: the file ends before the picture does"
    )
    assert watching.end()[0] == 130


# -- what keeps it from its work ----------------------------------------------------------------------------


def test_it_waits_for_another_writer(start: Start, shelf: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "library") as library:
        with library.store.write("another program"):
            watching = start(shelf, "--json")
            (line,) = watching.hear("is being written")
            assert "(another program)" in line and line.endswith("; meanwhile this waits")
        watching.hear("photos: 1 indexed")
        with library.store.write("another program"):
            paint(shelf / "blue.png", "blue")
            watching.hear("meanwhile this waits")
        watching.hear("photos: 1 indexed")
    status, _, out = watching.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    runs = [json.loads(line) for line in out.splitlines()]
    assert [(run["indexed"], len(run["warnings"])) for run in runs] == [(0, 1), (1, 0), (0, 1), (1, 0)]


def test_a_folder_that_vanishes_or_is_not_mounted_is_waited_for(
    start: Start, shelf: Path, tmp_path: Path
) -> None:
    drive, mount = Path("/dev/shm") / f"virtue-test-{os.getpid()}", tmp_path / "mount"
    (tmp_path / "empty").mkdir()
    shutil.copytree(shelf, drive)
    try:
        mount_on(mount, drive)
        watching = start(mount)
        watching.hear("watching")
        mount_on(mount, tmp_path / "empty")
        watching.hear("mount is not there any more: this waits until it is back")
        paint(drive / "blue.png", "blue")
        mount_on(mount, drive)
        assert len(watching.hear("mount is back")) == 1
        watching.hear("photos: 1 indexed, 1 unchanged")
        mount.unlink()
        watching.hear("mount is not there any more: this waits until it is back")
        mount_on(mount, drive)
        watching.hear("mount is back")
        paint(drive / "green.png", "green")
        watching.hear("photos: 1 indexed, 2 unchanged")
        watching.end()
    finally:
        shutil.rmtree(drive)
    assert names(tmp_path / "library") == ["blue.png", "green.png", "red.png"]


def mount_on(mount: Path, folder: Path) -> None:
    """Lets a link lead elsewhere, in one step."""
    link = mount.with_name("link")
    link.symlink_to(folder)
    link.rename(mount)


def test_where_the_system_tells_nothing_it_looks(start: Start, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/odd\xff"  # the watcher's library cannot be told to listen here
    os.mkdir(folder)
    paint(folder + b"/red.png", "red")
    watching = start(folder)
    heard = watching.hear("watching") + watching.hear("looked through")
    assert heard[-1].endswith(": it is looked through every 10 seconds instead")
    paint(folder + b"/blue.png", "blue")
    assert watching.hear("photos")[-1].startswith("photos: 1 indexed, 1 unchanged; ")
    assert watching.end()[0] == 130


LEFT_WITH_ONE_FILE = """
import os, resource, sys, watchfiles
from virtue.indexer.folder_watch import FolderWatch

looks = []
folders = FolderWatch([os.fsencode(sys.argv[1])], b"/no/library", looks.append)
files = [open(os.devnull)]
resource.setrlimit(resource.RLIMIT_NOFILE, (files[0].fileno() + 8,) * 2)
try:
    while True:
        files.append(open(os.devnull))
except OSError:
    files.pop().close()
# Watching takes two files, and the system says the same then as when a user has all the watches there may be.
with folders:
    said = folders.wait().said
print(*said, *map(os.fsdecode, looks), sep="\\n")
"""


def test_the_limit_of_watches_is_told_and_then_it_looks(shelf: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_WITH_ONE_FILE, shelf], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"the system does not tell of changes in {shelf} (its limit of watches is reached; "
        "fs.inotify.max_user_watches and max_user_instances set it): it is looked through every 10 seconds "
        "instead",
        str(shelf),
    ]


# -- from a program ----------------------------------------------------------------------------------------


def test_a_program_gets_a_report_of_each_run_with_the_text_and_one_model(shelf: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with Library(tmp_path / "library") as library:
        reports = library.watch(shelf, stop=stop, regions=0)
        assert next(reports).indexed == 1
        model = library.embedder
        sign = Image.new("RGB", (400, 100), "white")
        ImageDraw.Draw(sign).text((30, 30), "NO PARKING", "black", ImageFont.load_default(size=40))
        sign.save(shelf / "sign.png")
        report = next(reports)
        assert (report.indexed, report.unchanged, report.read, report.with_text) == (1, 1, 1, 1)
        assert library.photos("ocr ~ *parking*")[0].paths == (str(shelf / "sign.png"),)
        assert library.embedder is model
        # Another option for the folder holds from the next run on.
        library.index(shelf, exclude=["*.png"])
        paint(shelf / "blue.png", "blue")
        paint(shelf / "blue.gif", "blue")
        indexed = next(report for report in reports if report.indexed)
        assert (indexed.indexed, indexed.reembedded, indexed.missing) == (1, 0, 0)
        stop.set()
        assert list(reports) == []


def test_without_paths_it_watches_all_that_was_indexed(shelf: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    (tmp_path / "other").mkdir()
    paint(tmp_path / "other" / "one.png", "yellow")
    with Library(tmp_path / "library") as library:
        with pytest.raises(InputError, match="nothing was indexed yet"):
            next(library.watch(stop=stop))
        library.index(shelf)
        library.index(tmp_path / "other" / "one.png")
        reports = library.watch(stop=stop)
        assert next(reports).unchanged == 2
        paint(shelf / "blue.png", "blue")
        assert next(reports).indexed == 1
        paint(tmp_path / "other" / "one.png", "green")
        assert next(reports).reembedded == 1
        stop.set()
        assert list(reports) == []


def test_a_path_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with Library(tmp_path / "library") as library, pytest.raises(InputError, match="no such file"):
        next(library.watch(tmp_path / "nothing"))


def test_a_report_has_news_or_not() -> None:
    assert not Report(unchanged=3, known_problems=1, seconds=1.0).has_news
    assert Report(missing=1).has_news and Report(problems=[(b"a.jpg", "empty")]).has_news
