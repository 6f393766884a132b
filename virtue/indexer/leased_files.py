"""Files that this process has leased, and what the library has of their photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtue.indexer.walk import Found
from virtue.store import FileState
from virtue.store.job_queue import Job

if TYPE_CHECKING:
    from virtue.store import Generation, Store
    from virtue.store.job_queue import JobQueue

MAX_ROUND = 4096
"""Files that one pipeline takes: what it knows of them is held until they are done."""


@dataclass(slots=True)
class LeasedFiles:
    """The files of one pipeline: leased as it takes them, until none is free.

    Attributes:
        known: what the library has of them.
        named: those that were named by themselves.
        limits: how many proposals each asks for.
    """

    store: Store
    jobs: JobQueue
    target: Generation
    known: dict[bytes, FileState] = field(default_factory=dict)
    named: set[bytes] = field(default_factory=set)
    limits: dict[bytes, int] = field(default_factory=dict)

    def take(self, first: list[Job]) -> Iterator[Found]:
        """Yields files, first those that are leased already."""
        while first:
            with self.store.read() as snapshot:
                self.known |= snapshot.files(self.target, [job.path for job in first])
            self.named |= {job.path for job in first if job.is_named}
            self.limits |= {job.path: job.regions for job in first}
            for job in first:
                yield found(job)
            first = self.jobs.lease("embed") if len(self.limits) < MAX_ROUND else []

    def claim(self, path: bytes, photo: bytes) -> dict[bytes, FileState] | None:
        """Returns the paths that the library has of a photo; those that are to be looked at anew count as
        missing. None: another process is working on it."""
        if not self.jobs.claim(path, photo):
            return None
        with self.store.read() as snapshot:
            known = snapshot.files_of([photo], self.target)
        listed = self.jobs.listed(known.keys() - {path})
        return {
            path: state._replace(missing=state.missing or path in listed) for path, state in known.items()
        }

    def put_back(self, path: bytes) -> None:
        self.jobs.put_back(path)


def found(job: Job) -> Found:
    """Returns a file as the walk found it that listed it."""
    return Found(job.path, job.size, job.mtime_ns, job.stamp, job.ctime_ns, job.pictures, job.beside)
