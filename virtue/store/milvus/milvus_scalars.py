"""What of photos and regions is copied beside their vectors in Milvus, and what a filter says of it there.

An expression need not be exact, since the catalogue has the last word on every row that is found. But it must
be true for all that match. So what cannot be said is left out on the wide side: true, or false below a `not`.
No value is ever null: Milvus holds `not (rating >= 4)` for neither true nor false where there is no rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from virtue.store.catalogue.fields import AREA, fold
from virtue.store.catalogue.filters import Comparison, Filter, Negation, RowFilter
from virtue.store.milvus.milvus_server import FLAG, MAX_NAMED, NUMBER, ROW, TEXT, TEXTS, WHOLE, quote
from virtue.store.postgres.server_connection import ServerConnection, translate
from virtue.store.records import Kind

SCALARS = {
    "photo": WHOLE,
    "full": FLAG,
    "width": NUMBER,
    "height": NUMBER,
    "area": NUMBER,
    "rating": NUMBER,
    "latitude": NUMBER,
    "longitude": NUMBER,
    "taken": TEXT,
    "camera": TEXT,
    "category": TEXT,
    "object": TEXT,
    "tags": TEXTS,
}
"""What is copied. Texts are folded, and stand behind an equals sign: without one there is none."""
NEVER_CHANGE = {"width", "height", "area"}
"""Fields of filters that stay what they are for as long as a row lives."""
NONE = -1000.0
"""A number that is not there."""
MAX_TEXT = 100
"""Characters of a text that are copied."""
MAX_TAGS = 64
MORE = "*"
"""A tag of photos that have more than MAX_TAGS."""
_OPERATORS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _text(column: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN '' ELSE '=' || left(folded({column}), {MAX_TEXT}) END"


def _copied(kind: Kind, full: str, region: str, join: str) -> str:
    return f"""
SELECT o.row, o.photo_id, {full}, p.width, p.height, {AREA[kind]}, coalesce(p.rating, {NONE}),
CASE WHEN p.longitude IS NULL THEN {NONE} ELSE coalesce(p.latitude, {NONE}) END,
coalesce(p.longitude, {NONE}), left(coalesce(p.taken, ''), {MAX_TEXT}), {_text("p.camera")},
{_text(f"{region}.category")},
{_text(f"{region}.object")},
ARRAY(SELECT left(folded(tag), {MAX_TEXT}) FROM tags WHERE photo_id = o.photo_id LIMIT {MAX_TAGS + 1})
FROM {kind} o JOIN photos p ON p.id = o.photo_id {join}
WHERE o.generation_id = ? AND """


_COPIED: dict[Kind, str] = {
    "regions": _copied("regions", "o.origin = 'whole'", "o", ""),
    "captions": _copied("captions", "FALSE", "r", "LEFT JOIN regions r ON r.id = o.region_id"),
}


def scalars_of(
    connection: ServerConnection, generation: int, kind: Kind, condition: str, values: Sequence[Any]
) -> list[dict[str, Any]]:
    """Reads what is copied of regions or captions `o` that fulfil a condition, by their rows."""
    sql, _ = translate(f"{_COPIED[kind]}{condition} ORDER BY o.row")
    found = connection.query(sql, (generation, *values))
    return [
        {ROW: row, **dict(zip(SCALARS, (*_numbers(rest), _tags(tags)), strict=True))}
        for row, *rest, tags in found
    ]


def _numbers(values: Sequence[Any]) -> list[Any]:
    kinds = [*SCALARS.values()]
    return [float(value) if kind == NUMBER else value for kind, value in zip(kinds, values, strict=False)]


def _tags(tags: list[str]) -> list[str]:
    return tags if len(tags) <= MAX_TAGS else [*tags[:MAX_TAGS], MORE]


# -- expressions ------------------------------------------------------------------------------------------


def expression(filter: RowFilter | None, restated: Sequence[int]) -> str:
    """Makes an expression that holds for all rows that match, and for some that do not; empty: for all.

    Args:
        restated: photos whose copies are older than what the filter is compared with; more than MAX_NAMED:
            then only what never changes is used.
    """
    if filter is None:
        return ""
    usable = {*NEVER_CHANGE} if len(restated) > MAX_NAMED else {*_SAID}
    said = _say(filter.where, True, usable) if filter.where is not None else None
    if said is not None and restated and len(restated) <= MAX_NAMED:
        said = f"({said} or photo in {[*restated]})"
    parts = [part for part in (said, "full == true" if filter.full_images == "only" else None) if part]
    return " and ".join(parts)


def _say(filter: Filter, is_wide: bool, usable: set[str]) -> str | None:
    """Says a filter, or what is true wherever it is (`is_wide`), or nowhere else; None: it cannot be said, so
    that is all, or nothing."""
    if isinstance(filter, Comparison):
        if filter.field not in usable:
            return None
        return _SAID[filter.field](filter.field, filter.operator, filter.value, is_wide)
    if isinstance(filter, Negation):
        said = _say(filter.operand, not is_wide, usable)
        return None if said is None else f"(not {said})"
    parts = [_say(part, is_wide, usable) for part in filter.operands]
    can_be_left_out = (filter.word == "and") == is_wide
    some = [part for part in parts if part is not None]
    if not some or (len(some) < len(parts) and not can_be_left_out):
        return None
    return f"({f' {filter.word} '.join(some)})"


def _number(field: str, operator: str, value: Any, is_wide: bool) -> str | None:
    if abs(value) > 1e15:
        return None
    told = np.format_float_positional(float(value), trim="0")
    return f"({field} {_OPERATORS[operator]} {told} and {field} > {NONE})"


def _gps(field: str, operator: str, value: Any, is_wide: bool) -> str | None:
    south, west, north, east = (np.format_float_positional(float(each), trim="0") for each in value)
    either = "or" if float(west) > float(east) else "and"
    return (
        f"(latitude >= {south} and latitude <= {north} and "
        f"(longitude >= {west} {either} longitude <= {east}))"
    )


def _taken(field: str, operator: str, value: Any, is_wide: bool) -> str | None:
    # A date means all that begins so: from itself up to what follows the last of these.
    first, stop = quote(value), quote(value[:-1] + chr(ord(value[-1]) + 1))
    said = {
        "=": f"taken >= {first} and taken < {stop}",
        "!=": f"(taken < {first} or taken >= {stop})",
        "<": f"taken < {first}",
        "<=": f"taken < {stop}",
        ">": f"taken >= {stop}",
        ">=": f"taken >= {first}",
    }[operator]
    return f'(taken != "" and {said})'


def _one_text(field: str, operator: str, value: Any, is_wide: bool) -> str | None:
    folded = _sayable(value)
    if folded is None or operator == "~":
        return None
    return f'({field} != "" and {field} {_OPERATORS[operator]} {quote("=" + folded)})'


def _tag(field: str, operator: str, value: Any, is_wide: bool) -> str | None:
    folded = _sayable(value)
    if folded in (None, MORE) or operator == "~":
        return None
    assert folded is not None
    return f"array_contains_any(tags, [{', '.join(map(quote, (folded, *([MORE] if is_wide else []))))}])"


def _sayable(value: str) -> str | None:
    """Folds a text that is copied whole, and needs no escapes."""
    folded = fold(value)
    plain = folded.isprintable() and not set(folded) & set("\"'\\")
    return folded if plain and len(folded) < MAX_TEXT else None


_SAID = {
    "width": _number,
    "height": _number,
    "area": _number,
    "rating": _number,
    "gps": _gps,
    "taken": _taken,
    "camera": _one_text,
    "category": _one_text,
    "object": _one_text,
    "tag": _tag,
}
