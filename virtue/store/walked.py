"""What one run has found in its folders: as long as the library, so that the store keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple


class WalkedFile(NamedTuple):
    """A file that a run has found, and what the library had there before.

    Attributes:
        hash: of the photo. None: it knew of none.
        problem: what was said of it. None: nothing, or it was missing.
        is_passed_by: whether nothing here reads it.
        ending: by which `with_endings` finds it. None: not at all.
    """

    path: bytes
    hash: bytes | None = None
    problem: str | None = None
    is_passed_by: bool = False
    ending: str | None = None


class GoneFile(NamedTuple):
    """A file that the library knows, and that a run has not found. `hash`: of its photo, if it had one;
    `is_missing`: whether an earlier run noted that it is."""

    path: bytes
    hash: bytes | None
    is_missing: bool


class MovedFile(NamedTuple):
    """A missing path of a photo that is at another, too.

    Attributes:
        is_new: whether this run is the first to find it at another.
        is_noted: whether this run noted it as missing.
    """

    path: bytes
    is_new: bool
    is_noted: bool


class LostFile(NamedTuple):
    """A path of a photo that a run has found nowhere, there or elsewhere. `is_missing`: whether an earlier
    run noted that it is."""

    path: bytes
    is_missing: bool


class WalkedFiles(ABC):
    """What one run has found. Made by `JobQueue.walking`; one thread at a time. What is yielded comes some at
    a time."""

    @abstractmethod
    def look_again(self) -> None:
        """Begins anew. What was added before is none of it, but for this run it is not `gone` either."""

    @abstractmethod
    def add(self, files: Iterable[WalkedFile]) -> set[bytes]:
        """Adds files; returns the paths of those that were not added before."""

    @abstractmethod
    def among(self, paths: Collection[bytes]) -> set[bytes]:
        """Returns which of these paths were added, and not passed by."""

    @abstractmethod
    def with_endings(self, endings: Collection[str]) -> Iterator[bytes]:
        """Yields the paths with one of these endings."""

    @abstractmethod
    def lost(self) -> Iterator[list[LostFile]]:
        """Yields the paths of photos that the library knows and of which no path was added."""

    @abstractmethod
    def has_photos_below(self, folder: bytes) -> bool:
        """Returns whether a file that was not passed by lies below a folder, or is it."""

    @abstractmethod
    def gone(self, tops: Collection[bytes]) -> Iterator[list[GoneFile]]:
        """Yields the files that the library knows, which are one of these paths or lie below one, and were
        never added. What another process has written of a file since this run began is newer than what this
        one has seen: such files are none of them."""

    @abstractmethod
    def note_missing(self, paths: Iterable[bytes]) -> None:
        """Notes what this run has found to be missing."""

    @abstractmethod
    def moved(self) -> Iterator[list[MovedFile]]:
        """Yields the missing paths of photos that are still there."""

    @abstractmethod
    def new_problems(self) -> Iterator[tuple[bytes, str]]:
        """Yields the problems that the library has with added files now, and had not before."""
