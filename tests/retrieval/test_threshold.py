"""Where the hits that fit end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virtue.retrieval.threshold import find_threshold
from virtue.store.calibration import QUANTILE_LEVELS, ScoreDistribution

USUAL = ScoreDistribution((np.clip(QUANTILE_LEVELS, 0.5, 1) - 0.5).astype(np.float32) * 0.4)
"""Half of all scores are 0, and one in a hundred is above 0.196."""


def kept(*scores: float) -> list[float]:
    floor = find_threshold(scores, USUAL)
    return [score for score in scores if score >= floor]


def test_it_cuts_at_the_widest_gap_behind_the_good_ones() -> None:
    assert kept(0.8, 0.78, 0.77, 0.66, 0.62, 0.3, 0.29) == [0.8, 0.78, 0.77]
    assert kept(0.8, 0.7, 0.3, 0.29) == [0.8, 0.7]


def test_what_is_as_good_as_the_best_stays_whatever_the_gap() -> None:
    assert kept(0.8, 0.79, 0.785, 0.78) == [0.8, 0.79, 0.785, 0.78]
    assert kept(0.8, 0.77, 0.765, 0.76) == [0.8]


def test_what_is_much_worse_goes_whatever_the_gap() -> None:
    assert kept(0.8, 0.3, 0.01) == [0.8]


def test_what_such_queries_usually_score_goes() -> None:
    assert kept(0.19, 0.18) == []
    assert kept(0.21, 0.2, 0.19) == [0.21, 0.2]
    assert kept() == []


@given(st.lists(st.floats(-1, 1), max_size=20).map(lambda scores: sorted(scores, reverse=True)))
def test_the_best_stays_if_it_is_unusual_and_never_one_that_scores_less(scores: list[float]) -> None:
    left = kept(*scores)
    assert left == scores[: len(left)]
    assert bool(left) == (bool(scores) and scores[0] >= USUAL.quantile(0.99))
