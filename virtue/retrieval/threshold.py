"""Where the hits that fit end: the threshold of `min_score="auto"`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from virtue.store.calibration import ScoreDistribution

LOOKED_AT = 10
"""Hits among which the gap is looked for, however many are wanted."""
UNUSUAL = 0.99
"""A hit scores higher than this share of what the library scores for such queries, or it goes."""
KEPT, DROPPED = 0.97, 0.8
"""The gap is looked for between these shares of the best score, counted from the median of the library:
what is as good as the best stays, what is much worse goes. `benchmarks/min_score.py` compares this with
other rules."""


def find_threshold(scores: Sequence[float], calibration: ScoreDistribution) -> float:
    """Returns the score from which on hits are kept: below the widest gap in their scores.

    Args:
        scores: of the best `LOOKED_AT` hits, best first.
        calibration: the scores of all rows for such queries.
    """
    least = calibration.quantile(UNUSUAL)
    if not scores or scores[0] < least:
        return least
    middle = calibration.quantile(0.5)
    best = scores[0] - middle
    certain, possible = middle + KEPT * best, middle + DROPPED * best
    gaps = [
        (upper - lower, upper) for upper, lower in pairwise(scores) if lower <= certain and upper >= possible
    ]
    return max(least, max(gaps)[1] if gaps else possible)
