"""Reads whole photos out of a snapshot: their metadata, regions, captions, vectors and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from virtue.errors import EmptyLibraryError
from virtue.store.catalogue.database import WrongValueError
from virtue.store.catalogue.queries import Types, fetch, fetch_for
from virtue.store.catalogue.regions import read_box, read_own_box
from virtue.store.records import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo
from virtue.store.snapshot import Snapshot
from virtue.store.transfer.manifest import ExportManifest, PhotoExport

BATCH_PHOTOS = 200
"""Photos in memory at once."""

# A file that could not be read is no longer what its photo was: elsewhere it is to be looked at again.
_FILES = (
    "SELECT photo_id, path, CASE WHEN problem IS NULL THEN size ELSE 0 END, mtime_ns, sidecar, missing "
    "FROM files WHERE photo_id IN ({}) ORDER BY 1, 2"
)
_TAGS = "SELECT photo_id, tag FROM tags WHERE photo_id IN ({}) ORDER BY 1, 2"
_REGIONS = (
    "SELECT photo_id, id, row, x0, y0, x1, y1, origin, category, mask, objectness, object "
    "FROM regions WHERE generation_id = ? AND photo_id IN ({}) ORDER BY 1, 2"
)
_CAPTIONS = (
    "SELECT photo_id, id, row, text, source, region_id, x0, y0, x1, y1 FROM captions "
    "WHERE generation_id = ? AND photo_id IN ({}) ORDER BY 1, 2"
)

_PHOTO = (
    int, bytes, int, int, str | None, str | None, float | None, float | None, int | None, int,
    str | None, str | None, str,
)  # fmt: skip
_FILE = (int, bytes, int, int, str | None, int)
_REGION = (
    int, int, int, float, float, float, float, str, str | None, str | None, float | None, str | None,
)  # fmt: skip
_CAPTION = (int, int, int, str, str, int | None, *(float | None,) * 4)


def read_manifest(snapshot: Snapshot) -> ExportManifest:
    """Returns what holds for all photos of a library.

    Raises:
        EmptyLibraryError: nothing was ever indexed.
    """
    active = snapshot.generation
    if active is None:
        raise EmptyLibraryError(
            f"nothing is indexed in the library {snapshot.name}: there is nothing to take"
        )
    return ExportManifest(active.model, active.fingerprint, active.dim, tuple(snapshot.roots()))


def read_photos(snapshot: Snapshot) -> Iterator[PhotoExport]:
    """Returns all photos that have vectors, in the order in which they came.

    Args:
        snapshot: one whose rows were checked (`Store.read_sound`).
    """
    generation = snapshot.generation
    if generation is None:
        return
    last = 0
    while True:
        sql = (
            "SELECT id, hash, width, height, taken, camera, latitude, longitude, rating, phash, content, "
            "read_by, settings FROM photos CROSS JOIN embeddings e ON e.photo_id = id AND generation_id = ? "
            "LEFT JOIN given ON given.photo_id = id WHERE id > ? ORDER BY id LIMIT ?"
        )
        found = fetch(snapshot.connection, sql, (generation.id, last, BATCH_PHOTOS), _PHOTO)
        if not found:
            return
        yield from _complete(snapshot, generation.id, found)
        last = found[-1][0]


def _complete(
    snapshot: Snapshot, generation: int, photos: Sequence[tuple[Any, ...]]
) -> Iterator[PhotoExport]:
    ids = [values[0] for values in photos]
    files = _by_photo(snapshot, _FILES, ids, _FILE)
    tags = _by_photo(snapshot, _TAGS, ids, (int, str))
    regions = _by_photo(snapshot, _REGIONS, ids, _REGION, generation)
    captions = _by_photo(snapshot, _CAPTIONS, ids, _CAPTION, generation)
    for (
        id, hash, width, height, taken, camera, latitude, longitude, rating, phash, given, read_by, settings,
    ) in photos:  # fmt: skip
        own_regions, own_captions, own_files = regions.get(id, []), captions.get(id, []), files.get(id, [])
        numbers: dict[int | None, int | None] = {None: None}
        numbers |= {region: number for number, (region, *_) in enumerate(own_regions)}
        if any(values[4] not in numbers for values in own_captions):
            raise WrongValueError("a caption belongs to a region of no photo, or of another one")
        yield PhotoExport(
            EmbeddedPhoto(
                PhotoInfo(
                    hash, width, height, taken, camera, latitude, longitude, rating,
                    tuple(tag for (tag,) in tags.get(id, [])), phash % (1 << 64), given, read_by,
                ),
                settings,
                tuple(NewRegion(read_box(*values[2:6]), *values[6:]) for values in own_regions),
                snapshot.vectors_of("regions", [row for _, row, *_ in own_regions]),
                tuple(
                    NewCaption(text, source, numbers[of], read_own_box(*corners))
                    for _, _, text, source, of, *corners in own_captions
                ),
                snapshot.vectors_of("captions", [row for _, row, *_ in own_captions]),
            ),
            tuple(FileRecord(path, size, time, sidecar, hash) for path, size, time, sidecar, _ in own_files),
            frozenset(path for path, *_, missing in own_files if missing),
        )  # fmt: skip


def _by_photo(
    snapshot: Snapshot, sql: str, photos: Iterable[int], types: Types, *values: int
) -> dict[int, list[tuple[Any, ...]]]:
    found = fetch_for(snapshot.connection, sql, photos, values, types)
    return {photo: [values[1:] for values in some] for photo, some in groupby(found, itemgetter(0))}
