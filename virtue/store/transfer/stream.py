"""Photos on their way from one library to another, whatever lies between: one stream that exporting,
importing and merging share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError, EmptyLibraryError, InputError, ModelMismatchError
from virtue.geometry import Box
from virtue.store.catalogue import queries
from virtue.store.catalogue.queries import fetch, fetch_for
from virtue.store.records import (
    EmbeddedPhoto,
    FileRecord,
    Generation,
    Kind,
    NewCaption,
    NewRegion,
    PhotoInfo,
    Root,
)

if TYPE_CHECKING:
    from virtue.store.snapshot import Snapshot
    from virtue.store.store import Store

Rows = Mapping[Kind, np.ndarray]

AT_ONCE = 200
"""Photos in memory, and in a commit."""


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """What holds for all photos of a library: whose vectors they have, and the folders they lie in."""

    model: str
    fingerprint: str
    dim: int
    roots: tuple[Root, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PhotoExport:
    """A photo with its vectors and its files; at those paths that are `missing` nothing is any more."""

    photo: EmbeddedPhoto
    files: tuple[FileRecord, ...]
    missing: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """`photos`, in so many `rows`; `left_out`: photos without vectors."""

    photos: int
    rows: int
    left_out: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What a library took. `photos`: new to it. `known`: it had them, with vectors, and left them as they
    are. `paths`: new to it, of either. `left_out`: photos all of whose paths it has for other photos."""

    photos: int = 0
    known: int = 0
    paths: int = 0
    left_out: int = 0

    def summary(self) -> str:
        counts = {
            f"{self.photos:,} photo{'s' * (self.photos != 1)} taken": True,
            f"{self.known:,} known already": self.known,
            f"{self.paths:,} new path{'s' * (self.paths != 1)}": self.paths,
            f"{self.left_out:,} left out, since their paths hold other photos here": self.left_out,
        }
        return ", ".join(what for what, told in counts.items() if told)


def parcels(
    connection: Connection, folder: Path, generation: Generation, rows: Rows
) -> Iterator[PhotoExport]:
    """All photos of a generation that have vectors, in the order in which they came.

    Args:
        rows: (count, dim) fp16 of each kind.

    Raises:
        DamagedError: rows are not what was written; told before the first photo.
    """
    from virtue.store.verify import find_row_faults

    damage = find_row_faults(connection, folder, generation)
    if damage:
        raise DamagedError(
            f"the library {folder} is damaged ({damage[0].what}): run `virtue verify --repair`"
        )
    last = 0
    while True:
        sql = (
            "SELECT id, hash, width, height, taken, camera, latitude, longitude, rating, phash, settings "
            "FROM photos CROSS JOIN embeddings ON photo_id = id AND generation_id = ? "
            "WHERE id > ? ORDER BY id LIMIT ?"
        )
        found = fetch(connection, sql, (generation.id, last, AT_ONCE))
        if not found:
            return
        yield from _described(connection, generation, rows, found)
        last = found[-1][0]


def _described(
    connection: Connection, generation: Generation, rows: Rows, found: Sequence[tuple[Any, ...]]
) -> Iterator[PhotoExport]:
    ids = [values[0] for values in found]
    tags = _by_photo(connection, "SELECT photo_id, tag FROM tags WHERE photo_id IN ({}) ORDER BY 1, 2", ids)
    files = _by_photo(
        connection,
        "SELECT photo_id, path, size, mtime_ns, sidecar, missing FROM files WHERE photo_id IN ({}) "
        "ORDER BY 1, 2",
        ids,
    )
    regions = _by_photo(
        connection,
        "SELECT photo_id, id, row, x0, y0, x1, y1, origin, category, mask FROM regions "
        f"WHERE generation_id = {generation.id:d} AND photo_id IN ({{}}) ORDER BY 1, 2",
        ids,
    )
    captions = _by_photo(
        connection,
        "SELECT photo_id, id, row, text, source, region_id FROM captions "
        f"WHERE generation_id = {generation.id:d} AND photo_id IN ({{}}) ORDER BY 1, 2",
        ids,
    )
    for photo, hash, width, height, taken, camera, latitude, longitude, rating, phash, settings in found:
        own, told, lying = regions.get(photo, []), captions.get(photo, []), files.get(photo, [])
        places: dict[int | None, int | None] = {None: None}
        places |= {region: place for place, (region, *_) in enumerate(own)}
        yield PhotoExport(
            EmbeddedPhoto(
                PhotoInfo(
                    hash, width, height, taken, camera, latitude, longitude, rating,
                    tuple(tag for (tag,) in tags.get(photo, [])), phash % (1 << 64),
                ),
                settings,
                tuple(NewRegion(Box(*values[2:6]), *values[6:]) for values in own),
                rows["regions"][[row for _, row, *_ in own]].astype(np.float32),
                tuple(NewCaption(text, source, places[region]) for _, _, text, source, region in told),
                rows["captions"][[row for _, row, *_ in told]].astype(np.float32),
            ),
            tuple(FileRecord(path, size, time, sidecar, hash) for path, size, time, sidecar, _ in lying),
            frozenset(path for path, *_, missing in lying if missing),
        )  # fmt: skip


