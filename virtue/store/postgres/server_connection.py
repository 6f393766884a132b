"""A connection to PostgreSQL that takes the catalogue's statements, which are in SQLite's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from virtue.errors import DamagedError, InternalError, StoreError
from virtue.store.catalogue.database import OtherEngine, WrongValueError

try:
    import psycopg
except ImportError as error:
    raise StoreError(
        f"libraries in PostgreSQL need psycopg ({error}): pip install 'virtue-search[postgres]'"
    ) from error

LONGEST_PATH = 2600
"""Bytes of a path that an index of PostgreSQL holds (2,704 less what stands beside it)."""

_REWRITTEN = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bCROSS JOIN\b", "JOIN"),  # with ON; SQLite joins in that order, PostgreSQL as it thinks best
        (r"\bjson_each\(", "numbers_of("),
        (r"\bsqlite_sequence\b", "last_ids"),
        (r"\b(live|missing|active) = 0\b", r"\1 = FALSE"),
        (r"\b(live|missing|active) = 1\b", r"\1 = TRUE"),
        (r"\bIS NOT \?", "IS DISTINCT FROM ?"),
        (r"\bIS CASE\b", "IS NOT DISTINCT FROM CASE"),
        (r"\bAS BLOB\b", "AS bytea"),
        (
            r"\bstrftime\('[^']*', (.*?) / 1000000000, 'unixepoch', 'localtime'\)",
            r"""to_char(to_timestamp(\1 / 1000000000), 'YYYY-MM-DD"T"HH24:MI:SS')""",
        ),
    )
)
_PARTS = re.compile(r"""'(?:[^']|'')*' | "[^"]*" | \?(?P<number>\d*) | (?<!:):(?P<name>[a-z]\w*) | %""", re.X)


@lru_cache(maxsize=1024)
def translate(sql: str) -> tuple[str, bool]:
    """Returns a statement in PostgreSQL's words, and whether its parameters are numbered."""
    for pattern, replacement in _REWRITTEN:
        sql = pattern.sub(replacement, sql)
    numbered = False

    def mark(found: re.Match[str]) -> str:
        nonlocal numbered
        if found["name"]:
            return f"%({found['name']})s"
        if found["number"]:
            numbered = True
            return f"%(p{found['number']})s"
        return "%s" if found[0] == "?" else found[0].replace("%", "%%")

    return _PARTS.sub(mark, sql), numbered


class ServerConnection(OtherEngine):
    """A connection that begins no transaction by itself.

    Attributes:
        driver: psycopg's connection.
    """

    def __init__(self, url: str) -> None:
        # Prepared plans outlive the settings that they were made under.
        self.driver = psycopg.connect(url, autocommit=True, prepare_threshold=None)

    @property
    def in_transaction(self) -> bool:  # type: ignore[override]
        return self.driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    @property
    def is_usable(self) -> bool:
        return not self.driver.closed and not self.driver.broken

    def run(self, script: str) -> None:
        """Runs statements of PostgreSQL's own, without parameters."""
        self.driver.execute(script)

    def query(self, sql: str, values: Any = (), binary: bool = False) -> list[tuple[Any, ...]]:
        """Runs a query of PostgreSQL's own, with its marks for parameters; returns all rows."""
        return self.driver.execute(sql, values, binary=binary).fetchall()

    @contextmanager
    def without(self, *plans: str) -> Iterator[None]:
        """Has the server plan queries without these (as in enable_hashjoin) for as long as the block lasts,
        in a transaction. What fails in it ends that, and this with it."""
        self.run("; ".join(f"SET LOCAL enable_{plan} = off" for plan in plans))
        yield
        self.run("; ".join(f"SET LOCAL enable_{plan} = on" for plan in plans))

    def execute(self, sql: str, values: Any = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        said, numbered = translate(sql)
        return self.driver.execute(said, _adapt(values, numbered))

    def executemany(self, sql: str, rows: Iterable[Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        rows = list(rows)
        if sql.count("?") == 1 and "= ?" in sql:  # one statement for all keys, not one for each
            return self.execute(sql.replace("= ?", "= ANY(?)"), ([key for (key,) in rows],))
        said, numbered = translate(sql)
        cursor = self.driver.cursor()
        cursor.executemany(said, [_adapt(values, numbered) for values in rows])
        return cursor

    def rollback(self) -> None:
        self.driver.rollback()

    def close(self) -> None:
        self.driver.close()


def _adapt(values: Any, numbered: bool) -> Any:
    if isinstance(values, dict):
        return {name: _storable(value) for name, value in values.items()}
    if numbered:
        return {f"p{number}": _storable(value) for number, value in enumerate(values, 1)}
    return tuple(map(_storable, values))


def _storable(value: Any) -> Any:
    """Writes out what no text of PostgreSQL may hold: lone surrogates and zero bytes."""
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


@contextmanager
def translate_server_errors(name: str) -> Iterator[None]:
    """Turns what PostgreSQL says into one sentence about the library of this name."""
    try:
        yield
    except WrongValueError as error:
        raise DamagedError(f"the catalogue of the library {name} is damaged ({error})") from error
    except psycopg.errors.ProgramLimitExceeded as error:
        raise StoreError(
            f"the library {name} takes no path longer than {LONGEST_PATH:,} bytes: give folders shorter "
            f"names ({_first_line(error)}); all that was committed is safe"
        ) from error
    except psycopg.OperationalError as error:
        raise StoreError(
            f"the library {name} cannot be reached or used ({_first_line(error)}): see to its server; all "
            "that was committed is safe"
        ) from error
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise StoreError(
            f"the library {name} cannot be written to ({_first_line(error)}): open it read-only, or as "
            "another user"
        ) from error
    except psycopg.Error as error:
        raise InternalError(
            f"a mistake in virtue itself: the library {name} cannot do what it was told "
            f"({_first_line(error)}); nothing was changed: please report this"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
