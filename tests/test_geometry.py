import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtue import Box, Point, Prompt
from virtue.errors import PromptError
from virtue.geometry import compute_ious, suppress_non_maxima

sides = st.integers(2, 5000)
fractions = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.floats(0, 4000)), draw(st.floats(0, 4000))
    return Box.from_xywh(x, y, draw(st.floats(0.5, 1000)), draw(st.floats(0.5, 1000)))


@given(boxes())
def test_a_box_survives_being_written_as_xywh(box: Box) -> None:
    again = Box.parse(",".join(repr(value) for value in box.xywh))
    assert again.corners == pytest.approx(box.corners)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_one_only_for_equal_boxes(a: Box, b: Box) -> None:
    assert a.iou(a) == pytest.approx(1)
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert 0 <= a.iou(b) <= 1 + 1e-9


def test_iou_of_boxes_that_share_a_third() -> None:
    assert Box(0, 0, 2, 1).iou(Box(1, 0, 3, 1)) == pytest.approx(1 / 3)


@given(st.lists(boxes(), min_size=1, max_size=5), st.lists(boxes(), min_size=1, max_size=5))
def test_ious_of_many_boxes_are_those_of_each_pair(some: list[Box], others: list[Box]) -> None:
    corners, other_corners = (np.array([box.corners for box in group]) for group in (some, others))
    expected = np.array([[box.iou(other) for other in others] for box in some])
    np.testing.assert_allclose(compute_ious(corners, other_corners), expected, atol=1e-9)


def test_of_two_boxes_in_one_place_the_better_stays() -> None:
    corners = np.array([[0, 0, 0.5, 0.5], [0.01, 0, 0.5, 0.5], [0.6, 0.6, 1, 1], [0.6, 0.6, 1, 0.98]])
    overlaps = compute_ious(corners, corners) > 0.7
    assert suppress_non_maxima(4, overlaps.__getitem__) == [0, 2]
    assert suppress_non_maxima(4, overlaps.__getitem__, limit=1) == [0]
    assert suppress_non_maxima(0, overlaps.__getitem__) == []
    # What is suppressed suppresses nothing itself.
    chain = np.eye(3, k=1, dtype=bool)
    assert suppress_non_maxima(3, chain.__getitem__) == [0, 2]


@given(sides, sides)
def test_a_relative_box_covers_the_same_part_of_every_picture(width: int, height: int) -> None:
    box = Box.relative(0.25, 0.5, 0.75, 1).within(width, height)
    assert box.corners == pytest.approx((width / 4, height / 2, width * 3 / 4, height))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1 2 3 4", "nan,0,1,1", "0,0,inf,1"])
def test_what_is_not_four_numbers_is_not_a_box(text: str) -> None:
    with pytest.raises(PromptError, match="number"):
        Box.parse(text)


@pytest.mark.parametrize("text", ["5,5,0,10", "5,5,10,0", "5,5,-1,10"])
def test_a_box_of_no_size_is_an_error(text: str) -> None:
    with pytest.raises(PromptError, match="no size"):
        Box.parse(text)


@given(sides, sides, st.sampled_from([(-1, 0), (0, -1), (1, 0), (0, 1)]))
def test_a_box_that_leaves_the_picture_is_an_error_that_names_its_size(
    width: int, height: int, shift: tuple[int, int]
) -> None:
    whole = Box(0, 0, width, height)
    assert whole.within(width, height) == whole
    moved = Box(shift[0], shift[1], width + shift[0], height + shift[1])
    with pytest.raises(PromptError, match=f"{width} x {height}"):
        moved.within(width, height)


def test_rounding_at_the_edge_is_forgiven_and_clipped() -> None:
    assert Box(-1e-6, 0, 100.0000001, 50).within(100, 50) == Box(0, 0, 100, 50)


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (100, 0), (0, 50), (math.nan, 0)])
def test_a_point_outside_is_an_error(x: float, y: float) -> None:
    with pytest.raises(PromptError, match="outside"):
        Point(x, y).within(100, 50)


def test_prompts_that_mean_nothing_are_errors() -> None:
    with pytest.raises(PromptError, match="only negative"):
        Prompt(points=(Point(1, 1, positive=False),)).within(10, 10)
    with pytest.raises(PromptError, match="must agree"):
        Prompt(mask=np.ones((5, 6), bool)).within(5, 6)
    with pytest.raises(PromptError, match="empty"):
        Prompt(mask=np.zeros((5, 6), bool)).within(6, 5)


def test_the_outline_of_a_mask_is_the_box_around_it() -> None:
    mask = np.zeros((50, 80), bool)
    mask[10:20, 30:45] = True
    assert Prompt(mask=mask).outline(80, 50) == Box(30, 10, 45, 20)
