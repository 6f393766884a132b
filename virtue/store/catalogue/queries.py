"""Queries that reading, writing and verifying share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import NoneType, UnionType
from typing import Any, TypeVar

import numpy as np

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, WrongValueError, driver_of
from virtue.store.records import KINDS, MAX_DIM, Generation, Kind

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
Types = Sequence[type | UnionType]

QUANTILES = 201
"""Of a distribution of scores (`calibration.QUANTILE_LEVELS`)."""
MAX_ROWS = 1 << 40
"""Rows that a row file may have."""
NAMED_AT_ONCE = 500
"""Values in one IN (...): older SQLites take 999 parameters."""


def fetch(
    connection: AnyConnection, sql: str, values: Values = (), types: Types = ()
) -> list[tuple[Any, ...]]:
    """Runs a query and returns all rows as plain tuples, from the driver itself: SQLAlchemy's results cost
    several times what SQLite takes to find them. A transaction must have begun.

    Args:
        types: of the columns, for SQLite takes any value in any column. None: whatever they are.

    Raises:
        WrongValueError: a value is of another type.
    """
    driver = driver_of(connection)
    assert driver.in_transaction
    found = driver.execute(sql, values).fetchall()
    if types:
        _require_types(found, types)
    return found


def _require_types(found: list[tuple[Any, ...]], types: Types) -> None:
    for held in {tuple(map(type, row)) for row in found}:
        for actual, wanted in zip(held, types, strict=True):
            if not issubclass(actual, wanted):
                raise WrongValueError(f"a value is {_called(actual)} where {_called(wanted)} belongs")


def _called(type: type | UnionType) -> str:
    names: dict[Any, str] = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bytes: "bytes",
        NoneType: "nothing",
    }
    return " or ".join(names[each] for each in getattr(type, "__args__", (type,)))


def fetch_for(
    connection: AnyConnection, sql: str, keys: Iterable[Any], values: Sequence[Any] = (), types: Types = ()
) -> Iterator[tuple[Any, ...]]:
    """Runs `sql`, whose `{}` stands for a list of keys, however many. `values` are for the parameters before
    that list; `types` as of `fetch`."""
    for some in chunks(keys, NAMED_AT_ONCE):
        marks = ", ".join("?" * len(some))
        yield from fetch(connection, sql.format(marks), (*values, *some), types)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def version(connection: AnyConnection) -> int:
    found = fetch(connection, hot_sql.VERSION, types=(int,))
    if len(found) != 1:
        raise WrongValueError(f"it has {len(found)} versions")
    return int(found[0][0])


def generations(connection: AnyConnection) -> list[Generation]:
    found = fetch(connection, hot_sql.GENERATIONS, types=(int, str, str, int, int))
    for id, _, _, dim, _ in found:
        if id < 0 or not 1 <= dim <= MAX_DIM:
            raise WrongValueError(f"generation {id} has {dim} dimensions")
    return [Generation(id, model, mark, dim, active == 1) for id, model, mark, dim, active in found]


def active(connection: AnyConnection) -> Generation | None:
    return next((g for g in generations(connection) if g.active), None)


def row_count(connection: AnyConnection, generation: int, kind: Kind) -> int:
    found = fetch(connection, hot_sql.ROW_COUNT, {"generation": generation, "kind": kind}, (int,))
    count = int(found[0][0]) if found else 0
    if not 0 <= count <= MAX_ROWS:
        raise WrongValueError(f"it counts {count} rows of {kind}")
    return count


def row_counts(connection: AnyConnection) -> list[tuple[Generation, Kind, int]]:
    """Returns how many rows each row file has."""
    return [(g, kind, row_count(connection, g.id, kind)) for g in generations(connection) for kind in KINDS]


def row_span(connection: AnyConnection, generation: int, kind: Kind) -> tuple[int, int]:
    """Returns the lowest and the highest row that regions or captions, or tombstones, of a generation name;
    (0, -1): none. It looks at the ends of two keys alone."""
    owned = f"FROM {kind} WHERE generation_id = ?1 AND row IS NOT NULL ORDER BY row"
    dropped = "FROM tombstones WHERE generation_id = ?1 AND kind = ?2 ORDER BY row"
    ends = " UNION ALL ".join(
        f"SELECT * FROM (SELECT row {rows} {order} LIMIT 1)"
        for rows in (owned, dropped)
        for order in ("", "DESC")
    )
    found = [row for (row,) in fetch(connection, ends, (generation, kind), (int,))]
    return (min(found), max(found)) if found else (0, -1)


def dead_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns the rows (n,) int64 that no search may find: tombstones, and those of photos that are
    missing."""
    sql = hot_sql.DEAD_REGIONS if kind == "regions" else hot_sql.DEAD_CAPTIONS
    found = fetch(connection, sql, {"generation": generation, "kind": kind}, (int,))
    return np.array([row for (row,) in found], np.int64)


def tombstoned_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns the rows (n,) int64, ascending, that are tombstones."""
    sql = "SELECT row FROM tombstones WHERE generation_id = ? AND kind = ? ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation, kind), (int,))], np.int64)


def owned_rows(connection: AnyConnection, generation: int, kind: Kind) -> np.ndarray:
    """Returns rows (n,) int64, ascending, that belong to a region or caption."""
    sql = f"SELECT row FROM {kind} WHERE generation_id = ? AND row IS NOT NULL ORDER BY row"
    return np.array([row for (row,) in fetch(connection, sql, (generation,), (int,))], np.int64)


def checksums(connection: AnyConnection, generation: int, kind: Kind) -> dict[int, int]:
    """Returns the checksum of each block of rows, as it was written."""
    sql = "SELECT block, crc FROM checksums WHERE generation_id = ? AND kind = ?"
    return dict(fetch(connection, sql, (generation, kind), (int, int)))


def are_quantiles(content: bytes) -> bool:
    """Returns whether these are the quantiles of a distribution as they are stored: float32, ascending."""
    if len(content) != 4 * QUANTILES:
        return False
    values = np.frombuffer(content, "<f4")
    return bool(np.isfinite(values).all() and (values[1:] >= values[:-1]).all())
