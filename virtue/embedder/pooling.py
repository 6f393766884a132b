"""Which cells of a picture's feature maps a prompt means, as weights that sum to 1.

Everything is laid out on the finer map (stride 16); weights on the coarser one (stride 32) are sums of
2 x 2 of them, so one matrix of weights serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from virtue.geometry import Box, Point, Prompt

MIN_WINDOW_WEIGHT = 1e-6
"""Weight that a window keeps far from its point: with a box elsewhere, the box decides."""
MIN_LIKENESS = 0.02
"""Weight of a cell unlike the clicked one: a negative point on the same cell cannot empty the window."""


def box_weights(boxes: Sequence[Box], width: float, height: float, grid: tuple[int, int]) -> np.ndarray:
    """Computes the share of each box that lies in each cell: (len(boxes), rows x columns) float32, rows sum
    to 1.

    Boxes are in pixels of a picture `width` x `height`; `grid` is (rows, columns).
    """
    corners = np.array([box.corners for box in boxes], np.float64)
    x = _overlap_lengths(corners[:, 0], corners[:, 2], grid[1], width)
    y = _overlap_lengths(corners[:, 1], corners[:, 3], grid[0], height)
    return _normalize_sums((y[:, :, None] * x[:, None, :]).reshape(len(boxes), -1))


def prompt_weights(
    prompt: Prompt, width: float, height: float, cells: np.ndarray, opacity: np.ndarray | None = None
) -> np.ndarray:
    """Computes the weights of one prompt: (rows x columns,) float32. The weights of its parts are multiplied.

    `cells` (rows / 2, columns / 2, channels) is the coarser map, whose cells are compared with the
    clicked ones. How a point becomes a region this way is approximate: it knows likeness, not outlines.
    `opacity` (rows x columns,) is the share of each cell that can be seen; None: all.
    """
    grid = 2 * cells.shape[0], 2 * cells.shape[1]
    weights = np.ones(grid[0] * grid[1])
    if prompt.box is not None:
        weights = box_weights([prompt.box], width, height, grid)[0].astype(np.float64)
    if prompt.mask is not None:
        weights = weights * cover(prompt.mask, grid)
    if opacity is not None:
        weights = weights * (opacity if prompt.mask is None else opacity > 0)
    if prompt.points:
        weights = weights * _point_window(prompt.points, width, height, cells)
    if weights.sum() <= 0:  # a box and a mask that do not meet
        weights = cover(prompt.mask, grid) if prompt.mask is not None else np.ones(grid[0] * grid[1])
    return _normalize_sums(weights[None])[0]


def coarsen(weights: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Turns weights (k, rows x columns) on the finer grid into (k, rows x columns / 4) on the coarser."""
    blocks = weights.reshape(len(weights), grid[0] // 2, 2, grid[1] // 2, 2)
    return blocks.sum(axis=(2, 4)).reshape(len(weights), -1)


def _overlap_lengths(start: np.ndarray, end: np.ndarray, count: int, length: float) -> np.ndarray:
    """Length that [start, end) shares with each of `count` equal cells of [0, length)."""
    edges = np.arange(count + 1) * (length / count)
    shared = np.minimum(end[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
    return np.clip(shared, 0, None)


def _normalize_sums(weights: np.ndarray) -> np.ndarray:
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def keep_opaque(weights: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Weighs the cells of regions (k, cells) by how much of each can be seen, `opacity` (cells,). A region of
    which nothing can be seen stays as it is."""
    seen = weights * opacity
    return _normalize_sums(np.where(seen.sum(axis=1, keepdims=True) > 0, seen, weights))


def cover(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Computes the share of each cell that the mask covers, by area: (rows x columns,)."""
    from PIL import Image

    covered = Image.fromarray(mask.astype(np.float32)).resize(grid[::-1], Image.Resampling.BOX)
    return np.asarray(covered, np.float64).ravel().clip(0)


def _point_window(points: Sequence[Point], width: float, height: float, cells: np.ndarray) -> np.ndarray:
    """Gaussian windows (sigma: a tenth of the short side) around the positive points, each weighted by
    likeness to its clicked cell minus the greatest likeness to a negative point's."""
    likeness = _CellLikeness(cells, width, height)
    negative = [likeness.to(point) for point in points if not point.positive]
    unwanted = np.max(negative, axis=0).clip(0) if negative else 0.0
    positive = [point for point in points if point.positive]
    if not positive:
        return np.maximum(1 - unwanted, MIN_LIKENESS)
    grid = 2 * cells.shape[0], 2 * cells.shape[1]
    window = np.zeros(grid[0] * grid[1])
    for point in positive:
        alike = np.maximum(likeness.to(point) - unwanted, MIN_LIKENESS)
        window += alike * _gaussian(point, width, height, grid)
    return window


def _gaussian(point: Point, width: float, height: float, grid: tuple[int, int]) -> np.ndarray:
    sigma = min(width, height) / 10
    x = (np.arange(grid[1]) + 0.5) * (width / grid[1]) - point.x
    y = (np.arange(grid[0]) + 0.5) * (height / grid[0]) - point.y
    # On a picture that is narrower than a few cells no cell's centre may be near the point.
    sigma = max(sigma, width / grid[1] / 2, height / grid[0] / 2)
    window = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return np.maximum(window, MIN_WINDOW_WEIGHT).ravel()


class _CellLikeness:
    """Cosine of cells around the picture's mean cell, spread to the finer grid."""

    def __init__(self, cells: np.ndarray, width: float, height: float) -> None:
        rows, columns, channels = cells.shape
        flat = cells.reshape(-1, channels)
        around = flat - flat.mean(axis=0)
        self._unit = around / np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-6)
        self._shape = rows, columns
        self._size = width, height

    def to(self, point: Point) -> np.ndarray:
        rows, columns = self._shape
        row = min(int(point.y / self._size[1] * rows), rows - 1)
        column = min(int(point.x / self._size[0] * columns), columns - 1)
        alike = (self._unit @ self._unit[row * columns + column]).reshape(rows, columns)
        return alike.repeat(2, axis=0).repeat(2, axis=1).ravel()
