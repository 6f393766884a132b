"""Boxes worth a vector of their own: things that stand out of the feature map, and a multi-scale grid
that leaves no part of the picture without a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from virtue.embedder.feature_map import FeatureMap
from virtue.embedder.pooling import box_weights, coarsen
from virtue.geometry import Box, compute_ious, suppress_non_maxima

WINDOWS = ((0.22, 0.165), (0.45, 0.32))
"""(size, step) of the grid's windows, in fractions of the long side, small ones first."""
LEVELS = (0.5, 0.65, 0.8)
"""Fractions of the strongest saliency at which the map is cut into things."""
MAX_IOU = 0.6
"""Intersection over union from which on the less salient of two boxes goes, unless they look different."""
SAME_LOOK = 0.97
"""Cosine of two overlapping boxes' look from which on one stands for both, at `MIN_IOU`."""
MIN_IOU = 0.15
MAX_AREA_SHARE = 0.85
"""Share of the picture from which on a box is the whole photo again."""

Map = TypeVar("Map", bound=FeatureMap)


def propose(
    maps: Map, limit: int, look: Callable[[Map, np.ndarray], np.ndarray], first: Sequence[Box] = ()
) -> list[Box]:
    """Proposes at most `limit` boxes, best first, in pixels of the upright original.

    Args:
        look: gives the unit look vectors of weighted regions.
        first: boxes that are good for sure, the best first; all others must differ from them.
    """
    if limit <= len(first):
        return list(first[:limit])
    boxes, weights = find_candidates(maps, first)
    return choose(boxes, look(maps, weights), limit, len(first)) if boxes else []


def find_candidates(maps: FeatureMap, first: Sequence[Box] = ()) -> tuple[list[Box], np.ndarray]:
    """Finds boxes to choose from, the best first, and their weights (n, cells of the finer grid) float32."""
    saliency = _saliency(maps.last)
    things = _things(saliency, maps.width, maps.height)
    grid = grid_boxes(maps.width, maps.height)
    whole = maps.width * maps.height
    others = [box for box in things + grid if box.area < MAX_AREA_SHARE * whole]
    boxes = [*first, *others]
    if not boxes:
        return [], np.empty((0, maps.grid[0] * maps.grid[1]), np.float32)
    weights = box_weights(boxes, maps.width, maps.height, maps.grid)
    contrast = coarsen(weights, maps.grid) @ saliency.ravel()
    # Things first: their boxes fit; then the grid, by what it shows.
    evenly = frozenset(grid)
    rest = sorted(range(len(first), len(boxes)), key=lambda i: (boxes[i] in evenly, -contrast[i]))
    order = [*range(len(first)), *rest]
    return [boxes[i] for i in order], weights[order]


def choose(boxes: Sequence[Box], looks: np.ndarray, limit: int, kept: int = 0) -> list[Box]:
    """Chooses at most `limit` candidates, (n, dim) unit rows of whose looks are given: none overlaps an
    earlier one too much, but for the first `kept`, which stay."""
    corners = np.array([box.corners for box in boxes])
    overlap = compute_ious(corners, corners)
    stands_for = (overlap > MAX_IOU) | ((overlap > MIN_IOU) & (looks @ looks.T > SAME_LOOK))
    stands_for[:, :kept] = False
    return [boxes[i] for i in suppress_non_maxima(len(boxes), stands_for.__getitem__, limit)]


def grid_boxes(width: float, height: float) -> list[Box]:
    """Returns windows of every size in `WINDOWS`, evenly spread; a window longer than a side is as long as
    that side."""
    boxes = []
    for size, step in WINDOWS:
        w, h = min(size * max(width, height), width), min(size * max(width, height), height)
        for top in _spread_starts(height - h, step * max(width, height)):
            lefts = _spread_starts(width - w, step * max(width, height))
            boxes += [Box(left, top, left + w, top + h) for left in lefts]
    return boxes


def _spread_starts(room: float, step: float) -> list[float]:
    count = round(room / step) + 1
    return [room / 2] if count == 1 else [room * i / (count - 1) for i in range(count)]


def _saliency(cells: np.ndarray) -> np.ndarray:
    """Computes saliency (rows, columns): the distance of each cell from what the picture mostly shows, times
    its strength."""
    flat = cells.reshape(-1, cells.shape[2])
    strength = np.linalg.norm(flat, axis=1)
    directions = flat / np.maximum(strength, 1e-6)[:, None]
    mean = directions.mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-6)
    return ((1 - directions @ mean) * strength).reshape(cells.shape[:2])


def _things(saliency: np.ndarray, width: float, height: float) -> list[Box]:
    """Finds boxes around connected salient cells at several levels."""
    low, high = float(saliency.min()), float(saliency.max())
    if high - low < 1e-6:
        return []
    boxes = []
    cell_w, cell_h = width / saliency.shape[1], height / saliency.shape[0]
    for level in LEVELS:
        for rows, columns in _components(saliency >= low + level * (high - low)):
            boxes.append(
                Box(
                    min(columns) * cell_w,
                    min(rows) * cell_h,
                    (max(columns) + 1) * cell_w,
                    (max(rows) + 1) * cell_h,
                )
            )
    return boxes


def _components(cells: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """(rows, columns) of each set of true cells that touch by a side."""
    left = {(int(row), int(column)) for row, column in np.argwhere(cells)}
    found = []
    while left:
        edge = [left.pop()]
        members = []
        while edge:
            row, column = edge.pop()
            members.append((row, column))
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        found.append(([row for row, _ in members], [column for _, column in members]))
    return sorted(found)
