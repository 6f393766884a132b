"""The fields that filters compare: an entry of `FIELDS` is all that there is to a field.

The SQL of a field is a condition on `o`, the region or caption that a filter is about. Values are bound
parameters; names and operators come from here. A condition on the photo is a set of photo ids, which SQLite
finds once however many regions a photo has. Every condition is true or false, never NULL, so that `not` makes
true what is false because a photo lacks the thing.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from virtue.store.records import Kind

Value = str | float | tuple[float, ...]
Bind = Callable[[Any], str]
"""Takes a value, gives the parameter that stands for it."""
AsSql = Callable[[Kind, str, Any, Bind], str]
"""(what the filter is about, operator, value, bind) -> a condition."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that can be compared in a filter.

    Attributes:
        operators: those that it can stand before.
        read: reads one value as written; raises ValueError with the end of a sentence that the value begins.
        as_sql: the comparison as a condition.
        example: a comparison, for help.
        combine: makes one value of those in parentheses; None: `in` means that one of them is equal.
        units: what may stand behind a value, apart from it; in lower case.
    """

    operators: tuple[str, ...]
    read: Callable[[str], str | float]
    as_sql: AsSql
    example: str
    combine: Callable[[Sequence[Any]], Value] | None = None
    units: tuple[str, ...] = ()


# -- reading values ---------------------------------------------------------------------------------------


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        raise ValueError("is not a number")
    return float(text)


def _percentage(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError("is not a share of the photo: write 10%")
    return _number(text[:-1])


def _file_size(text: str) -> float:
    found = re.fullmatch(r"(.*?)([kmg]?)b?", text, re.ASCII | re.IGNORECASE | re.DOTALL)
    assert found is not None
    try:
        return _number(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ")
    except ValueError:
        raise ValueError("is not a file size: write 500kB, 2MB, or a number of bytes") from None


def _date(text: str) -> str:
    """The beginning of an ISO date, as far as it goes: 2024, 2024-06, ..., 2024-06-01T12:30:00."""
    date = text.replace(" ", "T").upper()
    found = re.fullmatch(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?", date, re.ASCII)
    try:
        datetime.fromisoformat(date + "0000-01-01T00:00:00"[len(date) :] if found else "")
    except ValueError:
        raise ValueError("is not a date: write 2024, 2024-06, 2024-06-01 or 2024-06-01T12:30") from None
    return date


def _gps_box(degrees: Sequence[float]) -> tuple[float, ...]:
    if len(degrees) != 4:
        raise ValueError("gps in needs four numbers: (south, west, north, east)")
    south, west, north, east = degrees
    if not -90 <= south <= north <= 90:
        raise ValueError("the south of gps in (south, west, north, east) must not lie north of its north")
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise ValueError("west and east of gps in (south, west, north, east) must lie between -180 and 180")
    return south, west, north, east


# -- comparing text ---------------------------------------------------------------------------------------


def matches(value: str | bytes, pattern: bytes) -> bool:
    """Matches text, or the bytes of a path, with a regular expression: SQLite's function `matches`."""
    text = _with_slashes(os.fsdecode(value)) if isinstance(value, bytes) else value
    return _compile(pattern).match(fold(text)) is not None


def path_matches(path: bytes, operator: str, value: str) -> bool:
    """Returns whether a path fits a comparison, as it does in a filter."""
    return matches(path, _path_pattern(operator, value))


class TextPattern(NamedTuple):
    """What a text must be like: equal to a value, or of its shape (`~`)."""

    operator: str
    value: str

    def as_python(self) -> bytes:
        return _as_bytes(_pattern(self.operator, fold(self.value)))

    def as_posix(self) -> str:
        return f"^{_posix(self.operator, _as_stored(fold(self.value)))}$"


class PathPattern(NamedTuple):
    """What a path must be like, or the name of a file."""

    operator: str
    value: str

    def as_python(self) -> bytes:
        return _path_pattern(self.operator, self.value)

    def as_posix(self) -> str:
        folded = _as_stored(fold(_with_slashes(self.value)))
        if "/" not in folded:
            # A shape may hold a slash only in the name, where none is: what matches lies behind the last.
            return rf"^(?:.*/)?(?![^/]*/){_posix(self.operator, folded)}$"
        below = "*" if self.operator == "~" and folded.endswith("/") else ""
        return f"^(?:.*/)?{_posix(self.operator, folded + below)}$"


