"""The vectors of one kind and generation in PostgreSQL: a table of halfvec, and from many rows on an index of
their signs (HNSW on bits), whose candidates are scored by the vectors themselves."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from virtue.errors import DamagedError
from virtue.store.postgres.server_connection import ServerConnection, psycopg
from virtue.store.postgres.vector_place import Allowed, VectorPlace, best_of_each
from virtue.store.records import Kind
from virtue.store.vectors import exact, row_files

LOG = logging.getLogger("virtue")

MIN_INDEXED_ROWS = 50_000
"""Rows from which on there is an index: fewer are quicker read than an index is kept."""
MARGIN = 16
"""Rows that are fetched beyond those wanted: the server adds up in another order than we do, so that two rows
of nearly one score may change places."""
MAX_EF = 1000
"""The most that pgvector's hnsw.ef_search takes."""
MAX_SCANNED = 1_000_000
"""Rows of an index that a search under a filter passes before it gives up and reads all that is allowed."""
SCAN_MEMORY = 16
"""Times work_mem that such a search may take (hnsw.scan_mem_multiplier): with one of them, 4 MB, it was left
after some ten thousand rows."""
MAX_MEAN_ROWS = 20_000
"""Rows that the mean is taken of."""
ROW_COST = 8
"""By how much dearer a candidate of an index is, which is joined with its photo one by one, than a row that
is read among all that is allowed: some 35 and 5 microseconds in searches of 1,000,000 rows of 256 columns."""
DRAWN_ROWS = 1000
"""Rows of which those are counted that a filter allows."""
ERRORS = 3
"""Standard errors by which such a count is taken to be too high."""
SEED = 7
WHOLE_TABLES = ("seqscan", "sort", "hashjoin", "mergejoin")
"""Plans that the server prefers to looking up each row by indexes, which it takes for dearer than it is."""
INDEX_ROW_BYTES = 800
"""Memory that the building of an index takes for a row, beside its bits: 715 were measured."""
BLOCK_ROWS = 8192
"""Rows that come over at once where all are read."""
_HEAD, _TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def table_name(generation: int, kind: Kind) -> str:
    return f"vectors_{generation:d}_{kind}"


