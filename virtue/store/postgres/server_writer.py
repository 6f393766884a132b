"""Writers of a library in PostgreSQL: many at once. Their commits follow one another, all else runs beside
them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from virtue.errors import StoreError
from virtue.store import calibration
from virtue.store.calibration import MakeQueries
from virtue.store.catalogue import queries, writes
from virtue.store.catalogue.database import WriteConnection
from virtue.store.postgres.server_connection import (
    LONGEST_PATH,
    ServerConnection,
    psycopg,
    translate_server_errors,
)
from virtue.store.postgres.server_faults import find_faults
from virtue.store.postgres.server_jobs import LostLeasesError, ServerJobs, drop_below
from virtue.store.postgres.server_schema import SCHEMA
from virtue.store.postgres.server_snapshot import ServerSnapshot
from virtue.store.postgres.vector_place import VectorPlace
from virtue.store.postgres.vector_table import MIN_INDEXED_ROWS, StoredRows, VectorTable, table_name
from virtue.store.records import (
    KINDS,
    QUERY_KINDS,
    CaptionUpdate,
    EmbeddedPhoto,
    Fault,
    FileRecord,
    Generation,
    Kind,
    QueryKind,
    SearchParams,
    TextChecks,
    TuningResult,
    Waste,
)
from virtue.store.writer import Writer

if TYPE_CHECKING:
    from virtue.store.records import ProgressCallback

FACTORS = (4, 10, 25, 50, 100, 200, 400)
"""Candidates of an index for each row that is wanted, of which the least that find enough are chosen."""
TOP = 10
"""Rows that a search asks for when its recall is measured."""
TUNING_QUERIES = 64
"""Queries of each kind that an index is tuned with."""
BEGIN = f"SET LOCAL search_path = {SCHEMA}, public"
COMMITS, INDEXES = "virtue: commits", "virtue: indexes"
"""Names of advisory locks."""


class ServerWriter(Writer):
    """Writes to a library in PostgreSQL; others may write at the same time.

    Args:
        connection: of its own; another thread than the caller's may commit through it, in turn.
        url: of the database, for what takes a connection more.
    """

    jobs: ServerJobs | None = None
    longest_path = LONGEST_PATH

    def __init__(self, connection: ServerConnection, name: str, url: str) -> None:
        self._connection, self._name, self._url = connection, name, url
        self._turn = threading.Lock()
        with self._transaction():
            self.target = queries.active(connection)
        self._remove_leftovers()

    @contextmanager
    def _transaction(self) -> Iterator[ServerConnection]:
        with self._turn, translate_server_errors(self._name):
            begin = f"BEGIN; {BEGIN}; SELECT pg_advisory_xact_lock(hashtext('{COMMITS}'))"
            self._connection.run(begin)
            try:
                yield self._connection
                self._connection.run("COMMIT")
            except BaseException:
                if self._connection.is_usable:
                    self._connection.rollback()
                raise

    @contextmanager
    def _reading(self) -> Iterator[ServerSnapshot]:
        with self._turn, translate_server_errors(self._name):
            self._connection.run(f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; {BEGIN}")
            try:
                yield self._snapshot()
            finally:
                if self._connection.is_usable:
                    self._connection.rollback()

    def _snapshot(self) -> ServerSnapshot:
        return ServerSnapshot(self._connection, self._name)

    def _place(self, generation: Generation, kind: Kind) -> VectorPlace:
        return VectorTable(self._connection, generation.id, kind, generation.dim)

    def _table(self, kind: Kind) -> VectorPlace:
        return self._place(self._target(), kind)

    def _add(self, connection: ServerConnection, new: Generation) -> None:
        super()._add(connection, new)
        for kind in KINDS:
            self._place(new, kind).create()

    def _append(self, connection: ServerConnection, kind: Kind, vectors: np.ndarray) -> int:
        target = self._target()
        found = connection.query(
            "UPDATE row_files SET count = count + %s WHERE generation_id = %s AND kind = %s RETURNING count",
            (len(vectors), target.id, kind),
        )
        first = int(found[0][0]) - len(vectors)
        if len(vectors):
            VectorTable(connection, target.id, kind, target.dim).append(first, vectors)
        return first

    # -- sharing ---------------------------------------------------------------------------------------------

    @contextmanager
    def sharing(self, *, fills: bool) -> Iterator[None]:
        with ServerJobs.open(self._url, self._name, fills) as self.jobs:
            try:
                yield
            finally:
                self.jobs = None

    def commit(
        self,
        embedded: Sequence[EmbeddedPhoto] = (),
        files: Sequence[FileRecord] = (),
        missing: Iterable[bytes] = (),
        captions: Sequence[CaptionUpdate] = (),
    ) -> None:
        missing = [*missing]
        while True:
            try:
                super().commit(embedded, files, missing, captions)
                break
            except LostLeasesError as error:
                assert self.jobs is not None
                self.jobs.lose(error)
                before = {file.hash for file in files}
                files = [file for file in files if file.path not in error.lost | error.unsure]
                left_out = before - {file.hash for file in files}
                embedded = [photo for photo in embedded if photo.info.hash not in left_out]
                captions = [update for update in captions if update.hash not in left_out]
        if self.jobs is not None:
            self.jobs.let_go(files)

    def _settle_jobs(
        self,
        connection: WriteConnection,
        photos: Sequence[EmbeddedPhoto],
        files: Sequence[FileRecord],
        updates: Sequence[CaptionUpdate],
    ) -> None:
        if self.jobs is not None:
            self.jobs.settle(self._connection, {photo.info.hash for photo in photos}, files)
            read = [update.hash for update in updates if update.read_by is not None]
            if read:
                self.jobs.settle_read(self._connection, read)

    def forget(self, paths: Iterable[bytes]) -> int:
        paths = [*paths]
        count = super().forget(paths)
        self._drop_jobs(paths)
        return count

    def move(self, old: bytes, new: bytes) -> int:
        count = super().move(old, new)
        self._drop_jobs([old])
        return count

    def _drop_jobs(self, paths: Iterable[bytes]) -> None:
        with self._transaction() as connection:
            drop_below(connection, paths)

    def _remove_leftovers(self) -> None:
        with self._reading() as snapshot:
            known = snapshot.generations()
            kept = {table_name(each.id, kind) for each in known for kind in KINDS}
            sql = (
                "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, 'vectors_')"
            )
            tables = {name for (name,) in snapshot.connection.query(sql, (SCHEMA,))}
        with self._turn, translate_server_errors(self._name):
            for table in sorted(tables - kept):
                # Who reads it still is not waited for: another writer drops it.
                with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
                    try:
                        self._connection.run(f"BEGIN; {BEGIN}; SET LOCAL lock_timeout = '100ms'")
                        self._connection.run(f"DROP TABLE {table}; COMMIT")
                    finally:
                        self._connection.rollback()

    def repair(self, checks: TextChecks | None = None) -> list[Fault]:
        with self._commit() as connection:
            found = self._find_faults(connection)
            hashes = {hash for fault in found for hash in fault.hashes}
            photos = writes.photo_ids(connection, hashes).values()
            writes.drop_vectors_keep_annotations(connection, photos)
        return found

    def _find_faults(self, connection: ServerConnection) -> list[Fault]:
        return find_faults(connection)

    def waste(self) -> Waste:
        return Waste()

    def compact(self) -> Waste:
        raise StoreError(
            f"the library {self._name} needs no compacting: PostgreSQL frees what was dropped by itself "
            "(autovacuum)"
        )

    # -- indexes --------------------------------------------------------------------------------------------

    def refresh_indexes(
        self,
        *,
        max_scanned_floats: int | None = None,
        texts: Callable[[], np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        if self.target is None:
            return []
        least = MIN_INDEXED_ROWS if max_scanned_floats is None else max_scanned_floats // self.target.dim + 1
        results: list[TuningResult] = []
        for kind in KINDS:
            with self._building() as is_free:
                if is_free and self._build(kind, least, progress):
                    results += self.tune(kind, texts=texts() if texts else None, progress=progress)
        return results

    @contextmanager
    def _building(self) -> Iterator[bool]:
        """Gives whether this process alone builds and tunes indexes for as long as the block lasts, beside
        what others write; False if another does. Who was killed no longer does once its build has ended."""
        with self._turn, translate_server_errors(self._name):
            sql = "SELECT pg_try_advisory_lock(hashtext(%s))"
            is_free = bool(self._connection.query(sql, (INDEXES,))[0][0])
        try:
            yield is_free
        finally:
            with self._turn, translate_server_errors(self._name):
                if is_free and self._connection.is_usable:
                    self._connection.query("SELECT pg_advisory_unlock(hashtext(%s))", (INDEXES,))

    def _build(self, kind: Kind, least: int, progress: ProgressCallback | None) -> bool:
        """Builds an index if there are so many rows and none; returns whether there is one to be tuned: this
        one, or that of a process that was killed before it had tuned it."""
        self._table(kind).recover()
        with self._reading() as snapshot:
            has_index = self._table(kind).has_index()
            if has_index or self._table(kind).count() < least:
                return has_index and not self._is_tuned(snapshot.connection, kind)
        with self._turn, translate_server_errors(self._name):
            connection = self._connection
            connection.run(f"SET search_path = {SCHEMA}, public")
            try:
                if progress:
                    progress(f"building the index of {kind}", 0, 1)
                self._table(kind).build_index()
                if progress:
                    progress(f"building the index of {kind}", 1, 1)
                return True
            finally:
                if connection.is_usable:
                    connection.run("RESET search_path")

    def _is_tuned(self, connection: ServerConnection, kind: Kind) -> bool:
        sql = "SELECT 1 FROM bit_indexes WHERE generation_id = %s AND kind = %s"
        return bool(connection.query(sql, (self._target().id, kind)))

    def tune(
        self,
        kind: Kind = "regions",
        *,
        texts: np.ndarray | None = None,
        images: np.ndarray | None = None,
        target: float = 0.95,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        if self.target is None:
            return []
        results = []
        with self._reading() as snapshot:
            if not self._table(kind).has_index():
                return []
            sample: dict[QueryKind, np.ndarray] = {
                "image": self._sample(kind) if images is None else images[:TUNING_QUERIES],
                "text": self._sample("captions")
                if texts is None or not len(texts)
                else texts[:TUNING_QUERIES],
            }
            for number, query_kind in enumerate(QUERY_KINDS):
                if progress:
                    progress(f"tuning the index of {kind}", number, len(QUERY_KINDS))
                if len(sample[query_kind]):
                    results.append(_measure(snapshot, kind, query_kind, sample[query_kind], target))
        with self._commit() as connection:
            for each in results:
                values = {
                    "generation_id": self.target.id, "kind": kind, "asked": each.query_kind,
                    "factor": each.chosen.refine_factor, "recall": each.chosen.recall,
                    "microseconds": each.chosen.microseconds,
                }  # fmt: skip
                put = (
                    "INSERT INTO bit_indexes (generation_id, kind, asked, factor, recall, microseconds) "
                    "VALUES (%(generation_id)s, %(kind)s, %(asked)s, %(factor)s, %(recall)s, "
                    "%(microseconds)s) "
                    "ON CONFLICT (generation_id, kind, asked) DO UPDATE SET factor = excluded.factor, "
                    "recall = excluded.recall, microseconds = excluded.microseconds RETURNING 1"
                )
                connection.query(put, values)
        return results

    def _sample(self, kind: Kind) -> np.ndarray:
        """Returns some vectors, (n, dim) float32, spread over all."""
        table = self._table(kind)
        rows = table.sample(TUNING_QUERIES)
        vectors = table.take(rows) if len(rows) else np.empty((0, table.dim), np.float16)
        return vectors.astype(np.float32)

    def refresh_calibration(self, make_queries: MakeQueries) -> bool:
        if self.target is None:
            return False
        target = self.target
        with self._reading() as snapshot:
            connection = snapshot.connection
            finds = calibration.finds_due(connection, target.id)
            if not finds:
                return False
            stored = {
                kind: StoredRows(self._table(kind), queries.row_count(connection, target.id, kind))
                for kind in KINDS
            }
            found = calibration.measure(connection, target.id, finds, stored, make_queries)
        with self._commit() as connection:
            calibration.save(connection, target.id, found)
        return True


def _measure(
    snapshot: ServerSnapshot, kind: Kind, query_kind: QueryKind, sample: np.ndarray, target: float
) -> TuningResult:
    """Finds the least candidates with which an index finds enough of the best rows by more than the
    standard error, of all and of what a filter leaves; where none do, all rows are read (a factor of 0), or
    as many candidates as were tried."""
    table = snapshot.table(kind)
    # Of rows of one score any is as good as another: what counts is whether a row scores as the best do.
    right = [
        (allowed, query[None], snapshot.scores(kind, best, query[None]))
        for allowed in snapshot.judges(kind)
        for query, best in zip(sample, snapshot.exact_each(kind, sample, TOP, allowed), strict=True)
    ]
    curve = []
    for factor in FACTORS:
        began, hits = time.perf_counter(), []
        for allowed, query, best in right:
            _, scores = table.nearest_by_index(query, TOP, allowed, factor)
            hits.append((scores >= best.min(initial=math.inf)).sum() / max(1, len(best)))
        microseconds = 1e6 * (time.perf_counter() - began) / len(right)
        recalls = np.array(hits).reshape(-1, len(sample))
        curve.append(SearchParams(1, factor, min(float(some.mean()) for some in recalls), microseconds))
        if all(some.mean() - some.std() / math.sqrt(len(sample)) >= target for some in recalls):
            break
    reaches = (curve[-1].recall or 0) >= target
    chosen = SearchParams(1, 0, 1.0) if snapshot.reads_all_rows and not reaches else curve[-1]
    return TuningResult(kind, query_kind, len(sample), tuple(curve), chosen)
