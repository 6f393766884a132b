"""How far a search must go in an index, measured on the library's own vectors.

Recall is the share of the ten best rows that a search finds. A search looks for candidates by their codes
and scores them exactly, so it finds a row if that is among the candidates: one pass for each `nprobe` is
enough to know the recall of every number of candidates. What a query costs is then timed for the settings
that reach the recall, in turn, as a library is searched: one query at a time, on one processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from virtue.store.ann import index_search
from virtue.store.ann.ivf import Index
from virtue.store.ann.segments import uncovered_spans
from virtue.store.records import Kind, SearchParams, TuningResult
from virtue.store.vectors.exact import decode

TARGET_RECALL = 0.95
TOP = index_search.TUNED_TOP
MAX_QUERIES = 500
"""Queries of each kind."""
MIN_QUERIES = 50
"""Queries from which on a measurement says something."""
MAX_EXACT_PRODUCTS = 2e12
"""Multiplications that an exact search of all queries may take; larger libraries are measured with fewer
queries."""
NPROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
REFINE_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MAX_TRIED_PAST_TARGET = 3
"""Values of `nprobe` tried past the first that reaches the recall: longer reading needs fewer candidates,
which may be cheaper in all."""
TIMED_QUERIES, TIMING_ROUNDS = 40, 5
"""Queries that settings are timed with, and how often."""
BLOCK_ROWS = 65_536

OwnRows = Sequence[np.ndarray]
"""For each query the rows that do not count: those of its own photo, which would be found too easily."""


def sample_size(rows: int, dim: int, wanted: int = MAX_QUERIES) -> int:
    return max(MIN_QUERIES, min(wanted, int(MAX_EXACT_PRODUCTS / max(1, rows * dim))))


def true_best(rows: np.ndarray, queries: np.ndarray, dead: np.ndarray, own: OwnRows) -> np.ndarray:
    """Finds the ten best rows (n, 10) int64 of each query (n, dim) float32, -1 where there are fewer, in one
    scan."""
    scores = np.full((len(queries), TOP), -np.inf, np.float32)
    found = np.full((len(queries), TOP), -1, np.int64)
    for first in range(0, len(rows), BLOCK_ROWS):
        part = decode(rows[first : first + BLOCK_ROWS])
        products = queries @ part.T
        products[:, dead[(dead >= first) & (dead < first + len(part))] - first] = -np.inf
        for number, mine in enumerate(own):
            products[number, mine[(mine >= first) & (mine < first + len(part))] - first] = -np.inf
        count = min(TOP, len(part))
        best = np.argpartition(-products, count - 1, axis=1)[:, :count]
        scores = np.concatenate([scores, np.take_along_axis(products, best, axis=1)], axis=1)
        found = np.concatenate([found, best + first], axis=1)
        best = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
        scores, found = np.take_along_axis(scores, best, axis=1), np.take_along_axis(found, best, axis=1)
    return np.where(np.isfinite(scores), found, -1)


def measure(
    index: Index,
    rows: np.ndarray,
    dead: np.ndarray,
    queries: np.ndarray,
    own: OwnRows,
    target: float = TARGET_RECALL,
    tick: Callable[[], None] = lambda: None,
) -> tuple[tuple[SearchParams, ...], SearchParams]:
    """Measures for each nprobe the smallest refine factor that reaches the recall, or the largest there is,
    and its cost; returns also the parameters to use.

    That is the cheapest whose recall is above the target by its standard error; if none is, the one of
    highest recall.

    Args:
        queries: (n, dim) float32.
        own: for each query, rows that do not count.
        tick: called again and again; what it raises ends the work.
    """
    truth = true_best(rows, queries, dead, own)
    usable = index_search.RowSelector.of(len(rows), dead, None)
    tried: list[tuple[SearchParams, bool]] = []
    for nprobe in _nprobes(index.lists):
        tick()
        ranks = _rank_true_rows(index, nprobe, usable, queries, truth, own, len(rows))
        tried.append(_least_factor(nprobe, ranks, truth >= 0, target))
        if sum(reached for _, reached in tried) > MAX_TRIED_PAST_TARGET:
            break
    points = _time(index, rows, usable, queries, [params for params, _ in tried], tick)
    able = [point for point, (_, reached) in zip(points, tried, strict=True) if reached]
    if able:
        chosen = min(able, key=lambda params: params.microseconds or 0)
    else:
        chosen = max(points, key=lambda params: params.recall or 0)
    return tuple(points), chosen


def guess_for_texts(kind: Kind, images: SearchParams, lists: int) -> TuningResult:
    """Guesses the parameters for texts, where there are none to measure with, from those of images and
    experience with synthetic data."""
    params = SearchParams(min(lists, 2 * images.nprobe), 4 * images.refine_factor)
    return TuningResult(kind, "text", 0, (params,), params)


def _nprobes(lists: int) -> Iterable[int]:
    yield from (nprobe for nprobe in NPROBES if nprobe < lists)
    yield lists


def _rank_true_rows(
    index: Index,
    nprobe: int,
    usable: index_search.RowSelector,
    queries: np.ndarray,
    truth: np.ndarray,
    own: OwnRows,
    rows: int,
) -> np.ndarray:
    """Finds the rank of each true row (n, 10) among the candidates, from 0; infinity: it is not among
    them."""
    most = max(REFINE_FACTORS) * TOP + max((len(mine) for mine in own), default=0)
    near = index.candidates(queries, nprobe, min(most, rows), usable.bits)
    ranks = np.full(truth.shape, np.inf)
    for number, mine in enumerate(own):
        line = near[number]
        line = line[(line >= 0) & ~np.isin(line, mine)]
        places = {row: place for place, row in enumerate(line.tolist())}
        ranks[number] = [places.get(row, np.inf) for row in truth[number].tolist()]
    for first, stop in uncovered_spans(index.segments, rows):  # scanned one by one, so they are always found
        ranks[(truth >= first) & (truth < stop)] = 0
    return ranks


def _least_factor(
    nprobe: int, ranks: np.ndarray, there: np.ndarray, target: float
) -> tuple[SearchParams, bool]:
    """Finds the smallest refine factor that reaches the target, and whether one does."""
    counts = np.maximum(1, there.sum(axis=1))
    params = SearchParams(nprobe, 1, 0.0)
    for refine_factor in REFINE_FACTORS:
        recalls = (there & (ranks < refine_factor * TOP)).sum(axis=1) / counts
        recall = float(recalls.mean())
        error = float(recalls.std()) / len(recalls) ** 0.5
        if recall > (params.recall or 0):
            params = SearchParams(nprobe, refine_factor, recall)
        if recall - error >= target:
            return params, True
    return params, False


def _time(
    index: Index,
    rows: np.ndarray,
    usable: index_search.RowSelector,
    queries: np.ndarray,
    search_params: Sequence[SearchParams],
    tick: Callable[[], None],
) -> list[SearchParams]:
    """Times a query with each setting, in microseconds on one core: the median over queries of the fastest
    round. The settings take turns. Other programs make a query slower, never quicker."""
    some = queries[:TIMED_QUERIES]
    taken = np.empty((len(search_params), TIMING_ROUNDS, len(some)))
    for turn in range(TIMING_ROUNDS):
        for number, params in enumerate(search_params):
            tick()
            for place in range(len(some)):
                began = time.thread_time_ns()
                index_search.search_index(index, rows, some[place : place + 1], TOP, params, usable)
                taken[number, turn, place] = time.thread_time_ns() - began
    medians = np.median(taken.min(axis=1), axis=1) / 1000
    return [replace(p, microseconds=float(t)) for p, t in zip(search_params, medians, strict=True)]
