"""One consistent version of a library, to read from."""

from __future__ import annotations

import math
import os
import sqlite3
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from virtue.paths import printable
from virtue.store import calibration
from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.cache import GenerationView, StoreCache
from virtue.store.calibration import ScoreDistribution
from virtue.store.catalogue import listing, photos, queries, regions, token_tables
from virtue.store.catalogue.database import WrongValueError
from virtue.store.catalogue.filters import Filter, RowFilter
from virtue.store.catalogue.listing import Order
from virtue.store.records import (
    KINDS,
    LEFT_OUT,
    QUERY_KINDS,
    CaptionRecord,
    Copy,
    Counts,
    Fault,
    Field,
    FileState,
    Find,
    ForgottenPhoto,
    FullImage,
    Generation,
    Kind,
    Photo,
    PhotoFacts,
    QueryKind,
    Ranked,
    Ranking,
    ReadText,
    RegionLocation,
    RegionRecord,
    Root,
    SamePicture,
    SearchParams,
    TextChecks,
    TokenDocument,
    UnreadPhoto,
    UserAnnotations,
    VectorBlock,
)
from virtue.store.vectors import exact, row_files

_FILE_STATE = (
    bytes, int, int, str | None, bytes | None, str | None, int, str | None, str | None, int | None,
)  # fmt: skip


