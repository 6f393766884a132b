"""The SQLite file: how it is made and opened, and what its errors mean."""

from __future__ import annotations

import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from virtue.errors import DamagedError, InternalError, LockedError, SchemaError, StoreError, VirtueError
from virtue.store import layout as names
from virtue.store.catalogue import form, hot_sql
from virtue.store.disk import disk_full, sync_folder

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection

AnyConnection: TypeAlias = "sqlite3.Connection | Connection | OtherEngine"
"""Readers have SQLite's own, since loading SQLAlchemy takes as long as half a search."""
WriteConnection: TypeAlias = Any
"""Of a writer: SQLAlchemy's of SQLite, or an `OtherEngine`."""

Mode = Literal["read", "write", "look", "frozen"]
"""read: beside a writer. write: the writer. look: never writes, but for the files that SQLite's
connections share and remove again (under its own mode=ro they would stay). frozen: takes the file
for unchanging, for folders where even those cannot be."""

SCHEMA = "0011"
"""The newest revision in virtue/migrations. Revisions are zero-padded numbers, so that a library
can be told to be older or newer by comparing them."""
MIN_FREE_PAGES = 1 / 5
"""Share of free pages from which on the catalogue is written anew."""
MAX_VALUE_BYTES = 200_000_000
"""Bytes that a text or blob of a catalogue may have."""
BUSY_TIMEOUT = 30.0
"""Seconds to wait for SQLite's own short locks, which the writer's lock does not cover."""


class OtherEngine(ABC):
    """A connection to another database than SQLite, which takes the catalogue's statements all the same."""

    in_transaction: bool

    @abstractmethod
    def execute(self, sql: str, values: Any = ()) -> Any:
        """Runs a statement; returns a cursor."""

    @abstractmethod
    def executemany(self, sql: str, rows: Iterable[Any]) -> Any:
        """Runs a statement with each of these values; returns a cursor."""

    def exec_driver_sql(self, sql: str, values: Any = ()) -> Any:
        """Runs a statement, or with a list of values once with each, as SQLAlchemy's connections do."""
        return self.executemany(sql, values) if isinstance(values, list) else self.execute(sql, values)


class WrongValueError(sqlite3.DatabaseError):
    """A value in the catalogue that nothing wrote: text where bytes belong, a box without size."""


def connect(path: Path, mode: Mode) -> sqlite3.Connection:
    """Returns a connection that begins no transaction by itself, and runs nothing that the file brings."""
    uri = f"{path.as_uri()}?{'mode=ro&immutable=1' if mode == 'frozen' else 'mode=rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    if mode == "look":
        connection.execute("PRAGMA query_only = ON")
    if mode == "write":
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is not left on the disk
    return connection


def can_be_shared(path: Path) -> bool:
    """Returns whether there is room for the files that SQLite's connections share: on a full disk there is
    none, unless a process has made them before."""
    try:
        with closing(connect(path, "look")) as connection:
            connection.execute(hot_sql.HAS_SCHEMA_VERSION)
    except sqlite3.OperationalError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        return code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
    except (sqlite3.Error, UnicodeDecodeError):
        return True  # something else is wrong, which will be told when it is opened
    return True


def engine(path: Path) -> Engine:
    """Returns the writer's connections. A transaction starts by an explicit BEGIN IMMEDIATE, so that a writer
    waits at its start, not in the middle."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import QueuePool

    made = create_engine(
        "sqlite://", creator=lambda: connect(path, "write"), poolclass=QueuePool, max_overflow=-1
    )

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        driver_of(connection).execute("BEGIN IMMEDIATE")  # SQLAlchemy's own way takes five times as long

    return made


def driver_of(connection: AnyConnection) -> Any:
    """Returns the database's own connection, in a transaction or about to begin one."""
    if isinstance(connection, sqlite3.Connection | OtherEngine):
        return connection
    driver: Any = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


@contextmanager
def translate_errors(folder: Path) -> Iterator[None]:
    """Turns what SQLite says into one sentence about the library."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(folder, error) from error
    except Exception as error:
        cause = getattr(error, "orig", None)  # SQLAlchemy's errors have it, and it is not loaded to tell
        if not isinstance(cause, sqlite3.Error):
            raise
        raise _translate(folder, cause) from error


@contextmanager
def _decoding(folder: Path) -> Iterator[None]:
    """Turns what Python says of a schema whose words are no text, in SQLite's own errors, into damage."""
    try:
        yield
    except UnicodeDecodeError:
        raise damaged(folder, "its schema is no text") from None


