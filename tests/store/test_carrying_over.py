"""`virtue merge` from a folder into PostgreSQL, and back, killed on the way: run again, it ends as if nothing
had happened. There is no file at any path of these photos, so that none can be opened."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg

from tests.conftest import Run
from tests.store.builders import DIM, file, found, photo
from virtue.store import NewCaption, Store, layout, open_store
from virtue.store.transfer.importing import import_photos
from virtue.store.transfer.manifest import ExportManifest, PhotoExport
from virtue.store.transfer.photo_reader import BATCH_PHOTOS

PHOTOS = 4 * BATCH_PHOTOS


def fill(place: Path) -> None:
    """Every third photo lies at two paths, every fifth is missing at one more."""
    with open_store(place, create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        for first in range(0, PHOTOS, 100):
            some = range(first, first + 100)
            photos = [
                photo(n, given=n % 2, captions=[NewCaption(f"thing {n}", "file", 2 if n % 2 else None)])
                for n in some
            ]
            files = [file(f"/photos/{n}.jpg", n) for n in some]
            files += [file(f"/copies/{n}.jpg", n) for n in some if n % 3 == 0]
            gone = [file(f"/gone/{n}.jpg", n) for n in some if n % 5 == 0]
            writer.commit(photos, files + gone, [each.path for each in gone])


def start(source: Path | str, target: Path | str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "virtue", "merge", str(source), "--database", str(target)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.02)


def told(store: Store) -> list[object]:
    """All that a library tells, but for ids, rows and sizes."""
    with store.read() as snapshot:
        assert snapshot.faults() == []
        ids = snapshot.photo_ids(order="path")
        return [
            dataclasses.replace(snapshot.counts(), bytes=0),
            [dataclasses.replace(each, photo_id=0) for each in snapshot.photos(ids)],
            snapshot.files(),
            sorted(found(snapshot, "regions")),
            sorted(found(snapshot, "captions")),
        ]


def test_a_folder_that_is_carried_over_and_back_is_the_same_whenever_it_was_killed(
    virtue: Run, database: str, tmp_path: Path
) -> None:
    here, back = tmp_path / "library", tmp_path / "back"
    fill(here)

    first = start(here, database)
    with psycopg.connect(database, autocommit=True) as plain:

        def asked(sql: str) -> int:
            ((number,),) = plain.execute(sql).fetchall()
            return int(number)

        wait(lambda: asked("SELECT (to_regclass('virtue.photos') IS NOT NULL)::int") == 1)
        wait(lambda: asked("SELECT count(*) FROM virtue.photos") > 0)
        with plain.transaction():
            # So it stands in the midst of a commit, with photos and regions put, and captions to come.
            plain.execute("LOCK TABLE virtue.captions IN SHARE MODE")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
            wait(lambda: asked(waiting) == 1)
            first.kill()
            assert first.wait() != 0
        taken = asked("SELECT count(*) FROM virtue.photos")
    assert 0 < taken < PHOTOS and taken % BATCH_PHOTOS == 0
    done = virtue("merge", here, "--database", database)
    assert done.returncode == 0, done.stderr
    assert f"{PHOTOS - taken:,} photos taken".encode() in done.stdout + done.stderr

    second = start(database, back)
    wait((back / layout.CATALOGUE).exists)
    with closing(sqlite3.connect(back / layout.CATALOGUE, timeout=60)) as plain_file:
        count = "SELECT count(*) FROM photos"
        wait(lambda: bool(plain_file.execute("SELECT 1 FROM sqlite_master WHERE name = 'photos'").fetchall()))
        wait(lambda: plain_file.execute(count).fetchone() != (0,))
        plain_file.execute("BEGIN IMMEDIATE")
        second.kill()
        assert second.wait() != 0
        ((taken,),) = plain_file.execute(count).fetchall()
        plain_file.rollback()
    assert 0 < taken < PHOTOS
    done = virtue("merge", database, "--database", back)
    assert done.returncode == 0, done.stderr

    with open_store(here) as one, open_store(database) as other, open_store(back) as again:
        wanted = told(one)
        assert told(other) == wanted
        assert told(again) == wanted


def test_what_another_process_forgets_while_it_is_carried_over_stays_forgotten(database: str) -> None:
    manifest = ExportManifest("mini", "fingerprint", DIM, ())
    last = file(f"/{BATCH_PHOTOS}.jpg", BATCH_PHOTOS)

    def photos(is_interrupted: bool) -> Iterator[PhotoExport]:
        for number in range(BATCH_PHOTOS + 1):
            if number == BATCH_PHOTOS and is_interrupted:
                with open_store(database) as other, other.write("virtue forget") as forgetting:
                    assert forgetting.forget([last.path]) == 1
            yield PhotoExport(photo(number, proposals=0), (file(f"/{number}.jpg", number),))

    with open_store(database, create=True) as store, store.write("test") as writer:
        assert import_photos(store, writer, manifest, photos(False), "test").photos == BATCH_PHOTOS + 1
        assert import_photos(store, writer, manifest, photos(True), "test").forgotten == 1
        with store.read() as snapshot:
            assert [each.hash for each in snapshot.forgotten()] == [last.hash]
            assert snapshot.counts().photos == BATCH_PHOTOS
