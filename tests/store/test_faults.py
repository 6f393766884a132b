"""Damage: found, named, mended, and none of it by a process that dies or a disk that fills up."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.builders import DIM, SETTINGS, file, filled, found, name, photo, scored, vectors
from tests.store.hardship import POSIX, killed
from virtue.errors import DamagedError, InternalError
from virtue.store import NewCaption, open_store
from virtue.store import layout as names

WRITING = """
import sys
from tests.store.builders import DIM, SETTINGS, file, photo
from virtue.store import NewCaption, Store, open_store
with open_store(sys.argv[1], create=True) as store, store.write("test") as writer:
    writer.generation("mini", "fingerprint", 8)
    number = int(sys.argv[2])
    while True:
        new = photo(number, captions=[NewCaption("x", "sidecar")])
        writer.commit([new], [file("/%d.jpg" % number, number)])
        print(number, flush=True)
        number += 1
"""


@POSIX
def test_a_killed_writer_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    chance = random.Random(5)
    count = 0
    for _ in range(10):
        said = killed(WRITING, folder, count, after=chance.random() * 0.1)
        acknowledged = int(said[-1]) + 1 if said else count + 1
        with open_store(folder) as store:
            with store.read() as snapshot:
                count = snapshot.counts().photos
                assert acknowledged <= count <= acknowledged + 1
                assert sorted(found(snapshot)) == sorted(_expected(count))
                assert len(found(snapshot, "captions")) == count
            with store.write("test"):
                pass
            assert store.verify() == []
            with store.read() as snapshot:
                regions, captions = snapshot.row_count("regions"), snapshot.row_count("captions")
        assert (regions, captions) == (2 * count, count)
        assert (folder / "regions-1.f16").stat().st_size == regions * DIM * 2
        assert (folder / "captions-1.f16").stat().st_size == captions * DIM * 2


def _expected(count: int) -> list[tuple[bytes, float]]:
    return [pair for n in range(count) for pair in scored(b"/%d.jpg" % n, photo(n).region_vectors)]


FILLING = """
import resource, sys
from tests.store.builders import file, photo
from virtue.errors import StoreError
from virtue.store import Store, open_store
with open_store(sys.argv[1], create=True) as store, store.write("test") as writer:
    writer.generation("mini", "fingerprint", 8)
    writer.commit([photo(0)], [file("/0.jpg", 0)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        many = range(1, 6000)
        writer.commit([photo(n) for n in many], [file("/%d.jpg" % n, n) for n in many])
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if len(sys.argv) > 3:
        writer.commit([photo(1)], [file("/1.jpg", 1)])
"""


@POSIX
@pytest.mark.parametrize("limit", [150_000, 250_000], ids=["rows", "catalogue"])
@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_leaves_the_last_commit(tmp_path: Path, limit: int, again: bool) -> None:
    """The 6,000 photos need 192,000 bytes of rows and more than that of catalogue."""
    folder = tmp_path / "library"
    more = ["again"] if again else []
    done = subprocess.run(
        [sys.executable, "-c", FILLING, folder, str(limit), *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(f"the disk of the library {folder} (is full|fails).* committed is safe", done.stdout)
    count = 2 if again else 1
    with open_store(folder) as store:
        with store.read() as snapshot:
            assert sorted(found(snapshot)) == sorted(_expected(count))
        assert store.verify() == []
        with store.write("test") as writer:
            assert (folder / "regions-1.f16").stat().st_size == count * 2 * DIM * 2
            writer.commit([photo(7)], [file("/7.jpg", 7)])
        assert store.verify() == []


def test_the_next_writer_removes_what_belongs_to_nothing(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        rows = store.folder / "regions-1.f16"
        size = rows.stat().st_size
        rows.write_bytes(rows.read_bytes() + b"rubbish")
        (store.folder / "regions-7.f16").write_bytes(b"x")
        (store.folder / "holiday-7.f16").write_bytes(b"mine")
        assert store.verify() == []
        with store.write("test"):
            pass
        assert rows.stat().st_size == size
        assert not (store.folder / "regions-7.f16").exists()
        assert (store.folder / "holiday-7.f16").exists()


def test_checksums_go_on_where_the_last_commit_ended(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 1) as store, store.write("test") as writer:
        first = 1
        for many in (4000, 100, 90, 4097, 1):
            writer.commit([photo(n, proposals=0) for n in range(first, first + many)])
            first += many
            assert store.verify() == []


def test_a_flipped_bit_is_found_and_mended(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            count = 6000
            writer.commit(
                [photo(n, proposals=0, given=int(n == 5000)) for n in range(count)],
                [file(f"/{n}.jpg", n) for n in range(count)],
            )
        assert store.verify() == []
        rows = store.folder / "regions-1.f16"
        content = bytearray(rows.read_bytes())
        content[4500 * DIM * 2 + 3] ^= 4
        rows.write_bytes(content)
        (fault,) = store.verify()
        assert (fault.kind, fault.repairable) == ("checksum", True)
        assert "rows 4096 to 6000 are not what was written" in fault.what
        assert fault.hashes == tuple(name(n) for n in range(4096, 6000))
        assert set(fault.paths) == {b"/%d.jpg" % n for n in range(4096, 6000)}
        with store.write("test") as writer:
            assert writer.repair() == [fault]
        assert store.verify() == []
        with store.read() as snapshot:
            assert len(found(snapshot)) == 4096
            assert snapshot.files()[b"/4500.jpg"].settings is None
            assert snapshot.files()[b"/0.jpg"].settings == SETTINGS
            assert len(snapshot.user_annotations(name(5000)).regions) == 1
        with store.write("test") as writer:
            writer.commit([photo(4500)])
        assert store.verify() == []


@pytest.mark.parametrize("left", [None, 0, 1, 3 * DIM * 2, 5 * DIM * 2 + 1])
def test_a_row_file_that_lost_rows_is_found_and_mended(tmp_path: Path, left: int | None) -> None:
    told = [NewCaption("x", "sidecar")]
    with filled(tmp_path / "library", captions=told) as store:
        rows = store.folder / "regions-1.f16"
        if left is None:
            rows.unlink()
        else:
            os.truncate(rows, left)
        with store.read() as snapshot:
            with pytest.raises(DamagedError, match=r"regions-1\.f16 is .*verify the library, with repair"):
                snapshot.search("regions", vectors(1, 1), 5)
            assert len(snapshot.files()) == 3
        (fault,) = store.verify()
        assert (fault.kind, len(fault.hashes)) == ("rows", 3)
        with store.write("test") as writer:
            with pytest.raises(DamagedError, match=r"regions-1\.f16 is .*verify the library, with repair"):
                writer.commit([photo(5)])
            writer.repair()
            assert store.verify() == []
            writer.commit([photo(n, captions=told) for n in range(3)])
        assert store.verify() == []
        with store.read() as snapshot:
            assert snapshot.counts().regions == len(found(snapshot)) == 6
            assert snapshot.counts().captions == 3


def test_a_catalogue_that_contradicts_the_rows_is_found_and_mended(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 6) as store:
        with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain, plain:
            plain.execute("DELETE FROM regions WHERE row = 0")
            plain.execute("UPDATE regions SET row = 999 WHERE row = 4")
            plain.execute("INSERT INTO tombstones VALUES (1, 'regions', 6), (1, 'regions', 500)")
            plain.execute("UPDATE photos SET live = 0 WHERE id = 6")
        kinds = [fault.kind for fault in store.verify()]
        assert sorted(kinds) == ["count", "count", "count", "orphan", "orphan"]
        lost = {hash for fault in store.verify() for hash in fault.hashes}
        assert lost == {name(2), name(3)}
        with store.write("test") as writer:
            writer.repair()
        assert store.verify() == []
        with store.read() as snapshot:
            assert {path for path, _ in found(snapshot)} == {b"/photos/%d.jpg" % n for n in (0, 1, 4, 5)}


def test_a_damaged_catalogue_is_told_and_not_touched(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain, plain:
            plain.execute("PRAGMA foreign_keys = OFF")
            plain.execute("DELETE FROM photos WHERE id = 1")
        faults = store.verify()
        assert {(fault.kind, fault.repairable) for fault in faults if fault.kind == "catalogue"} == {
            ("catalogue", False)
        }
        with store.write("test") as writer, pytest.raises(DamagedError, match="from a backup"):
            writer.repair()


def test_a_mistake_in_our_own_sql_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody shall remove a library because virtue is wrong."""
    with filled(tmp_path / "library") as store:
        with monkeypatch.context() as patch:
            patch.setattr("virtue.store.catalogue.hot_sql.REGIONS", "SELECT nosuch FROM regions")
            with (
                pytest.raises(InternalError, match="no such column: nosuch") as caught,
                store.read() as snapshot,
            ):
                snapshot.regions([0])
        with monkeypatch.context() as patch:
            patch.setattr("virtue.store.catalogue.hot_sql.GENERATIONS", "SELECT 1 FROM nosuch")
            with pytest.raises(InternalError, match="no such table: nosuch"), store.write("test"):
                pass
        for says in ("mistake in virtue", "nothing was changed", "not damaged", "report"):
            assert says in str(caught.value)
        assert "remove the folder" not in str(caught.value)
        assert store.verify() == []
        with store.read() as snapshot:
            assert len(snapshot.regions([0])) == 1


@pytest.mark.parametrize("table", ["photos", "regions", "tombstones"])
def test_a_damaged_page_of_the_catalogue_is_told(tmp_path: Path, table: str) -> None:
    with filled(tmp_path / "library") as store:
        catalogue = store.folder / names.CATALOGUE
    with closing(sqlite3.connect(catalogue)) as plain:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = plain.execute(sql, (table,)).fetchone()
    content = bytearray(catalogue.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = random.Random(1).randbytes(4096)
    catalogue.write_bytes(content)
    with open_store(tmp_path / "library") as store:
        faults = store.verify()
        assert {(fault.kind, fault.repairable) for fault in faults} == {("catalogue", False)}
        with pytest.raises(DamagedError, match="from a backup"), store.write("test") as writer:
            writer.repair()
