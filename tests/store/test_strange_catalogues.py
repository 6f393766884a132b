"""Libraries from strangers: what their catalogues bring along is not run, and is refused in one sentence."""

from __future__ import annotations

import os
import random
import sqlite3
import warnings
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.store import clustered
from tests.store.builders import DIM, QUERY, as_of, file, filled, photo
from tests.store.hardship import POSIX
from virtue.errors import DamagedError, StoreError
from virtue.store import NewCaption, Snapshot, open_store
from virtue.store.calibration import SampleQueries


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "catalogue.db")) as plain, plain:
        for sql in statements:
            plain.execute(sql)


def disguise(table: str, type: str) -> list[str]:
    """Statements that put a view or virtual table in the place of a table."""
    made = {
        "view": f"CREATE VIEW {table} AS SELECT * FROM kept",
        "table": f"CREATE VIRTUAL TABLE {table} USING fts5(path, options)",
    }
    return [f"ALTER TABLE {table} RENAME TO kept", made[type]]


STRANGE = {
    "a trigger": (
        ["CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM photos; END"],
        "it has the trigger 't'",
    ),
    "a view": (["CREATE VIEW v AS SELECT 1"], "it has the view 'v'"),
    "a view in the place of a table": (disguise("roots", "view"), "it has the view 'roots'"),
    "a virtual table": (disguise("roots", "table"), "it has the table 'roots'"),
    "another virtual table in the place of tokens": (
        ["DROP TABLE name_tokens", "CREATE VIRTUAL TABLE name_tokens USING fts5(tokens)"],
        "it has the table 'name_tokens'",
    ),
    "tokens that are gone": (["DROP TABLE caption_tokens"], "it lacks the table caption_tokens"),
    "a table of FTS5 that is gone": (["DROP TABLE name_tokens_data"], "it lacks the table name_tokens_data"),
    "a view that says which schema it is": (
        ["DROP TABLE alembic_version", "CREATE VIEW alembic_version AS SELECT '0011' version_num"],
        "it is another database",
    ),
    "a column that is computed": (
        ["ALTER TABLE photos ADD COLUMN more AS (hex(zeroblob(100000000)))"],
        "its column photos.more is computed",
    ),
    "a table that is gone": (["DROP TABLE distributions"], "it lacks the column distributions.asked"),
    "a column of another type": (
        ["ALTER TABLE photos RENAME COLUMN taken TO x", "ALTER TABLE photos ADD COLUMN taken BLOB"],
        "it lacks the column photos.taken TEXT",
    ),
    "a schema that is bytes": (["UPDATE alembic_version SET version_num = x'3030'"], "another database"),
    "a schema in other digits": (["UPDATE alembic_version SET version_num = '٠٠٠٤'"], "another database"),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_catalogue_of_another_form_is_not_opened(tmp_path: Path, strange: str, read_only: bool) -> None:
    filled(tmp_path / "lib").close()
    statements, said = STRANGE[strange]
    change(tmp_path / "lib", *statements)
    with pytest.raises(DamagedError, match=said):
        open_store(tmp_path / "lib", read_only=read_only)


def test_an_old_catalogue_of_another_form_is_not_migrated(tmp_path: Path) -> None:
    for number, sql in enumerate(
        [
            "CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM photos; END",
            "DROP TABLE files",
            "ALTER TABLE regions DROP COLUMN category",
        ]
    ):
        folder = tmp_path / str(number)
        filled(folder).close()
        as_of("0003", folder)
        change(folder, sql)
        before = dump(folder)
        with pytest.raises(DamagedError, match="is damaged"):
            open_store(folder)
        assert dump(folder) == before


def dump(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "catalogue.db")) as plain:
        return list(plain.iterdump())


def test_tables_beside_those_of_virtue_do_no_harm(tmp_path: Path) -> None:
    filled(tmp_path / "lib").close()
    change(tmp_path / "lib", "CREATE TABLE notes (text)", "CREATE INDEX ix_notes ON notes (text)")
    open_store(tmp_path / "lib").close()


# -- files of the library that are not files -----------------------------------------------------------------


@POSIX
@pytest.mark.parametrize(
    "name",
    [
        "catalogue.db",
        "catalogue.db-wal",
        "catalogue.db.backup",
        "catalogue.db.new",
        "writer.lock",
        "writer.json",
        "regions-1.f16",
        "captions-2.f16",
        "index-1.faiss",
        "index-2.faiss.new",
    ],
)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_links_and_pipes_in_a_library_lead_nowhere(tmp_path: Path, name: str, kind: str) -> None:
    """Else a stranger's library could have a file of the user cut off, overwritten, or waited for."""
    filled(tmp_path / "lib").close()
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious" * 1000)
    (tmp_path / "lib" / name).unlink(missing_ok=True)
    makes: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to(precious),
        "pipe": lambda path: os.mkfifo(path),
        "folder": lambda path: path.mkdir(),
    }
    makes[kind](tmp_path / "lib" / name)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"{name} in it is a link or no regular file"):
            open_store(tmp_path / "lib", read_only=read_only, create=not read_only)
    assert precious.read_bytes() == b"precious" * 1000


