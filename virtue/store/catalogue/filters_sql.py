"""Which rows fit a filter: conditions as one SQL statement.

Values are bound parameters; names and operators come from here. What is asked of a photo is a set of photo
ids, found once however many regions a photo has. Every condition is true or false, never NULL, so that
`not` makes true what is false because a photo lacks the thing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store.catalogue.filters import Comparison, Condition, Negated
from virtue.store.records import Kind

Bind = Callable[[Any], str]
"""Takes a value, gives the parameter that stands for it."""

_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONNECTIVES = {"and": " AND ", "or": " OR "}

# `o` is the region or caption, ?1 the generation.
_OF_PHOTO = "o.photo_id IN (SELECT id FROM photos WHERE {})"
_OF_FILE = "o.photo_id IN (SELECT photo_id FROM files WHERE NOT missing AND photo_id IS NOT NULL AND {})"
# Tags are few, and each has many photos.
_OF_TAG = (
    "o.photo_id IN (SELECT photo_id FROM tags WHERE tag IN "
    "(SELECT tag FROM (SELECT DISTINCT tag FROM tags) WHERE {}))"
)
_OF_CAPTION = {
    "regions": "(o.photo_id IN (SELECT photo_id FROM captions WHERE generation_id = ?1 "
    "AND region_id IS NULL AND {0}) OR o.id IN (SELECT region_id FROM captions "
    "WHERE generation_id = ?1 AND region_id IS NOT NULL AND {0}))",
    "captions": "{}",
}
_OF_CATEGORY = {
    "regions": "{}",
    "captions": "EXISTS (SELECT 1 FROM regions WHERE id = o.region_id AND {})",
}
_AREA = {
    "regions": "(SELECT 100.0 * (o.x1 - o.x0) * (o.y1 - o.y0) / (width * height) FROM photos "
    "WHERE id = o.photo_id)",
    "captions": "coalesce((SELECT 100.0 * (x1 - x0) * (y1 - y0) / (width * height) FROM regions r "
    "CROSS JOIN photos p ON p.id = r.photo_id WHERE r.id = o.region_id), 100)",
}


_NO_WHOLES = """ AND NOT (o.origin = 'whole' AND EXISTS (
    SELECT 1 FROM regions r WHERE r.photo_id = o.photo_id AND r.generation_id = ?1 AND r.id <> o.id))"""


def rows_that_fit(
    connection: Connection, generation: int, kind: Kind, condition: Condition, wholes: bool
) -> np.ndarray:
    """(n,) int64 row numbers in any order; those of photos that are gone may be among them.

    Args:
        wholes: whole photos count among regions even if they have others.
    """
    values: list[Any] = [generation]

    def bind(value: Any) -> str:
        values.append(value)
        return f"?{len(values)}"

    fitting = _sql(condition, kind, bind)
    sql = f"SELECT row FROM {kind} o WHERE generation_id = ?1 AND row IS NOT NULL AND {fitting}"
    if kind == "regions" and not wholes:
        sql += _NO_WHOLES
    driver = connection.connection.dbapi_connection
    assert driver is not None and connection.in_transaction()
    driver.create_function("fits", 2, _fits, deterministic=True)
    return np.fromiter(chain.from_iterable(driver.cursor().execute(sql, values)), np.int64)


def _sql(condition: Condition, kind: Kind, bind: Bind) -> str:
    if isinstance(condition, Comparison):
        return _compared(condition, kind, bind)
    if isinstance(condition, Negated):
        return f"NOT {_sql(condition.condition, kind, bind)}"
    parts = [_sql(part, kind, bind) for part in condition.conditions]
    return f"({_CONNECTIVES[condition.word].join(parts)})"


def _compared(comparison: Comparison, kind: Kind, bind: Bind) -> str:
    field, operator, value = comparison
    match field:
        case "width" | "height" | "rating":
            return _OF_PHOTO.format(f"{field} {_OPERATORS[operator]} {bind(value)}")
        case "taken":
            # As far as the value goes: then June is neither before nor after any day in June.
            beginning = f"substr(taken, 1, length({bind(value)}))"
            return _OF_PHOTO.format(f"{beginning} {_OPERATORS[operator]} {bind(value)}")
        case "gps":
            return _OF_PHOTO.format(_inside(value, bind))
        case "camera":
            return _OF_PHOTO.format(_text("camera", operator, value, bind))
        case "size":
            return _OF_FILE.format(f"size {_OPERATORS[operator]} {bind(value)}")
        case "path":
            return _OF_FILE.format(f"fits(path, {bind(_path_pattern(operator, str(value)))})")
        case "tag":
            return _OF_TAG.format(_text("tag", operator, value, bind))
        case "caption":
            return _OF_CAPTION[kind].format(_text("text", operator, value, bind))
        case "category":
            return _OF_CATEGORY[kind].format(_text("category", operator, value, bind))
        case "area":
            return f"{_AREA[kind]} {_OPERATORS[operator]} {bind(value)}"
    raise AssertionError(field)


def _inside(box: Any, bind: Bind) -> str:
    south, west, north, east = box
    either = "OR" if west > east else "AND"  # across the antimeridian
    return (
        f"latitude BETWEEN {bind(south)} AND {bind(north)} "
        f"AND (longitude >= {bind(west)} {either} longitude <= {bind(east)})"
    )


# -- text -------------------------------------------------------------------------------------------------


def _text(column: str, operator: str, value: Any, bind: Bind) -> str:
    fits = f"fits({column}, {bind(_as_bytes(_pattern(operator, _folded(value))))})"
    return f"({column} IS NOT NULL AND {'NOT ' * (operator == '!=')}{fits})"


def _pattern(operator: str, folded: str) -> str:
    return fnmatch.translate(folded) if operator == "~" else rf"{re.escape(folded)}\Z"


def _path_pattern(operator: str, value: str) -> bytes:
    """Without a slash for the name, else for the path from its start or from behind any slash."""
    folded = _folded(_with_slashes(value))
    if "/" not in folded:
        return _as_bytes(rf"(?s:(?>(?:.*/)?)){_pattern(operator, folded)}")
    below = "*" if operator == "~" and folded.endswith("/") else ""
    return _as_bytes(rf"(?s:.*/)?{_pattern(operator, folded + below)}")


def _fits(value: str | bytes, pattern: bytes) -> bool:
    """SQLite's function `fits`: text, or the bytes of a path."""
    text = _with_slashes(os.fsdecode(value)) if isinstance(value, bytes) else value
    return _compiled(pattern).match(_folded(text)) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[str]:
    return re.compile(pattern.decode("utf-8", "surrogatepass"))


def _as_bytes(pattern: str) -> bytes:
    """SQLite takes no text that is in no encoding, as a path may be."""
    return pattern.encode("utf-8", "surrogatepass")


def _folded(text: str) -> str:
    """The same for all ways to write a text that differ by upper and lower case, or by how accents are
    put together, which file systems do in two ways."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _with_slashes(path: str) -> str:
    return path.replace(os.sep, "/")
