"""A search through an index: what it covers by its codes, the rest one by one, all scored exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from virtue.store.ann.ivf import Index
from virtue.store.ann.segments import uncovered_spans
from virtue.store.records import Ranked, SearchParams
from virtue.store.vectors import exact

TUNED_TOP = 10
"""The number of hits that search parameters are measured for."""
MIN_ROWS_PER_HIT = 8
"""A search for more than one row in so many reads them all."""
MAX_WIDENING = 16.0
"""At most so many times more lists are read because few rows may appear."""
MIN_ROWS_MET_PER_HIT = 20
"""Rows that may appear, for each hit, that a search meets in its lists at least, if they are spread
evenly."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSelector:
    """The rows that may appear in a result.

    Attributes:
        bits: one for each row, least significant first; None: all may.
        share: of the rows.
        count: of them.
    """

    bits: np.ndarray | None
    share: float
    count: int

    @classmethod
    def of(cls, rows: int, dead: np.ndarray, allowed: np.ndarray | None) -> RowSelector:
        if allowed is None and not len(dead):
            return cls(None, 1.0, rows)
        flags = np.ones(rows, bool) if allowed is None else allowed.copy()
        flags[dead] = False
        count = int(np.count_nonzero(flags))
        return cls(np.packbits(flags, bitorder="little"), count / max(1, rows), count)


def is_useful(top: int, usable: RowSelector, filtered: bool) -> bool:
    """Returns whether an index is faster: if few rows may appear, or most are wanted, a scan costs less."""
    return top * MIN_ROWS_PER_HIT <= usable.count and not (
        filtered and usable.count <= exact.MAX_GATHERED_ROWS
    )


class IndexRanking:
    """The `Ranking` of a search through an index: rows that it covers are found by their codes, so that some
    of the best may be missed; the rest are scanned. What is found has the very score that a scan gives it.

    Args:
        allowed: (count of rows,) bool; None: all.
        selector: the same, less the dead.
        kept: the decoded rows of the span that starts at this row.
    """

    def __init__(
        self,
        index: Index,
        rows: np.ndarray,
        queries: np.ndarray,
        params: SearchParams,
        selector: RowSelector,
        dead: np.ndarray,
        allowed: np.ndarray | None,
        kept: Callable[[int], exact.DecodedRows],
    ) -> None:
        self._index, self._rows, self._queries, self._params = index, rows, queries, params
        self._selector, self._dead, self._allowed, self._kept = selector, dead, allowed, kept
        self._found: Ranked | None = None
        self._count = 0
        self._scanned: exact.ScoredRows | None = None

    def top(self, count: int) -> Ranked:
        if self._found is None or count > self._count:
            self._found, self._count = self._search(count), count
        return Ranked(self._found.rows[:count], self._found.scores[:count])

    def _search(self, count: int) -> Ranked:
        if not is_useful(count, self._selector, self._allowed is not None):
            return exact.scan(self._rows, self._queries, self._dead, self._allowed, self._kept(0)).top(count)
        covered = search_index(self._index, self._rows, self._queries, count, self._params, self._selector)
        rest = self._scan_rest()
        return covered if rest is None else _merge([covered, rest.top(count)], count)

    def _scan_rest(self) -> exact.ScoredRows | None:
        """The rows that the index does not cover, read once; None: it covers all."""
        spans = uncovered_spans(self._index.segments, len(self._rows))
        if spans and self._scanned is None:
            found = []
            for first, stop in spans:
                dead = self._dead[(self._dead >= first) & (self._dead < stop)] - first
                allowed = None if self._allowed is None else self._allowed[first:stop]
                span = exact.scan(self._rows[first:stop], self._queries, dead, allowed, self._kept(first))
                found.append(exact.ScoredRows(span.rows + first, span.scores))
            self._scanned = exact.ScoredRows(
                np.concatenate([each.rows for each in found]), np.concatenate([each.scores for each in found])
            )
        return self._scanned


def search_index(
    index: Index, rows: np.ndarray, queries: np.ndarray, top: int, params: SearchParams, usable: RowSelector
) -> Ranked:
    """Finds the best of the rows that the index covers. If too few of the rows in the lists read may appear,
    twice as many lists are read, until `top` are found or none is left."""
    nprobe = min(index.lists, lists_wanted(params.nprobe, index.lists, usable, top))
    while True:
        near = index.candidates(queries, nprobe, candidates_wanted(params.refine_factor, top), usable.bits)
        numbers = _sort_candidates(near)
        numbers = numbers[: np.searchsorted(numbers, len(rows))]  # of a stranger's index
        if len(numbers) >= top or nprobe == index.lists:
            break
        nprobe = min(index.lists, 2 * nprobe)
    return rescore(rows, numbers, queries, top)


def rescore(rows: np.ndarray, numbers: np.ndarray, queries: np.ndarray, top: int) -> Ranked:
    """Scores these rows (in ascending order) exactly, and returns the best."""
    return exact.ScoredRows(numbers, exact.score_rows(rows, numbers, queries)).top(top)


def _sort_candidates(near: np.ndarray) -> np.ndarray:
    """Candidates of all queries (k, count), none twice, without the -1 of those that were not found."""
    if len(near) > 1:
        near = np.unique(near)
    else:
        near = near[0]
        near.sort()
    return near if near[0] >= 0 else near[np.searchsorted(near, 0) :]


def lists_wanted(nprobe: int, lists: int, usable: RowSelector, top: int) -> int:
    """Returns how many lists to read. Where a share of the rows may appear, the ten best of them are the ten
    / share best of all. For four times the hits, 1.4 times the lists were enough at 40 and 160 hits of
    100,000 rows, and less than needed at 640: twice is on the safe side."""
    sparse = min(1 / math.sqrt(max(usable.share, 1e-9)), MAX_WIDENING)
    deep = math.sqrt(max(top, TUNED_TOP) / TUNED_TOP)
    return math.ceil(max(nprobe * sparse * deep, MIN_ROWS_MET_PER_HIT * top * lists / max(1, usable.count)))


def candidates_wanted(refine_factor: int, top: int) -> int:
    """Returns how many rows to score exactly. The deeper a hit is in the ranking, the smaller the share of
    its rank by which errors of its code push it down."""
    if top <= TUNED_TOP:
        return refine_factor * TUNED_TOP
    return max(2 * top, math.ceil(refine_factor * math.sqrt(TUNED_TOP * top)))


def _merge(found: list[Ranked], top: int) -> Ranked:
    rows = np.concatenate([each.rows for each in found])
    scores = np.concatenate([each.scores for each in found])
    order = np.lexsort((rows, -scores))[:top]
    return Ranked(rows[order], scores[order])
