import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtue.embedder.pooling import box_weights, coarsen, prompt_weights
from virtue.geometry import Box, Point, Prompt

sizes = st.integers(1, 4000)
grids = st.tuples(st.integers(1, 16), st.integers(1, 16)).map(lambda halves: (2 * halves[0], 2 * halves[1]))


@st.composite
def pictures_with_boxes(draw):
    width, height = draw(sizes), draw(sizes)
    x0, y0 = draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))
    x1, y1 = draw(st.floats(x0 + 0.001, 1)), draw(st.floats(y0 + 0.001, 1))
    return width, height, Box(x0 * width, y0 * height, x1 * width, y1 * height)


@given(pictures_with_boxes(), grids)
def test_a_box_weighs_what_it_covers(drawn, grid):
    width, height, box = drawn
    weights = box_weights([box], width, height, grid)[0].reshape(grid)
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    rows = (np.arange(grid[0]) + 0.5) * height / grid[0]
    columns = (np.arange(grid[1]) + 0.5) * width / grid[1]
    far = (np.abs(rows - (box.y0 + box.y1) / 2) > (box.y1 - box.y0) / 2 + height / grid[0])[:, None] | (
        np.abs(columns - (box.x0 + box.x1) / 2) > (box.x1 - box.x0) / 2 + width / grid[1]
    )[None, :]
    assert not weights[far].any()


def test_a_cell_counts_by_the_share_that_is_covered():
    weights = box_weights([Box(5, 0, 30, 10)], 40, 20, (2, 4))[0].reshape(2, 4)
    np.testing.assert_allclose(weights, [[0.2, 0.4, 0.4, 0], [0, 0, 0, 0]], atol=1e-6)


@given(pictures_with_boxes(), grids)
def test_the_coarser_map_sees_the_same_box(drawn, grid):
    width, height, box = drawn
    fine = box_weights([box], width, height, grid)
    direct = box_weights([box], width, height, (grid[0] // 2, grid[1] // 2))
    np.testing.assert_allclose(coarsen(fine, grid), direct, atol=1e-4)


@given(st.integers(0, 30), st.integers(0, 20), st.integers(1, 34), st.integers(1, 28))
def test_a_mask_of_a_box_weighs_as_the_box(left, top, w, h):
    width, height = 64, 48
    mask = np.zeros((height, width), bool)
    mask[top : top + h, left : left + w] = True
    cells = np.ones((3, 4, 8), np.float32)
    box = Box(left, top, left + w, top + h)
    expected = box_weights([box], width, height, (6, 8))[0]
    np.testing.assert_allclose(prompt_weights(Prompt(mask=mask), width, height, cells), expected, atol=1e-4)


def halves() -> np.ndarray:
    """Cells of a picture whose left half looks one way and whose right half another."""
    cells = np.zeros((6, 8, 4), np.float32)
    cells[:, :4, 0] = 1
    cells[:, 4:, 1] = 1
    return cells


def test_a_point_prefers_what_looks_like_it():
    weights = prompt_weights(Prompt(points=(Point(390, 300),)), 800, 600, halves()).reshape(12, 16)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert weights[:, :8].sum() > 0.95
    top = np.unravel_index(weights.argmax(), weights.shape)
    assert top[1] == 7


def test_a_negative_point_takes_away_what_looks_like_it():
    both = (Point(390, 300), Point(410, 300))
    without = (Point(390, 300), Point(410, 300), Point(700, 100, False))
    shared = prompt_weights(Prompt(points=both), 800, 600, halves()).reshape(12, 16)
    taken = prompt_weights(Prompt(points=without), 800, 600, halves()).reshape(12, 16)
    assert shared[:, 8:].sum() == pytest.approx(0.5, abs=0.05)
    assert taken[:, 8:].sum() < 0.1


def test_a_box_bounds_its_points():
    prompt = Prompt(Box(0, 0, 200, 600), (Point(150, 300),))
    weights = prompt_weights(prompt, 800, 600, halves()).reshape(12, 16)
    assert weights[:, 4:].sum() == 0
    assert weights[5:7, 2:4].sum() > weights[0:2, 2:4].sum()


def test_a_point_outside_its_box_leaves_the_box():
    prompt = Prompt(Box(0, 0, 100, 100), (Point(790, 590),))
    weights = prompt_weights(prompt, 800, 600, halves()).reshape(12, 16)
    assert weights[:2, :2].sum() == pytest.approx(1, abs=1e-5)


@given(st.integers(1, 20), st.integers(1, 5000))
def test_a_point_on_an_extreme_picture_still_weighs(width, height):
    cells = np.random.default_rng(0).random((16, 1, 8)).astype(np.float32)
    weights = prompt_weights(Prompt(points=(Point(width / 2, height / 2),)), width, height, cells)
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert (weights >= 0).all()
