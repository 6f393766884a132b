"""What a store keeps between snapshots, because it costs more to make than to search.

A `GenerationView` belongs to one version of the library, and all that it knows dies with that version. A
`GenerationCache` holds what is made from rows and index files; these never change, so it serves every version
until another generation takes over.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtue.errors import DamagedError
from virtue.store.ann import segments
from virtue.store.ann.segment_cache import SegmentCache, SegmentFiles
from virtue.store.catalogue import filters_sql, queries
from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.filters import RowFilter
from virtue.store.duplicates import FullImages
from virtue.store.records import KINDS, Generation, Kind
from virtue.store.vectors import exact, row_files

if TYPE_CHECKING:
    import torch

    from virtue.store.ann.index_search import RowSelector
    from virtue.store.ann.ivf import Index
    from virtue.store.vectors.gpu_rows import DeviceRows

MAX_FILTERS = 8
"""Filters whose rows a version keeps, one byte a row."""


class GenerationCache:
    """What was made from the rows and the indexes of one generation. Threads may share it."""

    def __init__(self, folder: Path, generation: Generation, device: torch.device | None) -> None:
        self.id = generation.id
        self.segments = SegmentCache(folder, generation.dim)
        self._dim = generation.dim
        self.device = device
        self._decoded: dict[tuple[Kind, int], exact.DecodedRows] = {}
        self._on_device: dict[Kind, DeviceRows] = {}
        self._turn = threading.Lock()

    def decoded(self, kind: Kind, first: int = 0) -> exact.DecodedRows:
        """Returns the decoded rows from `first` on: of all rows, and of the spans that indexes leave out."""
        key = (kind, first)
        found = self._decoded.get(key)
        if found is None:
            keep = {k: v for k, v in self._decoded.items() if not first or k[0] != kind or not k[1]}
            found = exact.DecodedRows()
            self._decoded = keep | {key: found}
        return found

    def on_device(self, kind: Kind) -> DeviceRows | None:
        """Returns the rows on the device; None: there is no device."""
        if self.device is None:
            return None
        from virtue.store.vectors.gpu_rows import DeviceRows

        with self._turn:
            if kind not in self._on_device:
                self._on_device[kind] = DeviceRows(self.device, kind, self._dim)
            return self._on_device[kind]


class GenerationView:
    """The active generation as one version of the library has it: what all snapshots of that version share.

    It takes hold of all files at once, since a writer may remove those of an old generation or index at any
    time.

    Attributes:
        version: how many commits there were.
        rows: (count, dim) fp16 of each kind, mapped.
        indexes: the records of those kinds that have one.
        broken: why the rows cannot be read.
        cache: of the generation.
    """

    def __init__(
        self,
        connection: AnyConnection,
        folder: Path,
        version: int,
        generation: Generation,
        cache: GenerationCache,
    ) -> None:
        self.version = version
        self.generation = generation
        self.cache = cache
        self.rows: dict[Kind, np.ndarray] = {}
        self.indexes: dict[Kind, segments.IndexRecord] = {}
        self.broken: DamagedError | None = None
        self._files: dict[Kind, SegmentFiles] = {}
        self._opened: dict[Kind, Index | None] = {}
        self._dead: dict[Kind, np.ndarray] = {}
        self._selectors: dict[Kind, RowSelector] = {}
        self._full_images: FullImages | None = None
        self._photos: int | None = None
        self._bitmaps: dict[tuple[Kind, RowFilter], np.ndarray] = {}
        for kind in KINDS:
            self._take_rows(connection, folder, kind)
            record = segments.find_index(connection, generation.id, kind)
            if record is not None:
                self.indexes[kind] = record
                self._files[kind] = cache.segments.map(record)

    def _take_rows(self, connection: AnyConnection, folder: Path, kind: Kind) -> None:
        try:
            self.rows[kind] = row_files.map_generation(connection, folder, self.generation, kind)
        except DamagedError as error:
            self.broken = error
            return
        lowest, highest = queries.row_span(connection, self.generation.id, kind)
        if lowest < 0 or highest >= len(self.rows[kind]):
            self.broken = row_files.damaged(f"the library {folder} has {kind} whose rows were never written")

    @property
    def is_complete(self) -> bool:
        """Whether all files are there, as long as they must be."""
        contents = [content for files in self._files.values() for _, content in files]
        return self.broken is None and not any(content is None for content in contents)

    def segment_ids(self) -> set[int]:
        return {segment.id for record in self.indexes.values() for segment in record.segments}

    def index(self, kind: Kind) -> Index | None:
        """Returns the index of this kind, opened; None: there is none, or all of its files are gone or
        damaged."""
        if kind not in self._opened:
            files = self._files.get(kind)
            self._opened[kind] = None if files is None else self.cache.segments.open(files)
        return self._opened[kind]

    def dead(self, connection: AnyConnection, kind: Kind) -> np.ndarray:
        """Returns (n,) int64 rows that no search may find."""
        if kind not in self._dead:
            self._dead[kind] = queries.dead_rows(connection, self.generation.id, kind)
        return self._dead[kind]

    def bitmap(self, connection: AnyConnection, kind: Kind, filter: RowFilter) -> np.ndarray:
        """Returns (count of rows,) bool, read-only: rows that match a filter and are not dead; kept for the
        filters used last."""
        key = (kind, filter)
        found = self._bitmaps.get(key)
        if found is None:
            found = np.zeros(len(self.rows[kind]), bool)
            found[filters_sql.matching_rows(connection, self.generation.id, kind, filter)] = True
            found[self.dead(connection, kind)] = False
            found.flags.writeable = False
        others = [(k, v) for k, v in self._bitmaps.items() if k != key]
        self._bitmaps = dict([*others[1 - MAX_FILTERS :], (key, found)])
        return found

    def full_images(self, connection: AnyConnection) -> FullImages:
        if self._full_images is None:
            self._full_images = FullImages.of(connection, self.generation.id)
        return self._full_images

    def photos(self, connection: AnyConnection) -> int:
        """Counts the photos that have vectors."""
        if self._photos is None:
            sql = "SELECT count(*) FROM embeddings WHERE generation_id = ?"
            ((self._photos,),) = queries.fetch(connection, sql, (self.generation.id,), (int,))
        return self._photos

    def selector(self, connection: AnyConnection, kind: Kind) -> RowSelector:
        """Returns the rows that searches without a filter may find, as an index takes them."""
        from virtue.store.ann.index_search import RowSelector

        if kind not in self._selectors:
            dead = self.dead(connection, kind)
            self._selectors[kind] = RowSelector.of(len(self.rows[kind]), dead, None)
        return self._selectors[kind]


class StoreCache:
    """What an open store keeps: the view of the last version, and the cache of its generation. Threads may
    share it.

    Args:
        device: where rows are held for exact searches; None: nowhere.
    """

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        self.device = device
        self._folder = folder
        self._view: GenerationView | None = None
        self._cache: GenerationCache | None = None

    def view(self, connection: AnyConnection, version: int) -> GenerationView | None:
        """Returns the active generation as this connection sees it; None: nothing was ever indexed. It is
        kept if no file is missing."""
        view = self._view
        if view is not None and view.version == version:
            return view
        generation = queries.active(connection)
        if generation is None:
            return None
        cache = self._cache
        if cache is None or cache.id != generation.id:
            self._cache = cache = GenerationCache(self._folder, generation, self.device)
        view = GenerationView(connection, self._folder, version, generation, cache)
        cache.segments.keep_only(view.segment_ids())
        self._view = view if view.is_complete else None
        return view
