"""Writers of a library whose vectors are in Milvus. Vectors are put there first; the catalogue's transaction
is the only commit; what it drops is deleted there later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from virtue.store.catalogue import queries
from virtue.store.milvus.milvus_server import MAX_NAMED, MilvusServer
from virtue.store.milvus.milvus_snapshot import MilvusSnapshot, find_faults, place
from virtue.store.milvus.milvus_vectors import MilvusVectors
from virtue.store.postgres.server_connection import ServerConnection
from virtue.store.postgres.server_schema import SCHEMA
from virtue.store.postgres.server_writer import ServerWriter
from virtue.store.records import KINDS, Fault, Generation, Kind, TextChecks, TuningResult, Waste

if TYPE_CHECKING:
    from virtue.store.records import ProgressCallback

_NO_READER_SEES = (
    "age(xmin) > (SELECT coalesce(max(age(backend_xmin)), 0) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid())"
)
"""Of a row of a table: it was committed before any version began that someone still reads."""
PHOTOS = 1000
"""Photos that are copied again at a time."""


class MilvusWriter(ServerWriter):
    """Writes to a library whose vectors are in Milvus; others may write at the same time."""

    def __init__(
        self, connection: ServerConnection, name: str, url: str, server: MilvusServer, prefix: str
    ) -> None:
        self._server, self._prefix = server, prefix
        self._pending: list[tuple[MilvusVectors, int, np.ndarray]] = []
        super().__init__(connection, name, url)

    @contextmanager
    def _transaction(self) -> Iterator[ServerConnection]:
        with super()._transaction() as connection:
            self._pending = []
            yield connection
            # Only now does the catalogue know what filters need. What fails here was never committed.
            for vectors, first, rows in self._pending:
                vectors.put(np.arange(first, first + len(rows)), rows)

    def _snapshot(self) -> MilvusSnapshot:
        return MilvusSnapshot(self._connection, self._name, self._server, self._prefix)

    def _place(self, generation: Generation, kind: Kind) -> MilvusVectors:
        return place(self._connection, self._server, self._prefix, generation, kind)

    def _append(self, connection: ServerConnection, kind: Kind, vectors: np.ndarray) -> int:
        to = self._place(self._target(), kind)
        first = to.reserve(len(vectors))
        if len(vectors):
            self._pending.append((to, first, vectors))
        return first

    # -- what is left behind --------------------------------------------------------------------------------

    def _remove_leftovers(self) -> None:
        super()._remove_leftovers()
        with self._transaction() as connection:
            sql = (
                "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, 'vectors_')"
            )
            kept = {self._prefix + name for (name,) in connection.query(sql, (SCHEMA,))}
            for collection in self._server.collections(self._prefix):
                if collection not in kept:
                    self._server.drop(collection)
            for generation in queries.generations(connection):
                for kind in KINDS:
                    self._place(generation, kind).reserve(0)
        self._delete_dead()

    def _delete_dead(self) -> int:
        """Deletes vectors whose rows are dead and that nobody reads any more; returns how many."""
        count = 0
        while True:
            with self._transaction() as connection:
                sql = (
                    "DELETE FROM dead_vectors WHERE (generation_id, kind, row) IN "
                    "(SELECT generation_id, kind, row FROM dead_vectors "
                    f"WHERE {_NO_READER_SEES} LIMIT {MAX_NAMED}) RETURNING generation_id, kind, row"
                )
                found = connection.query(sql)
                for generation in queries.generations(connection):
                    for kind in KINDS:
                        rows = [row for id, of, row in found if (id, of) == (generation.id, kind)]
                        if rows:
                            self._place(generation, kind).delete(rows)
            count += len(found)
            if len(found) < MAX_NAMED:
                return count

    def _delete_strays(self) -> int:
        """Deletes vectors that belong to nothing, whoever put them there; returns how many."""
        count = 0
        with self._transaction() as connection:
            for generation in queries.generations(connection):
                for kind in KINDS:
                    vectors = self._place(generation, kind)
                    sql = (
                        "SELECT row FROM dead_vectors WHERE generation_id = %s AND kind = %s "
                        f"AND NOT {_NO_READER_SEES}"
                    )
                    read = [row for (row,) in connection.query(sql, (generation.id, kind))]
                    for strays, _ in vectors.strays():
                        rows = np.setdiff1d(strays, np.array(read, np.int64)).tolist()
                        vectors.delete(rows)
                        count += len(rows)
        return count

    def drop_pathless_photos(self) -> None:
        super().drop_pathless_photos()
        self._delete_dead()

    def _find_faults(self, connection: ServerConnection) -> list[Fault]:
        return find_faults(connection, self._server, self._prefix)

    def repair(self, checks: TextChecks | None = None) -> list[Fault]:
        found = super().repair(checks)
        self.compact()
        return found

    def compact(self) -> Waste:
        self._restate()
        dead = self._delete_dead() + self._delete_strays()
        bytes = 0 if self.target is None else 2 * self.target.dim * dead
        return Waste(dead, dead, bytes)

    def _restate(self) -> None:
        """Copies anew what has changed of photos."""
        while True:
            with self._transaction() as connection:
                sql = (
                    "DELETE FROM restated WHERE photo_id IN "
                    f"(SELECT photo_id FROM restated LIMIT {PHOTOS}) RETURNING photo_id"
                )
                photos = [photo for (photo,) in connection.query(sql)]
                for generation in queries.generations(connection) if photos else ():
                    for kind in KINDS:
                        self._place(generation, kind).restate(photos)
            if len(photos) < PHOTOS:
                return

    def refresh_indexes(
        self,
        *,
        max_scanned_floats: int | None = None,
        texts: Callable[[], np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        self._restate()
        return super().refresh_indexes(max_scanned_floats=max_scanned_floats, texts=texts, progress=progress)
