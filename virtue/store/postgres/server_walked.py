"""What one run has found, in a table of PostgreSQL that is gone with its connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from virtue.paths import outermost, paths_below
from virtue.store.catalogue.queries import chunks
from virtue.store.postgres.server_connection import ServerConnection, translate_server_errors
from virtue.store.postgres.server_schema import SCHEMA
from virtue.store.walked import GoneFile, LostFile, MovedFile, WalkedFile, WalkedFiles

AT_ONCE = 10_000
"""Rows that come over at once."""

_TABLES = f"""
SET search_path = {SCHEMA}, public;
CREATE TEMPORARY TABLE walked
    (path bytea PRIMARY KEY, hash bytea, problem text, is_passed_by boolean, ending bytea);
CREATE INDEX walked_ending ON walked (ending) WHERE ending IS NOT NULL;
CREATE TEMPORARY TABLE seen_before (path bytea PRIMARY KEY);
CREATE TEMPORARY TABLE noted_missing (path bytea PRIMARY KEY)
"""
_ADD = """
INSERT INTO walked SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::text[], %s::boolean[], %s::bytea[])
ON CONFLICT DO NOTHING RETURNING path
"""
_HAS = "SELECT 1 FROM walked WHERE (path = %s OR (path >= %s AND path < %s)) AND NOT is_passed_by LIMIT 1"
_GONE = """
WITH tops AS (SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) AS tops (top, first, stop))
SELECT path, hash, missing
FROM (SELECT files.*, files.xmin FROM tops JOIN files ON path = top
    UNION ALL SELECT files.*, files.xmin FROM tops JOIN files ON path >= first AND path < stop) AS below
LEFT JOIN photos ON photos.id = photo_id
CROSS JOIN (SELECT %s::pg_snapshot AS began) AS run
-- xmin has the lower 32 bits of a number: of this one, or of one that is long past.
CROSS JOIN LATERAL (SELECT pg_snapshot_xmax(began)::text::bigint AS latest) AS known
CROSS JOIN LATERAL (SELECT (latest + ((below.xmin::text::bigint - latest + 2147483648) & 4294967295)
    - 2147483648)::text::xid8 AS written) AS stamp
WHERE (pg_visible_in_snapshot(written, began) OR written >= pg_snapshot_xmax(pg_current_snapshot()))
    AND NOT EXISTS (SELECT 1 FROM walked WHERE walked.path = below.path)
    AND NOT EXISTS (SELECT 1 FROM seen_before WHERE seen_before.path = below.path)
"""
_MOVED = """
SELECT gone.path, bool_or(walked.path IS NOT NULL AND walked.hash IS DISTINCT FROM photos.hash),
    bool_or(noted_missing.path IS NOT NULL)
FROM files gone JOIN photos ON photos.id = gone.photo_id
JOIN files here ON here.photo_id = gone.photo_id AND NOT here.missing
LEFT JOIN walked ON walked.path = here.path LEFT JOIN noted_missing ON noted_missing.path = gone.path
WHERE gone.missing GROUP BY gone.path
"""
_LOST = """
SELECT path, missing FROM files JOIN photos ON photos.id = photo_id WHERE NOT EXISTS (
    SELECT 1 FROM files other JOIN walked USING (path) WHERE other.photo_id = files.photo_id)
"""
_PROBLEMS = """
SELECT path, files.problem FROM walked JOIN files USING (path)
WHERE files.problem IS NOT NULL AND files.problem IS DISTINCT FROM walked.problem
"""


class ServerWalked(WalkedFiles):
    """What one run has found, through a connection of its own."""

    def __init__(self, connection: ServerConnection, name: str) -> None:
        self._connection, self._name = connection, name
        self._began = connection.query("SELECT pg_current_snapshot()::text")[0][0]

    @classmethod
    @contextmanager
    def open(cls, url: str, name: str) -> Iterator[ServerWalked]:
        with translate_server_errors(name):
            connection = ServerConnection(url)
        try:
            with translate_server_errors(name):
                connection.run(_TABLES)
                walked = cls(connection, name)
            yield walked
        finally:
            connection.close()

    def look_again(self) -> None:
        with translate_server_errors(self._name):
            self._connection.run(
                "INSERT INTO seen_before SELECT path FROM walked ON CONFLICT DO NOTHING; TRUNCATE walked"
            )

    def add(self, files: Iterable[WalkedFile]) -> set[bytes]:
        rows = ((*file[:-1], None if file.ending is None else _encode(file.ending)) for file in files)
        columns = [[*column] for column in zip(*rows, strict=True)]
        return {path for (path,) in self._ask(_ADD, columns)} if columns else set()

    def among(self, paths: Collection[bytes]) -> set[bytes]:
        sql = "SELECT path FROM walked WHERE path = ANY(%s) AND NOT is_passed_by"
        return {path for some in chunks(paths, AT_ONCE) for (path,) in self._ask(sql, (some,))}

    def with_endings(self, endings: Collection[str]) -> Iterator[bytes]:
        for some in chunks(map(_encode, endings), AT_ONCE):
            for paths in self._blocks("SELECT path FROM walked WHERE ending = ANY(%s)", (some,)):
                yield from (path for (path,) in paths)

    def lost(self) -> Iterator[list[LostFile]]:
        self._learn()
        for some in self._blocks(_LOST, ()):
            yield [LostFile(*values) for values in some]

    def has_photos_below(self, folder: bytes) -> bool:
        return bool(self._ask(_HAS, (folder, *paths_below(folder))))

    def gone(self, tops: Collection[bytes]) -> Iterator[list[GoneFile]]:
        self._learn()
        apart = outermost(tops)  # a file below several is one
        ends = [[*column] for column in zip(*((top, *paths_below(top)) for top in apart), strict=True)]
        for some in self._blocks(_GONE, [*ends, self._began]) if ends else ():
            yield [GoneFile(*values) for values in some]

    def note_missing(self, paths: Iterable[bytes]) -> None:
        sql = "INSERT INTO noted_missing SELECT unnest(%s::bytea[]) ON CONFLICT DO NOTHING RETURNING 1"
        self._ask(sql, ([*paths],))

    def moved(self) -> Iterator[list[MovedFile]]:
        for some in self._blocks(_MOVED, ()):
            yield [MovedFile(*values) for values in some]

    def new_problems(self) -> Iterator[tuple[bytes, str]]:
        for some in self._blocks(_PROBLEMS, ()):
            yield from some

    def _learn(self) -> None:
        """Lets the server know how many there are."""
        with translate_server_errors(self._name):
            self._connection.run("ANALYZE walked, seen_before")

    def _ask(self, sql: str, values: Any) -> list[tuple[Any, ...]]:
        with translate_server_errors(self._name):
            return self._connection.query(sql, values)

    def _blocks(self, sql: str, values: Any) -> Iterator[list[tuple[Any, ...]]]:
        with (
            translate_server_errors(self._name),
            self._connection.driver.transaction(),
            self._connection.driver.cursor(name="walked") as cursor,
        ):
            cursor.execute(sql, values)
            while some := cursor.fetchmany(AT_ONCE):
                yield some


def _encode(text: str) -> bytes:
    """Returns a text as bytes: names of files hold what no text of PostgreSQL may."""
    return text.encode("utf-8", "surrogatepass")
