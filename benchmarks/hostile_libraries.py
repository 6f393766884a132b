"""Libraries that lie: sound ones, whose catalogue or files were changed as a stranger might."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hostile_files import NUMBERS, TEXTS, change_bytes

Chance = random.Random
BLOCK = 4096

VALUES: tuple[Any, ...] = (
    *(value for value in NUMBERS if not isinstance(value, int) or abs(value) < 2**63),
    *(text for text in TEXTS if text.isascii()),
    b"", b"\0", b"/", b"\xff\xfe", b"a.jpg", b"/a\0b", bytes(100_000), 2**62, -(2**62), 3, 256,
)  # fmt: skip
SCHEMES = (
    "CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM photos; END",
    "CREATE TRIGGER t BEFORE UPDATE ON library BEGIN DELETE FROM regions; END",
    "CREATE VIEW v AS SELECT * FROM photos",
    "ALTER TABLE roots RENAME TO kept; CREATE VIEW roots AS SELECT * FROM kept",
    "ALTER TABLE library RENAME TO kept; CREATE VIEW library AS SELECT * FROM kept",
    "ALTER TABLE library RENAME TO kept; CREATE VIEW library AS "
    "WITH RECURSIVE n(version) AS (SELECT 1 UNION ALL SELECT version + 1 FROM n) SELECT version FROM n",
    "DROP TABLE alembic_version; CREATE VIEW alembic_version AS SELECT '0005' version_num",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "ALTER TABLE photos ADD COLUMN more AS (hex(zeroblob(90000000)))",
    "ALTER TABLE regions DROP COLUMN category",
    "ALTER TABLE captions RENAME COLUMN text TO said",
    "ALTER TABLE files ADD COLUMN more TEXT",
    "DROP TABLE generations", "DROP TABLE row_files", "DROP TABLE tags", "DROP TABLE library",
    "DROP TABLE alembic_version", "DELETE FROM alembic_version", "DELETE FROM library",
    "DELETE FROM generations",
    "INSERT INTO library VALUES (1)", "INSERT INTO alembic_version VALUES ('0001')",
    "UPDATE alembic_version SET version_num = '9999'", "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE alembic_version SET version_num = '0003'", "UPDATE alembic_version SET version_num = 'x'",
    "UPDATE alembic_version SET version_num = x'30303034'", "PRAGMA user_version = 99",
    "PRAGMA journal_mode = DELETE", "PRAGMA encoding = 'UTF-16'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'x' WHERE name = 'files'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 1 WHERE name = 'files'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 99999 WHERE name = 'photos'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET type = 'view' WHERE name = 'tags'",
    "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'regions'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'BLOB NOT NULL', 'TEXT')",
    "UPDATE generations SET active = 0", "UPDATE generations SET id = 7",
    "UPDATE generations SET fingerprint = 'other'", "UPDATE generations SET model = 'evil/model'",
    "UPDATE generations SET model = './evil'", "UPDATE generations SET dim = 1000000000000",
    "UPDATE generations SET dim = 128", "INSERT INTO generations VALUES (9, 'mini', 'f', 256, 1)",
    "UPDATE row_files SET count = 1000000000000", "UPDATE row_files SET count = count + 1",
    "UPDATE row_files SET count = 0", "UPDATE regions SET row = row + 1000000",
    "UPDATE regions SET row = -row - 1", "UPDATE regions SET row = NULL", "DELETE FROM checksums",
    "UPDATE regions SET photo_id = 12345", "UPDATE captions SET region_id = 99999",
    "UPDATE files SET photo_id = 99999", "UPDATE photos SET live = 7", "UPDATE sqlite_sequence SET seq = 'x'",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807", "DELETE FROM sqlite_sequence",
    "INSERT INTO tombstones SELECT 1, 'regions', row FROM regions", "DELETE FROM files", "DELETE FROM photos",
    "UPDATE roots SET path = x'2f'", "UPDATE roots SET options = replace(hex(zeroblob(20000)), '00', '[')",
    "UPDATE index_ranges SET stop = 4000000000", "UPDATE index_ranges SET first = 4, stop = 5",
    "UPDATE indexes SET lists = 1000000000", "UPDATE efforts SET probes = 1000000, factor = 1000000",
)  # fmt: skip
"""What may be wrong with a catalogue as a whole."""


def hostile_library(sound: Path, folder: Path, precious: Path, chance: Chance) -> str:
    """Copies a library and changes it; says how.

    Args:
        precious: a file of the user, to which links may lead.
    """
    shutil.copytree(sound, folder)
    changes: tuple[Callable[[Path, Chance], str], ...] = (
        _values, _values, _values, _values, _scheme, _scheme, _rows, _catalogue_bytes, _index, _files,
    )  # fmt: skip
    change = chance.choice(changes)
    if change is _files:
        return _files(folder, chance, precious)
    return change(folder, chance)


def _run(folder: Path, chance: Chance, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(folder / "catalogue.db", isolation_level=None)) as plain:
        for sql, values in statements:
            try:
                if values:
                    plain.execute(sql, values)
                else:
                    plain.executescript(sql)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                continue  # a constraint of the table itself


def _scheme(folder: Path, chance: Chance) -> str:
    sql = chance.choice(SCHEMES)
    _run(folder, chance, (sql, ()))
    return sql[:80]


def _values(folder: Path, chance: Chance) -> str:
    """Other values in some columns: in all rows or in one."""
    with closing(sqlite3.connect(folder / "catalogue.db")) as plain:
        columns = plain.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' "
            "AND t.name NOT LIKE 'sqlite%'"
        ).fetchall()
    told = []
    for _ in range(chance.choice((1, 1, 1, 3, 8))):
        table, column = chance.choice(columns)
        value = chance.choice(VALUES)
        which = chance.choice(("", "", "ORDER BY random() LIMIT 1"))
        sql = f'UPDATE OR REPLACE {table} SET "{column}" = ? WHERE 1'
        if which:
            key = "photo_id" if table == "tags" else "kind" if table == "tombstones" else "rowid"
            sql += f" AND {key} IN (SELECT {key} FROM {table} {which})"
        made = chance.choice(
            (sql, sql, sql.replace("= ?", f'= "{column}" || ?'), sql.replace("= ?", "= CAST(? AS TEXT)"))
        )
        _run(folder, chance, (made, (value,)))
        told.append(f"{table}.{column} = {str(value)[:20]!r}")
    return ", ".join(told)


def _rows(folder: Path, chance: Chance) -> str:
    """Vectors of another length or none at all, with checksums that fit them."""
    kind = chance.choice(("regions", "captions"))
    path = folder / f"{kind}-1.f16"
    rows = np.frombuffer(path.read_bytes(), "<f2").copy()
    rows[: chance.choice((1, 768, len(rows)))] = chance.choice((np.nan, np.inf, 0, 3, 6e4, -1))
    content = rows.tobytes()
    how = chance.choice(("values", "short", "long", "holes"))
    if how == "short":
        content = content[: chance.randrange(len(content))]
    path.write_bytes(content)
    if how == "long":
        os.truncate(path, 10 * len(content))
    if how == "holes":
        os.truncate(path, 10**12)
        sql = "UPDATE row_files SET count = 1000000000 WHERE kind = ?"
        _run(folder, chance, (sql, (kind,)))
    with closing(sqlite3.connect(folder / "catalogue.db")) as plain:
        ((dim,),) = plain.execute("SELECT dim FROM generations")
    stride = 2 * dim * BLOCK
    for block, start in enumerate(range(0, len(content), stride)):
        crc = zlib.crc32(content[start : start + stride])
        _run(
            folder, chance, ("UPDATE checksums SET crc = ? WHERE kind = ? AND block = ?", (crc, kind, block))
        )
    return f"{path.name}: {how}"


def _catalogue_bytes(folder: Path, chance: Chance) -> str:
    path = folder / "catalogue.db"
    path.write_bytes(change_bytes(path.read_bytes(), chance))
    if chance.random() < 0.2:
        (folder / "catalogue.db-wal").write_bytes(chance.randbytes(chance.choice((10, 5000))))
    return "bytes of the catalogue"


def _index(folder: Path, chance: Chance) -> str:
    """An index file that was changed, with a checksum that fits it."""
    files = sorted(folder.glob("index-*.faiss"))
    if not files:
        return _values(folder, chance)
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    if chance.random() < 0.7:  # headers, where lengths and numbers of lists are
        for _ in range(chance.choice((1, 3))):
            place = chance.randrange(min(len(content) - 8, chance.choice((100, 3000, len(content)))))
            width = chance.choice((1, 4, 8))
            value = chance.choice((0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**40, chance.getrandbits(64)))
            content[place : place + width] = (value % (1 << (8 * width))).to_bytes(width, "little")
        changed = bytes(content)
    else:
        changed = change_bytes(bytes(content), chance)
    path.write_bytes(changed)
    number = int(path.stem.split("-")[1])
    sql = "UPDATE index_ranges SET crc = ?, size = ? WHERE id = ?"
    _run(folder, chance, (sql, (zlib.crc32(changed), len(changed), number)))
    return "an index of another content"


def _files(folder: Path, chance: Chance, precious: Path) -> str:
    """A file of the library that is none, or leads elsewhere."""
    name = chance.choice(
        ("catalogue.db", "catalogue.db-wal", "catalogue.db.backup", "catalogue.db.new", "writer.lock",
         "writer.json", "regions-1.f16", "captions-1.f16", "regions-2.f16", "index-1.faiss",
         "index-9.faiss.new")
    )  # fmt: skip
    path = folder / name
    path.unlink(missing_ok=True)
    makes: dict[str, Callable[[], object]] = {
        "gone": lambda: None,
        "empty": lambda: path.write_bytes(b""),
        "noise": lambda: path.write_bytes(chance.randbytes(5000)),
        "a link": lambda: path.symlink_to(precious),
        "a link to nothing": lambda: path.symlink_to("nothing"),
        "a link to /dev/zero": lambda: path.symlink_to("/dev/zero"),
        "a pipe": lambda: os.mkfifo(path),
        "a folder": lambda: path.mkdir(),
    }
    kind = chance.choice(sorted(makes))
    makes[kind]()
    return f"{name}: {kind}"
