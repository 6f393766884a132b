"""The training backend of FAISS and NumPy, on the processor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from virtue.store.ann import kmeans
from virtue.store.ann.faiss_runtime import faiss, faiss_threads


class FaissBackend:
    """Implements `TrainingBackend`."""

    def cluster(self, sample: np.ndarray, lists: int) -> np.ndarray:
        return kmeans.cluster(sample, lists)

    def assigner(self, index: Any, scale: float) -> FaissAssigner:
        return FaissAssigner(index, scale)

    def computing(self) -> AbstractContextManager[None]:
        return nullcontext()


class FaissAssigner:
    """Implements `CoarseAssigner`."""

    def __init__(
        self,
        index: Any,
        scale: float,
        make: Callable[[np.ndarray], kmeans.Centroids] = kmeans.Centroids,
    ) -> None:
        self._index = index
        self._scale = np.float32(scale)
        self._centroids = make(index.quantizer.reconstruct_n(0, index.nlist))

    def train_codes(self, rows: np.ndarray) -> None:
        scaled = rows * self._scale
        lists, _ = self._centroids.nearest(scaled)
        with faiss_threads(1):  # hundreds of small tasks, in which threads would mostly wait for each other
            self._index.pq.train(scaled - self._centroids.rows[lists])

    def distances(self, rows: np.ndarray) -> np.ndarray:
        return self._centroids.nearest(rows * self._scale)[1]

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        scaled = rows * self._scale
        lists, distances = self._centroids.nearest(scaled)
        # The names keep the arrays alive while FAISS reads them.
        ids = np.ascontiguousarray(numbers, np.int64)
        lists = np.ascontiguousarray(lists, np.int64)
        self._index.add_core(len(scaled), faiss.swig_ptr(scaled), faiss.swig_ptr(ids), faiss.swig_ptr(lists))
        return distances
