"""What figures are made of: hits among ranked candidates, ties included, and how far a mean may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Numbers: TypeAlias = "Sequence[float] | np.ndarray"

RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100
CONFIDENCE = 0.95


def hits_at(scores: np.ndarray, truth: np.ndarray, k: int = 1) -> np.ndarray:
    """Computes whether a true candidate is among the first k of each query.

    Candidates that tie with the best true one come in any order, and each order counts alike: of two that are
    both best, one of them true, the query counts half. So a model that scores all alike gets what guessing
    gets.

    Args:
        scores: (queries, candidates); -inf where a query has fewer.
        truth: (queries, candidates) bool; at least one of each query.

    Returns:
        (queries,) float64, 0 to 1.
    """
    best = np.where(truth, scores, -np.inf).max(axis=1, keepdims=True)
    above = (scores > best).sum(axis=1)
    tied = (scores == best).sum(axis=1)
    right = ((scores == best) & truth).sum(axis=1)
    places = np.clip(k - above, 0, tied)
    # All places for ties go to wrong ones: a product of shares, as in drawing without putting back.
    missed = np.ones(len(scores))
    for drawn in range(int(places.max(initial=0))):
        left = tied - drawn
        draws = (drawn < places) & (left > 0)
        missed[draws] *= np.maximum(1 - right[draws] / left[draws], 0)
    return 1 - missed


def resampled_means(
    values: Sequence[float] | np.ndarray, groups: Sequence[object], seed: int = 0
) -> np.ndarray:
    """Computes means of `RESAMPLES` bootstrap samples, (RESAMPLES,). What belongs to one group, such as the
    queries on one picture, is drawn together, since it is right or wrong together."""
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(members, np.asarray(values, np.float64)), np.bincount(members)
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, RESAMPLES, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, RESAMPLES - start)
        weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size)
        means.append((weights @ sums) / (weights @ counts))
    return np.concatenate(means)


def interval(means: np.ndarray) -> tuple[float, float]:
    """Returns the middle `CONFIDENCE` of resampled means."""
    rest = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (rest, 1 - rest))
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A mean over queries, and its 95 % bootstrap interval.

    Attributes:
        means: of the bootstrap samples, (RESAMPLES,).
        queries: how many.
    """

    value: float
    means: np.ndarray
    queries: int

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray, groups: Sequence[object] | None = None) -> Measured:
        """Measures the mean of one value or more.

        Args:
            groups: what each value belongs to, such as its picture; None: each stands for itself.
        """
        grouped = range(len(values)) if groups is None else groups
        return cls(float(np.mean(values)), resampled_means(values, grouped), len(values))

    @classmethod
    def mean_of(cls, parts: Sequence[Measured]) -> Measured:
        """Returns the mean of several, each with the same weight, as tables over several sets give it."""
        return cls(
            float(np.mean([part.value for part in parts])),
            np.mean([part.means for part in parts], axis=0),
            sum(part.queries for part in parts),
        )

    @property
    def low(self) -> float:
        return interval(self.means)[0]

    @property
    def high(self) -> float:
        return interval(self.means)[1]

    def as_json(self, name: str = "value") -> dict[str, float]:
        low, high = interval(self.means)
        return {
            name: round(self.value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "queries": self.queries,
        }
