"""Making an index: cluster rows, learn the codes of what is left, encode.

IVF with product quantisation (Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor Search,
PAMI 2011): a row is the nearest of `lists` centroids plus a residual, of which every two columns together
become one of 16 values. Two decisions go beyond FAISS's defaults:

- Inner products, not distances: the tables of a query are then the same for all lists.
- Centroids are integers of 8 bits, and rows are multiplied by a scale that makes them so. What rounding
  loses is part of the residual, so nothing is lost; comparing a query with all centroids, half of the
  work of a search otherwise, takes a third of the time and a quarter of the memory.

The arithmetic is done by one of two sets of tools, `Faiss` here and `Torch` in `torch_training` for a
GPU; what comes out is a FAISS index of the same form.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from virtue.errors import StoreError
from virtue.store.ann import kmeans, pca
from virtue.store.ann.faiss_runtime import faiss, faiss_threads
from virtue.store.ann.kmeans import GRAPH_LINKS, ITERATIONS, Centroids
from virtue.store.vectors.device import DeviceFullError, computing_on
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS, decode
from virtue.torch_device import find_device, has_cuda, release_memory

ROWS_PER_LIST = 40
CODEBOOK_ROWS = 20_000
HELD_OUT_ROWS = 10_000
CHUNK_ROWS = 65_536
"""Rows encoded at once."""
MAX_CENTROID_VALUE = 127.0
DEVICE_VARIABLE = "VIRTUE_INDEX_DEVICE"
"""Of the environment: where indexes are made, "faiss" or a device of torch. Without it, on a GPU if torch
is installed, finds one, and there are more than `MAX_SCANNED_FLOATS` floats."""
FAISS = "faiss"

T = TypeVar("T")
Step = Callable[[int, int], None]
"""Told how many rows of how many are done."""


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


class CoarseAssigner(Protocol):
    """Assigns rows to the centroids of an index. Rows are (n, dim) float32, not yet scaled; results are their
    distances from their centroids, (n,) float32, in the scale of the index."""

    def learn(self, rows: np.ndarray) -> None:
        """Trains the codes of the index on the residuals of these rows."""

    def distances(self, rows: np.ndarray) -> np.ndarray: ...

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Adds rows with these numbers to the index."""


class Tools(Protocol):
    def clustered(self, sample: np.ndarray, lists: int) -> np.ndarray:
        """Finds centroids; see `kmeans.cluster`."""

    def lattice(self, index: Any, scale: float) -> CoarseAssigner:
        """Makes the assigner of a faiss.IndexIVFPQ that has its centroids."""


class Faiss:
    """Trains with FAISS and NumPy."""

    def clustered(self, sample: np.ndarray, lists: int) -> np.ndarray:
        return kmeans.cluster(sample, lists)

    def lattice(self, index: Any, scale: float) -> CoarseAssigner:
        return _FaissLattice(index, scale)


class _FaissLattice:
    def __init__(self, index: Any, scale: float) -> None:
        self._index = index
        self._scale = np.float32(scale)
        self._centroids = Centroids(index.quantizer.reconstruct_n(0, index.nlist))

    def learn(self, rows: np.ndarray) -> None:
        part = rows * self._scale
        with faiss_threads(1):  # hundreds of small tasks, in which threads would mostly wait for each other
            self._index.pq.train(part - self._centroids.rows[self._centroids.nearest(part)[0]])

    def distances(self, rows: np.ndarray) -> np.ndarray:
        return self._centroids.nearest(rows * self._scale)[1]

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        part = rows * self._scale
        lists, distances = self._centroids.nearest(part)
        # The names keep the arrays alive while FAISS reads them.
        ids = np.ascontiguousarray(numbers, np.int64)
        lists = np.ascontiguousarray(lists, np.int64)
        self._index.add_core(len(part), faiss.swig_ptr(part), faiss.swig_ptr(ids), faiss.swig_ptr(lists))
        return distances


def train(rows: np.ndarray, numbers: np.ndarray, seed: int = 0, place: str | None = None) -> Trained:
    """Trains on a sample of rows.

    Args:
        rows: (count, dim) fp16.
        numbers: those to index, at least 64.
        place: as `DEVICE_VARIABLE`; None: what it says.

    Raises:
        StoreError: there is no such device.
    """
    size = len(numbers) * rows.shape[1]
    return _done(place, size, lambda tools: _trained(tools, rows, numbers, seed))


