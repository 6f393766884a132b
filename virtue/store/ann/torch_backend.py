"""The arithmetic of an index in torch, on a GPU or wherever torch runs: clustering, codes, encoding.

The same steps as with FAISS, and handed to FAISS: rows that are encoded here, in centroids and codes
trained anywhere, get FAISS's own codes, except where two centroids are equally near but for rounding. All
rows are compared with all centroids, where FAISS takes a graph to find the nearest of very many.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from virtue.store.ann.faiss_runtime import faiss
from virtue.store.ann.kmeans import ITERATIONS
from virtue.store.vectors.device import computing_on
from virtue.torch_device import run_in_blocks

MAX_PRODUCTS = 1 << 26
"""Floats in one of the few arrays that are held at once; less where the memory is too small."""


class TorchBackend:
    """Implements `TrainingBackend`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def cluster(self, sample: np.ndarray, lists: int) -> np.ndarray:
        """Finds centroids as `kmeans.cluster` does. A GPU adds rows in any order, so two runs may differ in
        the last digits."""
        rows = torch.from_numpy(sample).to(self._device)
        centroids = rows[:lists]
        for _ in range(ITERATIONS):
            centroids = _update_centroids(rows, centroids)
        return centroids.cpu().numpy()

    def assigner(self, index: Any, scale: float) -> TorchAssigner:
        return TorchAssigner(self._device, index, scale)

    def computing(self) -> AbstractContextManager[None]:
        return computing_on(self._device, "making an index")


class TorchAssigner:
    """Implements `CoarseAssigner`."""

    def __init__(self, device: torch.device, index: Any, scale: float) -> None:
        self._device = device
        self._index = index
        self._scale = scale
        self._centroids = torch.from_numpy(index.quantizer.reconstruct_n(0, index.nlist)).to(device)

    def train_codes(self, rows: np.ndarray) -> None:
        pq = self._index.pq
        left = torch.empty(rows.shape, dtype=torch.float32, device=self._device)

        def keep(part: slice, _: torch.Tensor, some: torch.Tensor) -> None:
            left[part] = some

        self._for_each_block(rows, keep)
        points = left.view(len(rows), pq.M, pq.dsub).transpose(0, 1)
        books = torch.empty((pq.M, pq.ksub, pq.dsub), dtype=torch.float32, device=self._device)

        def train(first: int, stop: int) -> None:
            books[first:stop] = _train_codebooks(points[first:stop].contiguous(), pq.ksub)

        run_in_blocks(pq.M, max(1, MAX_PRODUCTS // (len(rows) * pq.ksub)), train)
        faiss.copy_array_to_vector(books.cpu().numpy().ravel(), pq.centroids)

    def distances(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty(len(rows), np.float32)

        def measure(part: slice, _: torch.Tensor, left: torch.Tensor) -> None:
            found[part] = left.norm(dim=1).cpu().numpy()

        self._for_each_block(rows, measure)
        return found

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        found = np.empty(len(rows), np.float32)
        codes = np.empty((len(rows), self._index.sa_code_size()), np.uint8)
        pq = self._index.pq
        books = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
        books = torch.from_numpy(books).to(self._device)
        width = self._index.coarse_code_size()

        def encode(part: slice, lists: torch.Tensor, left: torch.Tensor) -> None:
            packed = torch.cat([_little_endian(lists, width), _pack(_nearest_codes(left, books))], 1)
            found[part] = left.norm(dim=1).cpu().numpy()
            codes[part] = packed.cpu().numpy()

        self._for_each_block(rows, encode)
        self._index.add_sa_codes(codes, np.ascontiguousarray(numbers, np.int64))
        return found

    def _for_each_block(
        self, rows: np.ndarray, work: Callable[[slice, torch.Tensor, torch.Tensor], None]
    ) -> None:
        """Hands rows over in blocks: which they are, the numbers of their centroids (n,) int64,
        and what is left of them (n, dim) float32."""
        lists, dim = self._centroids.shape

        def one(first: int, stop: int) -> None:
            part = torch.from_numpy(rows[first:stop]).to(self._device)
            # Before they are scaled: what was stored as halves, and 8-bit integers, is multiplied exactly
            # even where a program allows torch to round to 11 bits (TF32).
            nearest = (part @ self._centroids.T).argmax(1)
            work(slice(first, stop), nearest, part * self._scale - self._centroids[nearest])

        run_in_blocks(len(rows), max(1, MAX_PRODUCTS // max(lists, self._index.pq.ksub * dim)), one)


def _update_centroids(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Runs one round of spherical k-means."""
    lists, dim = centroids.shape
    sums = torch.zeros_like(centroids)
    counts = torch.zeros(lists, dtype=torch.int64, device=rows.device)
    alike = torch.empty(len(rows), dtype=torch.float32, device=rows.device)

    def add(first: int, stop: int) -> None:
        part = rows[first:stop]
        products, nearest = (part @ centroids.T).max(1)
        met = torch.bincount(nearest, minlength=lists)
        sums.index_add_(0, nearest, part)
        counts.add_(met)
        alike[first:stop] = products

    run_in_blocks(len(rows), max(1, MAX_PRODUCTS // max(lists, dim)), add)
    empty = torch.nonzero(counts == 0)[:, 0]
    # A centroid that has lost all its rows starts again at a row that is far from every other.
    if len(empty):
        sums[empty] = rows[alike.topk(len(empty), largest=False).indices]
    return sums / sums.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _train_codebooks(points: torch.Tensor, count: int) -> torch.Tensor:
    """k-means of many sets of points at once: (sets, n, s) -> (sets, count, s), n >= count, points in
    random order."""
    books = points[:, -count:]  # not the first: clusters grew around those, so little is left of them
    for _ in range(ITERATIONS):
        distances, nearest = _squared_distances(points[:, :, None], books[:, None]).min(2)
        chosen = (nearest[:, :, None] == torch.arange(count, device=points.device)).float()
        counts = chosen.sum(1)
        means = chosen.transpose(1, 2) @ points / counts.clamp(min=1)[:, :, None]
        # What has lost all its points starts again at one that is far from every other: the first such
        # of a set at the farthest, the second at the next.
        empty = counts == 0
        far = distances.topk(count, 1).indices.gather(1, (empty.cumsum(1) - 1).clamp(min=0))
        fresh = points.gather(1, far[:, :, None].expand(-1, -1, points.shape[2]))
        books = torch.where(empty[:, :, None], fresh, means)
    return books


def _nearest_codes(left: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """(n, sets) uint8: which of the values in (sets, count, s) are nearest to the columns of (n, dim)."""
    points = left.view(len(left), len(books), 1, books.shape[2])
    return _squared_distances(points, books).argmin(2).to(torch.uint8)


def _squared_distances(points: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Squared distances along the last axis, which is short; the others are broadcast."""
    total = (points[..., 0] - books[..., 0]).square()
    for column in range(1, points.shape[-1]):
        total += (points[..., column] - books[..., column]).square()
    return total


def _pack(codes: torch.Tensor) -> torch.Tensor:
    """Two codes of 4 bits a byte, the first in the low bits."""
    codes = torch.nn.functional.pad(codes, (0, codes.shape[1] % 2))
    return codes[:, 0::2] | codes[:, 1::2] << 4


def _little_endian(numbers: torch.Tensor, width: int) -> torch.Tensor:
    """(n, width) uint8, the lowest byte first."""
    places = 8 * torch.arange(width, device=numbers.device)
    return (numbers[:, None] >> places & 255).to(torch.uint8)