class VectorTable(VectorPlace):
    """The table of one kind and generation, through one connection."""

    def __init__(self, connection: ServerConnection, generation: int, kind: Kind, dim: int) -> None:
        self._connection, self._key = connection, (generation, kind)
        self.name = table_name(generation, kind)
        self.index = f"{self.name}_signs"
        self.dim = dim

    def create(self) -> None:
        # Never compressed: floats do not get smaller by it.
        self._connection.run(
            f"CREATE TABLE {self.name} (row bigint PRIMARY KEY, vector halfvec({self.dim:d}) NOT NULL); "
            f"ALTER TABLE {self.name} ALTER vector SET STORAGE EXTERNAL"
        )

    def append(self, first: int, vectors: np.ndarray) -> None:
        """Adds fp16 vectors (n, dim), whose rows count up from `first`."""
        form = np.dtype(
            [("fields", ">i2"), ("a", ">i4"), ("row", ">i8"), ("b", ">i4"), ("dim", ">i2"), ("unused", ">i2"),
             ("vector", ">f2", (self.dim,))]
        )  # fmt: skip
        rows = np.zeros(len(vectors), form)
        rows["fields"], rows["a"], rows["b"], rows["dim"] = 2, 8, 4 + 2 * self.dim, self.dim
        rows["row"] = np.arange(first, first + len(vectors))
        rows["vector"] = vectors
        with (
            self._connection.driver.cursor() as cursor,
            cursor.copy(f"COPY {self.name} (row, vector) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(_HEAD + rows.tobytes() + _TAIL)

    def count(self) -> int:
        return int(self._connection.query(f"SELECT count(*) FROM {self.name}")[0][0])

    def sample(self, count: int) -> list[int]:
        sql = f"SELECT row FROM {self.name} ORDER BY hashint8(row) LIMIT {count:d}"
        return [row for (row,) in self._connection.query(sql)]

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = np.asarray(rows, np.int64)
        wanted = np.unique(numbers)
        sql = f"SELECT row, vector FROM {self.name} WHERE row = ANY(%s) ORDER BY row"
        found, vectors = self._read(sql, (wanted.tolist(),))
        if len(found) != len(wanted):
            raise DamagedError(
                f"{len(wanted) - len(found)} rows of the table {self.name} are gone: verify the library",
                hint="virtue verify --repair",
            )
        return vectors[np.searchsorted(wanted, numbers)]

    def span(self, first: int, stop: int) -> np.ndarray:
        sql = f"SELECT row, vector FROM {self.name} WHERE row >= %s AND row < %s ORDER BY row"
        found, vectors = self._read(sql, (first, stop))
        all = np.zeros((stop - first, self.dim), row_files.DTYPE)
        all[found - first] = vectors
        return all

    def _read(self, sql: str, values: Any) -> tuple[np.ndarray, np.ndarray]:
        """Runs a query for rows and vectors; returns (n,) int64 and (n, dim) fp16."""
        return self._decode(self._connection.query(sql, values, binary=True))

    def _decode(self, found: Sequence[tuple[Any, ...]]) -> tuple[np.ndarray, np.ndarray]:
        data = b"".join(vector for _, vector in found)
        halves = np.frombuffer(data, ">f2").reshape(len(found), self.dim + 2)
        return np.array([row for row, _ in found], np.int64), halves[:, 2:].astype(row_files.DTYPE)

    # -- searching ----------------------------------------------------------------------------------------

    def nearest(self, queries: np.ndarray, count: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        return self._nearest(queries, count, _condition(allowed), allowed.values)

    def _nearest(
        self, queries: np.ndarray, count: int, condition: str, values: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        sql = (
            f"SELECT row, vector FROM (SELECT v.row, v.vector, {_score(queries)} AS score FROM {self.name} v "
            f"WHERE {condition}) AS scored ORDER BY score DESC, row LIMIT {count + MARGIN:d}"
        )
        return self._best(sql, values | _texts(queries), queries, count)

    def nearest_by_index(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        depth = factor * count
        self._connection.run(
            f"SET LOCAL hnsw.ef_search = {min(MAX_EF, depth):d}; "
            "SET LOCAL hnsw.iterative_scan = relaxed_order; "
            f"SET LOCAL hnsw.max_scan_tuples = {MAX_SCANNED:d}; "
            f"SET LOCAL hnsw.scan_mem_multiplier = {SCAN_MEMORY:d}"
        )
        mean = self._mean()
        near = " UNION ALL ".join(
            f"(SELECT v.row FROM {self.name} v WHERE {_condition(allowed)} "
            f"ORDER BY {self._signs('v.vector', mean)} <~> "
            f"{self._signs(f'%(query{number})s::halfvec({self.dim:d})', mean)} LIMIT {depth:d})"
            for number in range(len(queries))
        )
        with self._connection.without(*WHOLE_TABLES):
            rows = [row for (row,) in self._connection.query(near, allowed.values | _texts(queries))]
        if len(rows) < depth * len(queries):  # the index was left before it had found enough
            return self.nearest(queries, count, allowed)
        return self._nearest(queries, count, "v.row = ANY(%(near)s)", {"near": [*{*rows}]})

    def nearest_each(self, queries: np.ndarray, count: int, allowed: Allowed) -> list[np.ndarray]:
        sql = f"SELECT v.row, v.vector FROM {self.name} v WHERE {_condition(allowed)}"
        with self._connection.driver.cursor(name="rows", binary=True) as cursor:
            cursor.execute(sql, allowed.values)
            blocks = iter(lambda: cursor.fetchmany(BLOCK_ROWS), [])
            return best_of_each(map(self._decode, blocks), queries, count)

    def _best(
        self, sql: str, values: dict[str, Any], queries: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        rows, vectors = self._read(sql, values)
        order = np.argsort(rows)
        rows, vectors = rows[order], vectors[order]
        scores = exact.score_rows(vectors, np.arange(len(rows)), queries)
        best = exact.highest(scores, count)
        return rows[best], scores[best]

    def is_index_quicker(
        self, queries: np.ndarray, count: int, allowed: Allowed, factor: int, all_rows: int
    ) -> bool:
        limit = max(exact.MAX_GATHERED_ROWS, math.isqrt(ROW_COST * factor * count * len(queries) * all_rows))
        if allowed.filter is None or all_rows <= limit:
            return all_rows > limit
        # Counting them takes as long as a search: some rows tell how many are allowed, and surely more than
        # the limit if they do so by far more than their error.
        drawn = np.random.default_rng(SEED).choice(all_rows, min(all_rows, DRAWN_ROWS), replace=False)
        sql = f"SELECT count(*) FROM ({allowed.rows} AND o.row = ANY(%(drawn)s)) AS found"
        with self._connection.without(*WHOLE_TABLES):
            found = self._connection.query(sql, allowed.values | {"drawn": drawn.tolist()})[0][0]
        return (found - ERRORS * math.sqrt(found)) * all_rows > limit * len(drawn)

    # -- the index ------------------------------------------------------------------------------------------

    def has_index(self) -> bool:
        sql = (
            "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE relname = %s AND indisvalid AND relnamespace = current_schema()::regnamespace"
        )
        return bool(self._connection.query(sql, (self.index,))[0][0])

    def recover(self) -> None:
        """There is nothing to do: what a build leaves is in nobody's way, and goes with the next."""

    def build_index(self) -> None:
        # Beside what writers do.
        run, query = self._connection.run, self._connection.query
        sql = f"SELECT row, vector FROM {self.name} ORDER BY hashint8(row) LIMIT {MAX_MEAN_ROWS}"
        mean = self._read(sql, ())[1].astype(np.float32).mean(axis=0)
        text = f"[{','.join(f'{value:.3g}' for value in mean.tolist())}]"
        sql = (
            "INSERT INTO index_means VALUES (%s, %s, %s) ON CONFLICT (generation_id, kind) "
            "DO UPDATE SET mean = excluded.mean RETURNING 1"
        )
        query(sql, (*self._key, text))
        # Beyond what it may take it gets many times slower; a server says how much it has by its cache.
        needed = (INDEX_ROW_BYTES + self.dim // 8) * self.count() // 1024
        half = query("SELECT pg_size_bytes(current_setting('effective_cache_size')) / 2048")[0][0]
        run(f"SET maintenance_work_mem = {max(64 * 1024, min(needed, half)):d}")
        try:
            self._create_index(text)
            # What is known of a table just filled is what it was when it was empty.
            run(f"ANALYZE {self.name}, {self._key[1]}, photos")
        finally:
            if self._connection.is_usable:
                run("RESET maintenance_work_mem; RESET max_parallel_maintenance_workers")

    def _create_index(self, mean: str) -> None:
        """Creates it: by one process of the server, where several have too little memory in common."""
        try:
            self._create_afresh(mean)
        except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory) as error:
            if "/PostgreSQL." not in str(error):  # the name of memory that its processes share
                raise
            LOG.warning(
                "the server's processes share too little memory to build an index together, so that one "
                "builds it, which takes longer: give a container more, as by --shm-size=8g"
            )
            self._connection.run("SET max_parallel_maintenance_workers = 0")
            self._create_afresh(mean)

    def _create_afresh(self, mean: str) -> None:
        run = self._connection.run
        for index in (self.index, f"{self.name}_bits"):  # what an interrupted build, or an older virtue, left
            run(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        run(
            f"CREATE INDEX CONCURRENTLY {self.index} ON {self.name} USING hnsw "
            f"(({self._signs('vector', mean)}) bit_hamming_ops)"
        )

    def _mean(self) -> str:
        sql = "SELECT mean FROM index_means WHERE generation_id = %s AND kind = %s"
        return str(self._connection.query(sql, self._key)[0][0])

    def _signs(self, vector: str, mean: str) -> str:
        """Returns SQL for the signs of a vector's columns; an index is used only for the very words that it
        was made with."""
        return f"binary_quantize({vector} - '{mean}'::halfvec({self.dim:d}))::bit({self.dim:d})"


class StoredRows:
    """The vectors of a place as an array (count, dim) fp16 of which parts are read; zeros where no row is."""

    def __init__(self, table: VectorPlace, count: int) -> None:
        self._table, self._count = table, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            first, stop, _ = rows.indices(self._count)
            return self._table.span(first, stop)
        return self._table.take(rows)


def _condition(allowed: Allowed) -> str:
    """Makes a condition on a row `v.row` of the table."""
    return f"EXISTS ({allowed.rows} AND o.row = v.row)"


def _score(queries: np.ndarray) -> str:
    products = (f"-(v.vector::vector <#> %(query{number})s::vector)" for number in range(len(queries)))
    return f"greatest({', '.join(products)})"


def _texts(queries: np.ndarray) -> dict[str, str]:
    return {
        f"query{number}": f"[{','.join(map(repr, query.tolist()))}]" for number, query in enumerate(queries)
    }