@POSIX
def test_a_library_that_is_named_by_a_link_is_used(tmp_path: Path) -> None:
    filled(tmp_path / "lib").close()
    (tmp_path / "link").symlink_to(tmp_path / "lib")
    open_store(tmp_path / "link").close()


# -- values --------------------------------------------------------------------------------------------------


def search(snapshot: Snapshot) -> object:
    ranked = snapshot.search("regions", QUERY, 10)
    return snapshot.regions(ranked.rows)


def captions(snapshot: Snapshot) -> object:
    ranked = snapshot.search("captions", QUERY, 10)
    return snapshot.captions(ranked.rows)


def pairs(snapshot: Snapshot) -> object:
    return list(snapshot.same_pictures(4, 0.5)), snapshot.copies([1, 2, 3])


READS: dict[str, Callable[[Snapshot], object]] = {
    "search": search,
    "captions": captions,
    "pairs": pairs,
    "vectors": lambda snapshot: snapshot.vectors_of("regions", [1]),
    "files": lambda snapshot: (snapshot.files(), snapshot.roots(), snapshot.problems()),
    "status": lambda snapshot: (snapshot.counts(), snapshot.missing(), snapshot.forgotten()),
    "given": lambda snapshot: snapshot.user_annotations(b"\0" * 15 + b"\1"),
    "scores": lambda snapshot: snapshot.score_distribution("regions", "text"),
    "faults": lambda snapshot: snapshot.faults(),
}
ODD = [
    ("search", "UPDATE files SET path = '/photos/0.jpg' || photo_id"),
    ("search", "UPDATE photos SET width = 'wide'"),
    ("search", "UPDATE photos SET width = -1"),
    ("search", "UPDATE photos SET height = 1 << 40"),
    ("search", "UPDATE regions SET x0 = 'left'"),
    ("search", "UPDATE regions SET x0 = 9e999"),
    ("search", "UPDATE regions SET x1 = x0 - 1"),
    ("search", "UPDATE regions SET category = x'00'"),
    ("search", "UPDATE row_files SET count = -1"),
    ("search", "UPDATE row_files SET count = 1 << 62"),
    ("search", "UPDATE row_files SET count = 1000000"),
    ("search", "UPDATE row_files SET count = 1"),
    ("search", "UPDATE regions SET row = row + 100"),
    ("search", "UPDATE regions SET row = -row - 1"),
    ("search", "INSERT INTO tombstones VALUES (1, 'regions', 1000)"),
    ("vectors", "DELETE FROM row_files"),
    ("search", "UPDATE row_files SET count = 'many'"),
    ("search", "UPDATE generations SET dim = 1000000000000"),
    ("search", "UPDATE generations SET dim = 0"),
    ("search", "UPDATE generations SET dim = 'eight'"),
    ("search", "UPDATE generations SET model = x'00'"),
    ("search", "INSERT INTO tombstones VALUES (1, 'regions', 'all')"),
    ("search", "UPDATE library SET version = 'one'"),
    ("search", "DELETE FROM library"),
    ("search", "INSERT INTO indexes VALUES (1, 1, 'regions', 'many', 1, 1, 1, 1)"),
    ("captions", "UPDATE captions SET text = x'ff'"),
    ("captions", "UPDATE captions SET source = 1.5, text = x'01'"),
    ("pairs", "UPDATE photos SET phash = 'none'"),
    ("pairs", "UPDATE photos SET width = 1 << 62, height = 1 << 62"),
    ("pairs", "UPDATE files SET path = 'x' || photo_id"),
    ("pairs", "UPDATE files SET photo_id = 1"),
    ("files", "UPDATE files SET mtime_ns = 'now'"),
    ("files", "UPDATE files SET sidecar = x'00'"),
    ("files", "INSERT INTO roots VALUES ('/', '{}')"),
    ("status", "INSERT INTO forgotten VALUES ('a', 'b', 1, 1, '')"),
    ("given", "UPDATE regions SET origin = 'annotation', mask = x'00'"),
    ("scores", "INSERT INTO distributions VALUES (1, 'regions', 'text', 1, 'none')"),
    ("scores", "INSERT INTO distributions VALUES (1, 'regions', 'text', 1, zeroblob(3))"),
]


