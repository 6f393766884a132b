"""A library in a folder."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from virtue.errors import DamagedError, SchemaError, StoreError
from virtue.paths import absolute
from virtue.store import layout as names
from virtue.store import mounts
from virtue.store.cache import StoreCache
from virtue.store.catalogue import database
from virtue.store.folder_snapshot import FolderSnapshot
from virtue.store.records import Fault, TextChecks
from virtue.store.store import Store
from virtue.store.vectors.row_files import damaged

if TYPE_CHECKING:
    import torch

    from virtue.store.folder_writer import FolderWriter

LOG = logging.getLogger("virtue")

Connect = Callable[[], sqlite3.Connection]

LOCK_TIMEOUT = 10.0
"""Seconds to wait for another process that makes or migrates the same library."""


class FolderStore(Store):
    """An open library in a folder."""

    folder: Path

    def __init__(
        self, folder: Path, connect: Connect, read_only: bool, device: torch.device | None = None
    ) -> None:
        self.folder, self.name = folder, str(folder)
        self.read_only = read_only
        self._connect = connect
        self._cache = StoreCache(folder, device)
        self._free: list[sqlite3.Connection] = []
        self._identity = names.identify(folder)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        create: bool = False,
        read_only: bool = False,
        vectors_device: str | None = None,
    ) -> FolderStore:
        """Opens the library in a folder, as `open_store` says."""
        place = Path(os.fsdecode(absolute(folder)))
        device = _device(vectors_device) if vectors_device else None
        if not read_only:
            mounts.refuse_network(place)
        names.refuse_links(place)
        if create and not read_only and not (place / names.CATALOGUE).exists():
            _make(place)
        names.require(place)
        connect = partial(database.connect, place / names.CATALOGUE, _mode(place, read_only))
        with database.translate_errors(place), closing(connect()) as connection:
            if not database.is_current(connection, place):
                _migrate(place, connection, read_only)
        LOG.info("opened the library %s%s", place, " to read only" if read_only else "")
        return cls(place, connect, read_only, device)

    @contextmanager
    def read(self) -> Iterator[FolderSnapshot]:
        names.require_same(self.folder, self._identity)
        with database.translate_errors(self.folder), self._connected() as connection:
            connection.execute("BEGIN")
            snapshot = FolderSnapshot(connection, self.folder, self._cache)
            while not snapshot.is_complete:
                # A writer may have dropped the generation between the look at the catalogue and the
                # look at its files. If nothing was written, they are truly gone.
                seen = snapshot.version
                connection.rollback()
                connection.execute("BEGIN")
                snapshot = FolderSnapshot(connection, self.folder, self._cache)
                if snapshot.version == seen:
                    break
            yield snapshot

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection that an earlier read is done with, if there is one."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        connection.rollback()
        self._free.append(connection)

    @contextmanager
    def write(self, command: str) -> Iterator[FolderWriter]:
        """Opens the library for writing, for as long as the block lasts. First removes what a writer that
        died left behind.

        Args:
            command: what the user ran, for the message that a second writer gets.

        Raises:
            LockedError: another writer has it; names the process, host, command and since when.
            StoreError: the library was opened read-only.
        """
        if self.read_only:
            raise StoreError(f"the library {self.folder} was opened read-only: open it for writing")
        # Here, not above: who only searches does not pay for them.
        from virtue.store.folder_writer import FolderWriter
        from virtue.store.lock import writer_lock

        with writer_lock(self.folder, command):
            engine = database.engine(self.folder / names.CATALOGUE)
            try:
                writer = FolderWriter(self.folder, engine, self._identity)
                yield writer
                writer.drop_pathless_photos()
                writer.purge_tokens()
            finally:
                engine.dispose()

    def verify(self, checks: TextChecks | None = None) -> list[Fault]:
        try:
            while True:
                with self.read() as snapshot:
                    faults, seen = snapshot.faults(checks), snapshot.file_ids()
                if not faults or not self._has_other_files(seen):
                    return faults
        except DamagedError as error:
            return [Fault("catalogue", str(error), repairable=False)]

    @contextmanager
    def read_sound(self) -> Iterator[FolderSnapshot]:
        while True:
            with self.read() as snapshot:
                faults, seen = snapshot.row_faults(), snapshot.file_ids()
                if not faults:
                    yield snapshot
                    return
            if not self._has_other_files(seen):
                raise damaged(f"the library {self.folder} is damaged ({faults[0].what})")

    def _has_other_files(self, seen: frozenset[tuple[str, int]]) -> bool:
        """Returns whether a writer has replaced files since, so that they may have been missed."""
        with self.read() as snapshot:
            return snapshot.file_ids() != seen

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


def _make(place: Path) -> None:
    from virtue.store.lock import writer_lock

    names.prepare(place)
    with writer_lock(place, "making the library", timeout=LOCK_TIMEOUT):
        if not (place / names.CATALOGUE).exists():
            database.create(place)


def _device(name: str) -> torch.device:
    from virtue.torch_device import find_device

    return find_device(name, StoreError)


def _mode(place: Path, read_only: bool) -> database.Mode:
    writable = os.access(place, os.W_OK) and os.access(place / names.CATALOGUE, os.W_OK)
    if not read_only:
        if not writable:
            raise StoreError(f"the library {place} cannot be written to: open it read-only")
        return "read"
    if writable and not mounts.network_mount(place) and database.can_be_shared(place / names.CATALOGUE):
        return "look"
    names.require_settled(place)
    return "frozen"


def _migrate(place: Path, reading: sqlite3.Connection, read_only: bool) -> None:
    if read_only:
        raise SchemaError(
            f"the library {place} was written by an older virtue: open it once for writing, "
            "which brings it up to date"
        )
    from virtue.store.catalogue.migrate import upgrade
    from virtue.store.lock import writer_lock

    with writer_lock(place, "bringing the library up to date", timeout=LOCK_TIMEOUT):
        # Another process may have done it while this one waited.
        if not database.is_current(reading, place):
            upgrade(place)
