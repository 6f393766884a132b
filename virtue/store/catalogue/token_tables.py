"""The tokens of captions and names, by which words are found letter for letter: two FTS5 tables.

One has a document for each caption, by its id; the other one for each photo that is still there, by its id:
its tags and the names of its files and of the folders they lie in. They are made from the other tables and
can be made again. FTS5 says which documents hold a token, and nothing else is asked of it, so that another
store can give the same by arrays of tokens. Its tokenizer `ascii` splits at spaces only, and takes tokens as
they are.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from virtue.store.catalogue.database import AnyConnection, WrongValueError, driver_of
from virtue.store.catalogue.form import FTS5_TABLES, TOKEN_TABLES
from virtue.store.catalogue.queries import NAMED_AT_ONCE, chunks, fetch, fetch_for
from virtue.store.records import Field, TokenDocument
from virtue.tokens import tokenize

TABLES: dict[Field, str] = {"caption": "caption_tokens", "name": "name_tokens"}
MAX_DOCUMENTS = 200
"""Documents with a token from which on the token is common: it alone leads to no document."""
MIN_PREFIX = 2
"""Digits that a number must have to find longer ones that begin with it."""

_CAPTIONS = "SELECT id, text FROM captions"
_TAGS = "SELECT photo_id, tag FROM tags WHERE photo_id IN ({}) ORDER BY photo_id, tag"
_PATHS = "SELECT photo_id, path FROM files WHERE NOT missing AND photo_id IN ({}) ORDER BY photo_id, path"
_FOUND: dict[Field, str] = {
    "caption": (
        "SELECT captions.row, photo_id, tokens, source = 'ocr' FROM caption_tokens CROSS JOIN captions "
        "ON captions.id = caption_tokens.rowid CROSS JOIN photos ON photos.id = photo_id "
        "WHERE caption_tokens MATCH ? AND generation_id = ? AND row IS NOT NULL AND live LIMIT ?"
    ),
    "name": (
        "SELECT regions.row, photo_id, tokens, 0 FROM name_tokens CROSS JOIN photos "
        "ON photos.id = name_tokens.rowid CROSS JOIN regions ON photo_id = photos.id "
        "WHERE name_tokens MATCH ? AND generation_id = ? AND origin = 'whole' AND row IS NOT NULL "
        "AND live LIMIT ?"
    ),
}


# -- reading ----------------------------------------------------------------------------------------------


def count(connection: AnyConnection, field: Field, tokens: Sequence[str]) -> dict[str, int]:
    """Counts the documents that hold each of these tokens, up to `MAX_DOCUMENTS`. A number is also held by
    longer ones that begin with it.

    Raises:
        WrongValueError: the table is damaged.
    """
    table = TABLES[field]
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT {MAX_DOCUMENTS})"
    with _noticing_damage(table):
        return {token: fetch(connection, sql, (_query(token),))[0][0] for token in tokens}


def find(
    connection: AnyConnection, generation: int, field: Field, any_of: Sequence[str], all_of: Sequence[str]
) -> list[TokenDocument]:
    """Finds the documents that hold any of some tokens, or all of others; at most `MAX_DOCUMENTS` for each
    token.

    Raises:
        WrongValueError: the table is damaged.
    """
    conditions = [*map(_query, any_of), *([f"({' AND '.join(map(_query, all_of))})"] if all_of else [])]
    if not conditions:
        return []
    limit = MAX_DOCUMENTS * len(conditions)
    with _noticing_damage(TABLES[field]):
        values = (" OR ".join(conditions), generation, limit)
        found = fetch(connection, _FOUND[field], values, (int, int, str, int))
    return [TokenDocument(row, photo, text.split(), bool(is_read)) for row, photo, text, is_read in found]


@contextmanager
def _noticing_damage(table: str) -> Iterator[None]:
    """Tells damage of FTS5's own tables, which can be mended, from damage of the catalogue."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, WrongValueError) or not _is_damage(error):
            raise
        raise WrongValueError(f"the table {table} cannot be read") from error


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)


def _query(token: str) -> str:
    """Returns a token as FTS5's query language takes it: nothing in quotes is an operator. No token holds an
    asterisk: one at its end asks for all that begin so."""
    return f'"{token.rstrip("*")}"*' if is_prefix(token) or token.endswith("*") else f'"{token}"'


def is_prefix(token: str) -> bool:
    return token.isdecimal() and len(token) >= MIN_PREFIX


# -- writing ----------------------------------------------------------------------------------------------


def put_captions(connection: AnyConnection, first: int = 0) -> None:
    """Adds the captions whose ids are at least `first`."""
    found = fetch(connection, f"{_CAPTIONS} WHERE id >= ?", (first,), (int, str))
    _insert(connection, "caption", ((id, tokenize(text)) for id, text in found))


