"""From row numbers back to regions, captions and the photos they lie in."""

from __future__ import annotations

import json
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
    METADATA,
    USER_ORIGINS,
    USER_SOURCES,
    CaptionRecord,
    Kind,
    KnownMetadata,
    NewCaption,
    NewRegion,
    PhotoInfo,
    ReadText,
    RegionLocation,
    RegionRecord,
    UserAnnotations,
)

_REGION = (
    int, int, int, bytes, int, int, float, float, float, float, str, str | None, float | None, str | None,
    int, str | None,
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
            origin, category, require_objectness(objectness), thing, origin == "whole", only == 1, caption,
        )
        for (
            row, region, photo, path, width, height, *corners,
            origin, category, objectness, thing, only, caption,
        ) in found
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


def read_own_box(*corners: float | None) -> Box | None:
    """Makes the box of corners that a caption may have; raises as `read_box` does."""
    there = [corner for corner in corners if corner is not None]
    if not there:
        return None
    if len(there) < len(corners):
        raise WrongValueError("a box lacks a corner")
    return read_box(*there)


def require_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size of a photo, or raises WrongValueError if no picture has it."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise WrongValueError(f"a photo of {width} x {height} pixels")
    return width, height


def require_objectness(value: float | None) -> float | None:
    """Returns the objectness of a region, or raises WrongValueError if no detector gives such a one."""
    if value is not None and not 0 <= value <= 1:
        raise WrongValueError(f"an objectness of {value}")
    return value


