"""Making an index: cluster rows, learn the codes of what is left, encode.

IVF with product quantisation (Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor Search,
PAMI 2011): a row is the nearest of `lists` centroids plus a residual, of which every two columns together
become one of 16 values. Two decisions go beyond FAISS's defaults:

- Inner products, not distances: the tables of a query are then the same for all lists.
- Centroids are integers of 8 bits, and rows are multiplied by a scale that makes them so. What rounding
  loses is part of the residual, so nothing is lost; comparing a query with all centroids, half of the
  work of a search otherwise, takes a third of the time and a quarter of the memory.

The arithmetic is a training backend's (`backend`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from virtue.store.ann import pca
from virtue.store.ann.backend import TrainingBackend, falls_back_to_faiss
from virtue.store.ann.faiss_runtime import faiss
from virtue.store.ann.kmeans import GRAPH_LINKS, ITERATIONS, MIN_GRAPH_CENTROIDS
from virtue.store.vectors.exact import decode

ROWS_PER_LIST = 40
CODEBOOK_ROWS = 20_000
HELD_OUT_ROWS = 10_000
CHUNK_ROWS = 65_536
"""Rows encoded at once."""
MAX_CENTROID_VALUE = 127.0

ReportRows = Callable[[int, int], None]
"""Called as (rows done, rows in all)."""


def lists_for(rows: int) -> int:
    """Returns the number of lists: the power of two nearest to 4 sqrt(rows)."""
    return 2 ** max(0, round(math.log2(4 * math.sqrt(max(1, rows)))))


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Rows that were encoded into an index.

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
    """A trained index without rows, the scale of its input, and the mean distance of rows from their
    centroids, measured on rows outside the training sample."""

    index: Any
    lists: int
    scale: float
    residual: float


@falls_back_to_faiss
def train(backend: TrainingBackend, rows: np.ndarray, numbers: np.ndarray, seed: int = 0) -> Trained:
    """Trains on a sample of rows.

    Args:
        rows: (count, dim) fp16.
        numbers: those to index, at least 64.
    """
    count = len(numbers)
    lists = min(lists_for(count), count // 4)
    wanted = min(count * 3 // 4, max(ROWS_PER_LIST * lists, CODEBOOK_ROWS))
    order = np.random.default_rng(seed).permutation(count)[: wanted + HELD_OUT_ROWS]
    sample = decode(rows[numbers[order[:wanted]]])
    directions = pca.fit(sample[:CODEBOOK_ROWS])
    sample = pca.reduce(sample, directions)
    centroids = backend.cluster(sample[: ROWS_PER_LIST * lists], lists)
    scale = float(MAX_CENTROID_VALUE / np.abs(centroids).max())
    index = _empty_index(_coarse_quantiser(np.rint(centroids * np.float32(scale))))
    assigner = backend.assigner(index, scale)
    assigner.train_codes(sample[:CODEBOOK_ROWS])
    index.is_trained = True
    others = pca.reduce(decode(rows[numbers[order[wanted:]]]), directions)
    distances = assigner.distances(others)
    return Trained(pca.prepend(directions, index), lists, scale, float(distances.mean()) / scale)


def _empty_index(quantiser: Any) -> Any:
    dim = quantiser.d
    codes = dim // 2 if dim % 2 == 0 else dim
    index = faiss.IndexIVFPQ(quantiser, dim, quantiser.ntotal, codes, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # or faiss prints warnings of its own
    index.pq.cp.niter = ITERATIONS
    index.pq.cp.max_points_per_centroid = -(-CODEBOOK_ROWS // index.pq.ksub)
    return index


def _coarse_quantiser(centroids: np.ndarray) -> Any:
    """Finds centroids, which are integers from -127 to 127."""
    code = faiss.ScalarQuantizer.QT_8bit_direct_signed
    lists, dim = centroids.shape
    made = (
        faiss.IndexHNSWSQ(dim, code, GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
        if lists >= MIN_GRAPH_CENTROIDS
        else faiss.IndexScalarQuantizer(dim, code, faiss.METRIC_INNER_PRODUCT)
    )
    made.train(centroids)
    made.add(centroids)
    return made


@falls_back_to_faiss
def encode(
    backend: TrainingBackend,
    index: Any,
    scale: float,
    rows: np.ndarray,
    numbers: np.ndarray,
    report: ReportRows | None = None,
) -> Encoded:
    """Adds these rows to an empty index of this scale: 4 bits for every two columns, and their numbers."""
    index.reset()  # of what another backend had added before it gave up
    directions, codes = pca.split(index)
    assigner = backend.assigner(codes, scale)
    total = 0.0
    for first in range(0, len(numbers), CHUNK_ROWS):
        chunk = numbers[first : first + CHUNK_ROWS]
        total += float(assigner.add(pca.reduce(decode(rows[chunk]), directions), chunk).sum())
        if report:
            report(codes.ntotal, len(numbers))
    index.ntotal = codes.ntotal
    return Encoded(index, len(numbers), total / scale / max(1, len(numbers)))


def imbalance(indexes: list[Any]) -> float:
    """Returns how many times more a search reads than it would with lists of equal length, over all of these
    indexes of one training."""
    sizes: Any = 0
    for index in indexes:
        _, codes = pca.split(index)
        sizes += np.array([codes.invlists.list_size(number) for number in range(codes.nlist)], float)
    return float(len(sizes) * np.square(sizes).sum() / max(1.0, sizes.sum() ** 2))
