"""Which rows match a filter: one SQL statement, whose values are bound parameters."""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import Any

import numpy as np

from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, driver_of
from virtue.store.catalogue.fields import FIELDS, Bind, PathPattern, TextPattern, matches
from virtue.store.catalogue.filters import Comparison, Filter, FullImages, Negation, RowFilter
from virtue.store.records import Kind

MAX_WHOLE = 1 << 53
"""Beyond it, floats are not all that are whole."""
_CONNECTIVES = {"and": " AND ", "or": " OR "}
_REGIONS: dict[FullImages, str] = {
    "any": hot_sql.FILTERED_REGIONS,
    "single": hot_sql.FILTERED_REGIONS_SINGLE,
    "only": hot_sql.FILTERED_REGIONS_ONLY,
}


def matching_rows(connection: AnyConnection, generation: int, kind: Kind, filter: RowFilter) -> np.ndarray:
    """Finds the rows that match: (n,) int64 in any order; those of photos that are gone may be among them."""
    values: dict[str, Any] = {"generation": generation}
    sql = rows_sql(connection, kind, filter, values)
    return np.fromiter(chain.from_iterable(driver_of(connection).execute(sql, values)), np.int64)


def rows_sql(connection: AnyConnection, kind: Kind, filter: RowFilter, values: dict[str, Any]) -> str:
    """Makes the query for the rows `o.row` of `:generation` that match, to which conditions can be added;
    adds what it compares with to `values`."""
    sql = _REGIONS[filter.full_images] if kind == "regions" else hot_sql.FILTERED_CAPTIONS
    if filter.where is not None:
        sql += f" AND {condition(connection, kind, filter.where, values)}"
    return sql


def condition(connection: AnyConnection, kind: Kind, filter: Filter | None, values: dict[str, Any]) -> str:
    """Makes a condition on `o`, a region or caption of `:generation`; adds what it compares with to
    `values`."""
    if filter is None:
        return "TRUE"

    def bind(value: Any) -> str:
        name = f"value{len(values)}"
        is_pattern = isinstance(value, TextPattern | PathPattern)
        if is_pattern:
            value = value.as_python() if is_sqlite else value.as_posix()
        elif isinstance(value, float) and not is_sqlite and value.is_integer() and abs(value) < MAX_WHOLE:
            value = int(value)  # compared with a float, PostgreSQL knows nothing of how many rows match
        values[name] = value
        return f":{name}"

    driver = driver_of(connection)
    is_sqlite = isinstance(driver, sqlite3.Connection)
    if isinstance(driver, sqlite3.Connection):
        driver.create_function("matches", 2, matches, deterministic=True)
    return _as_sql(filter, kind, bind)


def _as_sql(filter: Filter, kind: Kind, bind: Bind) -> str:
    if isinstance(filter, Comparison):
        return FIELDS[filter.field].as_sql(kind, filter.operator, filter.value, bind)
    if isinstance(filter, Negation):
        return f"NOT {_as_sql(filter.operand, kind, bind)}"
    parts = [_as_sql(part, kind, bind) for part in filter.operands]
    return f"({_CONNECTIVES[filter.word].join(parts)})"
