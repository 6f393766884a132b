"""Photos that are near each other by their perceptual hashes: what near-duplicates are found among.

To compare all hashes with all, they are cut into bands, one more than they may differ in bits, so that near
ones share a band, and only those that do are compared (M. Norouzi et al., "Fast search in Hamming space with
multi-index hashing", CVPR 2012).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.queries import fetch
from virtue.store.records import FullImage, SamePicture
from virtue.store.vectors import exact

MIN_TELLING_BITS = 4
"""Hashes of which fewer bits are set, or unset, say nothing: those of a picture in one colour, or of a slow
change from side to side."""
BLOCK = 256
"""Hashes that are compared at once with all of their band; 16 times as many pairs of vectors are."""


@dataclass(frozen=True, slots=True, eq=False)
class FullImages:
    """The photos that are still there, in order of their ids: `ids` and `rows` (n,) int64, of the region that
    is the full image, `phashes` (n,) uint64, `areas` (n,) int64 in pixels."""

    ids: np.ndarray
    rows: np.ndarray
    phashes: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, connection: AnyConnection, generation: int) -> FullImages:
        sql = (
            "SELECT p.id, r.row, p.phash, p.width * p.height FROM photos p "
            "CROSS JOIN regions r ON r.photo_id = p.id AND r.generation_id = ? "
            "WHERE p.live AND r.origin = 'whole' AND r.row IS NOT NULL ORDER BY p.id"
        )
        found = np.array(fetch(connection, sql, (generation,), (int,) * 4), np.int64).reshape(-1, 4)
        ids, rows, phashes, areas = np.ascontiguousarray(found.T)
        return cls(ids, rows, phashes.view(np.uint64), areas)

    def records(self, photo_ids: Collection[int]) -> list[FullImage]:
        # Not np.unique, which imports NumPy's masked arrays.
        wanted = np.array(sorted({*photo_ids}), np.int64)
        places = np.searchsorted(self.ids, wanted)
        inside = places < len(self.ids)
        places, wanted = places[inside], wanted[inside]
        return self._records(places[self.ids[places] == wanted])

    def near(self, phash: int, max_distance: int) -> list[FullImage]:
        """Returns the full images whose hash differs from this one in at most so many bits; none if the hash
        says nothing."""
        hash = np.uint64(phash)
        if says_nothing(hash):
            return []
        return self._records(np.flatnonzero(np.bitwise_count(self.phashes ^ hash) <= max_distance))

    def pairs(self, vectors: np.ndarray, max_distance: int, min_score: float) -> Iterator[SamePicture]:
        """Returns pairs of near hashes whose vectors have at least this dot product; a pair may come several
        times.

        Args:
            vectors: (count, dim) fp16 of all regions.
        """
        for ones, others in near_pairs(self.phashes, max_distance):
            for first in range(0, len(ones), 16 * BLOCK):
                one, other = ones[first : first + 16 * BLOCK], others[first : first + 16 * BLOCK]
                scores = np.vecdot(*(exact.decode(vectors[self.rows[side]]) for side in (one, other)))
                distances = np.bitwise_count(self.phashes[one] ^ self.phashes[other])
                for place in np.flatnonzero(scores >= min_score).tolist():
                    yield SamePicture(
                        int(self.ids[one[place]]), int(self.ids[other[place]]),
                        float(scores[place]), int(distances[place]),
                    )  # fmt: skip

    def _records(self, places: np.ndarray) -> list[FullImage]:
        columns = (each[places].tolist() for each in (self.ids, self.rows, self.phashes, self.areas))
        return [FullImage(*values) for values in zip(*columns, strict=True)]


def near_pairs(phashes: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Returns indices of pairs of hashes that differ in so many bits at most, some of them several times;
    hashes that say nothing are left out."""
    telling = np.flatnonzero(~says_nothing(phashes))
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (phashes[telling] >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = telling[np.argsort(band, kind="stable")]
        ends = np.cumsum(np.unique(band, return_counts=True)[1])
        for places in np.split(order, ends[:-1]):
            for first in range(0, len(places), BLOCK):
                some, rest = places[first : first + BLOCK], places[first:]
                close = np.bitwise_count(phashes[some][:, None] ^ phashes[rest]) <= max_distance
                one, other = np.nonzero(np.triu(close, 1))
                if len(one):
                    yield some[one], rest[other]


def says_nothing(phashes: Any) -> Any:
    """Returns whether hashes are of pictures in one colour, or nearly."""
    bits = np.bitwise_count(phashes)
    return (bits < MIN_TELLING_BITS) | (bits > 64 - MIN_TELLING_BITS)
