"""One version of a library whose vectors are in Milvus: the catalogue says which of those belong to it."""

from __future__ import annotations

import numpy as np

from virtue.store.catalogue import queries as catalogue_queries
from virtue.store.milvus.milvus_server import MilvusServer
from virtue.store.milvus.milvus_vectors import MAX_READ_ROWS, MilvusVectors
from virtue.store.postgres.server_connection import ServerConnection
from virtue.store.postgres.server_snapshot import ServerSnapshot
from virtue.store.postgres.vector_place import Allowed
from virtue.store.records import KINDS, Fault, Generation, Kind, TextChecks

DEEPEST = 400
"""Candidates for each row that is wanted, of a search that stands for one of all rows."""


class MilvusSnapshot(ServerSnapshot):
    """A snapshot whose vectors are in Milvus, which has no snapshots."""

    reads_all_rows = False

    def __init__(self, connection: ServerConnection, name: str, server: MilvusServer, prefix: str) -> None:
        super().__init__(connection, name)
        self._server, self._prefix = server, prefix

    def table(self, kind: Kind) -> MilvusVectors:
        assert self.generation is not None
        return place(self.connection, self._server, self._prefix, self.generation, kind)

    def judges(self, kind: Kind) -> list[Allowed]:
        # Filters are known to the index.
        return [self.allowed(kind, None)]

    def exact_each(self, kind: Kind, queries: np.ndarray, top: int, allowed: Allowed) -> list[np.ndarray]:
        place = self.table(kind)
        if self.row_count(kind) > MAX_READ_ROWS:
            return [place.nearest_by_index(query[None], top, allowed, DEEPEST)[0] for query in queries]
        return place.nearest_each(queries, top, allowed)

    def size_on_disk(self) -> int:
        size = super().size_on_disk()
        if self.generation is not None:
            size += 2 * self.generation.dim * sum(map(self.row_count, KINDS))
        return size

    def faults(self, checks: TextChecks | None = None) -> list[Fault]:
        return find_faults(self.connection, self._server, self._prefix)


def place(
    connection: ServerConnection, server: MilvusServer, prefix: str, generation: Generation, kind: Kind
) -> MilvusVectors:
    return MilvusVectors(connection, server, prefix, generation.id, kind, generation.dim)


def find_faults(connection: ServerConnection, server: MilvusServer, prefix: str) -> list[Fault]:
    """Finds regions and captions whose vectors are gone."""
    found = []
    for generation in catalogue_queries.generations(connection):
        for kind in KINDS:
            hashes: set[bytes] = set()
            for _, lost in place(connection, server, prefix, generation, kind).strays():
                sql = (
                    f"SELECT DISTINCT hash FROM {kind} o JOIN photos ON photos.id = photo_id "
                    "WHERE generation_id = %s AND o.row = ANY(%s)"
                )
                if len(lost):
                    hashes.update(hash for (hash,) in connection.query(sql, (generation.id, lost.tolist())))
            if hashes:
                what = f"{kind} of {len(hashes)} photos have lost their vectors"
                found.append(Fault("rows", what, tuple(sorted(hashes))))
    return found
