"""Takes photos with their vectors into a library, from a file or from another library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from virtue.errors import InputError, ModelMismatchError
from virtue.location import hide_secrets
from virtue.store import Store, open_store
from virtue.store.catalogue.queries import chunks
from virtue.store.records import EmbeddedPhoto, FileRecord, Generation, ProgressCallback, TextChecks
from virtue.store.transfer import border
from virtue.store.transfer.manifest import ExportManifest, ImportSummary, PhotoExport
from virtue.store.transfer.photo_reader import BATCH_PHOTOS, read_manifest, read_photos
from virtue.store.writer import Writer


def import_photos(
    store: Store, writer: Writer, manifest: ExportManifest, photos: Iterable[PhotoExport], source: str
) -> ImportSummary:
    """Brings photos into a library, `BATCH_PHOTOS` in a commit; what it has already stays as it is.

    Args:
        writer: of `store`.
        source: what the photos come from, for messages.

    Raises:
        ModelMismatchError: their vectors are of another model than the library's.
        StoreError: the disk is full, or fails.
    """
    with store.read() as snapshot:
        _check_model(snapshot.generation, manifest, source)
        known_roots = {root.path for root in snapshot.roots()}
    writer.generation(manifest.model, manifest.fingerprint, manifest.dim)
    for root in manifest.roots:
        if root.path not in known_roots:
            writer.remember_root(root.path, root.options)
    taken = known = paths = left_out = passed = 0
    for batch in chunks(photos, BATCH_PHOTOS):
        with store.read() as snapshot:
            known_hashes = snapshot.known_photos(each.photo.info.hash for each in batch)
            known_paths = snapshot.known_paths(file.path for each in batch for file in each.files)
            forgotten = snapshot.forgotten_among(each.photo.info.hash for each in batch)
        new: list[EmbeddedPhoto] = []
        files: list[FileRecord] = []
        missing: list[bytes] = []
        for each in batch:
            if each.photo.info.hash in forgotten:
                passed += 1
                continue
            free = [file for file in each.files if file.path not in known_paths and store.takes(file.path)]
            if each.photo.info.hash in known_hashes:
                known += 1
            elif free:
                new.append(each.photo)
            else:
                left_out += 1
                continue
            files += free
            known_paths |= {file.path for file in free}
            missing += [file.path for file in free if file.path in each.missing]
        writer.commit(new, files, missing)
        taken, paths = taken + len(new), paths + len(files)
    return ImportSummary(taken, known, paths, left_out, passed)


def _check_model(active: Generation | None, manifest: ExportManifest, source: str) -> None:
    if active is None or (active.fingerprint, active.dim) == (manifest.fingerprint, manifest.dim):
        return
    version = " of another version" if active.model == manifest.model else ""
    raise ModelMismatchError(
        f"{source} holds vectors of model {manifest.model!r}, and this library those of "
        f"{active.model!r}{version}: embed the photos of one of them again with the other's model",
        hint="virtue reindex --model NAME",
    )


@contextmanager
def read_library(
    other: Path | str,
    own: Path | str,
    checks: TextChecks,
    progress: ProgressCallback = lambda what, done, total: None,
) -> Iterator[tuple[ExportManifest, Iterator[PhotoExport]]]:
    """Opens the library at the location `other` for `import_photos`, for as long as the block lasts. Reads
    all of it once before, so that nothing is begun with one that ends in rubbish.

    Args:
        own: the library that takes its photos.
        progress: called as (what is being done, photos done, photos in all).

    Raises:
        InputError: it is the same library, or holds what no library does.
        EmptyLibraryError: nothing was ever indexed there.
        DamagedError, StoreError: it cannot be read.
    """
    if _real(other) == _real(own):
        raise InputError(f"{_real(own)} is the library itself: name another one to take photos from")
    with open_store(other, read_only=True) as source, source.read_sound() as snapshot:
        manifest = read_manifest(snapshot)
        try:
            border.check_manifest(manifest, checks)
            count = snapshot.embedded_photos()
            for each in _counted(read_photos(snapshot), "checking photos", count, progress):
                border.check_photo(each, manifest.dim, checks)
        except ValueError as error:
            raise InputError(
                f"the library {source.name} holds what none does ({error}), and nothing was taken: verify it"
            ) from error
        yield manifest, _counted(read_photos(snapshot), "taking photos", count, progress)


def _counted(
    photos: Iterable[PhotoExport], what: str, total: int, progress: ProgressCallback
) -> Iterator[PhotoExport]:
    for done, photo in enumerate(photos):
        progress(what, done, total)
        yield photo
    progress(what, total, total)


def _real(location: Path | str) -> str:
    """Returns a location as it can be compared, and shown."""
    return hide_secrets(location) if isinstance(location, str) else os.path.realpath(location)
