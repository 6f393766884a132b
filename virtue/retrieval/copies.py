"""Photos that are copies of one picture, and take one place among hits.

Hashes and vectors only say which photos may be: shots of a burst and receipts of one layout agree in them. So
overviews of the files are compared, of a few in a search; what cannot be told is no copy. `virtue similar`
compares the full size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from virtue.retrieval.hit import Hit
    from virtue.retrieval.same_picture import Look
    from virtue.store import Snapshot

MAX_BITS = 4
"""Bits of 64 in which the hashes differ, at most."""
SAME = 0.85
"""Dot product of the full images from which on they may be the same."""
MAX_NEAREST = 4
"""Photos that are compared with one."""
MAX_COMPARED = 8
"""Pairs whose files are opened for one search: some tenths of a second each the first time."""
KEPT_LOOKS, KEPT_PAIRS = 32, 4096
"""Overviews, and results of comparisons, that a process keeps."""

_File = tuple[bytes, int, int]
"""Path, size, and time of the last change."""


class Copies:
    """The copies of photos in one version of a library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[int, tuple[int, ...]] = {}
        self._pairs: dict[tuple[int, int], bool] = {}
        self._opened = 0

    def of(self, photo_id: int) -> tuple[int, ...]:
        """Returns the ids of the copies of a photo, without its own, ascending."""
        if photo_id not in self._known:
            self._known[photo_id] = self._find(photo_id)
        return self._known[photo_id]

    def first(self, photo_id: int) -> int:
        """Returns the id of the first of a photo and its copies, which stands for all of them."""
        return min((photo_id, *self.of(photo_id)))

    def add_to(self, hits: Iterable[Hit]) -> list[Hit]:
        """Returns the hits with the paths of the copies of their photos."""
        hits = list(hits)
        wanted = {hit.photo_id: self.of(hit.photo_id) for hit in hits}
        paths = self._snapshot.copies([photo for several in wanted.values() for photo in several])
        found = {
            id: tuple(copy.path for photo in several for copy in paths.get(photo, ()))
            for id, several in wanted.items()
        }
        return [replace(hit, raw_copies=found[hit.photo_id]) for hit in hits]

    def _find(self, photo_id: int) -> tuple[int, ...]:
        own = self._snapshot.full_images([photo_id])
        if not own:
            return ()
        near = self._snapshot.near_hashes(own[0].phash, MAX_BITS)
        others = [image for image in near if image.photo_id != photo_id]
        if not others:
            return ()
        rows = [own[0].row, *(image.row for image in others)]
        vectors = self._snapshot.vectors_of("regions", rows)
        scores = np.vecdot(vectors[1:], vectors[0]).tolist()
        order = sorted(zip(scores, (image.photo_id for image in others), strict=True), reverse=True)
        nearest = [other for score, other in order if score >= SAME][:MAX_NEAREST]
        return tuple(sorted(other for other in nearest if self._are_copies(photo_id, other)))

    def _are_copies(self, one: int, other: int) -> bool:
        pair = min(one, other), max(one, other)
        if pair not in self._pairs:
            self._pairs[pair] = self._compare(pair)
        return self._pairs[pair]

    def _compare(self, pair: tuple[int, int]) -> bool:
        taken = {facts.taken for facts in self._snapshot.facts({*pair}).values() if facts.taken}
        if len(taken) > 1 or self._opened == MAX_COMPARED:
            return False
        self._opened += 1
        paths = self._snapshot.copies(pair)
        first, second = (_find_file([copy.path for copy in paths[photo]]) for photo in pair)
        return first is not None and second is not None and _agree(first, second)


def _find_file(paths: Sequence[bytes]) -> _File | None:
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # not there now
            continue
        return path, status.st_size, status.st_mtime_ns
    return None


@lru_cache(maxsize=KEPT_PAIRS)
def _agree(one: _File, other: _File) -> bool:
    from virtue.retrieval.same_picture import same_overview

    first, second = _look(one), _look(other)
    return first is not None and second is not None and same_overview(first, second)


@lru_cache(maxsize=KEPT_LOOKS)
def _look(file: _File) -> Look | None:
    from virtue.retrieval.same_picture import look

    return look(os.fsdecode(file[0]))
