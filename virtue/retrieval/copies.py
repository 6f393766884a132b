"""Photos that are copies of one picture, as far as a search can tell without opening them.

`virtue similar` compares pixels; here two photos are copies if their perceptual hashes are nearly equal and
their full images have much the same vector. Shots of one burst may pass for copies, if they are as alike as a
picture that was made smaller and saved again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from virtue.retrieval.hit import Hit
    from virtue.store import Snapshot

MAX_BITS = 4
"""Bits of 64 in which the hashes differ, at most."""
SAME = 0.85
"""Dot product of the full images from which on they are the same."""


class Copies:
    """The copies of photos in one version of a library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[int, tuple[int, ...]] = {}

    def of(self, photo_id: int) -> tuple[int, ...]:
        """Returns the ids of the copies of a photo, without its own, ascending."""
        if photo_id not in self._known:
            self._known[photo_id] = self._find(photo_id)
        return self._known[photo_id]

    def first(self, photo_id: int) -> int:
        """Returns the id of the first of a photo and its copies, which stands for all of them."""
        return min((photo_id, *self.of(photo_id)))

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
        same = np.vecdot(vectors[1:], vectors[0]) >= SAME
        return tuple(image.photo_id for image, is_same in zip(others, same, strict=True) if is_same)


def add_copies(snapshot: Snapshot, hits: Iterable[Hit]) -> list[Hit]:
    """Returns the hits with the paths of the copies of their photos."""
    hits, copies = list(hits), Copies(snapshot)
    wanted = {hit.photo_id: copies.of(hit.photo_id) for hit in hits}
    paths = snapshot.copies([photo for several in wanted.values() for photo in several])
    return [
        replace(
            hit,
            raw_copies=tuple(copy.path for photo in wanted[hit.photo_id] for copy in paths.get(photo, ())),
        )
        if wanted[hit.photo_id]
        else hit
        for hit in hits
    ]
