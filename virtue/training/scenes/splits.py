"""Splits by name: what is learnt from, and what is kept for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar

Part = Literal["train", "test"]


class Named(Protocol):
    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


def split(things: Iterable[Thing], part: Part, share: float = 0.2) -> list[Thing]:
    """Selects the things of one part. All of one name are in the same, whatever else there is.

    Args:
        things: cut-outs or grounds.
        part: "train" or "test".
        share: how much of the names is kept for tests, about.
    """
    return [thing for thing in things if (_place(thing.name) < share) == (part == "test")]


def _place(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.casefold().encode()).digest()[:8], "big") / 2**64
