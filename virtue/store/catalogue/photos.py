"""Photos: which content is known, and where its copies lie."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.queries import fetch, fetch_for
from virtue.store.catalogue.regions import require_size
from virtue.store.records import Copy

_COPY = (int, bytes, int, int)


def photo_id(connection: AnyConnection, hash: bytes) -> int | None:
    found = fetch(connection, "SELECT id FROM photos WHERE hash = ?", (hash,), (int,))
    return int(found[0][0]) if found else None


def repeated(connection: AnyConnection, at_once: int) -> Iterator[list[int]]:
    """Yields the photos with several paths that hold the same bytes, in the order of their ids, so many at a
    time."""
    sql = (
        "SELECT photo_id FROM files WHERE photo_id > ? AND NOT missing AND beside IS NULL "
        "GROUP BY photo_id HAVING count(*) > 1 ORDER BY photo_id LIMIT ?"
    )
    last = 0
    while some := [photo for (photo,) in fetch(connection, sql, (last, at_once), (int,))]:
        yield some
        last = some[-1]


def copies(connection: AnyConnection, photos: Collection[int]) -> dict[int, list[Copy]]:
    """Returns the paths of each photo that are still there, in order; each has some. That of a RAW beside a
    picture holds other bytes than that, and counts only if there is no other."""
    sql = (
        "SELECT photo_id, path, width, height FROM files f JOIN photos ON photos.id = photo_id "
        "WHERE NOT missing AND photo_id IN ({}) AND (beside IS NULL OR NOT EXISTS (SELECT 1 FROM files "
        "WHERE photo_id = f.photo_id AND NOT missing AND beside IS NULL))"
    )
    found: dict[int, list[Copy]] = {}
    for photo, path, width, height in _by_path(fetch_for(connection, sql, photos, types=_COPY)):
        found.setdefault(photo, []).append(Copy(path, *require_size(width, height)))
    if len(found) < len(set(photos)):
        raise WrongValueError("a photo is marked as present, and has no path")
    return found


def _by_path(found: Iterator[tuple]) -> list[tuple]:
    return sorted(found, key=lambda values: values[1])