def drop_captions(connection: AnyConnection, condition: str, photos: Iterable[int]) -> None:
    """Drops the captions of photos for which a condition is true; they must still be there."""
    sql = (
        "DELETE FROM caption_tokens WHERE rowid IN "
        f"(SELECT id FROM captions WHERE photo_id = ? AND {condition})"
    )
    with _noticing_damage("caption_tokens"):
        driver_of(connection).executemany(sql, [(photo,) for photo in photos])


def drop_orphans(connection: AnyConnection) -> None:
    """Drops captions that went with their generation."""
    driver_of(connection).execute("DELETE FROM caption_tokens WHERE rowid NOT IN (SELECT id FROM captions)")


def put_names(connection: AnyConnection, photos: Collection[int]) -> None:
    """Replaces the names of photos by what they are now; a photo that is gone has none."""
    driver = driver_of(connection)
    with _noticing_damage("name_tokens"):
        driver.executemany("DELETE FROM name_tokens WHERE rowid = ?", [(photo,) for photo in photos])
    for some in chunks(sorted(photos), NAMED_AT_ONCE):
        _insert(connection, "name", _names(connection, some).items())


def _names(connection: AnyConnection, photos: Collection[int]) -> dict[int, list[str]]:
    """Returns the tokens of the photos that have a path that is there. What several paths share comes
    once."""
    tokens: dict[int, list[str]] = {}
    parts: dict[int, dict[str, None]] = defaultdict(dict)
    for photo, path in fetch_for(connection, _PATHS, photos, types=(int, bytes)):
        folder, name = os.path.split(os.fsdecode(path))
        for part in (*folder.split(os.sep), os.path.splitext(name)[0]):
            parts[photo].setdefault(part)
    for photo, tag in fetch_for(connection, _TAGS, parts, types=(int, str)):
        parts[photo].setdefault(tag)
    for photo, names in parts.items():
        tokens[photo] = [token for name in names for token in tokenize(name)]
    return tokens


def _insert(connection: AnyConnection, field: Field, documents: Iterable[tuple[int, Sequence[str]]]) -> None:
    sql = f"INSERT INTO {TABLES[field]} (rowid, tokens) VALUES (?, ?)"
    with _noticing_damage(TABLES[field]):
        driver_of(connection).executemany(sql, ((id, " ".join(tokens)) for id, tokens in documents if tokens))


def purge(connection: AnyConnection) -> None:
    """Removes what was dropped from the pages of the tables, where FTS5 leaves it until it merges them."""
    driver = driver_of(connection)
    for table in TABLES.values() if isinstance(driver, sqlite3.Connection) else ():
        with _noticing_damage(table):
            driver.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")


def rebuild(connection: AnyConnection) -> None:
    """Makes both tables anew from the captions, tags and paths there are."""
    driver = driver_of(connection)
    for table, sql in TOKEN_TABLES.items():
        try:
            driver.execute(f"DROP TABLE IF EXISTS {table}")
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            _tear_out(driver, table)
        driver.execute(sql)
    put_captions(connection)
    put_names(connection, [id for (id,) in fetch(connection, "SELECT id FROM photos", types=(int,))])


def _tear_out(driver: sqlite3.Connection, table: str) -> None:
    """Removes a table that FTS5 finds too damaged to drop it."""
    driver.execute("PRAGMA writable_schema = ON")
    driver.execute("DELETE FROM sqlite_master WHERE name = ?", (table,))
    driver.execute("PRAGMA writable_schema = RESET")
    for end in FTS5_TABLES:
        driver.execute(f"DROP TABLE IF EXISTS {table}_{end}")


# -- verifying --------------------------------------------------------------------------------------------


def find_damage(connection: AnyConnection) -> Iterator[Field]:
    """Finds the tables that do not hold what the other tables say, or do not find it."""
    captions = fetch(connection, _CAPTIONS, types=(int, str))
    photos = [id for (id,) in fetch(connection, "SELECT id FROM photos", types=(int,))]
    expected: dict[Field, dict[int, list[str]]] = {
        "caption": {id: tokens for id, text in captions if (tokens := tokenize(text))},
        "name": {id: tokens for id, tokens in _names(connection, photos).items() if tokens},
    }
    for field, documents in expected.items():
        if not _is_sound(connection, TABLES[field], documents):
            yield field


def _is_sound(connection: AnyConnection, table: str, documents: dict[int, list[str]]) -> bool:
    holders: dict[str, list[int]] = defaultdict(list)
    for id in sorted(documents):
        for token in dict.fromkeys(documents[id]):
            holders[token].append(id)
    try:
        held = {id: tokens for id, tokens in fetch(connection, f"SELECT rowid, tokens FROM {table}")}
        found = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rowid"
        return held == {id: " ".join(tokens) for id, tokens in documents.items()} and all(
            [id for (id,) in fetch(connection, found, (f'"{token}"',))] == ids
            for token, ids in holders.items()
        )
    except sqlite3.DatabaseError:
        return False
