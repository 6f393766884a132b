"""Near-duplicates within a library: all photos are compared with all, and no more is held at once than
a group and what is near its first photo."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain

from virtue.retrieval.pair_file import Near, PairFile
from virtue.retrieval.similar_group import Member, Pixels, Similar, Tier, form_group
from virtue.stopping import checking
from virtue.store import Snapshot
from virtue.store.catalogue.queries import chunks
from virtue.store.records import Copy

MAX_DISTANCE = 8
"""Bits in which the hashes of the same picture may differ. Those of others may, too, so pixels decide."""
SAME = 0.55
"""Dot product that the same picture must have: photos of nearly one hash may show different things."""
MAX_COMPARED = 20
"""Photos that one which only looks alike is compared with, to find its own copies."""
AT_ONCE = 2000
"""Pairs, and photos, that are looked at at once."""


def find_duplicates(snapshot: Snapshot, stop: threading.Event | None) -> Iterator[list[Similar]]:
    """Yields groups of near-duplicates, in the order of the paths of their first files. Each photo is
    compared with the largest of its group itself, so that no chains form.

    Args:
        stop: set by another thread, it ends the work by StoppedError.
    """
    with closing(PairFile()) as pairs:
        for some in chunks(checking(snapshot.same_pictures(MAX_DISTANCE, SAME), stop), AT_ONCE):
            pairs.add_pairs(some)
        for photos in chain(snapshot.repeated(AT_ONCE), pairs.photos_with_pairs(AT_ONCE)):
            pairs.add_photos(snapshot.full_images(photos))
        grouping = _Grouping(snapshot, pairs)
        for photos in _some_at_a_time(pairs):
            grouping.look_up(photos)
            for photo in checking(photos, stop):
                grouping.group(photo, stop)
        yield from pairs.groups()


def _some_at_a_time(pairs: PairFile) -> Iterator[list[int]]:
    """Yields photos, the largest first, so many that they and what is near them are some `AT_ONCE`."""
    some: list[int] = []
    count = 0
    for photo in pairs.largest_first():
        some.append(photo)
        count += 1 + len(pairs.near(photo))
        if count >= AT_ONCE:
            yield some
            some, count = [], 0
    if some:
        yield some


class _Grouping:
    """Forms groups, one after the other, of the pairs of a file."""

    def __init__(self, snapshot: Snapshot, pairs: PairFile) -> None:
        self._snapshot, self._pairs, self._pixels = snapshot, pairs, Pixels()
        self._copies: dict[int, list[Copy]] = {}

    def look_up(self, photos: Sequence[int]) -> None:
        """Looks up where photos lie that are grouped next, and those that are near them."""
        near = (each.photo_id for photo in photos for each in self._pairs.near(photo))
        self._copies = self._snapshot.copies({*photos, *near})

    def group(self, photo: int, stop: threading.Event | None) -> None:
        """Forms the group of a photo, unless it is in one."""
        if not self._pairs.take(photo):
            return
        others: list[tuple[Member, Sequence[Copy]]] = []
        for near in checking(self._pairs.near(photo), stop):
            same = self._are_same(photo, near)
            # What only looks alike may have copies of its own, and then a group of its own.
            if same or not self._has_copies(near.photo_id):
                self._pairs.take(near.photo_id)
                tier: Tier = "same-picture" if same else "similar"
                member = Member(near.photo_id, tier, near.score, near.distance)
                others.append((member, self._copies[near.photo_id]))
        group = form_group(Member(photo, None, 1, 0), [], self._copies[photo], others)
        if len(group) > 1:
            self._pairs.add_group(group)

    def _are_same(self, photo: int, near: Near) -> bool:
        return self._pixels.are_same(self._copies[photo], self._copies[near.photo_id])

    def _has_copies(self, photo: int) -> bool:
        """Returns whether a photo lies in several files, or has the picture of others in no group yet."""
        if len(self._copies[photo]) > 1:
            return True
        nearest = self._pairs.near(photo)[:MAX_COMPARED]
        unknown = {near.photo_id for near in nearest} - self._copies.keys()
        self._copies |= self._snapshot.copies(unknown) if unknown else {}
        return any(self._are_same(photo, near) for near in nearest)
