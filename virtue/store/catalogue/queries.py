"""Questions to the catalogue that reading, writing and verifying share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store.records import KINDS, Generation, Kind

T = TypeVar("T")

NAMED_AT_ONCE = 500
"""Values in one IN (...): older SQLites take 999 parameters."""


def fetch(connection: Connection, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows as plain tuples, from the driver itself: SQLAlchemy's results cost several times what
    SQLite takes to find them. A transaction must have begun."""
    driver = connection.connection.dbapi_connection
    assert driver is not None and connection.in_transaction()
    found: list[tuple[Any, ...]] = driver.cursor().execute(sql, tuple(values)).fetchall()
    return found


def fetch_for(
    connection: Connection, sql: str, keys: Iterable[Any], values: Sequence[Any] = ()
) -> Iterator[tuple[Any, ...]]:
    """Rows of `sql`, whose `{}` stands for a list of keys, however many these are. `values` belong
    to parameters that come before that list."""
    for some in chunks(keys, NAMED_AT_ONCE):
        marks = ", ".join("?" * len(some))
        yield from fetch(connection, sql.format(marks), (*values, *some))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def version(connection: Connection) -> int:
    ((number,),) = fetch(connection, "SELECT version FROM library")
    return int(number)


def generations(connection: Connection) -> list[Generation]:
    found = fetch(connection, "SELECT id, model, fingerprint, dim, active FROM generations ORDER BY id")
    return [Generation(id, model, mark, dim, active == 1) for id, model, mark, dim, active in found]


def active(connection: Connection) -> Generation | None:
    return next((g for g in generations(connection) if g.active), None)


def row_count(connection: Connection, generation: int, kind: Kind) -> int:
    sql = "SELECT count FROM row_files WHERE generation_id = ? AND kind = ?"
    found = fetch(connection, sql, (generation, kind))
    return int(found[0][0]) if found else 0


def row_counts(connection: Connection) -> list[tuple[Generation, Kind, int]]:
    """How many rows every row file has."""
    return [(g, kind, row_count(connection, g.id, kind)) for g in generations(connection) for kind in KINDS]


def dead_rows(connection: Connection, generation: int, kind: Kind) -> np.ndarray:
    """Rows (n,) int64 that no search may find: tombstones, and those of photos that are missing."""
    sql = (
        "SELECT row FROM tombstones WHERE generation_id = ?1 AND kind = ?2 UNION ALL "
        f"SELECT row FROM photos CROSS JOIN {kind} ON photo_id = photos.id "
        "WHERE live = 0 AND generation_id = ?1 AND row IS NOT NULL"
    )
    return np.array([row for (row,) in fetch(connection, sql, (generation, kind))], np.int64)


def tombstoned_rows(connection: Connection, generation: int, kind: Kind) -> np.ndarray:
    """Rows (n,) int64, ascending, that belong to nothing any more."""
    sql = "SELECT row FROM tombstones WHERE generation_id = ? AND kind = ? ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation, kind))], np.int64)


def owned_rows(connection: Connection, generation: int, kind: Kind) -> np.ndarray:
    """Rows (n,) int64, ascending, that belong to a region or caption."""
    sql = f"SELECT row FROM {kind} WHERE generation_id = ? AND row IS NOT NULL ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation,))], np.int64)


def checksums(connection: Connection, generation: int, kind: Kind) -> dict[int, int]:
    """The checksum of each block of rows, as it was written."""
    sql = "SELECT block, crc FROM checksums WHERE generation_id = ? AND kind = ?"
    return dict(fetch(connection, sql, (generation, kind)))
