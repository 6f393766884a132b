"""From row numbers back to regions, captions and the photos they lie in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy.engine import Connection

from virtue.geometry import Box
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

# CROSS JOIN keeps SQLite to the order written: from the few rows asked for to the tables.
_REGIONS = """
SELECT r.row, r.id, p.id, f.path, p.width, p.height, r.x0, r.y0, r.x1, r.y1, r.origin, r.category,
    NOT EXISTS (
        SELECT 1 FROM regions o
        WHERE o.photo_id = r.photo_id AND o.generation_id = r.generation_id AND o.id <> r.id
    ),
    coalesce(
        (SELECT text FROM captions WHERE region_id = r.id ORDER BY id LIMIT 1),
        (SELECT text FROM captions c WHERE c.photo_id = p.id AND c.generation_id = r.generation_id
            AND c.region_id IS NULL ORDER BY id LIMIT 1)
    )
FROM json_each(?) asked
CROSS JOIN regions r ON r.generation_id = ? AND r.row = asked.value
CROSS JOIN photos p ON p.id = r.photo_id
CROSS JOIN files f ON f.path =
    (SELECT min(path) FROM files WHERE photo_id = p.id AND NOT missing)
ORDER BY asked.key
"""

_CAPTIONS = """
SELECT c.row, c.id, c.text, c.source, p.id, f.path, p.width, p.height, r.id, r.x0, r.y0, r.x1, r.y1
FROM json_each(?) asked
CROSS JOIN captions c ON c.generation_id = ? AND c.row = asked.value
CROSS JOIN photos p ON p.id = c.photo_id
CROSS JOIN files f ON f.path =
    (SELECT min(path) FROM files WHERE photo_id = p.id AND NOT missing)
LEFT JOIN regions r ON r.id = c.region_id
ORDER BY asked.key
"""

# A photo has them in every generation it was embedded in; one that is being built has what was given
# last (virtue/store/writer.py sees to that).
_NEWEST = """
SELECT id FROM generations g
WHERE EXISTS (SELECT 1 FROM regions WHERE photo_id = ?1 AND generation_id = g.id)
    OR EXISTS (SELECT 1 FROM captions WHERE photo_id = ?1 AND generation_id = g.id)
ORDER BY active, id DESC LIMIT 1
"""


def regions(connection: Connection, generation: int, rows: Sequence[int] | np.ndarray) -> list[RegionRecord]:
    found = fetch(connection, _REGIONS, (_as_json(rows), generation))
    return [
        RegionRecord(
            row, region, photo, path, width, height, Box(*corners),
            origin, category, origin == "whole", only == 1, caption,
        )
        for row, region, photo, path, width, height, *corners, origin, category, only, caption in found
    ]  # fmt: skip


def rows_of(connection: Connection, generation: int, photo_ids: Sequence[int]) -> np.ndarray:
    found = fetch(
        connection,
        "SELECT row FROM json_each(?) asked CROSS JOIN regions ON photo_id = asked.value "
        "WHERE generation_id = ? AND row IS NOT NULL",
        (_as_json(photo_ids), generation),
    )
    return np.array([row for (row,) in found], np.int64)


def locate(
    connection: Connection, generation: int, region_id: int | None, photo_id: int | None
) -> RegionLocation | None:
    found = fetch(
        connection,
        "SELECT row, photo_id FROM regions WHERE generation_id = ?1 AND row IS NOT NULL "
        "AND (id = ?2 OR (photo_id = ?3 AND origin = 'whole')) LIMIT 1",
        (generation, region_id, photo_id),
    )
    return RegionLocation(*found[0]) if found else None


def captions(
    connection: Connection, generation: int, rows: Sequence[int] | np.ndarray
) -> list[CaptionRecord]:
    found = fetch(connection, _CAPTIONS, (_as_json(rows), generation))
    return [
        CaptionRecord(row, caption, text, source, photo, path, width, height, region, _box(*corners))
        for row, caption, text, source, photo, path, width, height, region, *corners in found
    ]


def _box(x0: float | None, y0: float, x1: float, y1: float) -> Box | None:
    return None if x0 is None else Box(x0, y0, x1, y1)


def user_annotations(connection: Connection, hash: bytes) -> UserAnnotations:
    photo = connection.exec_driver_sql("SELECT id FROM photos WHERE hash = ?", (hash,)).scalar()
    newest = connection.exec_driver_sql(_NEWEST, (photo,)).scalar()
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


def _as_json(rows: Sequence[int] | np.ndarray) -> str:
    return str(np.asarray(rows, np.int64).tolist())
