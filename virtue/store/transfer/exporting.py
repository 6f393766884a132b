"""Writes the photos of a library, with their vectors, into a file."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from virtue.overwriting import refuse_to_overwrite
from virtue.stopping import checking
from virtue.store.store import Store
from virtue.store.transfer.manifest import ExportSummary, PhotoExport
from virtue.store.transfer.parquet import is_export, write_parquet
from virtue.store.transfer.photo_reader import read_manifest, read_photos


def export_parquet(
    store: Store, file: Path, *, force: bool = False, stop: threading.Event | None = None
) -> ExportSummary:
    """Writes all photos that have vectors into one Parquet file.

    Args:
        force: overwrite a file that is no export.
        stop: set by another thread, it ends the work by StoppedError, and no file is written.

    Raises:
        EmptyLibraryError: nothing was ever indexed.
        DamagedError: rows are not what was written.
        InputError: pyarrow is not installed, or the file cannot be written, or exists and is no export.
    """
    if not force:
        refuse_to_overwrite(file, "an export of virtue", is_export)
    written = 0

    def count(photos: Iterable[PhotoExport]) -> Iterator[PhotoExport]:
        nonlocal written
        for each in photos:
            if each.photo.regions or each.photo.captions:
                written += 1
                yield each

    with store.read_sound() as snapshot:
        manifest = read_manifest(snapshot)
        rows = write_parquet(file, manifest, count(checking(read_photos(snapshot), stop)))
        return ExportSummary(written, rows, snapshot.photo_count() - written)
