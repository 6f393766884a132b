"""What the indexer and its workers say to each other."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from virtue.indexer.metadata import Metadata
from virtue.pictures import Picture


class Task(NamedTuple):
    path: bytes
    side: int | None
    timeout: float


class Hashed(NamedTuple):
    hash: bytes
    size: int
    mtime_ns: int


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


class Channel:
    """Sends and receives pickles through two pipes."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def send(self, message: Any) -> None:
        pickle.dump(message, self._outgoing, protocol=5)
        self._outgoing.flush()

    def receive(self) -> Any:
        """Receives a message; raises EOFError or UnpicklingError when the other side is gone."""
        return pickle.load(self._incoming)