def _posix(operator: str, folded: str) -> str:
    """Makes an advanced regular expression of PostgreSQL, in which a dot is any character."""
    if operator != "~":
        return _quote_posix(folded)
    made, place = "", 0
    for found in _GLOB.finditer(folded):
        made += _quote_posix(folded[place : found.start()])
        place = found.end()
        if found["set"] is None:
            made += {"*": ".*", "?": "."}[found[0]]
        else:
            inside = re.sub(r"[\\\[\]]", r"\\\g<0>", found["set"])
            made += f"[{'^' * bool(found['not'])}{inside}]"
    return made + _quote_posix(folded[place:])


def _as_stored(text: str) -> str:
    """Writes what no text of PostgreSQL may hold as the store writes it: zero bytes as escapes, and the lone
    surrogates of paths in no encoding as characters for private use (`text_of` in server_schema.py)."""
    return text.replace("\0", "\\x00").translate(_PRIVATE)


_PRIVATE = {surrogate: 0x10F800 + surrogate - 0xD800 for surrogate in range(0xD800, 0xE000)}
_GLOB = re.compile(r"\*|\?|\[(?P<not>!?)(?P<set>\]?[^\]]*)\]")


def _quote_posix(text: str) -> str:
    return re.sub(r"[^\w\s/]", r"\\\g<0>", text)


@lru_cache(maxsize=256)
def _compile(pattern: bytes) -> re.Pattern[str]:
    return re.compile(pattern.decode("utf-8", "surrogatepass"))


def _text_matches(column: str, operator: str, value: str, bind: Bind) -> str:
    found = f"matches({column}, {bind(TextPattern(operator, value))})"
    return f"({column} IS NOT NULL AND {'NOT ' * (operator == '!=')}{found})"


def _pattern(operator: str, folded: str) -> str:
    return fnmatch.translate(folded) if operator == "~" else rf"{re.escape(folded)}\Z"


def _path_pattern(operator: str, value: str) -> bytes:
    """Turns a pattern into one for the file name (without a slash), or for the path from its start or after
    any slash."""
    folded = fold(_with_slashes(value))
    if "/" not in folded:
        return _as_bytes(rf"(?s:(?>(?:.*/)?)){_pattern(operator, folded)}")
    below = "*" if operator == "~" and folded.endswith("/") else ""
    return _as_bytes(rf"(?s:.*/)?{_pattern(operator, folded + below)}")


def _as_bytes(pattern: str) -> bytes:
    """Encodes text for SQLite, which takes no text with lone surrogates, as paths may have."""
    return pattern.encode("utf-8", "surrogatepass")


