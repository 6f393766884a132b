"""Made-up embeddings that are as hard to search as real ones.

Real embeddings of photos lie in a cone (a shared mean), in clusters of clusters, each in few dimensions of
its own, with a spectrum that falls off as a power; texts lie beside the pictures they describe, all off in
one direction. Data without these makes every index look good. With the figures below, two random rows of
256 dimensions have a cosine of 0.40 +- 0.09, a row and its nearest neighbour about 0.85.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 65_536
DECAY = 0.35
"""The spectrum: the i-th strongest direction has a spread of i ** -DECAY."""
TOPICS = 200
LEAVES = 40
"""Clusters in a topic."""
LOCAL = 32
"""Dimensions that a cluster spreads in."""
MEAN, TOPIC, LEAF, WITHIN, NOISE = 0.64, 0.43, 0.36, 0.48, 0.18
"""Shares (lengths) of a row."""
SHIFT, BLUR = 0.55, 0.6
"""How far, in lengths, texts lie off the pictures, and how much they say that the picture does not."""


class Photos:
    """A made-up library of unit vectors; the same seed makes the same one."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim = dim
        self.seed = seed
        self._turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        spread = np.arange(1, dim + 1, dtype=np.float32) ** -DECAY
        self._spread = spread / np.linalg.norm(spread)
        self._mean = _unit(rng.standard_normal(dim).astype(np.float32))
        self._shift = _unit(rng.standard_normal(dim).astype(np.float32))
        self._topics = self._drawn(rng, TOPICS)
        self._leaves = self._drawn(rng, TOPICS * LEAVES)
        self._bases = np.stack([self._drawn(rng, LOCAL) / np.sqrt(LOCAL) for _ in range(TOPICS)])
        weights = rng.pareto(1.5, TOPICS * LEAVES) + 0.3
        self._share = weights / weights.sum()

    def _drawn(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, dim) of about unit length, spread as the spectrum says."""
        return rng.standard_normal((count, self.dim)).astype(np.float32) * self._spread

    def rows(self, count: int, part: int = 0) -> Iterator[np.ndarray]:
        """Chunks (n, dim) float32; `part` names an independent draw from the same library."""
        for first in range(0, count, CHUNK):
            rng = np.random.default_rng((self.seed, part, first))
            yield self._some(rng, min(CHUNK, count - first))

    def images(self, count: int) -> np.ndarray:
        """Pictures that are not in the library."""
        return np.concatenate(list(self.rows(count, part=1)))

    def texts(self, count: int) -> np.ndarray:
        """Texts about such pictures."""
        pictures = np.concatenate(list(self.rows(count, part=2)))
        blur = self._drawn(np.random.default_rng((self.seed, 3)), count) @ self._turn
        return _unit(pictures + SHIFT * (self._shift @ self._turn) + BLUR * blur)

    def _some(self, rng: np.random.Generator, count: int) -> np.ndarray:
        leaf = rng.choice(TOPICS * LEAVES, count, p=self._share)
        topic = leaf // LEAVES
        order = np.argsort(topic, kind="stable")
        within = np.empty((count, self.dim), np.float32)
        z = rng.standard_normal((count, LOCAL)).astype(np.float32)
        bounds = np.searchsorted(topic[order], np.arange(TOPICS + 1))
        for number in range(TOPICS):
            own = order[bounds[number] : bounds[number + 1]]
            within[own] = z[own] @ self._bases[number]
        rows = MEAN * self._mean + TOPIC * self._topics[topic] + LEAF * self._leaves[leaf]
        rows += WITHIN * within + NOISE * self._drawn(rng, count)
        return _unit(rows @ self._turn)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
