"""Making an index: cluster rows, learn the codes of what is left, encode.

IVF with product quantisation (Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor Search,
PAMI 2011): a row is the nearest of `lists` centroids plus a residual, of which every two columns together
become one of 16 values. Two decisions go beyond FAISS's defaults:

- Inner products, not distances: the tables of a query are then the same for all lists.
- Centroids are integers of 8 bits, and rows are multiplied by a scale that makes them so. What rounding
  loses is part of the residual, so nothing is lost; comparing a query with all centroids, half of the
  work of a search otherwise, takes a third of the time and a quarter of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from virtue.store import clusters, projection
from virtue.store.clusters import GRAPH_LINKS, ROUNDS, Centroids, clustered
from virtue.store.machine import faiss, faiss_threads
from virtue.store.scan import decoded

POINTS_A_LIST = 40
CODEBOOK_ROWS = 20_000
HELD_OUT = 10_000
CHUNK = 65_536
"""Rows encoded at once."""
LARGEST = 127.0

Step = Callable[[int, int], None]
"""Told how many rows of how many are done."""


def lists_for(rows: int) -> int:
    """The power of two nearest to 4 sqrt(rows)."""
    return 2 ** max(0, round(math.log2(4 * math.sqrt(max(1, rows)))))


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Rows in the form of an index.

    Attributes:
        index: a faiss.IndexIVFPQ, perhaps behind a projection.
        count: rows in it.
        residual: their mean distance from their centroids.
    """

    index: Any
    count: int
    residual: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """An empty index, the scale of what it takes, and how far rows that it was not trained
    on lie from their centroids, in the mean."""

    index: Any
    lists: int
    scale: float
    residual: float


def trained(rows: np.ndarray, numbers: np.ndarray, seed: int = 0) -> Trained:
    """Trains on a sample of rows.

    Args:
        rows: (count, dim) fp16.
        numbers: those to index, at least 64.
    """
    count = len(numbers)
    lists = min(lists_for(count), count // 4)
    wanted = min(count * 3 // 4, max(POINTS_A_LIST * lists, CODEBOOK_ROWS))
    order = np.random.default_rng(seed).permutation(count)[: wanted + HELD_OUT]
    sample = decoded(rows[numbers[order[:wanted]]])
    by = projection.learned(sample[:CODEBOOK_ROWS])
    sample = projection.shortened(sample, by)
    centroids = clustered(sample[: POINTS_A_LIST * lists], lists)
    scale = float(LARGEST / np.abs(centroids).max())
    index = _empty(_quantiser(np.rint(centroids * np.float32(scale))))
    lattice = Centroids(index.quantizer.reconstruct_n(0, lists))
    codebook = sample[:CODEBOOK_ROWS] * np.float32(scale)
    with faiss_threads(1):  # hundreds of small tasks, in which threads would mostly wait for each other
        index.pq.train(codebook - lattice.rows[lattice.nearest(codebook)[0]])
    index.is_trained = True
    others = projection.shortened(decoded(rows[numbers[order[wanted:]]]), by)
    _, distances = lattice.nearest(others * np.float32(scale))
    return Trained(projection.before(by, index), lists, scale, float(distances.mean()) / scale)


def _empty(quantiser: Any) -> Any:
    dim = quantiser.d
    codes = dim // 2 if dim % 2 == 0 else dim
    index = faiss.IndexIVFPQ(quantiser, dim, quantiser.ntotal, codes, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # or faiss prints warnings of its own
    index.pq.cp.niter = ROUNDS
    index.pq.cp.max_points_per_centroid = -(-CODEBOOK_ROWS // index.pq.ksub)
    return index


def _quantiser(centroids: np.ndarray) -> Any:
    """Finds centroids, which are integers from -127 to 127."""
    code = faiss.ScalarQuantizer.QT_8bit_direct_signed
    lists, dim = centroids.shape
    made = (
        faiss.IndexHNSWSQ(dim, code, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
        if lists >= clusters.GRAPH_FROM
        else faiss.IndexScalarQuantizer(dim, code, faiss.METRIC_INNER_PRODUCT)
    )
    made.train(centroids)
    made.add(centroids)
    return made


def encoded(
    index: Any, scale: float, rows: np.ndarray, numbers: np.ndarray, step: Step | None = None
) -> Encoded:
    """Adds these rows to an empty index of this scale: 4 bits for every two columns, and their numbers."""
    by, codes = projection.parted(index)
    lattice = Centroids(codes.quantizer.reconstruct_n(0, codes.nlist))
    total = 0.0
    for chunk in _chunks(numbers):
        part = projection.shortened(decoded(rows[chunk]), by)
        part *= np.float32(scale)
        lists, distances = lattice.nearest(part)
        total += float(distances.sum())
        # The names keep the arrays alive while FAISS reads them.
        ids = np.ascontiguousarray(chunk, np.int64)
        lists = np.ascontiguousarray(lists, np.int64)
        codes.add_core(len(part), faiss.swig_ptr(part), faiss.swig_ptr(ids), faiss.swig_ptr(lists))
        if step:
            step(codes.ntotal, len(numbers))
    index.ntotal = codes.ntotal
    return Encoded(index, len(numbers), total / scale / max(1, len(numbers)))


def _chunks(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), CHUNK):
        yield numbers[first : first + CHUNK]


def imbalance(indexes: list[Any]) -> float:
    """How many times more than with lists of equal length a search reads, over all of these indexes of
    one training."""
    sizes: Any = 0
    for index in indexes:
        _, codes = projection.parted(index)
        sizes += np.array([codes.invlists.list_size(number) for number in range(codes.nlist)], float)
    return float(len(sizes) * np.square(sizes).sum() / max(1.0, sizes.sum() ** 2))
