"""Photos that are near each other, and the groups that are made of them: in a file that is gone when it is
closed, since they may be as many as the library has photos."""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any, NamedTuple

from virtue.errors import StoreError
from virtue.retrieval.similar_group import Similar
from virtue.store.records import FullImage, SamePicture

MEMORY_KB = 16_384
"""Memory that is used before anything is written to a disk."""
ROWS = 100
"""Rows that are read at once."""

_TABLES = f"""
PRAGMA cache_size = -{MEMORY_KB}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE near (one, other, score, distance, PRIMARY KEY (one, other)) WITHOUT ROWID;
CREATE TABLE photos (id INTEGER PRIMARY KEY, area);
CREATE TABLE grouped (id INTEGER PRIMARY KEY);
CREATE TABLE groups (path, lines);
"""


class Near(NamedTuple):
    """A photo that is near another: the dot product of both, and the bits in which their hashes differ."""

    photo_id: int
    score: float
    distance: int


class PairFile:
    """Pairs of photos, which of them are in a group already, and the groups. All of it raises StoreError if
    the disk of the folder for temporary files is full, or fails."""

    def __init__(self) -> None:
        with _telling():
            # Without a name it is a file of the folder for temporary ones, which SQLite removes.
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._file.executescript(_TABLES)
            self._file.execute("BEGIN")

    def close(self) -> None:
        self._file.close()

    def add_pairs(self, pairs: Iterable[SamePicture]) -> None:
        both = ((*ends, pair.score, pair.distance) for pair in pairs
                for ends in ((pair.one, pair.other), (pair.other, pair.one)))  # fmt: skip
        with _telling():
            self._file.executemany("INSERT OR REPLACE INTO near VALUES (?, ?, ?, ?)", both)

    def photos_with_pairs(self, at_once: int) -> Iterator[list[int]]:
        sql = "SELECT DISTINCT one FROM near WHERE one > ? ORDER BY one LIMIT ?"
        last = -1
        while some := [photo for (photo,) in self._rows(sql, (last, at_once))]:
            yield some
            last = some[-1]

    def add_photos(self, images: Iterable[FullImage]) -> None:
        """Adds photos that a group may begin with."""
        values = ((image.photo_id, image.area) for image in images)
        with _telling():
            self._file.executemany("INSERT OR IGNORE INTO photos VALUES (?, ?)", values)

    def largest_first(self) -> Iterator[int]:
        """Yields the photos that were added."""
        for (photo,) in self._rows("SELECT id FROM photos ORDER BY area DESC, id"):
            yield photo

    def near(self, photo: int) -> list[Near]:
        """Returns the photos that are near one and in no group yet, the nearest first."""
        sql = (
            "SELECT other, score, distance FROM near WHERE one = ? "
            "AND NOT EXISTS (SELECT 1 FROM grouped WHERE id = other) "
            "ORDER BY score DESC, distance DESC, other"
        )
        return [Near(*values) for values in self._rows(sql, (photo,))]

    def take(self, photo: int) -> bool:
        """Puts a photo into a group; returns whether it was in none."""
        with _telling():
            return self._file.execute("INSERT OR IGNORE INTO grouped VALUES (?)", (photo,)).rowcount == 1

    def add_group(self, group: Sequence[Similar]) -> None:
        lines = marshal.dumps([astuple(line) for line in group])
        with _telling():
            self._file.execute("INSERT INTO groups VALUES (?, ?)", (group[0].raw_path, lines))

    def groups(self) -> Iterator[list[Similar]]:
        """Yields the groups, in the order of the paths of their first files."""
        for (lines,) in self._rows("SELECT lines FROM groups ORDER BY path"):
            yield [Similar(*values) for values in marshal.loads(lines)]

    def _rows(self, sql: str, values: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        with _telling():
            found = self._file.execute(sql, values)
        while True:
            with _telling():
                some = found.fetchmany(ROWS)
            if not some:
                return
            yield from some


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"the folder for temporary files cannot be used ({error}): make room there, or name another by "
            "$SQLITE_TMPDIR"
        ) from error