def _translate(folder: Path, error: sqlite3.Error) -> VirtueError:
    if isinstance(error, sqlite3.ProgrammingError):
        return _internal(folder, error)
    if isinstance(error, WrongValueError):
        return DamagedError(
            f"the catalogue of the library {folder} is damaged ({error}): verify the library, or put "
            f"{names.CATALOGUE} back from a backup",
            hint="virtue verify --repair",
        )
    match (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(folder, str(error))
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH:
            return _internal(folder, error)
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


def _internal(folder: Path, error: sqlite3.Error) -> InternalError:
    return InternalError(
        f"a mistake in virtue itself: the catalogue of the library {folder} cannot do what it was told "
        f"({error}); nothing was changed, and the library is not damaged: please report this"
    )


def damaged(folder: Path, why: str) -> DamagedError:
    return DamagedError(
        f"the catalogue of the library {folder} is damaged ({why}): put {names.CATALOGUE} "
        "back from a backup, or remove the folder and index again"
    )


def create(folder: Path) -> None:
    """Creates an empty catalogue, complete or not at all, by making it under another name."""
    from sqlalchemy import insert

    from virtue.store.catalogue import schema

    unfinished = folder / names.UNFINISHED
    with translate_errors(folder):
        for half_made in folder.glob(f"{names.UNFINISHED}*"):
            half_made.unlink()
        unfinished.touch()
        making = engine(unfinished)
        with making.begin() as connection:
            schema.metadata.create_all(connection)
            schema.alembic_version.create(connection)
            for sql in form.TOKEN_TABLES.values():
                connection.exec_driver_sql(sql)
            connection.execute(insert(schema.alembic_version).values(version_num=SCHEMA))
            connection.execute(insert(schema.library).values(version=0))
        making.dispose()
        with closing(sqlite3.connect(unfinished)) as plain:
            plain.execute("PRAGMA journal_mode = WAL")
    os.replace(unfinished, folder / names.CATALOGUE)
    sync_folder(folder)


def vacuum(folder: Path) -> int:
    """Frees the unused space in the catalogue, if that is worth rewriting it, and empties its log; returns
    the bytes freed. The writer's lock must be held; readers are not disturbed."""
    path = folder / names.CATALOGUE
    with translate_errors(folder), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as plain:
        ((pages,),) = plain.execute("PRAGMA page_count")
        ((free,),) = plain.execute("PRAGMA freelist_count")
        if free >= MIN_FREE_PAGES * pages:
            plain.execute("VACUUM")
        ((left,),) = plain.execute("PRAGMA page_count")
        ((size,),) = plain.execute("PRAGMA page_size")
        # Readers may keep the log from being emptied; then a later commit does it.
        plain.execute("PRAGMA busy_timeout = 0")
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int((pages - left) * size)


def is_current(connection: sqlite3.Connection, folder: Path) -> bool:
    """Returns whether the schema is the one this code knows; False: it is older.

    Raises:
        SchemaError: it is newer.
        DamagedError: it is no catalogue at all, or holds what none does.
    """
    with translate_errors(folder), _decoding(folder):
        ((known,),) = connection.execute(hot_sql.HAS_SCHEMA_VERSION)
        found = connection.execute(hot_sql.SCHEMA_VERSION).fetchone() if known else None
    schema = found[0] if found else "0000"
    if not known or not isinstance(schema, str) or not re.fullmatch(r"[0-9]{4}", schema):
        raise damaged(folder, "it is another database")
    if schema > SCHEMA:
        raise SchemaError(
            f"the library {folder} was written by a newer virtue (schema {schema}, this one knows "
            f"{SCHEMA}): upgrade virtue"
        )
    require_form(connection, folder, is_current=schema == SCHEMA)
    return bool(schema == SCHEMA)


def require_form(connection: sqlite3.Connection, folder: Path, *, is_current: bool = True) -> None:
    """Raises DamagedError if something is in the catalogue that does not belong there."""
    with translate_errors(folder), _decoding(folder):
        stranger = form.find_stranger(connection, is_current=is_current)
    if stranger is not None:
        raise damaged(folder, stranger)
