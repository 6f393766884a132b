"""One version of a library in a folder: its catalogue, and its rows as they are mapped."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.cache import GenerationView, StoreCache
from virtue.store.catalogue import queries, regions, token_tables
from virtue.store.catalogue.filters import RowFilter
from virtue.store.records import (
    KINDS,
    QUERY_KINDS,
    Fault,
    Field,
    FullImage,
    Kind,
    QueryKind,
    Ranked,
    Ranking,
    SamePicture,
    SearchParams,
    TextChecks,
    TokenDocument,
    VectorBlock,
)
from virtue.store.snapshot import Snapshot
from virtue.store.vectors import exact, row_files


class FolderSnapshot(Snapshot):
    """A snapshot of a library in a folder. Rows are numbers of places in row files.

    Attributes:
        folder: for the store's own modules.
    """

    connection: sqlite3.Connection

    def __init__(self, connection: sqlite3.Connection, folder: Path, cache: StoreCache) -> None:
        self.connection = connection
        self.folder, self.name = folder, str(folder)
        self.version = queries.version(connection)
        self._view = cache.view(connection, self.version)
        self.generation = self._view.generation if self._view else None

    @property
    def is_complete(self) -> bool:
        """Whether the row files and those of indexes are there, as long as they must be."""
        return self._view is None or self._view.is_complete

    def searchable(self, kind: Kind) -> int:
        if self._view is None:
            return 0
        count = queries.row_count(self.connection, self._view.generation.id, kind)
        return count - len(self._view.dead(self.connection, kind))

    def vectors(self, kind: Kind, filter: RowFilter | None, block_rows: int) -> Iterator[VectorBlock]:
        if self._view is None:
            return
        rows = self.mapped_rows(kind)
        bitmap = self._view.bitmap(self.connection, kind, filter or RowFilter())
        numbers = np.flatnonzero(bitmap)
        for first in range(0, len(numbers), block_rows):
            some = numbers[first : first + block_rows]
            yield VectorBlock(
                *regions.places(self.connection, self._view.generation.id, kind, some),
                exact.decode(rows[some]),
            )

    def rank(
        self,
        kind: Kind,
        queries: np.ndarray,
        *,
        filter: RowFilter | None = None,
        query_kind: QueryKind = "image",
        params: SearchParams | None = None,
    ) -> Ranking:
        view = self._view
        if view is None:
            return exact.NOTHING
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        lengths = np.vecdot(queries, queries).tolist()
        if queries.shape[1] != view.generation.dim or not all(map(math.isfinite, lengths)):
            raise ValueError(
                f"queries of shape {queries.shape} must be finite and of dimension {view.generation.dim}"
            )
        rows = self.mapped_rows(kind)
        allowed = None if filter is None else view.bitmap(self.connection, kind, filter)
        # A query of zeros is alike to all rows, and codes cannot be compared with it.
        index = view.index(kind) if self._uses_index(kind) and all(lengths) else None
        if index is None:
            return self._scan(view, kind, queries, allowed)
        from virtue.store.ann.index_search import IndexRanking, RowSelector

        dead = view.dead(self.connection, kind)
        if allowed is None:
            selector = view.selector(self.connection, kind)
        else:
            selector = RowSelector.of(len(rows), dead, allowed)
        params = params or view.indexes[kind].search_params(query_kind)
        return IndexRanking(
            index, rows, queries, params, selector, dead, allowed,
            lambda first: view.cache.decoded(kind, first),
        )  # fmt: skip

    def exact(self, kind: Kind, queries: np.ndarray, top: int, filter: RowFilter | None = None) -> Ranked:
        if self._view is None:
            return exact.NOTHING.top(top)
        allowed = None if filter is None else self._view.bitmap(self.connection, kind, filter)
        return self._scan(self._view, kind, queries, allowed).top(top)

    def _scan(
        self, view: GenerationView, kind: Kind, queries: np.ndarray, allowed: np.ndarray | None
    ) -> Ranking:
        rows, dead = self.mapped_rows(kind), view.dead(self.connection, kind)
        on_device = view.cache.on_device(kind)
        if on_device is not None:
            return on_device.scan(rows, queries, dead, allowed)
        return exact.scan(rows, queries, dead, allowed, view.cache.decoded(kind))

    def _uses_index(self, kind: Kind) -> bool:
        return self._view is not None and kind in self._view.indexes and self._view.cache.device is None

    def scores(self, kind: Kind, rows: Sequence[int] | np.ndarray, queries: np.ndarray) -> np.ndarray:
        numbers = np.asarray(rows, np.int64)
        return exact.score_rows(self.mapped_rows(kind), numbers, np.asarray(queries, np.float32))

    def vectors_of(self, kind: Kind, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return exact.decode(self.mapped_rows(kind)[np.asarray(rows, np.int64)])

    def count_matching(self, kind: Kind, filter: RowFilter) -> int:
        if self._view is None:
            return 0
        self.mapped_rows(kind)
        return int(np.count_nonzero(self._view.bitmap(self.connection, kind, filter)))

    def row_count(self, kind: Kind) -> int:
        """Returns how many rows there are, dead ones too; row numbers lie below it."""
        return len(self.mapped_rows(kind))

    def mapped_rows(self, kind: Kind) -> np.ndarray:
        """Returns all rows of the active generation, dead ones too: (count, dim) fp16, read-only, mapped. For
        the store's own modules.

        Raises:
            DamagedError: a row file is gone or too short.
        """
        if self._view is None:
            return np.empty((0, 0), row_files.DTYPE)
        if self._view.broken is not None:
            raise self._view.broken
        return self._view.rows[kind]

    def search_params(self, kind: Kind) -> dict[QueryKind, SearchParams] | None:
        if self._view is None or kind not in self._view.indexes:
            return None
        record = self._view.indexes[kind]
        return {query_kind: record.search_params(query_kind) for query_kind in QUERY_KINDS}

    def embedded_photos(self) -> int:
        return 0 if self._view is None else self._view.photos(self.connection)

    def full_images(self, photo_ids: Collection[int]) -> list[FullImage]:
        return [] if self._view is None else self._view.full_images(self.connection).records(photo_ids)

    def near_hashes(self, phash: int, max_distance: int) -> list[FullImage]:
        if self._view is None:
            return []
        return self._view.full_images(self.connection).near(phash, max_distance)

    def same_pictures(self, max_distance: int, min_score: float) -> Iterator[SamePicture]:
        if self._view is None:
            return iter(())
        images = self._view.full_images(self.connection)
        return images.pairs(self.mapped_rows("regions"), max_distance, min_score)

    def is_large(self) -> bool:
        if self._view is None:
            return False
        dim = self._view.generation.dim
        too_many = any(self.row_count(kind) * dim > exact.MAX_SCANNED_FLOATS for kind in KINDS)
        return bool(self._view.indexes) or too_many

    def faults(self, checks: TextChecks | None = None) -> list[Fault]:
        from virtue.store.verify import find_faults

        return find_faults(self.connection, self.folder, checks)

    def row_faults(self) -> list[Fault]:
        """Finds what is wrong with the rows of the active generation. Reads them all."""
        from virtue.store.verify import find_row_faults

        if self.generation is None:
            return []
        return find_row_faults(self.connection, self.folder, self.generation)

    def file_ids(self) -> frozenset[tuple[str, int]]:
        """Returns the numbers of the row and index files of this version."""
        rows = {("rows", each.id) for each in self.generations()}
        return frozenset(rows | {("index", file.id) for _, _, file in segments.all_segments(self.connection)})

    def holds(self, kind: Kind, filter: RowFilter, rows: Sequence[int]) -> Sequence[bool]:
        if self._view is None:
            return [False] * len(rows)
        matching = self._view.bitmap(self.connection, kind, filter)
        return [bool(matching[row]) for row in rows]

    def size_on_disk(self) -> int:
        return names.bytes_in(self.folder)

    def _count_documents(self, field: Field, tokens: Sequence[str]) -> dict[str, int]:
        return token_tables.count(self.connection, field, tokens)

    def _find_documents(
        self, field: Field, any_of: Sequence[str], all_of: Sequence[str]
    ) -> list[TokenDocument]:
        generation = self._id(None)
        return token_tables.find(self.connection, generation, field, any_of, all_of)