@pytest.mark.parametrize(("read", "sql"), ODD)
def test_values_that_nothing_wrote_are_damage(tmp_path: Path, read: str, sql: str) -> None:
    filled(tmp_path / "lib", captions=[NewCaption("a", "sidecar")]).close()
    change(tmp_path / "lib", sql)
    with open_store(tmp_path / "lib") as store:
        with pytest.raises(DamagedError), store.read() as snapshot:
            READS[read](snapshot)
        assert store.verify() != []


def test_verify_counts_rows_without_room_for_them(tmp_path: Path) -> None:
    """A file of holes may be as long as a stranger likes."""
    filled(tmp_path / "lib").close()
    many = 1 << 32
    os.truncate(tmp_path / "lib" / "regions-1.f16", many * DIM * 2)
    change(tmp_path / "lib", f"UPDATE row_files SET count = {many} WHERE kind = 'regions'")
    with open_store(tmp_path / "lib") as store:
        faults = store.verify()
    assert f"{many - 6} rows of regions belong to no photo" in [fault.what for fault in faults]


def test_indexes_of_strangers_are_read_only_if_they_hold_together(tmp_path: Path) -> None:
    """With checksums that fit them; FAISS trusts what it reads. Searches do without such an index."""
    clustered.indexed(tmp_path / "lib", 60).close()
    query = clustered.vectors(1, 5)
    path = tmp_path / "lib" / "index-1.faiss"
    sound = path.read_bytes()
    chance = random.Random(3)
    for _ in range(25):
        content = bytearray(sound)
        place, width = chance.randrange(min(len(content) - 8, 2000)), chance.choice((1, 4, 8))
        value = chance.choice((0, 1, 255, 2**31 - 1, 2**63 - 1, chance.getrandbits(64)))
        content[place : place + width] = (value % (1 << (8 * width))).to_bytes(width, "little")
        path.write_bytes(content)
        change(tmp_path / "lib", f"UPDATE index_ranges SET crc = {zlib.crc32(content)}")
        with warnings.catch_warnings(), open_store(tmp_path / "lib") as store:
            warnings.simplefilter("ignore")
            with store.read() as snapshot:
                found = snapshot.search("regions", query, 10)
                assert (found.scores == snapshot.scores("regions", found.rows, query)).all()


def test_rows_of_no_photo_are_damage_to_a_calibration(tmp_path: Path) -> None:
    filled(tmp_path / "lib").close()
    change(tmp_path / "lib", "UPDATE regions SET row = NULL WHERE id = 2")
    with open_store(tmp_path / "lib") as store, pytest.raises(DamagedError), store.write("test") as writer:
        writer.refresh_calibration(lambda find, rows: {"image": SampleQueries(rows)})


@pytest.mark.parametrize("last", ["'x'", "9223372036854775807", "-1", "NULL"])
def test_ids_that_none_can_follow_are_damage(tmp_path: Path, last: str) -> None:
    filled(tmp_path / "lib").close()
    change(tmp_path / "lib", f"UPDATE sqlite_sequence SET seq = {last} WHERE name = 'photos'")
    with open_store(tmp_path / "lib") as store, store.write("test") as writer, pytest.raises(DamagedError):
        writer.commit([photo(9)], [file("/9.jpg", 9)])


def test_a_schema_in_no_encoding_is_damage(tmp_path: Path) -> None:
    """SQLite's own error quotes it, and Python cannot decode that."""
    filled(tmp_path / "lib").close()
    path = tmp_path / "lib" / "catalogue.db"
    content = path.read_bytes()
    assert content.count(b"CREATE TABLE roots (") == 1
    path.write_bytes(content.replace(b"CREATE TABLE roots (", b"CREATE TABLE r\xd2o\xff\xfe ("))
    for read_only in (False, True):
        with pytest.raises(DamagedError, match="is damaged"):
            open_store(tmp_path / "lib", read_only=read_only)


def test_an_index_that_asks_for_a_million_candidates_is_damage(tmp_path: Path) -> None:
    with clustered.indexed(tmp_path / "lib", 60) as store:
        change(tmp_path / "lib", "UPDATE efforts SET probes = 1000000, factor = 1000000")
        change(tmp_path / "lib", "INSERT OR IGNORE INTO efforts VALUES (1, 'image', 1, 1000000, 1, 1)")
        with pytest.raises(DamagedError, match="candidates for a hit"), store.read() as snapshot:
            snapshot.search("regions", clustered.vectors(1, 5), 10)
