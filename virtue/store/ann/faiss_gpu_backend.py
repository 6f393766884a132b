"""The training backend of FAISS's GPU build: rows find their nearest centroids, and codes, on a card.

The same steps as on the processor, so the result is an index like any other. Searches stay on the processor:
FAISS's GPU indexes ignore selectors, or outgrow our row numbers (docs/architecture.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

from virtue.errors import StoreError
from virtue.store.ann import kmeans
from virtue.store.ann.faiss_backend import FaissAssigner, FaissBackend
from virtue.store.ann.faiss_runtime import faiss
from virtue.store.vectors.device import DeviceFullError

LOG = logging.getLogger("virtue")

MAX_FLOATS = 1 << 26
"""Floats of rows that are handed to a card at once."""
NO_MEMORY = ("out of memory", "cudaMalloc", "CUBLAS_STATUS_ALLOC_FAILED")
"""What FAISS says, in the text of a RuntimeError, when a card's memory runs out."""

Knn = Callable[..., tuple[np.ndarray, np.ndarray]]
"""`faiss.knn`, or `faiss.knn_gpu` on a card: distances and numbers of the nearest, (n, k) each."""


@cache
def count_gpus() -> int:
    """Returns how many cards FAISS can use. Its usual build knows of none."""
    if not hasattr(faiss, "StandardGpuResources"):
        return 0
    count = int(faiss.get_num_gpus())
    if not count:
        LOG.debug("FAISS's GPU build finds no card here: indexes are made on the processor")
    return count


def on_card(number: int) -> FaissGpuBackend:
    """Makes the backend for a card.

    Raises:
        StoreError: FAISS has no such card.
    """
    count = count_gpus()
    if number >= count:
        raise StoreError(
            f"FAISS finds {count} cards here, and none of number {number}: leave out VIRTUE_INDEX_DEVICE, or "
            "install FAISS's GPU build (docs/install.md)"
        )
    return FaissGpuBackend(partial(faiss.knn_gpu, faiss.StandardGpuResources(), device=number))


class FaissGpuBackend(FaissBackend):
    """Implements `TrainingBackend`, wherever `knn` works."""

    def __init__(self, knn: Knn) -> None:
        self._make = partial(KnnCentroids, knn=knn)
        self._knn = knn

    def cluster(self, sample: np.ndarray, lists: int) -> np.ndarray:
        return kmeans.cluster(sample, lists, self._make)

    def assigner(self, index: Any, scale: float) -> FaissAssigner:
        return FaissGpuAssigner(index, scale, self._make, self._knn)

    @contextmanager
    def computing(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not any(sign in str(error) for sign in NO_MEMORY):
                raise
            raise DeviceFullError("FAISS's card has not enough memory for making an index") from None


class KnnCentroids(kmeans.Centroids):
    """Centroids of which all are compared: a card needs no graph for that."""

    def __init__(self, rows: np.ndarray, knn: Knn) -> None:
        self.rows = np.ascontiguousarray(rows, np.float32)
        self._squares = np.vecdot(rows, rows)
        self._knn = knn

    def _best(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return nearest(self._knn, rows, self.rows, faiss.METRIC_INNER_PRODUCT)


class FaissGpuAssigner(FaissAssigner):
    """Implements `CoarseAssigner`. Codes are trained on the processor, where that takes no time."""

    def __init__(
        self, index: Any, scale: float, make: Callable[[np.ndarray], kmeans.Centroids], knn: Knn
    ) -> None:
        super().__init__(index, scale, make)
        self._knn = knn

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        scaled = rows * self._scale
        lists, distances = self._centroids.nearest(scaled)
        left = scaled - self._centroids.rows[lists]
        pq = self._index.pq
        books = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
        codes = np.zeros((len(rows), pq.M + pq.M % 2), np.uint8)
        for number, book in enumerate(books):
            columns = np.ascontiguousarray(left[:, number * pq.dsub : (number + 1) * pq.dsub])
            codes[:, number] = nearest(self._knn, columns, book, faiss.METRIC_L2)[0]
        width = self._index.coarse_code_size()
        places = lists.astype("<u8")[:, None].view(np.uint8)[:, :width]
        packed = np.concatenate([places, codes[:, 0::2] | codes[:, 1::2] << 4], axis=1)
        self._index.add_sa_codes(packed, np.ascontiguousarray(numbers, np.int64))
        return distances


def nearest(knn: Knn, rows: np.ndarray, points: np.ndarray, metric: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds for each row (n, dim) float32 the number of the nearest point, int64, and its distance."""
    numbers = np.empty(len(rows), np.int64)
    best = np.empty(len(rows), np.float32)
    step = max(1, MAX_FLOATS // rows.shape[1])
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        distances, found = knn(np.ascontiguousarray(rows[part]), points, 1, metric=metric)
        numbers[part], best[part] = found[:, 0], distances[:, 0]
    return numbers, best