class Snapshot:
    """The library as it was when this snapshot was made, whatever is written meanwhile. Made by
    `Store.read`, good until that block ends; one thread at a time.

    Attributes:
        generation: the active one, which searches run on; None: nothing was ever indexed.
        version: how many commits there were.
        connection, folder: for the store's own modules.
    """

    generation: Generation | None
    version: int

    def __init__(self, connection: sqlite3.Connection, folder: Path, cache: StoreCache) -> None:
        self.connection = connection
        self.folder = folder
        self.version = queries.version(connection)
        self._view = cache.view(connection, self.version)
        self.generation = self._view.generation if self._view else None

    @property
    def is_complete(self) -> bool:
        """Whether the row files and those of indexes are there, as long as they must be."""
        return self._view is None or self._view.is_complete

    def generations(self) -> list[Generation]:
        """Returns all generations; there are several only while a library changes its model."""
        return queries.generations(self.connection)

    def roots(self) -> list[Root]:
        found = queries.fetch(
            self.connection, "SELECT path, options FROM roots ORDER BY path", types=(bytes, str)
        )
        return [Root(*values) for values in found]

    def counts(self) -> Counts:
        sql = (
            "SELECT (SELECT count(*) FROM photos WHERE live), "
            "count(*) FILTER (WHERE NOT missing AND photo_id IS NOT NULL), "
            "count(*) FILTER (WHERE missing), "
            "count(*) FILTER (WHERE NOT missing AND problem IS NOT NULL), "
            "(SELECT count(*) FROM forgotten), "
            "(SELECT count(*) FROM photos WHERE live AND read_by <> ?1), "
            "(SELECT count(DISTINCT photo_id) FROM captions JOIN photos ON photos.id = photo_id "
            "WHERE live AND read_by <> ?1 AND source = 'ocr' AND generation_id = ?2) FROM files"
        )
        values = (LEFT_OUT, self._id(None))
        ((photos, files, missing, problems, forgotten, read, texts),) = queries.fetch(
            self.connection, sql, values
        )
        found = {kind: self._searchable(kind) for kind in KINDS}
        return Counts(
            photos,
            files,
            missing,
            problems,
            **found,
            bytes=names.bytes_in(self.folder),
            forgotten=forgotten,
            read=read,
            with_text=texts,
        )

    def _searchable(self, kind: Kind) -> int:
        if self._view is None:
            return 0
        count = queries.row_count(self.connection, self._view.generation.id, kind)
        return count - len(self._view.dead(self.connection, kind))

    def problems(self) -> list[tuple[bytes, str]]:
        """Returns (path, reason) of the files that are there and cannot be read."""
        sql = "SELECT path, problem FROM files WHERE problem IS NOT NULL AND NOT missing ORDER BY path"
        return [(path, problem) for path, problem in queries.fetch(self.connection, sql, types=(bytes, str))]

    def missing(self) -> list[bytes]:
        """Returns the paths where a photo was that is no longer there."""
        sql = "SELECT path FROM files WHERE missing ORDER BY path"
        found = queries.fetch(self.connection, sql, types=(bytes,))
        return [path for (path,) in found]

    def found_elsewhere(self) -> list[tuple[bytes, bytes]]:
        """Returns the missing paths of photos that are still there, each with a path where they are."""
        sql = (
            "SELECT gone.path, here.path FROM files gone "
            "JOIN files here ON here.photo_id = gone.photo_id AND NOT here.missing WHERE gone.missing"
        )
        return [(gone, here) for gone, here in queries.fetch(self.connection, sql, types=(bytes, bytes))]

    def perhaps_renamed(self) -> dict[bytes, bytes]:
        """Returns the missing paths whose photos may be in a file that cannot be read now, since that has the
        same size and time, each with such a file."""
        sql = (
            "SELECT gone.path, here.path FROM files gone JOIN files here "
            "ON here.size = gone.size AND here.mtime_ns = gone.mtime_ns "
            "AND here.photo_id IS NULL AND NOT here.missing WHERE gone.missing"
        )
        found = queries.fetch(self.connection, sql, types=(bytes, bytes))
        return {gone: here for gone, here in found}

    def forgotten(self) -> list[ForgottenPhoto]:
        """Returns the photos that indexing passes by, since they were forgotten, by their paths."""
        sql = "SELECT hash, path, size, mtime_ns, forgotten_at FROM forgotten ORDER BY path"
        found = queries.fetch(self.connection, sql, types=(bytes, bytes, int, int, str))
        return [ForgottenPhoto(*values) for values in found]

    def files(self, target: Generation | None = None) -> dict[bytes, FileState]:
        """Returns every path the catalogue knows.

        Args:
            target: the generation whose settings are told; None: the active one.
        """
        sql = (
            "SELECT path, size, mtime_ns, sidecar, hash, problem, missing, settings, judged_by, ctime_ns "
            "FROM files "
            "LEFT JOIN photos ON photos.id = files.photo_id "
            "LEFT JOIN embeddings e ON e.photo_id = files.photo_id AND e.generation_id = ?"
        )
        found = queries.fetch(self.connection, sql, (self._id(target),), _FILE_STATE)
        return {
            path: FileState(size, time, sidecar, hash, problem, missing == 1, settings, judge, ctime)
            for path, size, time, sidecar, hash, problem, missing, settings, judge, ctime in found
        }

    def known_photos(self, hashes: Iterable[bytes], target: Generation | None = None) -> dict[bytes, str]:
        """Returns which of these photos are embedded in the target generation (None: the active one), and
        with what settings. A photo may be known though no path of it is left."""
        sql = (
            "SELECT hash, settings FROM photos CROSS JOIN embeddings ON photo_id = photos.id "
            "WHERE generation_id = ? AND hash IN ({})"
        )
        found = queries.fetch_for(self.connection, sql, set(hashes), (self._id(target),), (bytes, str))
        return {hash: settings for hash, settings in found}

    def photo_count(self) -> int:
        """Counts the photos in the catalogue, those that are gone too."""
        ((count,),) = queries.fetch(self.connection, "SELECT count(*) FROM photos")
        return int(count)

    def known_paths(self, paths: Iterable[bytes]) -> set[bytes]:
        """Returns which of these paths the catalogue knows."""
        sql = "SELECT path FROM files WHERE path IN ({})"
        return {path for (path,) in queries.fetch_for(self.connection, sql, paths, types=(bytes,))}

    def user_annotations(self, hash: bytes) -> UserAnnotations:
        """Returns the regions and captions that a user gave for this photo. They exist nowhere else, so they
        must be stored again with new vectors."""
        return regions.user_annotations(self.connection, hash)

    def read_text(self, hash: bytes) -> ReadText:
        """Returns what was read in this photo, as it is to be stored with new vectors."""
        return regions.read_text(self.connection, hash)

    def unread(self, reader: str) -> list[UnreadPhoto]:
        """Returns the photos of the active generation that are there and that this reader has not read, but
        for those that cannot be read now, in the order in which they came."""
        sql = (
            "SELECT hash, path, read_by FROM photos p CROSS JOIN files f ON f.photo_id = p.id "
            "WHERE live AND read_by IS NOT ? AND NOT missing AND problem IS NULL "
            "AND EXISTS (SELECT 1 FROM embeddings WHERE photo_id = p.id AND generation_id = ?) "
            "ORDER BY p.id, path"
        )
        found = queries.fetch(self.connection, sql, (reader, self._id(None)), (bytes, bytes, str | None))
        return [
            UnreadPhoto(hash, tuple(path for _, path, _ in some), read_by)
            for (hash, read_by), group in groupby(found, lambda values: (values[0], values[2]))
            if (some := list(group))
        ]

    def sidecar_texts(self, hash: bytes) -> tuple[str, ...]:
        """Returns the captions of this photo that were read from files beside it."""
        return regions.sidecar_texts(self.connection, hash)

    # -- lists --------------------------------------------------------------------------------------------

    def photo_ids(
        self,
        filter: Filter | None = None,
        order: Order = "photo_id",
        offset: int = 0,
        limit: int | None = None,
    ) -> list[int]:
        """Returns the photos that are there and match a filter."""
        return listing.photo_ids(self.connection, self._id(None), filter, order, offset, limit)

    def count_photos(self, filter: Filter | None = None) -> int:
        return listing.count(self.connection, self._id(None), filter)

    def photos(self, ids: Sequence[int]) -> list[Photo]:
        """Returns all that is known of these photos, in their order; those that the library has not are left
        out."""
        return listing.photos(self.connection, self._id(None), ids)

    def facts(self, photo_ids: Collection[int]) -> dict[int, PhotoFacts]:
        """Returns what hits tell of these photos."""
        return listing.facts(self.connection, photo_ids)

    def browse(self, kind: Kind, filter: RowFilter, every: bool, offset: int, limit: int) -> list[int]:
        """Returns rows of a kind that match a filter, those of the newest photos first: the first of each
        photo, or `every` one."""
        return listing.browse(self.connection, self._id(None), kind, filter, every, offset, limit)

    def vectors(self, kind: Kind, filter: RowFilter | None, block_rows: int) -> Iterator[VectorBlock]:
        """Yields the vectors of a kind that searches can find, in the order of their rows."""
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

    # -- searching ---------------------------------------------------------------------------------------

    def rank(
        self,
        kind: Kind,
        queries: np.ndarray,
        *,
        filter: RowFilter | None = None,
        query_kind: QueryKind = "image",
        params: SearchParams | None = None,
    ) -> Ranking:
        """Returns the rows of the active generation, best first; the score of a row is the highest of its dot
        products with the queries. Rows of photos that are gone do not count.

        Exact, unless there is an index, and rows are not held on a device: then a row among the best
        may be missed, of ten by default no more than one in twenty, but scores are those of an exact
        search.

        Args:
            queries: (k, dim) float32.
            filter: which rows may appear; None: all.
            query_kind: what the queries were made from; an index is searched further for texts.
            params: how far to go in an index. None: what tuning found for this kind of query.

        Raises:
            ValueError: the queries are of another dimension, or not finite.
            DamagedError: a row file is gone or too short.
            StoreError: the device where rows are held has not the memory.
        """
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

    def search(
        self,
        kind: Kind,
        queries: np.ndarray,
        top: int,
        filter: RowFilter | None = None,
        *,
        query_kind: QueryKind = "image",
        params: SearchParams | None = None,
    ) -> Ranked:
        """Returns the best `top` rows of `rank`."""
        return self.rank(kind, queries, filter=filter, query_kind=query_kind, params=params).top(top)

    def exact(self, kind: Kind, queries: np.ndarray, top: int, filter: RowFilter | None = None) -> Ranked:
        """Searches exactly, without an index; `queries` is (k, dim) float32, finite."""
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
        """Returns (len(rows),) float32: the very scores that `rank` gives these rows; `queries` (k, dim)
        float32."""
        numbers = np.asarray(rows, np.int64)
        return exact.score_rows(self.mapped_rows(kind), numbers, np.asarray(queries, np.float32))

    def vectors_of(self, kind: Kind, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns (len(rows), dim) float32: the vectors of these rows, dead ones too.

        Raises:
            DamagedError: a row file is gone or too short.
        """
        return exact.decode(self.mapped_rows(kind)[np.asarray(rows, np.int64)])

    def count_matching(self, kind: Kind, filter: RowFilter) -> int:
        """Returns how many rows match a filter; never those of photos that are gone."""
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
        """Returns the search parameters of the index of this kind; None: there is none, and searches are
        exact."""
        if self._view is None or kind not in self._view.indexes:
            return None
        record = self._view.indexes[kind]
        return {query_kind: record.search_params(query_kind) for query_kind in QUERY_KINDS}

    def score_distribution(
        self, find: Find, query_kind: QueryKind, baseline: float = 0
    ) -> ScoreDistribution | None:
        """Returns how high the best hits of sample queries of this kind score, as a query of this baseline
        would; None: it was not measured."""
        return calibration.load(self.connection, self._id(None), find, query_kind, baseline)

    def is_calibration_due(self) -> bool:
        """Returns whether there are many more rows than when distributions were measured, or many fewer."""
        return self.generation is not None and bool(
            calibration.finds_due(self.connection, self.generation.id)
        )

    def count_tokens(self, field: Field, tokens: Sequence[str]) -> dict[str, int]:
        """Counts the captions, or the photos by their names, that hold each of these tokens, up to
        `MAX_DOCUMENTS`: what more hold is common. Warns if they cannot be read, and counts none."""
        if self._view is None:
            return {}
        try:
            return token_tables.count(self.connection, field, tokens)
        except WrongValueError as error:
            self._warn_of_tokens(error)
            return {}

    def find_tokens(
        self,
        field: Field,
        any_of: Sequence[str],
        all_of: Sequence[str] = (),
        filter: RowFilter | None = None,
    ) -> list[TokenDocument]:
        """Finds the captions, or the photos by their names, that hold any of some tokens, or all of others;
        of common ones not all. With a filter, those whose row matches; rows of photos are those of their
        full images. Warns if they cannot be read, and finds none."""
        if self._view is None:
            return []
        try:
            found = token_tables.find(self.connection, self._view.generation.id, field, any_of, all_of)
        except WrongValueError as error:
            self._warn_of_tokens(error)
            return []
        if filter is None:
            return found
        kind: Kind = "captions" if field == "caption" else "regions"
        matching = self._view.bitmap(self.connection, kind, filter)
        return [document for document in found if matching[document.row]]

    def _warn_of_tokens(self, error: WrongValueError) -> None:
        warnings.warn(
            f"{error} in the library {printable(os.fspath(self.folder))}: words are not looked for letter "
            "for letter until `virtue verify --repair` has made it again",
            stacklevel=3,
        )

    def embedded_photos(self) -> int:
        """Counts the photos of the active generation."""
        return 0 if self._view is None else self._view.photos(self.connection)

    # -- what lies behind rows ---------------------------------------------------------------------------

    def regions(self, rows: Sequence[int] | np.ndarray) -> list[RegionRecord]:
        """Returns the regions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.regions(self.connection, self._id(None), rows)

    def rows_of(self, photo_ids: Sequence[int], filter: RowFilter | None = None) -> list[int]:
        """Returns the rows of all regions of these photos; with a filter, of those that match."""
        if self._view is None:
            return []
        rows = regions.rows_of(self.connection, self._view.generation.id, photo_ids)
        if filter is None:
            return rows
        matching = self._view.bitmap(self.connection, "regions", filter)
        return [row for row in rows if matching[row]]

    def locate(self, region_id: int | None, photo_id: int | None = None) -> RegionLocation | None:
        """Finds a region, or the full image of a photo, even if its files are gone; None: there is none."""
        return regions.locate(self.connection, self._id(None), region_id, photo_id)

    def photo_id(self, hash: bytes) -> int | None:
        return photos.photo_id(self.connection, hash)

    def full_images(self, photo_ids: Collection[int]) -> list[FullImage]:
        """Returns the full images of those of these photos that are there and have vectors, by their ids."""
        return [] if self._view is None else self._view.full_images(self.connection).records(photo_ids)

    def near_hashes(self, phash: int, max_distance: int) -> list[FullImage]:
        """Returns photos whose perceptual hash differs from this one in so many bits at most; none if it says
        nothing."""
        if self._view is None:
            return []
        return self._view.full_images(self.connection).near(phash, max_distance)

    def same_pictures(self, max_distance: int, min_score: float) -> Iterator[SamePicture]:
        """Returns pairs of photos that are near each other both by their perceptual hashes and by the dot
        product of their full images; a pair may come several times."""
        if self._view is None:
            return iter(())
        images = self._view.full_images(self.connection)
        return images.pairs(self.mapped_rows("regions"), max_distance, min_score)

    def copies(self, photo_ids: Collection[int]) -> dict[int, list[Copy]]:
        """Returns the paths of these photos that are still there."""
        return photos.copies(self.connection, photo_ids)

    def repeated(self) -> list[int]:
        """Returns the photos with several paths."""
        return photos.repeated(self.connection)

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[CaptionRecord]:
        """Returns the captions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.captions(self.connection, self._id(None), rows)

    def sample_texts(self, count: int) -> list[str]:
        """Returns some of the captions, categories and tags, none twice; none of what was read in photos,
        which is no query that anyone types."""
        sql = (
            "SELECT * FROM (SELECT text FROM captions WHERE generation_id = ?1 AND source <> 'ocr' "
            "UNION SELECT category FROM regions WHERE generation_id = ?1 AND category IS NOT NULL "
            "UNION SELECT tag FROM tags) ORDER BY random() LIMIT ?2"
        )
        return [text for (text,) in queries.fetch(self.connection, sql, (self._id(None), count), (str,))]

    def is_large(self) -> bool:
        """Returns whether there is an index, or more rows than are quick to read one by one."""
        if self._view is None:
            return False
        dim = self._view.generation.dim
        too_many = any(self.row_count(kind) * dim > exact.MAX_SCANNED_FLOATS for kind in KINDS)
        return bool(self._view.indexes) or too_many

    def faults(self, checks: TextChecks | None = None) -> list[Fault]:
        """Finds all that is wrong with this version. Reads every row of every generation."""
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

    def _id(self, target: Generation | None) -> int:
        chosen = target or self.generation
        return chosen.id if chosen else 0
