"""The SQLite file: how it is made, opened, and how its errors are told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, create_engine, event, insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from virtue.errors import DamagedError, LockedError, SchemaError, StoreError
from virtue.store import layout as names
from virtue.store.disk import disk_full, sync_folder

Mode = Literal["read", "write", "look", "frozen"]
"""read: beside a writer. write: the writer. look: never writes, but for the files that SQLite's
connections share and remove again (under its own mode=ro they would stay). frozen: takes the file
for unchanging, for folders where even those cannot be."""

SCHEMA = "0003"
"""The newest revision in virtue/migrations. Revisions are zero-padded numbers, so that a library
can be told to be older or newer by comparing them."""
FREE = 5
"""The catalogue is written anew when one page of so many is free."""
BUSY_TIMEOUT = 30.0
"""Seconds to wait for SQLite's own short locks, which the writer's lock does not cover."""


def engine(path: Path, mode: Mode) -> Engine:
    """Connections whose transactions start by an explicit BEGIN, so that a reader keeps the version
    it saw first and a writer waits at the start, not in the middle."""
    uri = f"{path.as_uri()}?{'mode=ro&immutable=1' if mode == 'frozen' else 'mode=rw'}"
    begin = "BEGIN IMMEDIATE" if mode == "write" else "BEGIN"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False)

    made = create_engine("sqlite://", creator=connect, poolclass=QueuePool, max_overflow=-1)

    @event.listens_for(made, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # or sqlite3 would begin transactions by itself
        if mode == "look":
            connection.execute("PRAGMA query_only = ON")
        if mode == "write":
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.cursor().execute(begin)  # SQLAlchemy's own way takes five times as long

    return made


@contextmanager
def translate_errors(folder: Path) -> Iterator[None]:
    """Turns what SQLite says into one sentence about the library."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(folder, error.orig) from error
    except sqlite3.Error as error:
        raise _translate(folder, error) from error


def _translate(folder: Path, error: BaseException | None) -> StoreError:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    match code:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
            return DamagedError(
                f"the catalogue of the library {folder} is damaged ({error}): put {names.CATALOGUE} "
                "back from a backup, or remove the folder and index again"
            )
        case sqlite3.SQLITE_FULL:
            return disk_full(folder)
        case sqlite3.SQLITE_IOERR:
            return StoreError(
                f"the disk of the library {folder} fails ({error}): check it and how much room it has; "
                "all that was committed is safe"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LockedError(f"the library {folder} is in use by another process: try again later")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreError(f"the library {folder} cannot be written to: check its permissions")
        case _:
            return StoreError(f"the catalogue of the library {folder} cannot be used: {error}")


def create(folder: Path) -> None:
    """A new, empty catalogue, complete or not at all: it is made under another name."""
    from virtue.store.catalogue import schema

    unborn = folder / names.UNFINISHED
    with translate_errors(folder):
        for half_made in folder.glob(f"{names.UNFINISHED}*"):
            half_made.unlink()
        unborn.touch()
        making = engine(unborn, "write")
        with making.begin() as connection:
            schema.metadata.create_all(connection)
            schema.alembic_version.create(connection)
            connection.execute(insert(schema.alembic_version).values(version_num=SCHEMA))
            connection.execute(insert(schema.library).values(version=0))
        making.dispose()
        with closing(sqlite3.connect(unborn)) as plain:
            plain.execute("PRAGMA journal_mode = WAL")
    os.replace(unborn, folder / names.CATALOGUE)
    sync_folder(folder)


def vacuum(folder: Path) -> int:
    """Gives back to the disk what is free in the catalogue, if that is worth writing it anew; the bytes
    that this freed. The writer's lock must be held; readers are not disturbed."""
    path = folder / names.CATALOGUE
    with translate_errors(folder), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as plain:
        ((pages,),) = plain.execute("PRAGMA page_count")
        ((free,),) = plain.execute("PRAGMA freelist_count")
        if free * FREE < pages:
            return 0
        plain.execute("VACUUM")
        ((left,),) = plain.execute("PRAGMA page_count")
        ((size,),) = plain.execute("PRAGMA page_size")
        # Readers may keep the log from being emptied; then a later commit does it.
        plain.execute("PRAGMA busy_timeout = 0")
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int((pages - left) * size)


def is_current(reading: Engine, folder: Path) -> bool:
    """Whether the schema is the one this code knows; False: it is older.

    Raises:
        SchemaError: it is newer.
        DamagedError: it is no catalogue at all.
    """
    with translate_errors(folder), reading.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is not None and found > SCHEMA:
        raise SchemaError(
            f"the library {folder} was written by a newer virtue (schema {found}, this one knows "
            f"{SCHEMA}): upgrade virtue"
        )
    return found == SCHEMA
