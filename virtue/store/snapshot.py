"""One consistent version of a library, to read from: what every store gives, and what all read alike from the
tables."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from virtue.added_pictures import name_of
from virtue.paths import paths_below, printable
from virtue.store import calibration
from virtue.store.calibration import ScoreDistribution
from virtue.store.catalogue import listing, photos, queries, regions
from virtue.store.catalogue.database import AnyConnection, WrongValueError
from virtue.store.catalogue.filters import Filter, RowFilter
from virtue.store.catalogue.listing import Order
from virtue.store.records import (
    KINDS,
    LEFT_OUT,
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
    KnownMetadata,
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
    Suggestions,
    TextChecks,
    TokenDocument,
    UnreadPhoto,
    UserAnnotations,
    VectorBlock,
)

_FILE_STATE = (
    bytes, int, int, str | None, bytes | None, str | None, int, str | None, str | None, int | None,
    str | None,
)  # fmt: skip

_FILES = (
    "SELECT path, size, mtime_ns, sidecar, hash, problem, missing, settings, judged_by, ctime_ns, beside "
    "FROM files LEFT JOIN photos ON photos.id = files.photo_id "
    "LEFT JOIN embeddings e ON e.photo_id = files.photo_id AND e.generation_id = ?"
)

_PHOTO_BELOW = "(path = ? OR (path >= ? AND path < ?)) AND photo_id IS NOT NULL"

MAX_LOOKED_AT = 200_000
"""Rows of a table that are looked at for suggestions."""
MAX_SUGGESTED = 200
UNREAD_AT_ONCE = 10_000
"""Photos whose text is to be read that are yielded at once."""


class Snapshot(ABC):
    """The library as it was when this snapshot was made, whatever is written meanwhile. Made by
    `Store.read`, good until that block ends; one thread at a time.

    A row is the id of a vector, of its kind and generation: a whole number of 64 bits that says nothing else
    to who is given one.

    Attributes:
        name: of the library, as messages have it.
        generation: the active one, which searches run on; None: nothing was ever indexed.
        version: how many commits there were.
        connection: for the store's own modules.
    """

    name: str
    generation: Generation | None
    version: int
    connection: AnyConnection

    # -- vectors ------------------------------------------------------------------------------------------

    @abstractmethod
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
        products with the queries. Rows of photos that are gone do not count. As many rows are found as are
        asked for, if so many may be: a filter never costs any.

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

    @abstractmethod
    def exact(self, kind: Kind, queries: np.ndarray, top: int, filter: RowFilter | None = None) -> Ranked:
        """Searches exactly, without an index; `queries` is (k, dim) float32, finite."""

    @abstractmethod
    def scores(self, kind: Kind, rows: Sequence[int] | np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Returns (len(rows),) float32: the very scores that `rank` gives these rows; `queries` (k, dim)
        float32."""

    @abstractmethod
    def vectors_of(self, kind: Kind, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns (len(rows), dim) float32: the vectors of these rows.

        Raises:
            DamagedError: a row file is gone or too short.
        """

    @abstractmethod
    def vectors(self, kind: Kind, filter: RowFilter | None, block_rows: int) -> Iterator[VectorBlock]:
        """Yields the vectors of a kind that searches can find, in the order of their rows."""

    @abstractmethod
    def holds(self, kind: Kind, filter: RowFilter, rows: Sequence[int]) -> Sequence[bool]:
        """Returns which of these rows match a filter; never those of photos that are gone."""

    @abstractmethod
    def count_matching(self, kind: Kind, filter: RowFilter) -> int:
        """Returns how many rows match a filter; never those of photos that are gone."""

    @abstractmethod
    def searchable(self, kind: Kind) -> int:
        """Returns how many rows searches can find."""

    @abstractmethod
    def search_params(self, kind: Kind) -> dict[QueryKind, SearchParams] | None:
        """Returns the search parameters of the index of this kind; None: there is none, and searches are
        exact."""

    @abstractmethod
    def is_large(self) -> bool:
        """Returns whether there is an index, or more rows than are quick to read one by one."""

    @abstractmethod
    def full_images(self, photo_ids: Collection[int]) -> list[FullImage]:
        """Returns the full images of those of these photos that are there and have vectors, by their ids."""

    @abstractmethod
    def near_hashes(self, phash: int, max_distance: int) -> list[FullImage]:
        """Returns photos whose perceptual hash differs from this one in so many bits at most; none if it says
        nothing."""

    @abstractmethod
    def same_pictures(self, max_distance: int, min_score: float) -> Iterator[SamePicture]:
        """Returns pairs of photos that are near each other both by their perceptual hashes and by the dot
        product of their full images; a pair may come several times."""

    @abstractmethod
    def embedded_photos(self) -> int:
        """Counts the photos of the active generation."""

    @abstractmethod
    def size_on_disk(self) -> int:
        """Returns the size of the whole library on its disk."""

    @abstractmethod
    def faults(self, checks: TextChecks | None = None) -> list[Fault]:
        """Finds all that is wrong with this version. Reads every row of every generation."""

    @abstractmethod
    def _count_documents(self, field: Field, tokens: Sequence[str]) -> dict[str, int]:
        """Counts the documents that hold each of these tokens."""

    @abstractmethod
    def _find_documents(
        self, field: Field, any_of: Sequence[str], all_of: Sequence[str]
    ) -> list[TokenDocument]:
        """Finds the documents that hold any of some tokens, or all of others."""

    # -- the catalogue ------------------------------------------------------------------------------------

    def generations(self) -> list[Generation]:
        """Returns all generations; there are several only while a library changes its model."""
        return queries.generations(self.connection)

    def roots(self) -> list[Root]:
        found = queries.fetch(
            self.connection, "SELECT path, options FROM roots ORDER BY path", types=(bytes, str)
        )
        return [Root(*values) for values in found]

    def suggestions(self) -> Suggestions:
        """Returns what filters may compare with, the most frequent first, as far as a look into the first
        rows tells."""

        def most_frequent(column: str, table: str) -> tuple[str, ...]:
            sql = (
                f"SELECT {column} FROM (SELECT {column} FROM {table} LIMIT {MAX_LOOKED_AT}) "
                f"WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {MAX_SUGGESTED}"
            )
            return tuple(value for (value,) in queries.fetch(self.connection, sql))

        sql = f"SELECT path FROM files WHERE NOT missing LIMIT {MAX_LOOKED_AT}"
        folders = Counter(
            os.path.dirname(path)
            for (path,) in queries.fetch(self.connection, sql, types=(bytes,))
            if name_of(path) is None
        )
        return Suggestions(
            cameras=most_frequent("camera", "photos"),
            tags=most_frequent("tag", "tags"),
            objects=most_frequent("object", "regions"),
            folders=tuple(folder for folder, _ in folders.most_common(MAX_SUGGESTED)),
        )

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
        found = {kind: self.searchable(kind) for kind in KINDS}
        return Counts(
            photos,
            files,
            missing,
            problems,
            **found,
            bytes=self.size_on_disk(),
            forgotten=forgotten,
            read=read,
            with_text=texts,
        )

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

    def forgotten_among(self, hashes: Iterable[bytes]) -> set[bytes]:
        """Returns which of these photos were forgotten."""
        sql = "SELECT hash FROM forgotten WHERE hash IN ({})"
        return {hash for (hash,) in queries.fetch_for(self.connection, sql, set(hashes), (), (bytes,))}

    def files(
        self, target: Generation | None = None, paths: Iterable[bytes] | None = None
    ) -> dict[bytes, FileState]:
        """Returns every path the catalogue knows.

        Args:
            target: the generation whose settings are told; None: the active one.
            paths: which are told; None: all.
        """
        if paths is not None:
            found = queries.fetch_for(
                self.connection, f"{_FILES} WHERE path IN ({{}})", paths, (self._id(target),), _FILE_STATE
            )
            return _file_states(found)
        return _file_states(queries.fetch(self.connection, _FILES, (self._id(target),), _FILE_STATE))

    def files_of(self, hashes: Iterable[bytes], target: Generation | None = None) -> dict[bytes, FileState]:
        """Returns the paths where photos are or were, as `files` does."""
        sql = f"{_FILES} WHERE hash IN ({{}})"
        return _file_states(queries.fetch_for(self.connection, sql, hashes, (self._id(target),), _FILE_STATE))

    def files_between(
        self, first: bytes, stop: bytes, target: Generation | None = None
    ) -> dict[bytes, FileState]:
        """Returns the paths from `first` on and before `stop`, as `files` does."""
        sql = f"{_FILES} WHERE path >= ? AND path < ?"
        values = (self._id(target), first, stop)
        return _file_states(queries.fetch(self.connection, sql, values, _FILE_STATE))

    def count_photos_below(self, folder: bytes) -> int:
        """Counts the paths where photos are that lie below a folder, or are it."""
        sql = f"SELECT count(*) FROM files WHERE {_PHOTO_BELOW} AND NOT missing"
        return int(queries.fetch(self.connection, sql, (folder, *paths_below(folder)), (int,))[0][0])

    def any_photo_below(self, folder: bytes) -> bytes | None:
        """Returns a path where a photo is or was that lies below a folder, or is it; None: there is none."""
        sql = f"SELECT path FROM files WHERE {_PHOTO_BELOW} LIMIT 1"
        found = queries.fetch(self.connection, sql, (folder, *paths_below(folder)), (bytes,))
        return found[0][0] if found else None

    def without_vectors(self, target: Generation | None) -> tuple[int, bytes | None, str | None]:
        """Counts the paths of photos that are there and have vectors that searches use, and none in a
        generation that is to take their place; also returns the first, and its problem if it has one."""
        active, target_id = self._id(None), self._id(target)
        left = (
            "FROM files f JOIN embeddings e ON e.photo_id = f.photo_id AND e.generation_id = ? "
            "WHERE NOT missing AND NOT EXISTS (SELECT 1 FROM embeddings n WHERE n.photo_id = f.photo_id "
            "AND n.generation_id = ?)"
        )
        ((count,),) = queries.fetch(self.connection, f"SELECT count(*) {left}", (active, target_id), (int,))
        sql = f"SELECT path, problem {left} ORDER BY path LIMIT 1"
        found = queries.fetch(self.connection, sql, (active, target_id), (bytes, str | None))
        return (count, *found[0]) if found else (0, None, None)

    def photos_to_embed(self, target: Generation | None, sample: int) -> tuple[int, list[bytes]]:
        """Counts the photos that are there and have no vectors in a generation (None: one that is to be
        made); also returns paths of some of them, spread over all."""
        left = (
            "FROM (SELECT min(path) AS path FROM files f WHERE NOT missing AND photo_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM embeddings e WHERE e.photo_id = f.photo_id "
            "AND e.generation_id = ?) GROUP BY photo_id) AS paths"
        )
        id = target.id if target else 0
        ((count,),) = queries.fetch(self.connection, f"SELECT count(*) {left}", (id,), (int,))
        sql = (
            f"SELECT path FROM (SELECT path, row_number() OVER (ORDER BY path) - 1 AS place {left}) AS o "
            "WHERE place % ? = 0 ORDER BY path LIMIT ?"
        )
        step = max(1, count // sample)
        found = queries.fetch(self.connection, sql, (id, step, sample), (bytes,))
        return count, [path for (path,) in found]

    def files_apart(self, folders: Iterable[bytes]) -> list[bytes]:
        """Returns the paths that are none of these, lie below none of them, and are not missing."""
        ends = [(folder, *paths_below(folder)) for folder in folders]
        apart = " AND NOT (path = ? OR (path >= ? AND path < ?))" * len(ends)
        sql = f"SELECT path FROM files WHERE NOT missing{apart} ORDER BY path"
        values = [end for some in ends for end in some]
        return [path for (path,) in queries.fetch(self.connection, sql, values, (bytes,))]

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

    def known_metadata(self, hash: bytes) -> KnownMetadata | None:
        """Returns what is known of a photo from its file and those beside it; None: it is not known."""
        return regions.known_metadata(self.connection, hash)

    def read_text(self, hash: bytes) -> ReadText:
        """Returns what was read in this photo, as it is to be stored with new vectors."""
        return regions.read_text(self.connection, hash)

    def unread(self, reader: str) -> Iterator[list[UnreadPhoto]]:
        """Yields the photos of the active generation that are there and that this reader has not read, but
        for those that cannot be read now, in the order in which they came, some at a time."""
        some = "SELECT id FROM photos WHERE live AND read_by IS NOT ? AND id > ? ORDER BY id LIMIT ?"
        sql = (
            "SELECT hash, path, read_by FROM photos p CROSS JOIN files f ON f.photo_id = p.id "
            "WHERE live AND read_by IS NOT ? AND p.id BETWEEN ? AND ? AND NOT missing AND problem IS NULL "
            "AND EXISTS (SELECT 1 FROM embeddings WHERE photo_id = p.id AND generation_id = ?) "
            "ORDER BY p.id, beside IS NOT NULL, path"
        )
        last = 0
        while ids := queries.fetch(self.connection, some, (reader, last, UNREAD_AT_ONCE), (int,)):
            (first,), (last,) = ids[0], ids[-1]
            values = (reader, first, last, self._id(None))
            found = queries.fetch(self.connection, sql, values, (bytes, bytes, str | None))
            yield [
                UnreadPhoto(hash, tuple(path for _, path, _ in group), read_by)
                for (hash, read_by), group in groupby(found, lambda values: (values[0], values[2]))
            ]

    def sidecar_texts(self, hash: bytes) -> tuple[str, ...]:
        """Returns the captions of this photo that were read from files beside it."""
        return regions.sidecar_texts(self.connection, hash)

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
        if self.generation is None:
            return {}
        try:
            return self._count_documents(field, tokens)
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
        if self.generation is None:
            return []
        try:
            found = self._find_documents(field, any_of, all_of)
        except WrongValueError as error:
            self._warn_of_tokens(error)
            return []
        if filter is None:
            return found
        kind: Kind = "captions" if field == "caption" else "regions"
        rows = [document.row for document in found]
        matching = self.holds(kind, filter, rows)
        return [document for document, fits in zip(found, matching, strict=True) if fits]

    def _warn_of_tokens(self, error: WrongValueError) -> None:
        warnings.warn(
            f"{error} in the library {printable(self.name)}: words are not looked for letter "
            "for letter until `virtue verify --repair` has made it again",
            stacklevel=3,
        )

    def regions(self, rows: Sequence[int] | np.ndarray) -> list[RegionRecord]:
        """Returns the regions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.regions(self.connection, self._id(None), rows)

    def rows_of(self, photo_ids: Sequence[int], filter: RowFilter | None = None) -> list[int]:
        """Returns the rows of all regions of these photos; with a filter, of those that match."""
        if self.generation is None:
            return []
        rows = regions.rows_of(self.connection, self.generation.id, photo_ids)
        if filter is None:
            return rows
        return [row for row, fits in zip(rows, self.holds("regions", filter, rows), strict=True) if fits]

    def locate(self, region_id: int | None, photo_id: int | None = None) -> RegionLocation | None:
        """Finds a region, or the full image of a photo, even if its files are gone; None: there is none."""
        return regions.locate(self.connection, self._id(None), region_id, photo_id)

    def photo_id(self, hash: bytes) -> int | None:
        return photos.photo_id(self.connection, hash)

    def copies(self, photo_ids: Collection[int]) -> dict[int, list[Copy]]:
        """Returns the paths of these photos that are still there."""
        return photos.copies(self.connection, photo_ids)

    def repeated(self, at_once: int) -> Iterator[list[int]]:
        """Yields the photos with several paths, so many at a time."""
        return photos.repeated(self.connection, at_once)

    def captions(self, rows: Sequence[int] | np.ndarray) -> list[CaptionRecord]:
        """Returns the captions of these rows, in their order; rows of photos that are gone are left out."""
        return regions.captions(self.connection, self._id(None), rows)

    def caption_rows_of(self, region_ids: Sequence[int]) -> dict[int, int]:
        """Returns the rows of captions of these regions, each with its region; of a full image those of its
        photo."""
        return regions.caption_rows_of(self.connection, self._id(None), region_ids)

    def sample_texts(self, count: int) -> list[str]:
        """Returns some of the captions, categories and tags, none twice; none of what was read in photos,
        which is no query that anyone types."""
        sql = (
            "SELECT * FROM (SELECT text FROM captions WHERE generation_id = ?1 AND source <> 'ocr' "
            "UNION SELECT category FROM regions WHERE generation_id = ?1 AND category IS NOT NULL "
            "UNION SELECT tag FROM tags) ORDER BY random() LIMIT ?2"
        )
        return [text for (text,) in queries.fetch(self.connection, sql, (self._id(None), count), (str,))]

    def _id(self, target: Generation | None) -> int:
        chosen = target or self.generation
        return chosen.id if chosen else 0


def _file_states(found: Iterable[tuple[Any, ...]]) -> dict[bytes, FileState]:
    return {
        path: FileState(size, time, sidecar, hash, problem, missing == 1, *rest)
        for path, size, time, sidecar, hash, problem, missing, *rest in found
    }
