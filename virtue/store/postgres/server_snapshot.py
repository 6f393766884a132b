"""One version of a library in PostgreSQL: a transaction that sees nothing of what is written meanwhile."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from virtue.store.catalogue import filters_sql, queries, regions
from virtue.store.catalogue.filters import RowFilter
from virtue.store.catalogue.token_tables import MAX_DOCUMENTS, TABLES, is_prefix
from virtue.store.duplicates import says_nothing
from virtue.store.postgres.server_connection import ServerConnection, translate
from virtue.store.postgres.server_faults import find_faults
from virtue.store.postgres.vector_place import Allowed, VectorPlace
from virtue.store.postgres.vector_table import MIN_INDEXED_ROWS, VectorTable
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
from virtue.store.vectors import exact

LEFT_BY_FILTER = 16
"""An index is tuned for filters that allow one row in so many: fewer are quicker read one by one, but of many
millions."""
PAIRS = 4096
"""Pairs of photos whose vectors are compared at once."""

_FULL_IMAGES = (
    "SELECT p.id, r.row, p.phash, p.width * p.height FROM photos p JOIN regions r ON r.photo_id = p.id "
    "AND r.generation_id = %(generation)s WHERE p.live AND r.origin = 'whole' AND r.row IS NOT NULL AND "
)
_TELLING = "bit_count(phash::bit(64)) BETWEEN 4 AND 60"
# Hashes that differ in at most eight bits have one of five bands in which they differ in at most one: far
# fewer have that by chance than have one of nine bands in common.
_PAIRS_SQL = f"""
WITH images AS MATERIALIZED ({_FULL_IMAGES}{_TELLING}), banded AS MATERIALIZED (
    SELECT images.*, n << 13 | ((phash >> (13 * n::int)) & CASE n WHEN 4 THEN 4095 ELSE 8191 END) AS band
    FROM images, generate_series(0::bigint, 4) AS n)
