"""Leases of files in PostgreSQL: a row a file, and a row a process that lives. All times are the server's."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from virtue.paths import is_below_any, paths_below
from virtue.store.catalogue.queries import chunks
from virtue.store.job_queue import MAX_COUNTED, Job, JobQueue, Work
from virtue.store.postgres.server_connection import ServerConnection, psycopg, translate_server_errors
from virtue.store.postgres.server_schema import SCHEMA
from virtue.store.postgres.server_walked import ServerWalked
from virtue.store.records import FileRecord
from virtue.store.walked import WalkedFiles

LEASE_SECONDS = 30.0
"""How long the leases of a process hold after it was last heard of."""
BEATS = 3
"""How often it is heard of in that time."""
MAX_TRIES = 3
"""Processes that may end while they have a file, before that is given up."""
MAX_LEASED, MIN_LEASED = 64, 4
"""Files that are leased at once."""
REST_SECONDS = 2.0
"""How long a file that was given back waits."""
ADDED_AT_ONCE = 1000

_LIVES = "EXISTS (SELECT 1 FROM workers w WHERE w.id = owner AND w.seen_until > clock_timestamp())"
_COLUMNS = "path, size, mtime_ns, ctime_ns, stamp, pictures, beside, regions, is_named, hash"
_LEASE = f"""
WITH free AS (
    SELECT work, path FROM jobs
    WHERE work = %(work)s AND {{condition}} AND ready_at <= clock_timestamp()
        AND (owner IS NULL OR NOT {_LIVES})
    ORDER BY number LIMIT %(count)s FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET owner = %(me)s, tries = tries + 1, hash = CASE jobs.work WHEN 'read' THEN hash END
FROM free WHERE jobs.work = free.work AND jobs.path = free.path
RETURNING {", ".join(f"jobs.{name}" for name in _COLUMNS.split(", "))}
"""


class LostLeasesError(Exception):
    """Files of a commit that are another process's by now, or whose photo is: it has to do without."""

    def __init__(self, lost: set[bytes], unsure: set[bytes]) -> None:
        self.lost, self.unsure = lost, unsure


class ServerJobs(JobQueue):
    """The jobs of a library in PostgreSQL, for one process."""

    def __init__(self, url: str, name: str, fills: bool) -> None:
        self._url, self._name = url, name
        self._turn = threading.RLock()
        self._connection = ServerConnection(url)
        self._connection.run(f"SET search_path = {SCHEMA}, public")
        self._mine: dict[bytes, Work] = {}
        self._claimed: dict[bytes, bytes] = {}
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        sql = (
            "INSERT INTO workers (name, fills, seen_until) "
            "VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s)) RETURNING id"
        )
        self._id = int(self._ask(sql, (f"{socket.gethostname()} {os.getpid()}", fills, LEASE_SECONDS))[0][0])

    @classmethod
    @contextmanager
    def open(cls, url: str, name: str, fills: bool) -> Iterator[ServerJobs]:
        """Tells the server that this process lives, for as long as the block lasts.

        Args:
            fills: whether it lists files.
        """
        with translate_server_errors(name):
            jobs = cls(url, name, fills)
        jobs._heart.start()
        try:
            yield jobs
        except BaseException:
            jobs._leave(is_done=False)
            raise
        jobs._leave(is_done=True)

    def _leave(self, is_done: bool) -> None:
        """Gives all leases back. Who is interrupted while it lists files is remembered."""
        self._ended.set()
        self._heart.join()
        with suppress(psycopg.Error), self._turn:
            self._ask(
                "UPDATE jobs SET owner = NULL, tries = tries - 1, hash = CASE work WHEN 'read' THEN hash END "
                "WHERE owner = %s RETURNING 1",
                (self._id,),
            )
            kept = "FALSE" if is_done else "fills"
            self._ask(f"DELETE FROM workers WHERE id = %s AND NOT {kept} RETURNING 1", (self._id,))
            sql = "UPDATE workers SET seen_until = clock_timestamp() WHERE id = %s RETURNING 1"
            self._ask(sql, (self._id,))
        self._connection.close()

    def _beat(self) -> None:
        """Lets the server hear of this process, again and again: what its thread does."""
        sql = (
            "UPDATE workers SET seen_until = clock_timestamp() + make_interval(secs => %s) "
            "WHERE id = %s RETURNING 1"
        )
        while not self._ended.wait(LEASE_SECONDS / BEATS):
            with suppress(psycopg.Error):  # what is asked next fails too, and says it
                self._ask(sql, (LEASE_SECONDS, self._id))

    def _ask(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        with self._turn:
            return self._connection.query(sql, values)

    # -- listing ------------------------------------------------------------------------------------------

    def add(self, work: Work, jobs: Iterable[Job]) -> None:
        columns = _COLUMNS.split(", ")
        renewed = ", ".join(f"{name} = excluded.{name}" for name in columns[1:-1])
        sql = (
            f"INSERT INTO jobs (work, {_COLUMNS}) VALUES (%s{', %s' * len(columns)}) "
            f"ON CONFLICT (work, path) DO UPDATE SET {renewed} WHERE jobs.owner IS NULL"
        )
        with translate_server_errors(self._name):
            for some in chunks(jobs, ADDED_AT_ONCE):
                with self._turn, self._connection.driver.transaction():
                    self._connection.driver.cursor().executemany(sql, [(work, *_values(job)) for job in some])

    def walking(self) -> AbstractContextManager[WalkedFiles]:
        return ServerWalked.open(self._url, self._name)

    def stop_listing(self) -> None:
        with translate_server_errors(self._name):
            self._ask("UPDATE workers SET fills = FALSE WHERE id = %s RETURNING 1", (self._id,))

    def is_being_filled(self) -> bool:
        with translate_server_errors(self._name):
            sql = "SELECT 1 FROM workers WHERE fills AND seen_until > clock_timestamp() LIMIT 1"
            return bool(self._ask(sql))

    def take_over(self) -> bool:
        sql = (
            "WITH gone AS (DELETE FROM workers WHERE fills AND seen_until <= clock_timestamp() RETURNING 1) "
            "UPDATE workers SET fills = TRUE WHERE id = %s AND EXISTS (SELECT 1 FROM gone) RETURNING 1"
        )
        with translate_server_errors(self._name):
            return bool(self._ask(sql, (self._id,)))

    # -- leasing ------------------------------------------------------------------------------------------

    def lease(self, work: Work) -> list[Job]:
        sql = (
            "SELECT (SELECT count(*) FROM "
            "(SELECT 1 FROM jobs WHERE work = %s AND owner IS NULL LIMIT %s) AS free), "
            "(SELECT count(*) FROM workers WHERE seen_until > clock_timestamp())"
        )
        with translate_server_errors(self._name), self._turn:
            ((free, alive),) = self._ask(sql, (work, 2 * MAX_LEASED * 1000))
            count = max(MIN_LEASED, min(MAX_LEASED, free // (2 * max(1, alive))))
            return self._lease(work, f"tries < {MAX_TRIES:d}", count)

    def lease_given_up(self) -> list[Job]:
        with translate_server_errors(self._name):
            # What was never read is left for the next index, which finds it unread.
            self._ask(
                f"DELETE FROM jobs WHERE work = 'read' AND tries >= {MAX_TRIES:d} "
                f"AND NOT {_LIVES} RETURNING 1"
            )
            return self._lease("embed", f"tries >= {MAX_TRIES:d}", MAX_LEASED)

    def _lease(self, work: Work, condition: str, count: int) -> list[Job]:
        values = {"work": work, "me": self._id, "count": count}
        with self._turn:
            found = self._ask(_LEASE.format(condition=condition), values)
            jobs = [_job(row) for row in found]
            self._mine |= {job.path: work for job in jobs}
        return sorted(jobs, key=lambda job: (job.beside is not None, job.path))

    def claim(self, path: bytes, hash: bytes) -> bool:
        sql = (
            "UPDATE jobs SET hash = %s WHERE work = 'embed' AND path = %s AND owner = %s "
            "AND NOT EXISTS (SELECT 1 FROM jobs WHERE work = 'embed' AND hash = %s) RETURNING 1"
        )
        with translate_server_errors(self._name), self._turn:
            if hash in self._claimed:
                return True
            try:
                if not self._ask(sql, (hash, path, self._id, hash)):
                    return False
            except psycopg.errors.UniqueViolation:
                return False
            self._claimed[hash] = path
            return True

    def put_back(self, path: bytes) -> None:
        sql = (
            "UPDATE jobs SET owner = NULL, tries = tries - 1, hash = NULL, "
            "ready_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE work = 'embed' AND path = %s AND owner = %s RETURNING 1"
        )
        with translate_server_errors(self._name), self._turn:
            self._ask(sql, (REST_SECONDS, path, self._id))
            self._let_go([path])

    def finish(self, work: Work) -> None:
        with translate_server_errors(self._name), self._turn:
            paths = [path for path, own in self._mine.items() if own == work]
            sql = "DELETE FROM jobs WHERE work = %s AND path = ANY(%s) AND owner = %s RETURNING 1"
            self._ask(sql, (work, paths, self._id))
            self._let_go(paths)

    def _let_go(self, paths: Iterable[bytes]) -> None:
        gone = {path for path in paths if self._mine.pop(path, None)}
        self._claimed = {hash: path for hash, path in self._claimed.items() if path not in gone}

    def listed(self, paths: Collection[bytes]) -> set[bytes]:
        sql = "SELECT path FROM jobs WHERE work = 'embed' AND path = ANY(%s)"
        with translate_server_errors(self._name):
            return {path for (path,) in self._ask(sql, ([*paths],))} if paths else set()

    def count(self, work: Work) -> int:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM jobs WHERE work = %s LIMIT {MAX_COUNTED:d}) AS f"
        with translate_server_errors(self._name):
            return int(self._ask(sql, (work,))[0][0])

    # -- what a commit ends ---------------------------------------------------------------------------------

    def settle(
        self, connection: ServerConnection, photos: Collection[bytes], files: Sequence[FileRecord]
    ) -> None:
        """Ends the jobs of files, in the transaction in which they become known.

        Args:
            photos: the hashes of those that are stored in it.

        Raises:
            LostLeasesError: some are no longer leased, name a photo that nobody has stored, or one that was
                forgotten while this process had it.
        """
        with self._turn:
            leased = {file.path: file.hash for file in files if self._mine.get(file.path) == "embed"}
        sql = "DELETE FROM jobs WHERE work = 'embed' AND path = ANY(%s) AND owner = %s RETURNING path"
        ended = {path for (path,) in connection.query(sql, ([*leased], self._id))} if leased else set()
        lost = (leased.keys() - ended) | self._forgotten(connection, files, leased)
        own = {file.hash for file in files if file.path not in lost}.intersection(photos)
        wanted = {hash for path, hash in leased.items() if path in ended and hash is not None} - own
        sql = "SELECT hash FROM photos WHERE hash = ANY(%s)"
        known = {hash for (hash,) in connection.query(sql, ([*wanted],))} if wanted else set()
        unsure = {path for path in ended if leased[path] in wanted - known}
        if lost or unsure:
            raise LostLeasesError(lost, unsure)

    def _forgotten(
        self, connection: ServerConnection, files: Sequence[FileRecord], leased: Collection[bytes]
    ) -> set[bytes]:
        """Returns the files that were never leased, and were forgotten meanwhile, by their photos or with the
        folder that was indexed: `forget` ends the jobs of the others."""
        own = {file.path: file.hash for file in files if not (file.path in leased or file.path in self.named)}
        if not own:
            return set()
        sql = "SELECT hash FROM forgotten WHERE hash = ANY(%s)"
        listed = {hash for (hash,) in connection.query(sql, ([*filter(None, own.values())],))}
        known = {
            path for (path,) in connection.query("SELECT path FROM files WHERE path = ANY(%s)", ([*own],))
        }
        roots = {root for (root,) in connection.query("SELECT path FROM roots")}
        return {
            path
            for path, hash in own.items()
            if hash in listed or not (path in known or is_below_any(path, roots))
        }

    def settle_read(self, connection: ServerConnection, photos: Collection[bytes]) -> None:
        """Ends the jobs of photos whose text was read, in the transaction in which that becomes known."""
        sql = "DELETE FROM jobs WHERE work = 'read' AND hash = ANY(%s) RETURNING 1"
        connection.query(sql, ([*photos],))

    def let_go(self, files: Sequence[FileRecord]) -> None:
        """Forgets leases that a commit has ended."""
        with self._turn:
            self._let_go([file.path for file in files if self._mine.get(file.path) == "embed"])

    def lose(self, error: LostLeasesError) -> None:
        """Forgets leases that are lost, and gives files back whose photo is another process's."""
        with self._turn:
            self._let_go(error.lost)
            for path in error.unsure:
                self.put_back(path)


def drop_below(connection: ServerConnection, paths: Iterable[bytes]) -> None:
    """Drops the jobs of these files, and of all below these folders."""
    for path in paths:
        sql = "DELETE FROM jobs WHERE path = %s OR (path >= %s AND path < %s) RETURNING 1"
        connection.query(sql, (path, *paths_below(path)))


def _values(job: Job) -> tuple[Any, ...]:
    return (
        job.path, job.size, job.mtime_ns, job.ctime_ns, job.stamp, [*job.pictures], job.beside, job.regions,
        job.is_named, job.hash,
    )  # fmt: skip


def _job(row: tuple[Any, ...]) -> Job:
    path, size, mtime_ns, ctime_ns, stamp, pictures, *rest = row
    return Job(path, size, mtime_ns, ctime_ns, stamp, tuple(pictures), *rest)
