"""A library in PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from virtue.errors import LibraryNotFoundError, StoreError
from virtue.location import hide_secrets
from virtue.store.postgres.server_connection import (
    LONGEST_PATH,
    ServerConnection,
    psycopg,
    translate_server_errors,
)
from virtue.store.postgres.server_schema import SCHEMA, prepare
from virtue.store.postgres.server_snapshot import ServerSnapshot
from virtue.store.postgres.server_writer import BEGIN, ServerWriter
from virtue.store.records import Fault, TextChecks
from virtue.store.store import Store

LOG = logging.getLogger("virtue")


class ServerStore(Store):
    """An open library in a database of PostgreSQL, of which it has a schema for itself."""

    longest_path = LONGEST_PATH

    def __init__(self, url: str, read_only: bool) -> None:
        self.name, self.folder, self.read_only = hide_secrets(url), None, read_only
        self._url = url
        self._free: list[ServerConnection] = []

    @classmethod
    def open(cls, url: str, *, create: bool = False, read_only: bool = False) -> ServerStore:
        """Opens the library in the database at this address.

        Raises:
            LibraryNotFoundError: there is none, and `create` is False.
            SchemaError: it was written by a newer virtue; or by an older one, and `read_only`.
            StoreError: the server cannot be reached, or lacks what a library needs.
        """
        store = cls(url, read_only)
        with translate_server_errors(store.name), store._connected() as connection:
            if not prepare(connection, store.name, create=create, read_only=read_only):
                raise LibraryNotFoundError(
                    f"there is no library in {store.name}: index a folder of photos into it, or name another",
                    hint="virtue index FOLDER",
                )
            store._check_place(connection, create)
        LOG.info("opened the library %s%s", store.name, " to read only" if read_only else "")
        return store

    def _check_place(self, connection: ServerConnection, create: bool) -> None:
        """Raises StoreError if the vectors of this library lie elsewhere."""
        if connection.query(f"SELECT 1 FROM {SCHEMA}.milvus"):
            raise StoreError(
                f"the library {self.name} has its vectors in Milvus: end its address with "
                "?vectors=milvus://HOST:PORT"
            )

    @contextmanager
    def _connected(self) -> Iterator[ServerConnection]:
        """A connection that an earlier read is done with, if there is one."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = ServerConnection(self._url)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)

    @contextmanager
    def read(self) -> Iterator[ServerSnapshot]:
        with translate_server_errors(self.name), self._connected() as connection:
            yield self._snapshot(connection)
            connection.rollback()

    def _snapshot(self, connection: ServerConnection) -> ServerSnapshot:
        while True:
            connection.run(f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; {BEGIN}")
            snapshot = self._make_snapshot(connection)
            try:
                snapshot.hold_tables()
                return snapshot
            except psycopg.errors.UndefinedTable:
                # A writer has dropped the generation since this transaction began.
                connection.rollback()

    def _make_snapshot(self, connection: ServerConnection) -> ServerSnapshot:
        return ServerSnapshot(connection, self.name)

    def _make_writer(self, connection: ServerConnection) -> ServerWriter:
        return ServerWriter(connection, self.name, self._url)

    @contextmanager
    def read_sound(self) -> Iterator[ServerSnapshot]:
        # The server checks its pages when it reads them.
        with self.read() as snapshot:
            yield snapshot

    @contextmanager
    def write(self, command: str) -> Iterator[ServerWriter]:
        if self.read_only:
            raise StoreError(f"the library {self.name} was opened read-only: open it for writing")
        with translate_server_errors(self.name):
            connection = ServerConnection(self._url)
        try:
            writer = self._make_writer(connection)
            yield writer
            writer.drop_pathless_photos()
        finally:
            connection.close()

    def verify(self, checks: TextChecks | None = None) -> list[Fault]:
        with self.read() as snapshot:
            return snapshot.faults(checks)

    def free_bytes(self) -> None:
        return None

    def close(self) -> None:
        while self._free:
            self._free.pop().close()
