"""Several processes index into one library in PostgreSQL: `index`, and `index --join` on any machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.indexer.colours import ColourModel
from virtue import Library
from virtue.embedder import Embedder
from virtue.errors import StoreError
from virtue.indexer import walking
from virtue.indexer.walk import Walk

PHOTOS = 60
WORKER = """
import os, sys, time
from tests.indexer.colours import ColourModel
from virtue import Library
from virtue.embedder import Embedder
from virtue.store.postgres import server_jobs

class SlowModel(ColourModel):
    def scenes(self, pictures):
        with open(sys.argv[2], "a") as log:
            for picture in pictures:
                print(os.getpid(), tuple(picture.pixels[0, 0].tolist()), sep="\\t", file=log)
        # Who lists waits until both others have leases; they wait until they are told to go on.
        while not os.path.exists(sys.argv[2] + (".leased" if sys.argv[3:] else ".go")):
            time.sleep(0.05)
        return super().scenes(pictures)

server_jobs.LEASE_SECONDS = 2.0
with Library(sys.argv[1], embedder=Embedder(SlowModel())) as library:
    if len(sys.argv) > 3:
        report = library.index(sys.argv[3], workers=1, ocr=False)
    else:
        report = library.join(workers=1)
    print(report.indexed, report.elsewhere)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    place.mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (32, 32), (4 * number, 255 - 4 * number, 90)).save(place / f"{number}.png")
    return place


def start(database: str, log: Path, *more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, database, log, *more]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.02)


