"""Takes photos with their vectors into a library, from a file or from another library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from virtue.errors import InputError, ModelMismatchError
from virtue.store.catalogue.queries import chunks
from virtue.store.records import EmbeddedPhoto, FileRecord, Generation, TextChecks
from virtue.store.store import Store
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
        forgotten = {photo.hash for photo in snapshot.forgotten()}
    writer.generation(manifest.model, manifest.fingerprint, manifest.dim)
    for root in manifest.roots:
        if root.path not in known_roots:
            writer.remember_root(root.path, root.options)
    taken = known = paths = left_out = passed = 0
    for batch in chunks(photos, BATCH_PHOTOS):
        with store.read() as snapshot:
            known_hashes = snapshot.known_photos(each.photo.info.hash for each in batch)
            known_paths = snapshot.known_paths(file.path for each in batch for file in each.files)
        new: list[EmbeddedPhoto] = []
        files: list[FileRecord] = []
        missing: list[bytes] = []
        for each in batch:
            if each.photo.info.hash in forgotten:
                passed += 1
                continue
            free = [file for file in each.files if file.path not in known_paths]
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
    other: Path, own: Path, checks: TextChecks
) -> Iterator[tuple[ExportManifest, Iterator[PhotoExport]]]:
    """Opens the library in the folder `other` for `import_photos`, for as long as the block lasts. Reads all
    of it once before, so that nothing is begun with one that ends in rubbish.

    Args:
        own: the library that takes its photos.

    Raises:
        InputError: it is the same library, or holds what no library does.
        EmptyLibraryError: nothing was ever indexed there.
        DamagedError, StoreError: it cannot be read.
    """
    if os.path.realpath(other) == os.path.realpath(own):
        raise InputError(f"{other} is the library itself: name another one to take photos from")
    with Store.open(other, read_only=True) as source, source.read_sound() as snapshot:
        manifest = read_manifest(snapshot, other)
        try:
            border.check_manifest(manifest, checks)
            for each in read_photos(snapshot):
                border.check_photo(each, manifest.dim, checks)
        except ValueError as error:
            raise InputError(
                f"the library {other} holds what none does ({error}), and nothing was taken: verify it"
            ) from error
        yield manifest, read_photos(snapshot)