def fold(text: str) -> str:
    """Folds a text, so that upper and lower case and the two ways of composing accents are the same."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _with_slashes(path: str) -> str:
    return path.replace(os.sep, "/")


# -- SQL --------------------------------------------------------------------------------------------------

_SQL_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
AREA = {
    "regions": "(SELECT 100.0 * (o.x1 - o.x0) * (o.y1 - o.y0) / (width * height) FROM photos "
    "WHERE id = o.photo_id)",
    "captions": "coalesce((SELECT 100.0 * (x1 - x0) * (y1 - y0) / (width * height) FROM regions r "
    "CROSS JOIN photos p ON p.id = r.photo_id WHERE r.id = o.region_id), "
    "(SELECT 100.0 * (o.x1 - o.x0) * (o.y1 - o.y0) / (width * height) FROM photos WHERE id = o.photo_id), "
    "100)",
}


def _of_photo(condition: str) -> str:
    return f"o.photo_id IN (SELECT id FROM photos WHERE {condition})"


def _of_file(condition: str) -> str:
    return (
        "o.photo_id IN (SELECT photo_id FROM files WHERE NOT missing AND photo_id IS NOT NULL "
        f"AND {condition})"
    )


def _photo_column(column: str) -> AsSql:
    return lambda kind, operator, value, bind: _of_photo(f"{column} {_SQL_OPERATORS[operator]} {bind(value)}")


def _taken(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    # As far as the value goes: then June is neither before nor after any day in June.
    return _of_photo(f"substr(taken, 1, length({bind(value)})) {_SQL_OPERATORS[operator]} {bind(value)}")


def _camera(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    return _of_photo(_text_matches("camera", operator, value, bind))


def _gps(kind: Kind, operator: str, value: tuple[float, ...], bind: Bind) -> str:
    south, west, north, east = value
    either = "OR" if west > east else "AND"  # across the antimeridian
    return _of_photo(
        f"latitude BETWEEN {bind(south)} AND {bind(north)} "
        f"AND (longitude >= {bind(west)} {either} longitude <= {bind(east)})"
    )


def _size(kind: Kind, operator: str, value: float, bind: Bind) -> str:
    return _of_file(f"size {_SQL_OPERATORS[operator]} {bind(value)}")


def _path(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    return _of_file(f"matches(path, {bind(PathPattern(operator, value))})")


def _tag(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    # Tags are few, and each has many photos.
    found = _text_matches("tag", operator, value, bind)
    tags = f"SELECT tag FROM (SELECT DISTINCT tag FROM tags) WHERE {found}"
    return f"o.photo_id IN (SELECT photo_id FROM tags WHERE tag IN ({tags}))"


def _caption(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    found = _text_matches("text", operator, value, bind)
    if kind == "captions":
        return found
    return (
        "(o.photo_id IN (SELECT photo_id FROM captions WHERE generation_id = :generation "
        f"AND region_id IS NULL AND {found}) OR o.id IN (SELECT region_id FROM captions "
        f"WHERE generation_id = :generation AND region_id IS NOT NULL AND {found}))"
    )


def _ocr(kind: Kind, operator: str, value: str, bind: Bind) -> str:
    found = f"source = 'ocr' AND {_text_matches('text', operator, value, bind)}"
    if kind == "captions":
        return f"({found})"
    return f"o.photo_id IN (SELECT photo_id FROM captions WHERE generation_id = :generation AND {found})"


def _region_text(column: str) -> AsSql:
    def as_sql(kind: Kind, operator: str, value: str, bind: Bind) -> str:
        found = _text_matches(column, operator, value, bind)
        of_caption = f"EXISTS (SELECT 1 FROM regions WHERE id = o.region_id AND {found})"
        return found if kind == "regions" else of_caption

    return as_sql


def _area(kind: Kind, operator: str, value: float, bind: Bind) -> str:
    return f"{AREA[kind]} {_SQL_OPERATORS[operator]} {bind(value)}"


# -- the fields -------------------------------------------------------------------------------------------

_ORDERED = ("=", "!=", "<", "<=", ">", ">=", "in")
_ONE_TEXT = ("=", "!=", "~", "in")
_SEVERAL_TEXTS = ("=", "~", "in")
_FILE_UNITS = ("b", "k", "m", "g", "kb", "mb", "gb")

FIELDS: dict[str, Field] = {
    "area": Field(_ORDERED, _percentage, _area, "area > 10%", units=("%",)),
    "camera": Field(_ONE_TEXT, str, _camera, "camera ~ Canon*"),
    "caption": Field(_SEVERAL_TEXTS, str, _caption, "caption ~ *birthday*"),
    "category": Field(_ONE_TEXT, str, _region_text("category"), "category = dog"),
    "gps": Field(("in",), _number, _gps, "gps in (47.2, 5.9, 55.1, 15)", _gps_box),
    "height": Field(_ORDERED, _number, _photo_column("height"), "height >= 3000"),
    "object": Field(_ONE_TEXT, str, _region_text("object"), "object = dog"),
    "ocr": Field(_SEVERAL_TEXTS, str, _ocr, "ocr ~ *parking*"),
    "path": Field(_SEVERAL_TEXTS, str, _path, "path ~ 2024/*/beach*"),
    "rating": Field(_ORDERED, _number, _photo_column("rating"), "rating >= 4"),
    "size": Field(_ORDERED, _file_size, _size, "size > 2 MB", units=_FILE_UNITS),
    "tag": Field(_SEVERAL_TEXTS, str, _tag, "tag = beach"),
    "taken": Field(_ORDERED, _date, _taken, "taken >= 2024-06"),
    "width": Field(_ORDERED, _number, _photo_column("width"), "width >= 4000"),
}
