"""Searching in an index: a few lists of codes are read, and what looks best there is scored exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from virtue.store.ann import pca
from virtue.store.ann.faiss_runtime import faiss, faiss_threads, give_back_memory
from virtue.store.ann.segments import IndexSegment
from virtue.store.ann.training import MAX_CENTROID_VALUE

LAST_ROW = 1 << 62
FASTSCAN_BLOCK = 32
"""Rows that FastScan looks at together."""
MAX_SEGMENTS = 4
"""Segments that an index may have: each is searched by itself."""


def read_index(content: np.ndarray) -> Any:
    """Opens the index in the bytes of a file, which must be sound: a faiss.IndexIVFPQ, perhaps behind a PCA.
    It reads from the bytes, which must outlive it, and cannot be added to."""
    reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), len(content))
    return faiss.read_index(reader)


def holds_together(content: np.ndarray, segment: IndexSegment) -> bool:
    """Returns whether FAISS can read an index, and what it says of itself agrees. Searches trust that."""
    try:
        index = read_index(content)
        directions, codes = pca.split(index)
        quantiser = faiss.downcast_index(codes.quantizer)
        lists = codes.invlists
        return bool(
            isinstance(codes, faiss.IndexIVFPQ)
            and codes.metric_type == faiss.METRIC_INNER_PRODUCT
            and index.d == (codes.d if directions is None else directions.shape[1])
            and (directions is None or directions.shape[0] == codes.d)
            and quantiser.d == codes.pq.d == codes.d == codes.pq.M * codes.pq.dsub
            and quantiser.ntotal == codes.nlist == lists.nlist
            and codes.pq.nbits == 4
            and codes.code_size == codes.pq.code_size == lists.code_size
            and sum(map(lists.list_size, range(codes.nlist))) == codes.ntotal == segment.encoded
        )
    except (RuntimeError, AttributeError, ValueError, TypeError, OverflowError, MemoryError):
        return False


def empty_copy(content: np.ndarray) -> Any:
    """Makes an index of the same training without rows; it may read its quantizer from `content`."""
    index = read_index(content)
    _, codes = pca.split(index)
    lists = faiss.ArrayInvertedLists(codes.nlist, codes.code_size)
    codes.replace_invlists(lists, True)
    lists.this.disown()  # the index frees them now
    codes.ntotal = index.ntotal = 0
    return index


def merge(content: np.ndarray, indexes: Sequence[Any]) -> Any:
    """Merges indexes of one training into one with all their rows.

    Args:
        content: a file of that training, which must outlive it.
    """
    made = empty_copy(content)
    _, codes = pca.split(made)
    for index in indexes:
        _, some = pca.split(index)
        some.copy_subset_to(codes, faiss.InvertedLists.SUBSET_TYPE_ID_RANGE, 0, LAST_ROW)
    made.ntotal = codes.ntotal
    return made


class OpenSegment:
    """One opened segment, in the form that is searched fastest (FAISS's FastScan: blocks of 32 codes, whose
    tables stay in registers). All of it is in memory: for each row a byte for every four columns of its short
    form, and 8 for its number.

    FAISS keeps blocks in memory of a power of two, of which a tenth is wasted. Here they lie in plain
    lists, filled up with rows of number -1, so that searches must always name the rows that may appear.
    """

    def __init__(self, content: np.ndarray) -> None:
        self._content = content
        index = read_index(content)
        self.dim: int = index.d
        self.directions, self._plain = pca.split(index)
        self.quantiser = faiss.downcast_index(self._plain.quantizer)
        with faiss_threads(1):  # another thread would have a heap of its own, which stays large
            self.fast = faiss.IndexIVFPQFastScan(self._plain)
        lists = _pack(faiss.downcast_InvertedLists(self.fast.invlists), self._plain.code_size)
        self.fast.replace_invlists(lists, True)
        lists.this.disown()  # the index frees them now
        give_back_memory()


def _pack(blocks: Any, code_size: int) -> Any:
    """Copies the blocks of a FastScan index into lists that take no more memory than needed."""
    lists = faiss.ArrayInvertedLists(blocks.nlist, code_size)
    for number in range(blocks.nlist):
        size = blocks.list_size(number)
        if size:
            rows = np.full(-(-size // FASTSCAN_BLOCK) * FASTSCAN_BLOCK, -1, np.int64)
            rows[:size] = faiss.rev_swig_ptr(blocks.get_ids(number), size)
            lists.add_entries(number, len(rows), faiss.swig_ptr(rows), blocks.get_codes(number))
    return lists


class Index:
    """The opened segments of one index. Threads may share it.

    Attributes:
        lists: how many there are to probe.
        segments: the files it was made from.
    """

    def __init__(self, segments: Sequence[IndexSegment], parts: Sequence[OpenSegment]) -> None:
        self.segments = tuple(segments)
        self._parts = tuple(parts)
        self._directions = parts[0].directions
        self._quantiser = parts[0].quantiser
        self._graph = hasattr(self._quantiser, "hnsw")
        self.lists: int = parts[0].fast.nlist
        self._every = np.full(max(file.stop for file in segments) // 8 + 1, 255, np.uint8)
        self._unfiltered: dict[int, Any] = {}

    def candidates(
        self, queries: np.ndarray, nprobe: int, count: int, usable: np.ndarray | None = None
    ) -> np.ndarray:
        """Finds the best rows for each query, by their codes.

        Args:
            queries: (k, dim) float32.
            nprobe: lists to read, at most `lists`.
            count: rows for each query.
            usable: bits, least significant first, of rows that may appear; None: all.

        Returns:
            (k, count) int64, best first by their codes; -1 where less were found.
        """
        with faiss_threads(1):
            scaled = _scale_queries(pca.reduce_queries(queries, self._directions))
            return self._candidates(scaled, min(nprobe, self.lists), count, usable)

    def _candidates(
        self, queries: np.ndarray, nprobe: int, count: int, usable: np.ndarray | None
    ) -> np.ndarray:
        nearest, lists = self._probed(queries, nprobe)
        settings = self._settings(nprobe) if usable is None else _search_settings(nprobe, usable)
        scores = np.empty((len(self._parts), len(queries), count), np.float32)
        rows = np.empty(scores.shape, np.int64)
        for number, part in enumerate(self._parts):
            part.fast.search_preassigned_c(
                len(queries),
                faiss.swig_ptr(queries),
                count,
                faiss.swig_ptr(lists),
                faiss.swig_ptr(nearest),
                faiss.swig_ptr(scores[number]),
                faiss.swig_ptr(rows[number]),
                False,
                settings,
            )
        return rows[0] if len(rows) == 1 else _merge_best(scores, rows, count)

    def _settings(self, nprobe: int) -> Any:
        """Returns FAISS's settings for a search that may find all rows."""
        if nprobe not in self._unfiltered:
            self._unfiltered[nprobe] = _search_settings(nprobe, self._every)
        return self._unfiltered[nprobe]

    def _probed(self, queries: np.ndarray, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        nearest = np.empty((len(queries), nprobe), np.float32)
        lists = np.empty((len(queries), nprobe), np.int64)
        settings = faiss.SearchParametersHNSW(efSearch=max(64, 2 * nprobe)) if self._graph else None
        self._quantiser.search_c(
            len(queries),
            faiss.swig_ptr(queries),
            nprobe,
            faiss.swig_ptr(nearest),
            faiss.swig_ptr(lists),
            settings,
        )
        return nearest, lists


def _search_settings(nprobe: int, usable: np.ndarray) -> Any:
    return faiss.SearchParametersIVF(nprobe=nprobe, sel=faiss.IDSelectorBitmap(usable))


def _scale_queries(queries: np.ndarray) -> np.ndarray:
    """Scales queries to integers up to 127, as they are compared with the centroids."""
    largest = np.abs(queries).max(axis=1, keepdims=True, initial=1e-30)
    return np.rint(queries * (np.float32(MAX_CENTROID_VALUE) / largest))


def _merge_best(scores: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Merges scores and rows (parts, k, n) into the best `count` for each query, best first."""
    flat = np.concatenate(list(np.where(rows < 0, -np.inf, scores)), axis=1)
    best = np.argsort(-flat, axis=1)[:, :count]
    return np.take_along_axis(np.concatenate(list(rows), axis=1), best, axis=1)
