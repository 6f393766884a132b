"""What a library is to the rooms above, wherever it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from virtue.store.records import Fault, TextChecks
from virtue.store.snapshot import Snapshot

if TYPE_CHECKING:
    from virtue.store.writer import Writer  # brings SQLAlchemy, which no search needs


class Store(ABC):
    """An open library, made by `open_store`. Threads may share it; each takes its own snapshot. Use it as a
    context manager, or close it.

    Attributes:
        name: what messages call it; never with a password.
        folder: where it lies, absolute, and may keep files; None: it lies on a server.
        read_only: nothing is ever written.
        longest_path: bytes that a path may have; None: as many as the system allows.
    """

    name: str
    folder: Path | None
    read_only: bool
    longest_path: int | None = None

    def takes(self, path: bytes) -> bool:
        """Returns whether a path is not too long."""
        return self.longest_path is None or len(path) <= self.longest_path

    @abstractmethod
    def read(self) -> AbstractContextManager[Snapshot]:
        """Opens a snapshot of the library as it is now, for as long as the block lasts."""

    @abstractmethod
    def read_sound(self) -> AbstractContextManager[Snapshot]:
        """Opens a snapshot as `read` does, after all rows of the active generation were checked.

        Raises:
            DamagedError: rows are not what was written.
        """

    @abstractmethod
    def write(self, command: str) -> AbstractContextManager[Writer]:
        """Opens the library for writing, for as long as the block lasts.

        Args:
            command: what the user ran, for the message that another writer gets.

        Raises:
            LockedError: another writer has it; names the process, host, command and since when.
            StoreError: the library was opened read-only.
        """

    @abstractmethod
    def verify(self, checks: TextChecks | None = None) -> list[Fault]:
        """Finds all that is wrong with the library. Reads all of it.

        Args:
            checks: how to tell whether texts of the rooms above can be read; None: they are not looked at.
        """

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Returns how much room there is for more; None: that cannot be told."""

    @abstractmethod
    def close(self) -> None:
        """Closes what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
