"""Exact search: every row against every query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virtue.store.records import Ranked
from virtue.store.vectors.row_files import BLOCK

MAX_SCANNED_FLOATS = 100_000_000
"""Floats (rows x dimensions) up to which reading all rows is quick enough, and no index is made."""
MAX_CACHED_FLOATS = 32_000_000
"""Floats (4 bytes each) that a process keeps decoded."""
MAX_DECODED_ROWS = 1_024
"""Rows that are decoded and scored at a time: few enough to stay in the processor's cache, enough that
threads seldom hand each other the interpreter's lock (with 128, four threads take twice as long)."""
MAX_GATHERED_ROWS = 2_000
"""Up to so many allowed rows, only they are read."""
MAX_SORTED_VALUES = 256
"""Up to so many values, sorting all takes less than looking for the highest first."""


class DecodedRows:
    """The rows of one file as float32 blocks, kept from the second scan on: decoding costs several
    times the multiplication, but a process that searches once has no use for what it kept. Rows
    never change, so a block is good as long as it is as long as it was."""

    def __init__(self) -> None:
        self._scans = 0
        self._blocks: dict[int, np.ndarray] = {}

    def start(self) -> None:
        self._scans += 1

    def block(self, rows: np.ndarray, first: int) -> np.ndarray | None:
        """Returns rows `first` to `first + BLOCK` of fp16 `rows` as float32; None: they are not kept."""
        number = first // BLOCK
        part = rows[first : first + BLOCK]
        kept = self._blocks.get(number)
        if kept is not None and len(kept) >= len(part):
            return kept[: len(part)]
        if self._scans > 1 and (first + len(part)) * rows.shape[1] <= MAX_CACHED_FLOATS:
            self._blocks[number] = decode(part)
            return self._blocks[number]
        return None


def decode(rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Converts fp16 (n, d) to float32, finite values only; `out` (n, d) float32 takes the result.

    NumPy converts one value at a time. The bits of a half, moved to where a float has them, are
    that half times 2 ** -112; this way takes half the time.
    """
    values = np.empty(rows.shape, np.float32) if out is None else out
    for first in range(0, len(rows), MAX_DECODED_ROWS):
        part = values[first : first + MAX_DECODED_ROWS]
        bits = part.view(np.int32)
        bits[...] = rows[first : first + MAX_DECODED_ROWS].view(np.int16)
        bits <<= 13
        bits &= np.int32(-0x70000001)
        part *= np.float32(2.0**112)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """Rows with all their scores: the `Ranking` of an exact search.

    Attributes:
        rows: (n,) int64, ascending.
        scores: (n,) float32.
    """

    rows: np.ndarray
    scores: np.ndarray

    def top(self, count: int) -> Ranked:
        order = highest(self.scores, count)
        return Ranked(self.rows[order], self.scores[order])


NOTHING = ScoredRows(np.empty(0, np.int64), np.empty(0, np.float32))
"""The ranking where there are no rows."""


def scan(
    rows: np.ndarray,
    queries: np.ndarray,
    dead: np.ndarray,
    allowed: np.ndarray | None,
    kept: DecodedRows,
) -> ScoredRows:
    """Scores fp16 rows (n, d) for float32 queries (k, d): a row's score is the highest of its k dot
    products.

    Args:
        dead: row numbers that never appear.
        allowed: (n,) bool, True for rows that may appear; None: all.
    """
    usable = np.ones(len(rows), bool) if allowed is None else allowed.copy()
    usable[dead] = False
    numbers = np.flatnonzero(usable)
    if allowed is not None and len(numbers) <= MAX_GATHERED_ROWS:
        return ScoredRows(numbers, score_rows(rows, numbers, queries))
    columns = used_columns(queries)
    queries = np.ascontiguousarray(queries[:, columns])
    kept.start()
    found = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), BLOCK):
        block, part = kept.block(rows, first), slice(first, first + BLOCK)
        if block is None:
            found[part] = decoded_scores(rows[part, columns], queries)
        else:
            found[part] = scores(block[:, columns], queries)
    return ScoredRows(numbers, found[numbers])


def score_rows(rows: np.ndarray, numbers: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns (len(numbers),) float32: the very scores that a scan gives these rows."""
    columns = used_columns(queries)
    queries = np.ascontiguousarray(queries[:, columns])
    found = np.empty(len(numbers), np.float32)
    for first in range(0, len(numbers), BLOCK):
        some = numbers[first : first + BLOCK]
        found[first : first + BLOCK] = decoded_scores(rows[some, columns], queries)
    return found


def decoded_scores(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Computes what `scores` does, of fp16 rows (n, d)."""
    found = np.empty(len(rows), np.float32)
    values = np.empty((min(len(rows), MAX_DECODED_ROWS), rows.shape[1]), np.float32)
    for first in range(0, len(rows), MAX_DECODED_ROWS):
        some = rows[first : first + MAX_DECODED_ROWS]
        found[first : first + MAX_DECODED_ROWS] = scores(decode(some, values[: len(some)]), queries)
    return found


def used_columns(queries: np.ndarray) -> slice:
    """Returns the columns in which the queries are not all zero; those of a text are zero for looks."""
    if queries[0, 0] and queries[0, -1]:
        return slice(0, queries.shape[1])
    used = np.flatnonzero(queries.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)


def scores(block: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Computes the highest dot product of each row, row by row: equal rows have equal scores wherever they
    lie, and no pool of threads is woken, which on a busy machine takes ten times the work."""
    if len(queries) == 1:
        alone: np.ndarray = np.vecdot(block, queries[0])
        return alone
    products: np.ndarray = np.vecdot(block[:, None], queries)
    return products.max(axis=1)


def highest(values: np.ndarray, top: int) -> np.ndarray:
    """Returns the indices of the highest values, best first; of equal ones the lower index first."""
    top = min(top, len(values))
    if top <= 0:
        return np.empty(0, np.int64)
    if len(values) <= MAX_SORTED_VALUES:
        return np.argsort(-values, kind="stable")[:top]
    limit = np.partition(values, len(values) - top)[len(values) - top]
    able = np.flatnonzero(values >= limit)
    return able[np.argsort(-values[able], kind="stable")[:top]]
