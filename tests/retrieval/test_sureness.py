"""How sure a hit is, in words, and what `min_score="auto"` drops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtue.embedder import Embedder
from virtue.retrieval.calibration_queries import common_nouns
from virtue.retrieval.sureness_levels import LEVELS, least_possible_score, name_sureness
from virtue.store.calibration import QUANTILE_LEVELS, ScoreDistribution

BEST = ScoreDistribution((QUANTILE_LEVELS / 2).astype(np.float32))
"""Best hits of sample queries score 0 to 0.5, evenly."""


@pytest.mark.parametrize(
    ("percentile", "expected"),
    [
        (None, None), (0, "unsure"), (49.9, "unsure"), (50, "possible"), (89.9, "possible"), (90, "likely"),
        (100, "likely"),
    ],
)  # fmt: skip
def test_sureness_goes_by_the_percentile(percentile: float | None, expected: str | None) -> None:
    assert name_sureness(percentile) == expected
    assert expected is None or expected in LEVELS


@given(st.floats(0, 0.6), st.integers(1, 4))
def test_auto_drops_what_is_unsure(score: float, vectors: int) -> None:
    least = least_possible_score(BEST, vectors)
    if abs(score - least) > 1e-6:
        is_unsure = name_sureness(100 * BEST.share_below(score, vectors)) == "unsure"
        assert is_unsure == (score < least)


def test_the_nouns_are_some_hundred_different_names_of_things() -> None:
    nouns = common_nouns()
    assert 200 <= len(nouns) <= 500
    assert len(set(nouns)) == len(nouns)
    assert nouns == sorted(nouns, key=str.lower)
    assert all(noun == noun.strip() and noun.isascii() and len(noun) > 2 for noun in nouns)


def test_a_word_that_mini_knows_has_a_higher_baseline() -> None:
    """A zebra is one of its classes, and a birthday is none."""
    embedder = Embedder.from_pretrained("mini")
    texts = embedder.queries(["zebra", "my sister's birthday", "xyzzy"])
    zebra, birthday, nothing = embedder.text_baselines(np.concatenate(texts)).tolist()
    assert zebra > birthday + 0.1
    assert zebra > nothing + 0.1
    # A region of the class itself, and of nothing else, scores above the baseline.
    assert 0 < zebra < 1 / np.sqrt(2)
