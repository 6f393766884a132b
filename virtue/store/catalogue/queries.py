"""Queries that reading, writing and verifying share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, driver_of
from virtue.store.records import KINDS, Generation, Kind

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]

NAMED_AT_ONCE = 500
"""Values in one IN (...): older SQLites take 999 parameters."""


def fetch(connection: AnyConnection, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
    """Runs a query and returns all rows as plain tuples, from the driver itself: SQLAlchemy's results cost
    several times what SQLite takes to find them. A transaction must have begun."""
    driver = driver_of(connection)
    assert driver.in_transaction
    return driver.execute(sql, values).fetchall()


def fetch_for(
    connection: AnyConnection, sql: str, keys: Iterable[Any], values: Sequence[Any] = ()
) -> Iterator[tuple[Any, ...]]:
    """Runs `sql`, whose `{}` stands for a list of keys, however many. `values` are for the parameters before
    that list."""
    for some in chunks(keys, NAMED_AT_ONCE):
        marks = ", ".join("?" * len(some))
        yield from fetch(connection, sql.format(marks), (*values, *some))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def version(connection: AnyConnection) -> int:
    ((number,),) = fetch(connection, hot_sql.VERSION)
    return int(number)


def generations(connection: AnyConnection) -> list[Generation]:
    found = fetch(connection, hot_sql.GENERATIONS)
    return [Generation(id, model, mark, dim, active == 1) for id, model, mark, dim, active in found]


def active(connection: AnyConnection) -> Generation | None:
    return next((g for g in generations(connection) if g.active), None)


def row_count(connection: AnyConnection, generation: int, kind: Kind) -> int:
    found = fetch(connection, hot_sql.ROW_COUNT, {"generation": generation, "kind": kind})
    return int(found[0][0]) if found else 0


def row_counts(connection: AnyConnection) -> list[tuple[Generation, Kind, int]]:
    """Returns how many rows each row file has."""
    return [(g, kind, row_count(connection, g.id, kind)) for g in generations(connection) for kind in KINDS]


def dead_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns the rows (n,) int64 that no search may find: tombstones, and those of photos that are
    missing."""
    sql = hot_sql.DEAD_REGIONS if kind == "regions" else hot_sql.DEAD_CAPTIONS
    found = fetch(connection, sql, {"generation": generation, "kind": kind})
    return np.array([row for (row,) in found], np.int64)


def tombstoned_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns the rows (n,) int64, ascending, that are tombstones."""
    sql = "SELECT row FROM tombstones WHERE generation_id = ? AND kind = ? ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation, kind))], np.int64)


def owned_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns rows (n,) int64, ascending, that belong to a region or caption."""
    sql = f"SELECT row FROM {kind} WHERE generation_id = ? AND row IS NOT NULL ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation,))], np.int64)


def checksums(connection: AnyConnection, generation: int, kind: Kind) -> dict[int, int]:
    """Returns the checksum of each block of rows, as it was written."""
    sql = "SELECT block, crc FROM checksums WHERE generation_id = ? AND kind = ?"
    return dict(fetch(connection, sql, (generation, kind)))