SELECT DISTINCT a.id, a.row, b.id, b.row, bit_count((a.phash # b.phash)::bit(64))
FROM banded a JOIN (
    SELECT banded.*, band # flipped AS near FROM banded,
        (SELECT 0::bigint UNION ALL SELECT 1::bigint << n FROM generate_series(0, 12) AS n) AS bits (flipped)
) AS b ON a.band = b.near AND a.id < b.id
    AND bit_count((a.phash # b.phash)::bit(64)) <= %(distance)s
"""
_DOCUMENTS: dict[Field, str] = {
    "caption": (
        "SELECT captions.row, photo_id, tokens, source = 'ocr' FROM caption_tokens "
        "JOIN captions ON captions.id = rowid JOIN photos ON photos.id = photo_id "
        "WHERE {} @@ %(query)s::tsquery AND generation_id = %(generation)s AND row IS NOT NULL AND live "
        "ORDER BY rowid LIMIT %(limit)s"
    ),
    "name": (
        "SELECT regions.row, photo_id, tokens, FALSE FROM name_tokens JOIN photos ON photos.id = rowid "
        "JOIN regions ON photo_id = photos.id "
        "WHERE {} @@ %(query)s::tsquery AND generation_id = %(generation)s AND origin = 'whole' "
        "AND row IS NOT NULL AND live ORDER BY rowid LIMIT %(limit)s"
    ),
}
_HELD = "array_to_tsvector(string_to_array(tokens, ' '))"


class ServerSnapshot(Snapshot):
    """A snapshot of a library in PostgreSQL. Rows are numbers that the server gives."""

    connection: ServerConnection
    reads_all_rows = True
    """Whether a search reads all rows where no depth of the index finds enough, when it is tuned."""

    def __init__(self, connection: ServerConnection, name: str) -> None:
        self.connection, self.name = connection, name
        self.version = queries.version(connection)
        self.generation = queries.active(connection)

    def hold_tables(self) -> None:
        """Keeps the vectors of this version from being dropped until the transaction ends."""
        for kind in KINDS if self.generation else ():
            self.connection.run(f"SELECT 1 FROM {self.table(kind).name} LIMIT 0")

    # -- vectors ------------------------------------------------------------------------------------------

    def rank(
        self,
        kind: Kind,
        queries: np.ndarray,
        *,
        filter: RowFilter | None = None,
        query_kind: QueryKind = "image",
        params: SearchParams | None = None,
    ) -> Ranking:
        if self.generation is None:
            return exact.NOTHING
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        lengths = np.vecdot(queries, queries).tolist()
        if queries.shape[1] != self.generation.dim or not all(map(math.isfinite, lengths)):
            raise ValueError(
                f"queries of shape {queries.shape} must be finite and of dimension {self.generation.dim}"
            )
        factor = 0
        # A query of zeros is alike to all rows, and has no signs to compare.
        if all(lengths) and (chosen := params or (self.search_params(kind) or {}).get(query_kind)):
            factor = chosen.refine_factor
        rows = self.row_count(kind) if factor else 0
        return ServerRanking(self.table(kind), queries, self.allowed(kind, filter), factor, rows)

    def exact(self, kind: Kind, queries: np.ndarray, top: int, filter: RowFilter | None = None) -> Ranked:
        if self.generation is None:
            return exact.NOTHING.top(top)
        return ServerRanking(self.table(kind), queries, self.allowed(kind, filter)).top(top)

    def judges(self, kind: Kind) -> list[Allowed]:
        """Returns what is allowed in searches by which an index is tuned: all, and what a filter leaves."""
        every = self.allowed(kind, None)
        few = f"{every.rows} AND hashint8(o.row) %% {LEFT_BY_FILTER} = 0"
        return [every, Allowed(few, every.values)]

    def exact_each(self, kind: Kind, queries: np.ndarray, top: int, allowed: Allowed) -> list[np.ndarray]:
        """Returns the best rows (n,) for each query (k, dim) alone, by which an index is judged."""
        return self.table(kind).nearest_each(queries, top, allowed)

    def table(self, kind: Kind) -> VectorPlace:
        assert self.generation is not None
        return VectorTable(self.connection, self.generation.id, kind, self.generation.dim)

    def allowed(self, kind: Kind, filter: RowFilter | None) -> Allowed:
        """Returns which rows may be found: those of photos that are there, and match."""
        values: dict[str, Any] = {"generation": self._id(None)}
        matching = filters_sql.rows_sql(self.connection, kind, filter or RowFilter(), values)
        sql, _ = translate(f"{matching} AND {LIVE}")
        return Allowed(sql, values, filter)

    def scores(self, kind: Kind, rows: Sequence[int] | np.ndarray, queries: np.ndarray) -> np.ndarray:
        vectors = self._take(kind, rows)
        return exact.score_rows(vectors, np.arange(len(vectors)), np.asarray(queries, np.float32))

    def vectors_of(self, kind: Kind, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return exact.decode(self._take(kind, rows))

    def _take(self, kind: Kind, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        if self.generation is None:
            return np.empty((0, 0), np.float16)
        if not len(rows):
            return np.empty((0, self.generation.dim), np.float16)
        return self.table(kind).take(rows)

    def vectors(self, kind: Kind, filter: RowFilter | None, block_rows: int) -> Iterator[VectorBlock]:
        last = -1
        while self.generation is not None:
            rows = self._matching(kind, filter or RowFilter(), "o.row > :last", "ORDER BY o.row LIMIT :count",
                                  {"last": last, "count": block_rows})  # fmt: skip
            if not rows:
                return
            last = rows[-1]
            numbers = np.array(rows, np.int64)
            places = regions.places(self.connection, self.generation.id, kind, numbers)
            yield VectorBlock(*places, self.vectors_of(kind, numbers))

    def holds(self, kind: Kind, filter: RowFilter, rows: Sequence[int]) -> Sequence[bool]:
        if self.generation is None:
            return [False] * len(rows)
        found = set(self._matching(kind, filter, "o.row = ANY(:rows)", "", {"rows": [*rows]}))
        return [row in found for row in rows]

    def count_matching(self, kind: Kind, filter: RowFilter) -> int:
        if self.generation is None:
            return 0
        values: dict[str, Any] = {"generation": self.generation.id}
        sql = filters_sql.rows_sql(self.connection, kind, filter, values)
        found = queries.fetch(self.connection, f"SELECT count(*) FROM ({sql} AND {LIVE}) AS found", values)
        return int(found[0][0])

    def _matching(
        self, kind: Kind, filter: RowFilter, condition: str, end: str, more: dict[str, Any]
    ) -> list[int]:
        values: dict[str, Any] = {"generation": self._id(None)}
        sql = filters_sql.rows_sql(self.connection, kind, filter, values)
        found = queries.fetch(
            self.connection, f"{sql} AND {LIVE} AND {condition} {end}", values | more, (int,)
        )
        return [row for (row,) in found]

    def row_count(self, kind: Kind) -> int:
        """Returns how many rows there were ever, dead ones too; row numbers lie below it."""
        return queries.row_count(self.connection, self._id(None), kind)

    def searchable(self, kind: Kind) -> int:
        return self.count_matching(kind, RowFilter())

    def search_params(self, kind: Kind) -> dict[QueryKind, SearchParams] | None:
        sql = (
            "SELECT asked, factor, recall, microseconds FROM bit_indexes WHERE generation_id = ? AND kind = ?"
        )
        found = queries.fetch(self.connection, sql, (self._id(None), kind))
        known = {asked: SearchParams(1, *values) for asked, *values in found}
        return {asked: known[asked] for asked in QUERY_KINDS if asked in known} or None

    def is_large(self) -> bool:
        if self.generation is None:
            return False
        return any(self.row_count(kind) >= MIN_INDEXED_ROWS for kind in KINDS)

    # -- full images --------------------------------------------------------------------------------------

    def full_images(self, photo_ids: Collection[int]) -> list[FullImage]:
        return self._images("p.id = ANY(%(ids)s)", {"ids": [*photo_ids]})

    def near_hashes(self, phash: int, max_distance: int) -> list[FullImage]:
        if says_nothing(np.uint64(phash)):
            return []
        signed = phash - (1 << 64) if phash >> 63 else phash
        near = "bit_count((p.phash # %(phash)s::bigint)::bit(64)) <= %(distance)s"
        if max_distance <= MAX_BANDED:
            near = f"bands_of(p.phash) && bands_of(%(phash)s::bigint) AND {near}"
        return self._images(near, {"phash": signed, "distance": max_distance})

    def _images(self, condition: str, values: dict[str, Any]) -> list[FullImage]:
        sql = f"{_FULL_IMAGES}{condition} ORDER BY p.id"
        found = self.connection.query(sql, values | {"generation": self._id(None)})
        return [FullImage(photo, row, phash % (1 << 64), area) for photo, row, phash, area in found]

    def same_pictures(self, max_distance: int, min_score: float) -> Iterator[SamePicture]:
        # One hash join: looking up the bands of each photo by their index, or sorting all, takes far longer.
        values = {"generation": self._id(None), "distance": min(max_distance, MAX_BANDED)}
        with self.connection.driver.cursor(name="pairs") as cursor:
            with self.connection.without("mergejoin"):
                cursor.execute(_PAIRS_SQL, values)
            while pairs := cursor.fetchmany(PAIRS):
                ones, rows, others, other_rows, distances = zip(*pairs, strict=True)
                scores = np.vecdot(self.vectors_of("regions", rows), self.vectors_of("regions", other_rows))
                for one, other, score, distance in zip(ones, others, scores.tolist(), distances, strict=True):
                    if score >= min_score:
                        yield SamePicture(one, other, score, distance)

    # -- the rest -----------------------------------------------------------------------------------------

    def embedded_photos(self) -> int:
        sql = "SELECT count(*) FROM embeddings WHERE generation_id = ?"
        return int(queries.fetch(self.connection, sql, (self._id(None),))[0][0])

    def size_on_disk(self) -> int:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        return int(self.connection.query(sql)[0][0])

    def faults(self, checks: TextChecks | None = None) -> list[Fault]:
        return find_faults(self.connection)

    def _count_documents(self, field: Field, tokens: Sequence[str]) -> dict[str, int]:
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {TABLES[field]} WHERE {_HELD} @@ %s::tsquery "
            f"LIMIT {MAX_DOCUMENTS}) AS found"
        )
        return {token: int(self.connection.query(sql, (_lexeme(token),))[0][0]) for token in tokens}

    def _find_documents(
        self, field: Field, any_of: Sequence[str], all_of: Sequence[str]
    ) -> list[TokenDocument]:
        conditions = [*map(_lexeme, any_of), *([f"({' & '.join(map(_lexeme, all_of))})"] if all_of else [])]
        if not conditions:
            return []
        values = {
            "query": " | ".join(conditions),
            "generation": self._id(None),
            "limit": MAX_DOCUMENTS * len(conditions),
        }
        found = self.connection.query(_DOCUMENTS[field].format(_HELD), values)
        return [TokenDocument(row, photo, text.split(), is_read) for row, photo, text, is_read in found]


LIVE = "EXISTS (SELECT 1 FROM photos WHERE photos.id = o.photo_id AND live = 1)"
MAX_BANDED = 8
"""Bits in which hashes may differ that surely share one of nine bands."""


def _lexeme(token: str) -> str:
    """Returns a token as a tsquery takes it: nothing in quotes is an operator."""
    begins = is_prefix(token) or token.endswith("*")
    quoted = token.rstrip("*").replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'" + ":*" * begins


class ServerRanking:
    """The rows of one search in order of their scores: read again, deeper, when more are asked for.

    Args:
        factor: candidates of the index for each row that is wanted; 0: all that is allowed is read.
        count: rows of the table.
    """

    def __init__(
        self, table: VectorPlace, queries: np.ndarray, allowed: Allowed, factor: int = 0, count: int = 0
    ) -> None:
        self._table, self._queries, self._allowed = table, queries, allowed
        self._factor, self._count = factor, count
        self._found: tuple[np.ndarray, np.ndarray] | None = None
        self._is_all = False

    def top(self, count: int) -> Ranked:
        if self._found is None or (len(self._found[0]) < count and not self._is_all):
            self._found = self._search(count)
            self._is_all = len(self._found[0]) < count
        rows, scores = self._found
        return Ranked(rows[:count], scores[:count])

    def _search(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        if self._factor and self._table.is_index_quicker(
            self._queries, count, self._allowed, self._factor, self._count
        ):
            found = self._table.nearest_by_index(self._queries, count, self._allowed, self._factor)
            if len(found[0]) == count:
                return found
        # Also where the index gave fewer: no filter costs a row that may be found.
        return self._table.nearest(self._queries, count, self._allowed)
