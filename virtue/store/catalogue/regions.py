"""From row numbers back to regions, captions and the photos they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from virtue.geometry import Box
from virtue.store.catalogue import hot_sql
from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.queries import fetch
from virtue.store.records import (
    USER_SOURCES,
    CaptionRecord,
    NewCaption,
    NewRegion,
    RegionLocation,
    RegionRecord,
    UserAnnotations,
)

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
    found = fetch(connection, hot_sql.REGIONS, _wanted(rows, generation))
    return [
        RegionRecord(
            row, region, photo, path, width, height, Box(*corners),
            origin, category, origin == "whole", only == 1, caption,
        )
        for row, region, photo, path, width, height, *corners, origin, category, only, caption in found
    ]  # fmt: skip


def rows_of(connection: AnyConnection, generation: int, photo_ids: Sequence[int]) -> list[int]:
    found = fetch(connection, hot_sql.REGION_ROWS, _wanted(photo_ids, generation))
    return [row for (row,) in found]


def locate(
    connection: AnyConnection, generation: int, region_id: int | None, photo_id: int | None
) -> RegionLocation | None:
    values = {"generation": generation, "region": region_id, "photo": photo_id}
    found = fetch(connection, hot_sql.REGION_LOCATION, values)
    return RegionLocation(*found[0]) if found else None


def captions(
    connection: AnyConnection, generation: int, rows: Sequence[int] | np.ndarray
) -> list[CaptionRecord]:
    found = fetch(connection, hot_sql.CAPTIONS, _wanted(rows, generation))
    return [
        CaptionRecord(row, caption, text, source, photo, path, width, height, region, _box(*corners))
        for row, caption, text, source, photo, path, width, height, region, *corners in found
    ]


def _box(x0: float | None, y0: float, x1: float, y1: float) -> Box | None:
    return None if x0 is None else Box(x0, y0, x1, y1)


def user_annotations(connection: AnyConnection, hash: bytes) -> UserAnnotations:
    photo = _first(fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,)))
    newest = _first(fetch(connection, _NEWEST, (photo,)))
    found = fetch(
        connection,
        "SELECT id, x0, y0, x1, y1, origin, category, mask FROM regions "
        "WHERE photo_id = ? AND generation_id = ? AND origin = 'annotation' ORDER BY id",
        (photo, newest),
    )
    places = {values[0]: place for place, values in enumerate(found)}
    captions = fetch(
        connection,
        "SELECT text, source, region_id FROM captions "
        "WHERE photo_id = ? AND generation_id = ? AND source IN (?, ?) ORDER BY id",
        (photo, newest, *USER_SOURCES),
    )
    return UserAnnotations(
        tuple(NewRegion(Box(*values[1:5]), *values[5:]) for values in found),
        tuple(NewCaption(text, source, places.get(region)) for text, source, region in captions),
    )


def sidecar_texts(connection: AnyConnection, hash: bytes) -> tuple[str, ...]:
    photo = _first(fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,)))
    newest = _first(fetch(connection, _NEWEST, (photo,)))
    sql = "SELECT text FROM captions WHERE photo_id = ? AND generation_id = ? AND source = ? ORDER BY id"
    return tuple(text for (text,) in fetch(connection, sql, (photo, newest, "sidecar")))


def _first(found: list[tuple[Any, ...]]) -> Any:
    return found[0][0] if found else None


def _wanted(ids: Sequence[int] | np.ndarray, generation: int) -> dict[str, Any]:
    return {"wanted": str(np.asarray(ids, np.int64).tolist()), "generation": generation}
