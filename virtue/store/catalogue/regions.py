"""From row numbers back to regions, captions and the photos they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from virtue.errors import PromptError
from virtue.geometry import Box
from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.queries import fetch
from virtue.store.records import (
    MAX_SIDE,
    USER_SOURCES,
    CaptionRecord,
    NewCaption,
    NewRegion,
    RegionLocation,
    RegionRecord,
    UserAnnotations,
)

_REGION = (
    int, int, int, bytes, int, int, float, float, float, float, str, str | None, int, str | None,
)  # fmt: skip
_CAPTION = (
    int, int, str, str, int, bytes, int, int,
    int | None, float | None, float | None, float | None, float | None,
)  # fmt: skip

# A photo has them in every generation it was embedded in; one that is being built has what was given
# last (virtue/store/writer.py sees to that).
_NEWEST = """
SELECT id FROM generations g
WHERE EXISTS (SELECT 1 FROM regions WHERE photo_id = ?1 AND generation_id = g.id)
    OR EXISTS (SELECT 1 FROM captions WHERE photo_id = ?1 AND generation_id = g.id)
ORDER BY active, id DESC LIMIT 1
"""


def regions(
    connection: AnyConnection, generation: int, rows: Sequence[int] | np.ndarray
) -> list[RegionRecord]:
    found = fetch(connection, hot_sql.REGIONS, _wanted(rows, generation), _REGION)
    return [
        RegionRecord(
            row, region, photo, path, *require_size(width, height), read_box(*corners),
            origin, category, origin == "whole", only == 1, caption,
        )
        for row, region, photo, path, width, height, *corners, origin, category, only, caption in found
    ]  # fmt: skip


def read_box(x0: float, y0: float, x1: float, y1: float) -> Box:
    """Makes the box of corners that the catalogue has.

    Raises:
        WrongValueError: they are none.
    """
    try:
        return Box(x0, y0, x1, y1)
    except PromptError as error:
        raise WrongValueError(str(error)) from None


def require_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size of a photo, or raises WrongValueError if no picture has it."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise WrongValueError(f"a photo of {width} x {height} pixels")
    return width, height


def rows_of(connection: AnyConnection, generation: int, photo_ids: Sequence[int]) -> list[int]:
    found = fetch(connection, hot_sql.REGION_ROWS, _wanted(photo_ids, generation), (int,))
    return [row for (row,) in found]


def locate(
    connection: AnyConnection, generation: int, region_id: int | None, photo_id: int | None
) -> RegionLocation | None:
    values = {"generation": generation, "region": region_id, "photo": photo_id}
    found = fetch(connection, hot_sql.REGION_LOCATION, values, (int, int))
    return RegionLocation(*found[0]) if found else None


def captions(
    connection: AnyConnection, generation: int, rows: Sequence[int] | np.ndarray
) -> list[CaptionRecord]:
    found = fetch(connection, hot_sql.CAPTIONS, _wanted(rows, generation), _CAPTION)
    return [
        CaptionRecord(
            row, caption, text, source, photo, path, *require_size(width, height),
            region, None if region is None else read_box(*corners),
        )
        for row, caption, text, source, photo, path, width, height, region, *corners in found
    ]  # fmt: skip


def user_annotations(connection: AnyConnection, hash: bytes) -> UserAnnotations:
    photo = _first(fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,), (int,)))
    newest = _first(fetch(connection, _NEWEST, (photo,), (int,)))
    found = fetch(
        connection,
        "SELECT id, x0, y0, x1, y1, origin, category, mask FROM regions "
        "WHERE photo_id = ? AND generation_id = ? AND origin = 'annotation' ORDER BY id",
        (photo, newest),
        (int, float, float, float, float, str, str | None, str | None),
    )
    places = {values[0]: place for place, values in enumerate(found)}
    captions = fetch(
        connection,
        "SELECT text, source, region_id FROM captions "
        "WHERE photo_id = ? AND generation_id = ? AND source IN (?, ?) ORDER BY id",
        (photo, newest, *USER_SOURCES),
        (str, str, int | None),
    )
    return UserAnnotations(
        tuple(NewRegion(read_box(*values[1:5]), *values[5:]) for values in found),
        tuple(NewCaption(text, source, places.get(region)) for text, source, region in captions),
    )


def sidecar_texts(connection: AnyConnection, hash: bytes) -> tuple[str, ...]:
    photo = _first(fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,), (int,)))
    newest = _first(fetch(connection, _NEWEST, (photo,), (int,)))
    sql = "SELECT text FROM captions WHERE photo_id = ? AND generation_id = ? AND source = ? ORDER BY id"
    return tuple(text for (text,) in fetch(connection, sql, (photo, newest, "sidecar"), (str,)))


def _first(found: list[tuple[Any, ...]]) -> Any:
    return found[0][0] if found else None


def _wanted(ids: Sequence[int] | np.ndarray, generation: int) -> dict[str, Any]:
    return {"wanted": str(np.asarray(ids, np.int64).tolist()), "generation": generation}
