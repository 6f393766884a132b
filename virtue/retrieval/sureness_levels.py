"""How sure a hit is to be an answer, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from virtue.store.calibration import ScoreDistribution

Sureness = Literal["likely", "possible", "unsure"]
LEVELS: tuple[Sureness, ...] = get_args(Sureness)
"""The surest first."""
LIKELY, POSSIBLE = 90.0, 50.0
"""Percentiles from which on hits are called so: `virtue evaluate sureness` tells what that is
worth. What is less is called unsure, and is what `min_score="auto"` drops."""


def name_sureness(percentile: float | None) -> Sureness | None:
    """Names how sure a hit of this percentile is; None: the library was not measured."""
    if percentile is None:
        return None
    if percentile >= LIKELY:
        return "likely"
    return "possible" if percentile >= POSSIBLE else "unsure"


def is_possible(percentile: float | None) -> bool:
    return percentile is not None and percentile >= POSSIBLE


def least_possible_score(calibration: ScoreDistribution, vectors: int) -> float:
    """Returns the score from which on hits of a query of so many vectors are not unsure."""
    return calibration.quantile(POSSIBLE / 100, vectors)
