"""Metrics, beside scikit-learn's and beside all orders of what is tied."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from virtue.evaluation.boxes import overlap
from virtue.evaluation.measures import Measured, hits_at
from virtue.geometry import Box


def test_hits_without_ties_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(500, 10)), rng.integers(0, 10, 500)
    truth = np.eye(10, dtype=bool)[labels]
    for k in (1, 3, 5, 9):
        wanted = top_k_accuracy_score(labels, scores, k=k, labels=range(10))
        assert hits_at(scores, truth, k).mean() == pytest.approx(wanted)


def test_ties_count_as_scikit_learn_averages_them() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (500, 10)).astype(float)
    truth = np.eye(10, dtype=bool)[rng.integers(0, 10, 500)]
    wanted = [ndcg_score([row], [values], k=1) for row, values in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(hits_at(scores, truth), wanted)
    assert hits_at(np.zeros((7, 10)), truth[:7]).mean() == pytest.approx(0.1)


def test_several_true_candidates_count_as_all_orders_of_ties_do() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        scores, truth = rng.integers(0, 3, 5).astype(float), rng.random(5) < 0.5
        truth[rng.integers(5)] = True
        for k in (1, 2, 4, 9):
            found = []
            for order in itertools.permutations(range(5)):
                ranked = sorted(order, key=lambda place: -scores[place])
                found.append(truth[ranked[:k]].any())
            assert hits_at(scores[None], truth[None], k)[0] == pytest.approx(np.mean(found))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=6).filter(
        lambda row: any(true for _, true in row)
    )
)
def test_first_hits_of_any_tied_row_are_those_of_scikit_learn(row: list[tuple[int, bool]]) -> None:
    scores, truth = (np.array([column]) for column in zip(*row, strict=True))
    ties = scores == scores.max()
    # ndcg@1 averages over ties, and of relevances 0 and 1 with a true one its ideal is 1.
    assert hits_at(scores, truth)[0] == pytest.approx(ndcg_score(truth, scores.astype(float), k=1))
    assert hits_at(scores, truth)[0] == pytest.approx((ties & truth).sum() / ties.sum())
    assert hits_at(scores, truth, len(row))[0] == 1


@given(*[st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(1, 60), st.floats(1, 60))] * 2)
def test_overlaps_of_boxes_are_those_of_coco(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    wanted = coco_mask.iou(np.array([one]), np.array([other]), [0])[0, 0]
    assert overlap(one, other) == pytest.approx(wanted, abs=1e-9)
    assert Box.from_xywh(*one).iou(Box.from_xywh(*other)) == pytest.approx(wanted, abs=1e-9)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        measured = Measured.of((rng.random(60) < 0.3).astype(float))
        covered += measured.low <= 0.3 <= measured.high
    assert covered >= 86


def test_what_is_right_together_makes_the_interval_wider() -> None:
    values = np.repeat([1.0, 0.0] * 10, 8)
    apart, together = Measured.of(values), Measured.of(values, np.repeat(range(20), 8))
    assert apart.value == together.value == 0.5
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert Measured.of(values).as_json("p") == apart.as_json("p")
    mean = Measured.mean_of([apart, Measured.of([1.0] * 5)])
    assert (mean.value, mean.queries) == (0.75, 165)
    assert mean.high - mean.low == pytest.approx((apart.high - apart.low) / 2)
