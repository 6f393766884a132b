"""One consistent version of a library, to read from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError
from virtue.store import calibration
from virtue.store import layout as names
from virtue.store.ann.segments import IndexRecord, find_index
from virtue.store.cache import GenerationView, IndexFiles, StoreCache
from virtue.store.calibration import ScoreDistribution
from virtue.store.catalogue import photos, queries, regions
from virtue.store.catalogue.photos import Copy, Wholes
from virtue.store.records import (
    KINDS,
    QUERY_KINDS,
    CaptionRecord,
    Counts,
    Fault,
    FileState,
    Find,
    Generation,
    Kind,
    QueryKind,
    Ranked,
    RegionLocation,
    RegionRecord,
    Root,
    SearchParams,
    UserAnnotations,
)
from virtue.store.vectors import exact, row_files


class Snapshot:
    """The library as it was when this snapshot was made, whatever is written meanwhile. Made by
    `Store.read`, good until that block ends; one thread at a time.

    Attributes:
        generation: the active one, which searches run on; None: nothing was ever indexed.
        version: how many commits there were.
    """

    generation: Generation | None
    version: int

    def __init__(self, connection: Connection, folder: Path, cache: StoreCache) -> None:
        self._connection = connection
        self._folder = folder
        self._cache = cache
        self.version = queries.version(connection)
        view = cache.view
        if view is None or view.version != self.version:
            view = self._take_view()
            cache.view = view if view.is_complete else None
        self._view = view
        self.generation = view.generation

    def _take_view(self) -> GenerationView:
        """Takes hold of all files at once, since a writer may remove those of an old generation or
        index at any time."""
        generation = queries.active(self._connection)
        if generation is None:
            return GenerationView(self.version, None, {}, {}, None)
        mapped: dict[Kind, np.ndarray] = {}
        indexes: dict[Kind, tuple[IndexRecord, IndexFiles]] = {}
        broken: DamagedError | None = None
        for kind in KINDS:
            try:
                mapped[kind] = row_files.map_generation(self._connection, self._folder, generation, kind)
            except DamagedError as error:
                broken = error
            record = find_index(self._connection, generation.id, kind)
            if record is not None:
                indexes[kind] = record, self._cache.index_files(record)
        return GenerationView(self.version, generation, mapped, indexes, broken)

    @property
    def connection(self) -> Connection:
        """The transaction that this snapshot reads in, for the store's own rooms."""
        return self._connection

    @property
    def is_complete(self) -> bool:
        """Whether the row files and those of indexes are there, as long as they must be."""
        return self._view.is_complete

    def generations(self) -> list[Generation]:
        """All of them; more than one only while a library changes its model."""
        return queries.generations(self._connection)

    def roots(self) -> list[Root]:
        found = queries.fetch(self._connection, "SELECT path, options FROM roots ORDER BY path")
        return [Root(*values) for values in found]

    def counts(self) -> Counts:
        sql = (
            "SELECT (SELECT count(*) FROM photos WHERE live), "
            "count(*) FILTER (WHERE NOT missing AND photo_id IS NOT NULL), "
            "count(*) FILTER (WHERE missing), "
            "count(*) FILTER (WHERE NOT missing AND problem IS NOT NULL) FROM files"
        )
        ((photos, files, missing, problems),) = queries.fetch(self._connection, sql)
        found = {kind: self._searchable(kind) for kind in KINDS}
        return Counts(photos, files, missing, problems, **found, bytes=names.bytes_in(self._folder))

    def _searchable(self, kind: Kind) -> int:
        if self.generation is None:
            return 0
        return queries.row_count(self._connection, self.generation.id, kind) - len(self._dead(kind))

    def problems(self) -> list[tuple[bytes, str]]:
        """(path, reason) of the files that are there and cannot be read."""
        sql = "SELECT path, problem FROM files WHERE problem IS NOT NULL AND NOT missing ORDER BY path"
        return [(path, problem) for path, problem in queries.fetch(self._connection, sql)]

    def files(self, target: Generation | None = None) -> dict[bytes, FileState]:
        """Every path the catalogue knows.

        Args:
            target: the generation whose settings are told; None: the active one.
        """
        sql = (
            "SELECT path, size, mtime_ns, sidecar, hash, problem, missing, settings FROM files "
            "LEFT JOIN photos ON photos.id = files.photo_id "
            "LEFT JOIN embeddings e ON e.photo_id = files.photo_id AND e.generation_id = ?"
        )
        found = queries.fetch(self._connection, sql, (self._id(target),))
        return {
            path: FileState(size, time, sidecar, hash, problem, missing == 1, settings)
            for path, size, time, sidecar, hash, problem, missing, settings in found
        }

    def known_photos(self, hashes: Iterable[bytes], target: Generation | None = None) -> dict[bytes, str]:
        """Which of these photos are embedded in the target generation (None: the active one), and
        with what settings. A photo may be known though no path of it is left."""
        sql = (
            "SELECT hash, settings FROM photos CROSS JOIN embeddings ON photo_id = photos.id "
            "WHERE generation_id = ? AND hash IN ({})"
        )
        found = queries.fetch_for(self._connection, sql, set(hashes), (self._id(target),))
        return {hash: settings for hash, settings in found}

    def photo_count(self) -> int:
        """How many the catalogue knows, also of those that are gone."""
        ((count,),) = queries.fetch(self._connection, "SELECT count(*) FROM photos")
        return int(count)

    def known_paths(self, paths: Iterable[bytes]) -> set[bytes]:
        """Which of these paths the catalogue knows."""
        sql = "SELECT path FROM files WHERE path IN ({})"
        return {path for (path,) in queries.fetch_for(self._connection, sql, paths)}

    def user_annotations(self, hash: bytes) -> UserAnnotations:
        """The regions and captions that a user handed over for this photo. They exist nowhere else:
        who embeds the photo again hands them on."""
        return regions.user_annotations(self._connection, hash)

    def search(
        self,
        kind: Kind,
        queries: np.ndarray,
        top: int,
        allowed: np.ndarray | None = None,
        *,
        query_kind: QueryKind = "image",
        params: SearchParams | None = None,
    ) -> Ranked:
        """The best rows of the active generation; the score of a row is the highest of its dot
        products with the queries. Rows of photos that are gone do not count.

        Exact, unless there is an index, and rows are not held on a device: then a row among the best
        may be missed, of ten by default no more than one in twenty, but scores are those of an exact
        search.

        Args:
            queries: (k, dim) float32.
            allowed: (count of rows,) bool, True for rows that may appear; None: all.
            query_kind: what the queries were made from; the index is searched further for texts.
            params: how far to go in an index. None: what tuning found for this kind of query.

        Raises:
            ValueError: the queries are of another dimension, or not finite; `allowed` is of another
                length than the rows.
            DamagedError: a row file is gone or too short.
            StoreError: the device where rows are held has not the cache.
        """
        if self.generation is None:
            return Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        lengths = np.vecdot(queries, queries).tolist()
        if queries.shape[1] != self.generation.dim or not all(map(math.isfinite, lengths)):
            raise ValueError(
                f"queries of shape {queries.shape} must be finite and of dimension {self.generation.dim}"
            )
        stored = self.vectors(kind)
        if allowed is not None and allowed.shape != (len(stored),):
            raise ValueError(f"allowed has shape {allowed.shape}, but there are {len(stored)} rows")
        # What asks for nothing is alike to all rows, and codes cannot be compared with it.
        if self._cache.device is None and kind in self._view.indexes and all(lengths):
            found = self._search_index(kind, queries, top, allowed, query_kind, params)
            if found is not None:
                return found
        return self.exact(kind, queries, top, allowed)

    def allowed(self, kind: Kind, where: str | Sequence[str], *, wholes: bool = True) -> np.ndarray:
        """Which rows of the active generation fit a filter (docs/search.md), or all of several:
        (count of rows,) bool, read-only; never rows of photos that are gone.

        Args:
            wholes: among regions count whole photos even if they have others.

        Raises:
            InputError: a filter cannot be read; names the place.
        """
        from virtue.store.catalogue import filters, filters_sql

        texts = (where,) if isinstance(where, str) else tuple(where)
        condition, generation = filters.parse(texts), self.generation
        if generation is None:
            return np.zeros(0, bool)

        def find() -> np.ndarray:
            flags = np.zeros(len(self.vectors(kind)), bool)
            flags[filters_sql.rows_that_fit(self._connection, generation.id, kind, condition, wholes)] = True
            flags[self._dead(kind)] = False
            flags.flags.writeable = False
            return flags

        return self._cache.allowed((self.version, generation.id, kind, wholes, texts), find)

    def exact(self, kind: Kind, queries: np.ndarray, top: int, allowed: np.ndarray | None = None) -> Ranked:
        """As `search`, past any index; `queries` (k, dim) float32, finite."""
        if self.generation is None:
            return Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
        held = self._cache.held(self.generation.id, kind, self.generation.dim)
        if held is not None:
            return held.best(self.vectors(kind), queries, top, self._dead(kind), allowed)
        kept = self._cache.decoded(self.generation.id, kind)
        return exact.best(self.vectors(kind), queries, top, self._dead(kind), allowed, kept)

    def _search_index(
        self,
        kind: Kind,
        queries: np.ndarray,
        top: int,
        allowed: np.ndarray | None,
        query_kind: QueryKind,
        params: SearchParams | None,
    ) -> Ranked | None:
        """What the index finds; None: it is of no use for this search."""
        from virtue.store.ann import index_search

        assert self.generation is not None
        generation, (record, files) = self.generation.id, self._view.indexes[kind]
        stored, dead = self.vectors(kind), self._dead(kind)
        if allowed is None:
            usable = self._cache.usable(self.version, generation, kind, len(stored), dead)
        else:
            usable = index_search.RowSelector.of(len(stored), dead, allowed)
        if not index_search.is_useful(top, usable, allowed is not None):
            return None
        index = self._cache.index(generation, kind, files)
        if index is None:
            return None
        params = params or record.search_params(query_kind)
        return index_search.best(
            index, stored, queries, top, params, usable, dead, allowed,
            lambda first: self._cache.decoded(generation, kind, first),
        )  # fmt: skip

    def search_params(self, kind: Kind) -> dict[QueryKind, SearchParams] | None:
        """How far searches go in the index of this kind; None: there is none, and they are exact."""
        if kind not in self._view.indexes:
            return None
        record = self._view.indexes[kind][0]
        return {query_kind: record.search_params(query_kind) for query_kind in QUERY_KINDS}

    def score_distribution(self, find: Find, query_kind: QueryKind) -> ScoreDistribution | None:
        """How the library's rows score for such queries at large; None: that was not measured."""
        return calibration.load(self._connection, self._id(None), find, query_kind)

    def is_calibration_due(self) -> bool:
        """Whether there are many more rows than when distributions were measured, or many fewer."""
        return self.generation is not None and bool(
            calibration.finds_due(self._connection, self.generation.id)
        )

    def vectors(self, kind: Kind) -> np.ndarray:
        """All rows of the active generation, dead ones too: (count, dim) fp16, read-only, mapped.

        Raises:
            DamagedError: a row file is gone or too short.
        """
        if self._view.broken is not None:
            raise self._view.broken
        return self._view.rows[kind] if self.generation else np.empty((0, 0), row_files.DTYPE)

    def regions(self, rows: Sequence[int] | np.ndarray) -> list[RegionRecord]:
        """The regions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.regions(self._connection, self._id(None), rows)

    def rows_of(self, photo_ids: Sequence[int]) -> np.ndarray:
        """(n,) int64 row numbers of all regions of these photos."""
        return regions.rows_of(self._connection, self._id(None), photo_ids)

    def locate(self, region_id: int | None, photo_id: int | None = None) -> RegionLocation | None:
        """Where a region is, or a photo as a whole, even if its files are gone; None: nowhere."""
        return regions.locate(self._connection, self._id(None), region_id, photo_id)

    def wholes(self) -> Wholes:
        """Every photo that is still there."""
        return photos.wholes(self._connection, self._id(None))

    def photo_id(self, hash: bytes) -> int | None:
        return photos.photo_id(self._connection, hash)

    def copies(self, photo_ids: Collection[int]) -> dict[int, list[Copy]]:
        """Where these photos are."""
        return photos.copies(self._connection, photo_ids)

    def repeated(self) -> list[int]:
        """Photos that are at several paths."""
        return photos.repeated(self._connection)

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[CaptionRecord]:
        """The captions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.captions(self._connection, self._id(None), rows)

    def sample_texts(self, count: int) -> list[str]:
        """Some of the captions, categories and tags, none twice."""
        sql = (
            "SELECT * FROM (SELECT text FROM captions WHERE generation_id = ?1 "
            "UNION SELECT category FROM regions WHERE generation_id = ?1 AND category IS NOT NULL "
            "UNION SELECT tag FROM tags) ORDER BY random() LIMIT ?2"
        )
        return [text for (text,) in queries.fetch(self._connection, sql, (self._id(None), count))]

    def is_large(self) -> bool:
        """Whether there is an index, or more rows than are quick to read one by one."""
        dim = self.generation.dim if self.generation else 0
        return bool(self._view.indexes) or any(
            len(self.vectors(kind)) * dim > exact.MAX_SCANNED_FLOATS for kind in KINDS
        )

    def faults(self) -> list[Fault]:
        """All that is wrong with this version; reads every row of every generation."""
        from virtue.store.verify import find_faults

        return find_faults(self._connection, self._folder)

    def _dead(self, kind: Kind) -> np.ndarray:
        assert self.generation is not None
        return self._cache.dead(self._connection, self.version, self.generation.id, kind)

    def _id(self, target: Generation | None) -> int:
        chosen = target or self.generation
        return chosen.id if chosen else 0
