"""What the indexer and its workers say to each other."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from virtue.indexer.metadata import Metadata
from virtue.pictures import Picture
from virtue.resizing import Resizing


class Task(NamedTuple):
    """A photo to read: `side` and `keep_alpha` as for `pictures.load`, then resized by the model's rule,
    within `timeout` seconds. `pictures` lie beside a RAW, and one of the same moment is read in its place."""

    path: bytes
    side: int | None
    timeout: float
    resizing: Resizing | None = None
    keep_alpha: bool = False
    pictures: tuple[bytes, ...] = ()


class Hashed(NamedTuple):
    """A photo by its hash, and the size and times of the file. `is_beside`: it is the picture beside that
    file, which is a RAW."""

    hash: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    is_beside: bool = False


class Heavy(NamedTuple):
    bytes: int


class Refused(NamedTuple):
    """`is_verdict`: what the file holds is no picture for this reader; else it could not be read now."""

    reason: str
    is_verdict: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    picture: Picture
    metadata: Metadata
    phash: int


_NAMES = {
    ("virtue.indexer.messages", "Task"),
    ("virtue.indexer.messages", "Hashed"),
    ("virtue.indexer.messages", "Heavy"),
    ("virtue.indexer.messages", "Refused"),
    ("virtue.indexer.messages", "Decoded"),
    ("virtue.indexer.metadata", "Metadata"),
    ("virtue.indexer.xmp_regions", "MarkedRegion"),
    ("virtue.pictures", "Picture"),
    ("virtue.resizing", "WholeCells"),
    ("virtue.resizing", "SquashedFirst"),
    ("virtue.resizing", "FixedSize"),
    ("virtue.resizing", "PatchGrid"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "dtype"),
}
"""All that a pickle may name. A worker that a file took over must not have code run on the other side."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, incoming: IO[bytes], names: Collection[tuple[str, str]]) -> None:
        super().__init__(incoming)
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES and (module, name) not in self._names:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a message")
        return super().find_class(module, name)


class Channel:
    """Sends and receives pickles of messages through two pipes. They may name `names` beside ours."""

    def __init__(
        self, incoming: IO[bytes], outgoing: IO[bytes], names: Collection[tuple[str, str]] = ()
    ) -> None:
        self._incoming, self._outgoing, self._names = incoming, outgoing, names

    def send(self, message: Any) -> None:
        pickle.dump(message, self._outgoing, protocol=5)
        self._outgoing.flush()

    def receive(self) -> Any:
        """Receives a message; raises EOFError or UnpicklingError if the other side is gone or sends none."""
        try:
            return _Unpickler(self._incoming, self._names).load()
        except (AttributeError, ImportError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise pickle.UnpicklingError(str(error)) from error