def _trained(tools: Tools, rows: np.ndarray, numbers: np.ndarray, seed: int) -> Trained:
    count = len(numbers)
    lists = min(lists_for(count), count // 4)
    wanted = min(count * 3 // 4, max(ROWS_PER_LIST * lists, CODEBOOK_ROWS))
    order = np.random.default_rng(seed).permutation(count)[: wanted + HELD_OUT_ROWS]
    sample = decode(rows[numbers[order[:wanted]]])
    by = pca.fit(sample[:CODEBOOK_ROWS])
    sample = pca.reduce(sample, by)
    centroids = tools.clustered(sample[: ROWS_PER_LIST * lists], lists)
    scale = float(MAX_CENTROID_VALUE / np.abs(centroids).max())
    index = _empty(_coarse_quantiser(np.rint(centroids * np.float32(scale))))
    lattice = tools.lattice(index, scale)
    lattice.learn(sample[:CODEBOOK_ROWS])
    index.is_trained = True
    others = pca.reduce(decode(rows[numbers[order[wanted:]]]), by)
    distances = lattice.distances(others)
    return Trained(pca.prepend(by, index), lists, scale, float(distances.mean()) / scale)


def _done(place: str | None, size: int, work: Callable[[Tools], T]) -> T:
    """Does the work on the device that is meant, or, when that has not the memory, says so and does it
    with FAISS, from the start."""
    place = (
        place
        or os.environ.get(DEVICE_VARIABLE)
        or ("cuda" if size > MAX_SCANNED_FLOATS and has_cuda() else FAISS)
    )
    if place != FAISS:
        on = find_device(place, StoreError)
        from virtue.store.ann.torch_training import Torch

        try:
            with computing_on(on, "making an index"):
                return work(Torch(on))
        except DeviceFullError as error:
            warnings.warn(f"{error}: FAISS trains the index on the CPU instead", stacklevel=4)
        release_memory()
    return work(Faiss())


def _empty(quantiser: Any) -> Any:
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
        if lists >= kmeans.MIN_GRAPH_CENTROIDS
        else faiss.IndexScalarQuantizer(dim, code, faiss.METRIC_INNER_PRODUCT)
    )
    made.train(centroids)
    made.add(centroids)
    return made


def encode(
    index: Any,
    scale: float,
    rows: np.ndarray,
    numbers: np.ndarray,
    step: Step | None = None,
    place: str | None = None,
) -> Encoded:
    """Adds these rows to an empty index of this scale: 4 bits for every two columns, and their numbers.

    Args:
        place: as `DEVICE_VARIABLE`; None: what it says.

    Raises:
        StoreError: there is no such device.
    """
    size = len(numbers) * rows.shape[1]
    return _done(place, size, lambda tools: _encoded(tools, index, scale, rows, numbers, step))


def _encoded(
    tools: Tools, index: Any, scale: float, rows: np.ndarray, numbers: np.ndarray, step: Step | None
) -> Encoded:
    index.reset()  # of what other tools had added before they gave up
    by, codes = pca.split(index)
    lattice = tools.lattice(codes, scale)
    total = 0.0
    for chunk in _chunks(numbers):
        total += float(lattice.add(pca.reduce(decode(rows[chunk]), by), chunk).sum())
        if step:
            step(codes.ntotal, len(numbers))
    index.ntotal = codes.ntotal
    return Encoded(index, len(numbers), total / scale / max(1, len(numbers)))


def _chunks(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), CHUNK_ROWS):
        yield numbers[first : first + CHUNK_ROWS]


def imbalance(indexes: list[Any]) -> float:
    """Returns how many times more a search reads than it would with lists of equal length, over all of these
    indexes of one training."""
    sizes: Any = 0
    for index in indexes:
        _, codes = pca.split(index)
        sizes += np.array([codes.invlists.list_size(number) for number in range(codes.nlist)], float)
    return float(len(sizes) * np.square(sizes).sum() / max(1.0, sizes.sum() ** 2))
