"""Taking in the photos of an export, or of another library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from virtue.added_pictures import folder_of, is_folder
from virtue.indexer.roots import Options, without_links
from virtue.store.transfer.importing import import_photos
from virtue.store.transfer.manifest import ExportManifest, ImportSummary, PhotoExport

if TYPE_CHECKING:
    from virtue.store import Store, Writer


def take_in(
    store: Store, writer: Writer, manifest: ExportManifest, photos: Iterable[PhotoExport], source: str
) -> ImportSummary:
    """Brings photos into a library; what it has already stays as it is.

    Args:
        source: what they come from, for messages.
    """
    # Whether links may lead out of a folder is for its owner to say, and not for an export. Nor is the folder
    # where another library has pictures of its own one of this library's.
    roots = tuple(
        replace(root, options=without_links(root.options))
        for root in manifest.roots
        if not is_folder(root.path)
    )
    summary = import_photos(store, writer, replace(manifest, roots=roots), photos, source=source)
    remember_folder(store, writer)
    return summary


def remember_folder(store: Store, writer: Writer) -> None:
    """Notes that the library has pictures of its own, if it has, so that indexing looks at them."""
    if store.folder is None:
        return
    folder = folder_of(store.folder)
    with store.read() as snapshot:
        known = {root.path for root in snapshot.roots()}
    if folder not in known and os.path.isdir(folder):
        writer.remember_root(folder, Options().to_json())
