"""Photos as wholes: their content, their perceptual hashes, where their copies lie."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sqlalchemy.engine import Connection

from virtue.store.catalogue.queries import fetch, fetch_for


@dataclass(frozen=True, slots=True, eq=False)
class Wholes:
    """Photos with a path that is still there, in order of their ids: `ids` and `rows` (n,) int64, of the
    region that is the whole photo, `phashes` (n,) uint64, `areas` (n,) int64 in pixels."""

    ids: np.ndarray
    rows: np.ndarray
    phashes: np.ndarray
    areas: np.ndarray


class Copy(NamedTuple):
    """A path where a photo is, and the size of the photo in pixels."""

    path: bytes
    width: int
    height: int


def wholes(connection: Connection, generation: int) -> Wholes:
    sql = (
        "SELECT p.id, r.row, p.phash, p.width * p.height FROM photos p "
        "CROSS JOIN regions r ON r.photo_id = p.id AND r.generation_id = ? "
        "WHERE p.live AND r.origin = 'whole' AND r.row IS NOT NULL ORDER BY p.id"
    )
    found = np.array(fetch(connection, sql, (generation,)), np.int64).reshape(-1, 4)
    ids, rows, phashes, areas = np.ascontiguousarray(found.T)
    return Wholes(ids, rows, phashes.view(np.uint64), areas)


def photo_id(connection: Connection, hash: bytes) -> int | None:
    found = fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,))
    return int(found[0][0]) if found else None


def repeated(connection: Connection) -> list[int]:
    """Photos that lie at several paths."""
    sql = (
        "SELECT photo_id FROM files WHERE photo_id IS NOT NULL AND NOT missing "
        "GROUP BY photo_id HAVING count(*) > 1 ORDER BY photo_id"
    )
    return [photo for (photo,) in fetch(connection, sql)]


def copies(connection: Connection, photos: Collection[int]) -> dict[int, list[Copy]]:
    """By photo, in order of the paths; only those that are still there."""
    sql = (
        "SELECT photo_id, path, width, height FROM files JOIN photos ON photos.id = photo_id "
        "WHERE NOT missing AND photo_id IN ({})"
    )
    found: dict[int, list[Copy]] = {}
    for photo, *copy in _by_path(fetch_for(connection, sql, photos)):
        found.setdefault(photo, []).append(Copy(*copy))
    return found


def _by_path(found: Iterator[tuple]) -> list[tuple]:
    return sorted(found, key=lambda values: values[1])
