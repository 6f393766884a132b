"""What code says of photos, written into the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from virtue.store.catalogue import token_tables, writes
from virtue.store.catalogue.database import WriteConnection
from virtue.store.catalogue.given import Given
from virtue.store.catalogue.queries import fetch
from virtue.store.records import METADATA, USER_SOURCES, Kind, NewCaption, PhotoChange

Append = Callable[[Kind, np.ndarray], int]
"""Adds vectors to a row file, and returns the row of the first."""

_USER = ", ".join(f"'{source}'" for source in USER_SOURCES)


def change_photo(connection: WriteConnection, generation: int, change: PhotoChange, append: Append) -> None:
    """Makes a change of a photo that is stored."""
    photo = change.photo_id
    if change.metadata is not None:
        given, rating, tags = change.metadata
        if Given.from_json(given).has_regions:
            _take_over_regions(connection, generation, photo)
        connection.exec_driver_sql("UPDATE photos SET rating = ? WHERE id = ?", (rating, photo))
        connection.exec_driver_sql(
            "INSERT INTO given (photo_id, content) VALUES (?, ?) "
            "ON CONFLICT (photo_id) DO UPDATE SET content = excluded.content",
            (photo, given),
        )
        connection.exec_driver_sql("DELETE FROM tags WHERE photo_id = ?", (photo,))
        for tag in dict.fromkeys(tags):
            connection.exec_driver_sql("INSERT INTO tags (photo_id, tag) VALUES (?, ?)", (photo, tag))
        token_tables.put_names(connection, [photo])
    captions = _captions_of(connection, generation, photo)
    dropped = [id for id, region, text in captions if region is None and text in change.dropped_captions]
    gone = {*change.dropped_regions, *(region for region, *_ in change.reworded)}
    _drop(connection, "captions", photo, [*dropped, *(id for id, region, _ in captions if region in gone)])
    _drop(connection, "regions", photo, change.dropped_regions)
    located: list[tuple[int, NewCaption, int | None]] = [
        (photo, NewCaption(text, "code"), None) for text in change.captions
    ]
    for region, category, texts in change.reworded:
        sql = "UPDATE regions SET category = ?, origin = 'code' WHERE id = ?"
        connection.exec_driver_sql(sql, (category, region))
        located += [(photo, NewCaption(text, "code"), region) for text in texts]
    row = append("regions", change.region_vectors)
    ids = writes.put_regions(connection, generation, [(photo, [new for new, _ in change.regions])], row)
    for id, (_, texts) in zip(ids, change.regions, strict=True):
        located += [(photo, NewCaption(text, "code"), id) for text in texts]
    writes.put_captions(connection, generation, located, append("captions", change.caption_vectors))


def _take_over_regions(connection: WriteConnection, generation: int, photo: int) -> None:
    """Makes the regions of the photo's metadata regions that code gave."""
    own = f"WHERE photo_id = ? AND generation_id = ? AND {{}} = '{METADATA}'"
    captions = f"UPDATE captions SET source = 'code' {own.format('source')} AND region_id IS NOT NULL"
    connection.exec_driver_sql(captions, (photo, generation))
    regions = f"UPDATE regions SET origin = 'code' {own.format('origin')}"
    connection.exec_driver_sql(regions, (photo, generation))


def _captions_of(
    connection: WriteConnection, generation: int, photo: int
) -> list[tuple[int, int | None, str]]:
    sql = (
        "SELECT id, region_id, text FROM captions "
        f"WHERE photo_id = ? AND generation_id = ? AND source IN ({_USER}) ORDER BY id"
    )
    found = fetch(connection, sql, (photo, generation), (int, int | None, str))
    return [(id, region, text) for id, region, text in found]


def _drop(connection: WriteConnection, kind: Kind, photo: int, ids: Collection[int]) -> None:
    if ids:
        writes.remove(connection, kind, f"id IN ({', '.join(map(str, sorted(ids)))})", [photo])
