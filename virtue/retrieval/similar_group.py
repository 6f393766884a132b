"""A group of near-duplicates, as it is told: of each photo its files, and of each file its names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from virtue.retrieval.one_file import are_copies, files_of
from virtue.retrieval.same_picture import look, same_picture
from virtue.store.records import Copy

Tier = Literal["same-file", "same-bytes", "same-picture", "similar"]

TIERS: tuple[Tier, ...] = ("same-file", "same-bytes", "same-picture", "similar")
MAX_LOOKED_AT = 32
"""Pictures of which an overview is kept to be compared, 2.4 MB at most."""
MAX_REMEMBERED = 4096
"""Pairs of pictures of which it is remembered whether they are the same."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A file that is a near-duplicate.

    Attributes:
        tier: None: the file that the others of its group are compared with. "same-file": no copy, but another
            name of the file that stands before it.
        score: dot product of the whole photos, at most 1.
        distance: bits in which their perceptual hashes differ, of 64.
        raw_path: as the file system has it. `path` is the same as str.
        photo_id: None: it is not in the library.
        same_file_as: the path of which this is another name; None: it is a file of its own.
        kept: the first of its group, if that should have the same bytes.
    """

    tier: Tier | None
    score: float
    distance: int
    raw_path: bytes
    width: int
    height: int
    photo_id: int | None
    same_file_as: bytes | None = None
    kept: bytes | None = None

    @property
    def path(self) -> str:
        return os.fsdecode(self.raw_path)

    @property
    def removable(self) -> bool:
        """Whether the first of its group is another file with the same bytes. Reads both."""
        return self.kept is not None and are_copies(self.kept, self.raw_path)

    def as_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "score": round(self.score, 6),
            "distance": self.distance,
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "photo_id": self.photo_id,
            "same_file_as": None if self.same_file_as is None else os.fsdecode(self.same_file_as),
            "removable": self.removable,
        }


class Pixels:
    """Compares photos by the pixels of their files, of which it keeps the last few."""

    def __init__(self) -> None:
        self._look = lru_cache(maxsize=MAX_LOOKED_AT)(look)
        self._are_same = lru_cache(maxsize=MAX_REMEMBERED)(self._compare)

    def are_same(self, one: Sequence[Copy], other: Sequence[Copy]) -> bool:
        """Returns whether two photos are the same picture; False too where that cannot be told."""
        return self._are_same(_openable(one), _openable(other))

    def _compare(self, one: bytes, other: bytes) -> bool:
        first, second = self._look(os.fsdecode(one)), self._look(os.fsdecode(other))
        return first is not None and second is not None and same_picture(first, second)


def _openable(copies: Sequence[Copy]) -> bytes:
    """Returns the first path where there is a file; the first if there is none."""
    return next((copy.path for copy in copies if os.path.isfile(copy.path)), copies[0].path)


@dataclass(frozen=True, slots=True)
class Member:
    """A photo of a group, as it is told of each of its files."""

    photo_id: int | None
    tier: Tier | None
    score: float
    distance: int

    def order(self) -> tuple[int, float]:
        return TIERS.index(self.tier or TIERS[0]), -self.score


def form_group(
    first: Member,
    here: Sequence[Copy],
    there: Sequence[Copy],
    others: Sequence[tuple[Member, Sequence[Copy]]],
) -> list[Similar]:
    """Forms a group of its first photo and others.

    Args:
        here: names of the file that stays the first; empty: the first of `there`, a file that is no link.
        there: where else the first photo lies.
    """
    copies = {copy.path: copy for copy in (*here, *there)}
    files = files_of(copies)
    if here:
        files.sort(key=lambda names: here[0].path not in names)
    lines: list[Similar] = []
    for names in files:
        if not lines:
            lines += _lines(first, [copies[name] for name in names])
        else:
            again = replace(first, tier="same-bytes")
            lines += _lines(again, [copies[name] for name in names], kept=files[0][0])
    taken = {line.raw_path for line in lines}
    rest = []
    for member, some in others:
        copies = {copy.path: copy for copy in some if copy.path not in taken}
        rest += [(member, [copies[name] for name in names]) for names in files_of(copies)]
    for member, own in sorted(rest, key=lambda each: (*each[0].order(), each[1][0].path)):
        lines += _lines(member, own)
    return lines


def _lines(member: Member, names: Sequence[Copy], kept: bytes | None = None) -> Iterator[Similar]:
    """Yields the lines of one file, which has these names."""
    for copy in names:
        is_first = copy is names[0]
        yield Similar(
            member.tier if is_first else "same-file", min(member.score, 1.0), member.distance, *copy,
            member.photo_id, None if is_first else names[0].path, kept if is_first else None,
        )  # fmt: skip
