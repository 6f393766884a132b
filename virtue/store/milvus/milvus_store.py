"""A library whose catalogue is in PostgreSQL, and whose vectors are in Milvus."""

from __future__ import annotations

import secrets

from virtue.errors import StoreError
from virtue.location import split_vectors
from virtue.store.milvus.milvus_server import MilvusServer
from virtue.store.milvus.milvus_snapshot import MilvusSnapshot
from virtue.store.milvus.milvus_writer import MilvusWriter
from virtue.store.postgres.server_connection import ServerConnection
from virtue.store.postgres.server_schema import SCHEMA
from virtue.store.postgres.server_store import ServerStore


class MilvusStore(ServerStore):
    """An open library at `postgresql://HOST/DATABASE?vectors=milvus://HOST:PORT`."""

    def __init__(self, url: str, read_only: bool) -> None:
        super().__init__(url, read_only)
        self._url, vectors = split_vectors(url)
        self._server = MilvusServer(vectors or "", self.name)
        self._prefix = ""

    def _check_place(self, connection: ServerConnection, create: bool) -> None:
        sql = f"SELECT prefix FROM {SCHEMA}.milvus"
        found = connection.query(sql)
        if not found:
            if self.read_only or connection.query(f"SELECT 1 FROM {SCHEMA}.generations LIMIT 1"):
                raise StoreError(
                    f"the library {self.name} has its vectors in PostgreSQL: leave ?vectors= out of its "
                    "address, or merge it into another database that has them in Milvus"
                )
            # Several libraries may share a Milvus.
            with connection.driver.transaction():
                connection.run(f"LOCK TABLE {SCHEMA}.milvus IN EXCLUSIVE MODE")
                found = connection.query(sql)
                if not found:
                    put = f"INSERT INTO {SCHEMA}.milvus VALUES (%s) RETURNING prefix"
                    found = connection.query(put, (f"virtue_{secrets.token_hex(8)}_",))
        self._prefix = found[0][0]

    def _make_snapshot(self, connection: ServerConnection) -> MilvusSnapshot:
        return MilvusSnapshot(connection, self.name, self._server, self._prefix)

    def _make_writer(self, connection: ServerConnection) -> MilvusWriter:
        return MilvusWriter(connection, self.name, self._url, self._server, self._prefix)

    def close(self) -> None:
        super().close()
        self._server.close()