def embedded(log: Path) -> list[tuple[int, str]]:
    """(process, colour) of each picture that was embedded."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), colour) for pid, colour in (line.split("\t") for line in lines)]


def test_whoever_is_killed_or_stopped_every_photo_ends_once(
    database: str, folder: Path, tmp_path: Path
) -> None:
    """One lists and embeds, two join; one of these is killed and one stopped, each while it has leases."""
    log = tmp_path / "log"
    first = start(database, log, folder)
    wait(lambda: len(embedded(log)) > 0)
    killed, stopped = start(database, log), start(database, log)
    wait(lambda: {killed.pid, stopped.pid} <= {pid for pid, _ in embedded(log)})
    with psycopg.connect(database, autocommit=True) as plain:
        sql = "SELECT split_part(name, ' ', 2)::int, path FROM virtue.jobs JOIN virtue.workers ON id = owner"
        both = killed.pid, stopped.pid
        held = {path for pid, path in plain.execute(sql) if pid in both}
        time.sleep(4)
        stopped.send_signal(signal.SIGSTOP)
        killed.kill()
        leased = {path for pid, path in plain.execute(sql) if pid in both}
        assert held and held <= leased, "renewed"
        Path(f"{log}.leased").touch()
        assert first.wait() == 0
        assert plain.execute("SELECT count(*) FROM virtue.jobs").fetchone() == (0,)
        Path(f"{log}.go").touch()
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait() == 0
    colours = Counter(colour for _, colour in embedded(log))
    names = [int(Path(os.fsdecode(path)).stem) for path in leased]
    assert len(colours) == PHOTOS
    assert {colour for colour, count in colours.items() if count > 1} <= {
        str((4 * number, 255 - 4 * number, 90)) for number in names
    }
    assert first.stdout is not None
    assert first.stdout.read().split() == [str(PHOTOS), "0"]
    with Library(database, embedder=Embedder(ColourModel())) as library:
        assert library.count() == PHOTOS
        assert sum(len(some.ids) for some in library.vectors("regions")) == 5 * PHOTOS
        assert library.verify() == []
        assert library.index(folder, workers=1, ocr=False).unchanged == PHOTOS


def test_copies_and_text_are_shared_and_what_three_could_not_read_is_a_problem(
    database: str, folder: Path
) -> None:
    """A file that no process survives, and the listing of one that was killed, are another's to end."""
    with Library(database, embedder=Embedder(ColourModel())) as library:
        library.index(folder / "0.png", workers=1, ocr=False)
        assert library.join(workers=1).indexed == 0, "nothing is left"
        (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
        (folder / "copy.txt").write_text("blue")
        (folder / "gone.png").write_bytes(b"")
        with psycopg.connect(database, autocommit=True) as plain:
            dead = plain.execute(
                "INSERT INTO virtue.workers (name, fills, seen_until) VALUES ('dead 1', TRUE, now()) "
                "RETURNING id"
            ).fetchone()
            assert dead is not None
            sql = (
                "INSERT INTO virtue.jobs (work, path, size, mtime_ns, pictures, regions, is_named, owner, "
                "tries) VALUES ('embed', %s, 1, 1, '{}', 4, FALSE, %s, %s)"
            )
            for name, tries in (
                ("1.png", 1),
                ("copy.png", 2),
                ("gone.png", 1),
                ("never.png", 0),
                ("2.png", 3),
            ):
                plain.execute(sql, (os.fsencode(folder / name), dead[0], tries))
        report = library.join(workers=1)
        assert (report.indexed, report.relinked) == (1, 1)
        assert [Path(os.fsdecode(path)).name for path, _ in report.problems] == [
            "2.png",
            "gone.png",
            "never.png",
        ]
        assert report.problems[0][1] == "each of three processes ended while it had this file"
        assert report.read == 1, "what the dead one would have listed"
        done = library.index(folder, workers=1, ocr=False)
        assert (done.indexed, len(done.problems), library.count()) == (PHOTOS - 2, 0, PHOTOS)
        assert [photo.captions for photo in library.photos("path ~ *copy.png")] == [("blue",)]


def test_a_walk_in_parts_sees_what_a_whole_one_sees(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four files at a time: what moved, went, came back, lies beside or is named twice."""
    monkeypatch.setattr(walking, "MAX_PART", 4)
    held: list[int] = []
    cut = Walk.cut
    monkeypatch.setattr(Walk, "cut", lambda walk: (held.append(len(walk.files)), cut(walk))[1])
    for number in range(PHOTOS):
        place = folder / str(number // 3)
        place.mkdir(exist_ok=True)
        (folder / f"{number}.png").rename(place / f"{number}.png")
    (folder / "0" / "film.mp4").touch()
    model = ColourModel()
    with Library(database, embedder=Embedder(model)) as library:
        report = library.index([folder, folder / "1" / "3.png"], workers=1, ocr=False)
        assert (report.indexed, report.missing, report.passed_by) == (PHOTOS, 0, {".mp4": 1})
        assert max(held) <= 6 and len(held) >= PHOTOS // 6
        (folder / "0").rename(folder / "moved")
        (folder / "1" / "3.png").unlink()
        (folder / "2" / "6.txt").write_text("a green thing")
        model.pictures = 0
        report = library.index(workers=1, ocr=False)
        counts = (report.relinked, report.missing, report.recaptioned, report.unchanged)
        assert (counts, model.pictures) == ((3, 1, 1, PHOTOS - 5), 0)
        assert library.count() == PHOTOS - 1
        assert library.count("path ~ */0/*.png") == 0
        shutil.rmtree(folder / "5")
        (folder / "5").mkdir()
        report = library.index(workers=1, ocr=False)
        assert report.missing == 3 and "holds no photos, and had 3" in report.warnings[0]


def test_who_lists_tells_what_others_took_on(database: str, folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = start(database, log, folder)
    wait(lambda: len(embedded(log)) > 0)
    second = start(database, log)
    Path(f"{log}.go").touch()
    wait(lambda: second.pid in {pid for pid, _ in embedded(log)})
    assert second.poll() is None
    Path(f"{log}.leased").touch()
    assert (first.wait(), second.wait()) == (0, 0)
    assert first.stdout is not None and second.stdout is not None
    (own, elsewhere), (helped, none) = (map(int, each.stdout.read().split()) for each in (first, second))
    assert own + helped == PHOTOS and elsewhere == helped > 0 and none == 0


def test_a_folder_is_indexed_by_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^the library [^\n]* one process indexes at a time"):
        Library(tmp_path / "library").join()
