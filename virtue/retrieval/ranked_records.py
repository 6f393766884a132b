"""A ranking of rows as records: regions or captions with their scores, best first."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from virtue.store import CaptionRecord, Ranking, RegionRecord

ROWS_PER_HIT, WIDENING = 4, 4
"""Rows looked at for each hit at first (a photo has many regions that look alike, of which one is taken), and
by how much more when too few hits came out of them."""

Record = TypeVar("Record", RegionRecord, CaptionRecord)


class Scored(NamedTuple, Generic[Record]):
    score: float
    record: Record


class RankedRecords(Generic[Record]):
    """The records of one ranking. However often and however deep it is looked into, rows are scored once and
    records read once.

    Args:
        join: rows -> their records; rows of photos that are gone have none.
    """

    def __init__(self, ranking: Ranking, join: Callable[[Sequence[int]], Sequence[Record]]) -> None:
        self._ranking = ranking
        self._join: Callable[[Sequence[int]], Sequence[Record]] = join
        self._records: dict[int, Record | None] = {}

    def best(self, key: Callable[[Record], Hashable], top: int, min_score: float) -> list[Scored[Record]]:
        """Returns the best record of each key (None: not wanted), best first: `top` of them if there are so
        many that score at least `min_score`."""
        depth = ROWS_PER_HIT * top
        while True:
            ranked = self._ranking.top(depth)
            # Rows are kept in half precision, which may round a perfect match up.
            scores = np.minimum(ranked.scores, 1).tolist()
            above = int(np.count_nonzero(ranked.scores.astype(float) >= min_score))
            rows = ranked.rows[:above].tolist()
            self._read(rows)
            best: dict[Hashable, Scored[Record]] = {}
            for row, score in zip(rows, scores, strict=False):
                record = self._records[row]
                if record is not None:
                    best.setdefault(key(record), Scored(score, record))
            best.pop(None, None)
            if len(best) >= top or above < depth:
                return list(best.values())[:top]
            depth *= WIDENING

    def join(self, rows: Sequence[int]) -> list[Record]:
        """Returns the records of rows, in their order."""
        self._read([*rows])
        return [record for row in rows if (record := self._records[row]) is not None]

    def _read(self, rows: list[int]) -> None:
        unread = [row for row in rows if row not in self._records]
        if unread:
            self._records |= dict.fromkeys(unread)
            self._records |= {record.row: record for record in self._join(unread)}
