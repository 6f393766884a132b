"""Files that several processes work on, each on those that it has leased."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from virtue.store.walked import WalkedFiles

Work = Literal["embed", "read"]
"""What is done with a file: its photo is embedded, or the text in it is read."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to work on.

    Attributes:
        path, size, mtime_ns, ctime_ns, stamp, pictures, beside: as the walk found it. Of a photo to
            be read, `pictures` are its other paths.
        regions: how many proposals its photo may have.
        is_named: whether it was named by itself, and not by a folder above it.
        hash: of its photo, where that is known.
    """

    path: bytes
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int | None = None
    stamp: str | None = None
    pictures: tuple[bytes, ...] = ()
    beside: str | None = None
    regions: int = 0
    is_named: bool = False
    hash: bytes | None = None


class JobQueue(ABC):
    """The files of a library that are to be worked on, and which of them this process has leased. A lease
    holds for as long as the process lives, and some seconds; then another process may have the file. Threads
    may share it. Made by `Writer.sharing`.

    What is committed of a leased file ends its job in the same transaction.

    Attributes:
        named: files that this run was told by themselves; they alone may bring back what was forgotten.
    """

    named: Collection[bytes] = ()

    @abstractmethod
    def add(self, work: Work, jobs: Iterable[Job]) -> None:
        """Lists files; those that are listed already stay, and are as told now if nobody has leased them."""

    @abstractmethod
    def walking(self) -> AbstractContextManager[WalkedFiles]:
        """Keeps what this run finds in its folders, for as long as the block lasts."""

    @abstractmethod
    def stop_listing(self) -> None:
        """Tells all that this process lists no more files: those that only join end when none is left."""

    @abstractmethod
    def lease(self, work: Work) -> list[Job]:
        """Leases some files, the first that are free: fewer as fewer are left, so that all end together."""

    @abstractmethod
    def lease_given_up(self) -> list[Job]:
        """Leases the files to embed whose processes ended before they had done it, as often as is tried."""

    @abstractmethod
    def claim(self, path: bytes, hash: bytes) -> bool:
        """Returns whether only this process works on a photo from now on, a file of which it has leased."""

    @abstractmethod
    def put_back(self, path: bytes) -> None:
        """Gives a leased file back, for whoever comes in some seconds."""

    @abstractmethod
    def finish(self, work: Work) -> None:
        """Ends the jobs of all files that this process has leased and not given back."""

    @abstractmethod
    def listed(self, paths: Collection[bytes]) -> set[bytes]:
        """Returns which of these files are to be embedded."""

    @abstractmethod
    def count(self, work: Work) -> int:
        """Counts the files that are left, leased or not; no further than to `MAX_COUNTED`."""

    @abstractmethod
    def is_being_filled(self) -> bool:
        """Returns whether a process that lives still lists files."""

    @abstractmethod
    def take_over(self) -> bool:
        """Returns whether a process ended while it listed files, whose part this one has from now on."""


MAX_COUNTED = 100_000
"""Files that are counted, to tell how far the work is."""