def _by_photo(connection: Connection, sql: str, photos: Iterable[int]) -> dict[int, list[tuple[Any, ...]]]:
    found = fetch_for(connection, sql, photos)
    return {photo: [values[1:] for values in some] for photo, some in groupby(found, itemgetter(0))}


def import_photos(
    store: Store, command: str, source: str, manifest: ExportManifest, photos: Iterable[PhotoExport]
) -> ImportSummary:
    """Brings photos into a library, in commits of `AT_ONCE`; what it has already stays as it is.

    Args:
        command: what the user ran, for the message that a second writer gets.
        source: what the photos come from, for messages.

    Raises:
        ModelMismatchError: their vectors are of another model than the library's.
        LockedError: another process is writing.
        StoreError: the disk is full, or fails.
    """
    taken = known = paths = left_out = 0
    with store.write(command) as writer:
        with store.read() as snapshot:
            _check_model(snapshot.generation, manifest, source)
            roots = {root.path for root in snapshot.roots()}
        writer.generation(manifest.model, manifest.fingerprint, manifest.dim)
        for root in manifest.roots:
            if root.path not in roots:
                writer.remember_root(root.path, root.options)
        for some in queries.chunks(photos, AT_ONCE):
            with store.read() as snapshot:
                there = snapshot.known_photos(parcel.photo.info.hash for parcel in some)
                held = snapshot.known_paths(file.path for parcel in some for file in parcel.files)
            new: list[EmbeddedPhoto] = []
            files: list[FileRecord] = []
            missing: list[bytes] = []
            for parcel in some:
                free = [file for file in parcel.files if file.path not in held]
                if parcel.photo.info.hash in there:
                    known += 1
                elif free:
                    new.append(parcel.photo)
                else:
                    left_out += 1
                    continue
                files += free
                missing += [file.path for file in free if file.path in parcel.missing]
            writer.commit(new, files, missing)
            taken, paths = taken + len(new), paths + len(files)
    return ImportSummary(taken, known, paths, left_out)


def _check_model(active: Generation | None, manifest: ExportManifest, source: str) -> None:
    if active is None or active.fingerprint == manifest.fingerprint:
        return
    version = " of another version" if active.model == manifest.model else ""
    raise ModelMismatchError(
        f"{source} holds vectors of model {manifest.model!r}, and this library those of "
        f"{active.model!r}{version}: `virtue reindex --model NAME` brings one to the other's model"
    )


def merge(store: Store, other: Path) -> ImportSummary:
    """Takes in the photos of another library. See `Library.merge`."""
    from virtue.store.store import Store

    if os.path.realpath(other) == os.path.realpath(store.folder):
        raise InputError(f"{other} is the library itself: name another one to take photos from")
    with Store.open(other, read_only=True) as source, source.read() as snapshot:
        manifest = _cargo(snapshot, other)
        return import_photos(store, "virtue merge", str(other), manifest, snapshot.parcels())


def export(store: Store, file: Path) -> ExportSummary:
    """Writes a Parquet file. See `Library.export_parquet`."""
    from virtue.store.transfer.parquet import write

    photos = 0

    def counted(parcels: Iterable[PhotoExport]) -> Iterator[PhotoExport]:
        nonlocal photos
        for parcel in parcels:
            if parcel.photo.regions or parcel.photo.captions:
                photos += 1
                yield parcel

    with store.read() as snapshot:
        rows = write(file, _cargo(snapshot, store.folder), counted(snapshot.parcels()))
        return ExportSummary(photos, rows, snapshot.photo_count() - photos)


def _cargo(snapshot: Snapshot, folder: Path) -> ExportManifest:
    active = snapshot.generation
    if active is None:
        raise EmptyLibraryError(f"nothing is indexed in the library {folder}: there is nothing to take")
    return ExportManifest(active.model, active.fingerprint, active.dim, tuple(snapshot.roots()))
