"""Photos as lists: which match a filter, in an order, and all that is known of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal, get_args

from virtue.errors import InputError
from virtue.store.catalogue import filters_sql
from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.filters import Filter, RowFilter
from virtue.store.catalogue.queries import Types, fetch, fetch_for
from virtue.store.catalogue.regions import read_box, require_size
from virtue.store.records import LEFT_OUT, Kind, Photo, PhotoFacts, Region, TextLine

Order = Literal[
    "photo_id", "-photo_id", "path", "-path", "taken", "-taken", "rating", "-rating", "size", "-size"
]  # fmt: skip
"""What photos are listed by; with a minus, from the other end."""

ALL = 1 << 62
"""A limit that no library reaches."""
_OF_FILES = "FROM files WHERE photo_id = p.id AND NOT missing"
_KEYS = {
    "photo_id": "p.id",
    "path": f"(SELECT min(path) {_OF_FILES})",
    # A photo that does not say when it was taken stands where its file was last changed.
    "taken": "coalesce(substr(p.taken, 1, 19), (SELECT strftime('%Y-%m-%dT%H:%M:%S', "
    f"min(mtime_ns) / 1000000000, 'unixepoch', 'localtime') {_OF_FILES}))",
    "rating": "p.rating",
    "size": f"(SELECT max(size) {_OF_FILES})",
}

_HAS_OTHERS = (
    "(o.origin = 'whole' AND EXISTS (SELECT 1 FROM regions others WHERE others.photo_id = o.photo_id "
    "AND others.generation_id = :generation AND others.id <> o.id))"
)
"""Of a region: it is the whole photo, and there are others in it."""

_PHOTO = (
    int, bytes, int, int, str | None, str | None, float | None, float | None, int | None, int, int,
)  # fmt: skip
_REGION = (int, int, float, float, float, float, str | None, str | None)


def check_order(order: str) -> None:
    """Raises InputError if photos cannot be listed so."""
    if order not in get_args(Order):
        raise InputError(f"photos cannot be listed by {order!r}: choose one of {', '.join(get_args(Order))}")


def photo_ids(
    connection: AnyConnection,
    generation: int,
    filter: Filter | None,
    order: Order = "photo_id",
    offset: int = 0,
    limit: int | None = None,
) -> list[int]:
    """Returns the photos that are there and match: one of their regions, the full image among them, must."""
    values: dict[str, Any] = {"offset": offset, "limit": ALL if limit is None else limit}
    condition = _matching(connection, "regions", generation, filter, values)
    sql = f"SELECT p.id FROM photos p WHERE p.live {condition} ORDER BY {_order(order)}"
    sql += " LIMIT :limit OFFSET :offset"
    return [photo for (photo,) in fetch(connection, sql, values, (int,))]


def count(connection: AnyConnection, generation: int, filter: Filter | None) -> int:
    """Returns how many photos `photo_ids` would."""
    values: dict[str, Any] = {}
    condition = _matching(connection, "regions", generation, filter, values)
    ((number,),) = fetch(
        connection, f"SELECT count(*) FROM photos p WHERE p.live {condition}", values, (int,)
    )
    return int(number)


def browse(
    connection: AnyConnection,
    generation: int,
    kind: Kind,
    filter: RowFilter,
    every: bool,
    offset: int,
    limit: int,
) -> list[int]:
    """Returns rows of a kind that match, those of the newest photos first: the first of each photo, or
    `every` one."""
    values: dict[str, Any] = {"generation": generation, "offset": offset, "limit": limit}
    matching = filters_sql.condition(connection, kind, filter.where, values)
    if kind == "regions" and filter.full_images == "single":
        matching += f" AND NOT {_HAS_OTHERS}"
    row, group = ("o.row", "") if every else ("min(o.row)", "GROUP BY p.id")
    sql = (
        f"SELECT {row} FROM {kind} o JOIN photos p ON p.id = o.photo_id WHERE p.live "
        f"AND o.generation_id = :generation AND o.row IS NOT NULL AND {matching} "
        f"{group} ORDER BY {_order('-taken')}, {row} LIMIT :limit OFFSET :offset"
    )
    return [number for (number,) in fetch(connection, sql, values, (int,))]


def _matching(
    connection: AnyConnection, kind: Kind, generation: int, filter: Filter | None, values: dict[str, Any]
) -> str:
    if filter is None:
        return ""
    values["generation"] = generation
    condition = filters_sql.condition(connection, kind, filter, values)
    return (
        f"AND p.id IN (SELECT o.photo_id FROM {kind} o WHERE o.generation_id = :generation "
        f"AND o.row IS NOT NULL AND {condition})"
    )


def _order(order: str) -> str:
    key, direction = _KEYS[order.removeprefix("-")], "DESC" if order.startswith("-") else ""
    return f"{key} IS NULL, {key} {direction}, p.id {direction}"


def photos(connection: AnyConnection, generation: int, ids: Sequence[int]) -> list[Photo]:
    """Returns all that is known of these photos, in their order; those that the library has not are left
    out."""
    sql = (
        "SELECT id, hash, width, height, taken, camera, latitude, longitude, rating, phash, "
        f"read_by IS NOT NULL AND read_by <> '{LEFT_OUT}' FROM photos "
        "WHERE id IN ({})"
    )
    found = {values[0]: values[1:] for values in fetch_for(connection, sql, ids, types=_PHOTO)}
    files = _files(connection, ids)
    tags = _tags(connection, ids)
    captions, lines = _captions(connection, generation, ids), _lines(connection, generation, ids)
    regions: dict[int, list[Region]] = {}
    sql = (
        "SELECT photo_id, id, x0, y0, x1, y1, category, mask FROM regions WHERE generation_id = ? "
        "AND photo_id IN ({}) AND origin NOT IN ('whole', 'proposal') ORDER BY 1, 2"
    )
    for photo, region, *corners, category, mask in fetch_for(connection, sql, ids, (generation,), _REGION):
        texts = tuple(captions.get((photo, region), ()))
        regions.setdefault(photo, []).append(Region(read_box(*corners), category, texts, mask, region))
    listed = []
    for id in filter(found.__contains__, ids):
        hash, width, height, taken, camera, latitude, longitude, rating, phash, is_read = found[id]
        own = files.get(id, [])
        listed.append(
            Photo(
                id,
                tuple(path for path, _ in own),
                *require_size(width, height),
                hash,
                max((size for _, size in own), default=0),
                taken,
                camera,
                latitude,
                longitude,
                rating,
                tuple(tags.get(id, ())),
                tuple(captions.get((id, None), ())),
                tuple(regions.get(id, ())),
                phash % (1 << 64),
                tuple(lines.get(id, ())) if is_read else None,
            )
        )
    return listed


def facts(connection: AnyConnection, ids: Collection[int]) -> dict[int, PhotoFacts]:
    """Returns what hits tell of these photos."""
    sql = "SELECT id, taken, camera, rating FROM photos WHERE id IN ({})"
    types = (int, str | None, str | None, int | None)
    files, tags = _files(connection, ids), _tags(connection, ids)
    return {
        id: PhotoFacts(
            taken, camera, rating, tuple(tags.get(id, ())), tuple(path for path, _ in files.get(id, ()))
        )
        for id, taken, camera, rating in fetch_for(connection, sql, ids, types=types)
    }


def _files(connection: AnyConnection, ids: Iterable[int]) -> dict[int, list[tuple[bytes, int]]]:
    sql = (
        "SELECT photo_id, path, size FROM files WHERE NOT missing AND photo_id IN ({}) "
        "ORDER BY 1, beside IS NOT NULL, 2"
    )
    return _grouped(connection, sql, ids, (int, bytes, int))


def _tags(connection: AnyConnection, ids: Iterable[int]) -> dict[int, list[str]]:
    sql = "SELECT photo_id, tag FROM tags WHERE photo_id IN ({}) ORDER BY photo_id, tag"
    return {id: [tag for (tag,) in some] for id, some in _grouped(connection, sql, ids, (int, str)).items()}


def _captions(
    connection: AnyConnection, generation: int, ids: Iterable[int]
) -> dict[tuple[int, int | None], list[str]]:
    sql = (
        "SELECT photo_id, region_id, text FROM captions WHERE generation_id = ? AND photo_id IN ({}) "
        "AND source <> 'ocr' ORDER BY photo_id, id"
    )
    found: dict[tuple[int, int | None], list[str]] = {}
    for photo, region, text in fetch_for(connection, sql, ids, (generation,), (int, int | None, str)):
        if text not in (texts := found.setdefault((photo, region), [])):
            texts.append(text)
    return found


def _lines(connection: AnyConnection, generation: int, ids: Iterable[int]) -> dict[int, list[TextLine]]:
    sql = (
        "SELECT photo_id, text, x0, y0, x1, y1 FROM captions WHERE generation_id = ? AND photo_id IN ({}) "
        "AND source = 'ocr' AND x0 IS NOT NULL ORDER BY photo_id, id"
    )
    found: dict[int, list[TextLine]] = {}
    types = (int, str, float, float, float, float)
    for photo, text, *corners in fetch_for(connection, sql, ids, (generation,), types):
        found.setdefault(photo, []).append(TextLine(text, read_box(*corners)))
    return found


def _grouped(connection: AnyConnection, sql: str, ids: Iterable[int], types: Types) -> dict[int, list[Any]]:
    found = list(fetch_for(connection, sql, ids, types=types))
    return {id: [values[1:] for values in some] for id, some in groupby(found, itemgetter(0))}