def places(
    connection: AnyConnection, generation: int, kind: Kind, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the ids (n,) int64 of the regions or captions of these rows, which ascend, their photos (n,)
    int64, and their boxes (n, 4) float64, NaN where a caption is about the whole photo."""
    box, source = "x0, y0, x1, y1", "regions o"
    if kind == "captions":
        box = ", ".join(f"coalesce(r.{corner}, o.{corner})" for corner in box.split(", "))
        source = "captions o LEFT JOIN regions r ON r.id = o.region_id"
    sql = (
        f"SELECT o.row, o.id, o.photo_id, {box} FROM {source} "
        "WHERE o.generation_id = ? AND o.row BETWEEN ? AND ? ORDER BY o.row"
    )
    span = (generation, int(rows[0]), int(rows[-1]))
    found = fetch(connection, sql, span, (int, int, int, *(float | None,) * 4))
    table = np.array(found, np.float64).reshape(-1, 7)
    numbers = np.array([values[:3] for values in found], np.int64).reshape(-1, 3)
    kept = np.isin(numbers[:, 0], rows)
    return numbers[kept, 1], numbers[kept, 2], table[kept, 3:]


def rows_of(connection: AnyConnection, generation: int, photo_ids: Sequence[int]) -> list[int]:
    found = fetch(connection, hot_sql.REGION_ROWS, _wanted(photo_ids, generation), (int,))
    return [row for (row,) in found]


def locate(
    connection: AnyConnection, generation: int, region_id: int | None, photo_id: int | None
) -> RegionLocation | None:
    values = {"generation": generation, "region": region_id, "photo": photo_id}
    found = fetch(connection, hot_sql.REGION_LOCATION, values, (int, int))
    return RegionLocation(*found[0]) if found else None


def caption_rows_of(connection: AnyConnection, generation: int, region_ids: Sequence[int]) -> dict[int, int]:
    """Returns the rows of captions of these regions, of a full image those of its photo, each with its
    region; not of what was read in photos."""
    sql = (
        "SELECT captions.row, regions.id FROM json_each(?) wanted JOIN regions ON regions.id = wanted.value "
        "JOIN captions ON captions.photo_id = regions.photo_id "
        "AND captions.region_id IS CASE origin WHEN 'whole' THEN NULL ELSE regions.id END "
        "WHERE captions.generation_id = ? AND captions.row IS NOT NULL AND captions.source <> 'ocr'"
    )
    return dict(fetch(connection, sql, (json.dumps([*region_ids]), generation), (int, int)))


def captions(
    connection: AnyConnection, generation: int, rows: Sequence[int] | np.ndarray
) -> list[CaptionRecord]:
    found = fetch(connection, hot_sql.CAPTIONS, _wanted(rows, generation), _CAPTION)
    return [
        CaptionRecord(
            row, caption, text, source, photo, path, *require_size(width, height),
            region, read_own_box(*corners),
        )
        for row, caption, text, source, photo, path, width, height, region, *corners in found
    ]  # fmt: skip


def user_annotations(connection: AnyConnection, hash: bytes) -> UserAnnotations:
    (photo, given), *_ = fetch(
        connection,
        "SELECT id, content FROM photos LEFT JOIN given ON photo_id = id WHERE hash = ?",
        (hash,),
        (int, str | None),
    ) or [(None, None)]
    return UserAnnotations(*_said(connection, photo, USER_ORIGINS, USER_SOURCES), given)


def known_metadata(connection: AnyConnection, hash: bytes) -> KnownMetadata | None:
    """Returns what is known of a photo from its metadata; None: the photo is not known."""
    columns = "id, width, height, taken, camera, latitude, longitude, rating, phash, content, read_by"
    found = fetch(
        connection,
        f"SELECT {columns} FROM photos LEFT JOIN given ON photo_id = id WHERE hash = ?",
        (hash,),
        (int, int, int, *(str | None,) * 2, *(float | None,) * 2, int | None, int, *(str | None,) * 2),
    )
    if not found:
        return None
    photo, width, height, taken, camera, latitude, longitude, rating, phash, given, read_by = found[0]
    tags = fetch(connection, "SELECT tag FROM tags WHERE photo_id = ? ORDER BY tag", (photo,), (str,))
    info = PhotoInfo(
        hash, width, height, taken, camera, latitude, longitude, rating,
        tuple(tag for (tag,) in tags), phash % (1 << 64), given, read_by,
    )  # fmt: skip
    return KnownMetadata(info, *_said(connection, photo, (METADATA,), (METADATA,)))


def _said(
    connection: AnyConnection, photo: int | None, origins: Sequence[str], sources: Sequence[str]
) -> tuple[tuple[NewRegion, ...], tuple[NewCaption, ...]]:
    """Returns regions and captions of a photo, as its newest generation has them."""
    newest = _first(fetch(connection, _NEWEST, (photo,), (int,)))
    found = fetch(
        connection,
        "SELECT id, x0, y0, x1, y1, origin, category, mask FROM regions WHERE photo_id = ? "
        f"AND generation_id = ? AND origin IN ({', '.join('?' * len(origins))}) ORDER BY id",
        (photo, newest, *origins),
        (int, float, float, float, float, str, str | None, str | None),
    )
    places = {values[0]: place for place, values in enumerate(found)}
    captions = fetch(
        connection,
        "SELECT text, source, region_id FROM captions WHERE photo_id = ? "
        f"AND generation_id = ? AND source IN ({', '.join('?' * len(sources))}) ORDER BY id",
        (photo, newest, *sources),
        (str, str, int | None),
    )
    return (
        tuple(NewRegion(read_box(*values[1:5]), *values[5:]) for values in found),
        tuple(NewCaption(text, source, places.get(region)) for text, source, region in captions),
    )


def sidecar_texts(connection: AnyConnection, hash: bytes) -> tuple[str, ...]:
    photo = _first(fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,), (int,)))
    newest = _first(fetch(connection, _NEWEST, (photo,), (int,)))
    sql = "SELECT text FROM captions WHERE photo_id = ? AND generation_id = ? AND source = ? ORDER BY id"
    return tuple(text for (text,) in fetch(connection, sql, (photo, newest, "sidecar"), (str,)))


def read_text(connection: AnyConnection, hash: bytes) -> ReadText:
    (photo, read_by), *_ = fetch(
        connection, "SELECT id, read_by FROM photos WHERE hash = ?", (hash,), (int, str | None)
    ) or [(None, None)]
    newest = _first(fetch(connection, _NEWEST, (photo,), (int,)))
    sql = (
        "SELECT text, x0, y0, x1, y1 FROM captions "
        "WHERE photo_id = ? AND generation_id = ? AND source = 'ocr' ORDER BY id"
    )
    found = fetch(connection, sql, (photo, newest), (str, *(float | None,) * 4))
    captions = (NewCaption(text, "ocr", box=read_own_box(*corners)) for text, *corners in found)
    return ReadText(tuple(captions), read_by)


def _first(found: list[tuple[Any, ...]]) -> Any:
    return found[0][0] if found else None


def _wanted(ids: Sequence[int] | np.ndarray, generation: int) -> dict[str, Any]:
    return {"wanted": str(np.asarray(ids, np.int64).tolist()), "generation": generation}
