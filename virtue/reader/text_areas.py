"""Where text is: a map of how probable text is -> tilted boxes, one around each line.

The network marks the core of each line, so that neighbours do not touch (Liao et al. 2020, arXiv
1911.08947). What is connected is one line. Its second moments say how it is tilted, and a margin that depends
on its shape gives back what the core lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TEXT = 0.3
"""Probability from which on a pixel belongs to a line."""
MIN_MEAN = 0.5
"""Mean probability that a line must have."""
MIN_HEIGHT = 2
"""Pixels that the core of a line must have across."""
MARGIN = 1.6
"""The margin around a core, as a multiple of its area by its perimeter."""
MIN_ELONGATION = 2
"""How many times longer than high a core must be before its tilt means anything."""
MAX_LETTER = 1.6
"""Times its height that a letter may be wide, with its margin."""
MIN_STACK = 3
"""Letters on each other that are a line."""
MAX_SKEW = 0.2
"""Share of its height by which the ends of a line may lie higher or lower before it counts as tilted."""


@dataclass(frozen=True, slots=True)
class Area:
    """A tilted box: its centre, its length along the line and its height across, in pixels, and the angle of
    the line to the x axis in radians, -pi/2 to pi/2, y pointing down. `letters` are those of a line whose
    letters stand on each other, the highest first."""

    x: float
    y: float
    length: float
    height: float
    angle: float
    letters: tuple[Area, ...] = ()

    def stretched(self, sx: float, sy: float) -> Area:
        """Returns the same part of a picture that has so many times the columns and rows."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return Area(
            self.x * sx,
            self.y * sy,
            self.length * math.hypot(cos * sx, sin * sy),
            self.height * math.hypot(sin * sx, cos * sy),
            math.atan2(sin * sy, cos * sx),
            tuple(letter.stretched(sx, sy) for letter in self.letters),
        )

    @property
    def corners(self) -> np.ndarray:
        """(4, 2) x and y: from the beginning of the line's upper edge, clockwise."""
        along = np.array([np.cos(self.angle), np.sin(self.angle)]) * self.length / 2
        across = np.array([-np.sin(self.angle), np.cos(self.angle)]) * self.height / 2
        half = np.stack([-along - across, along - across, along + across, across - along])
        corners: np.ndarray = half + np.array([self.x, self.y])
        return corners

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the upright box around it."""
        (x0, y0), (x1, y1) = self.corners.min(axis=0).tolist(), self.corners.max(axis=0).tolist()
        return x0, y0, x1, y1


def find_areas(probabilities: np.ndarray, limit: int) -> list[Area]:
    """Returns the lines of a map (h, w) float32, at most `limit`, those that are the largest."""
    rows, starts, ends = _runs(probabilities > TEXT)
    if not len(rows):
        return []
    labels = _connect(rows, starts, ends)
    count = int(labels.max()) + 1
    width = probabilities.shape[1]
    sums = np.concatenate([[0], np.cumsum(probabilities, dtype=float)])
    length = (ends - starts).astype(float)
    area = np.bincount(labels, length, count)
    mean = np.bincount(labels, sums[rows * width + ends] - sums[rows * width + starts], count) / area
    kept = np.flatnonzero(mean >= MIN_MEAN)
    kept = kept[np.argsort(-area[kept], kind="stable")][:limit]
    angles = _tilts(rows, starts, ends, labels, count)
    u0, u1, v0, v1 = _extents(rows, starts, ends, labels, angles)
    areas = []
    for label in kept.tolist():
        core_length, core_height = float(u1[label] - u0[label]), float(v1[label] - v0[label])
        if core_height < MIN_HEIGHT or core_length < MIN_HEIGHT:
            continue
        margin = MARGIN * core_length * core_height / (core_length + core_height)
        u, v, angle = (u0[label] + u1[label]) / 2, (v0[label] + v1[label]) / 2, float(angles[label])
        x, y = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
        areas.append(
            Area(float(x), float(y), float(core_length + margin), float(core_height + margin), angle)
        )
    return stack_letters(areas)


def stack_letters(areas: Sequence[Area]) -> list[Area]:
    """Joins letters that stand on each other, as on the sign of a hotel; all else stays as it is."""
    letters = sorted((area for area in areas if _is_letter(area)), key=lambda area: area.y)
    stacks: list[list[Area]] = []
    for letter in letters:
        for stack in stacks:
            if _stands_below(letter, stack[-1]):
                stack.append(letter)
                break
        else:
            stacks.append([letter])
    stacks = [stack for stack in stacks if len(stack) >= MIN_STACK]
    stacked = {id(letter) for stack in stacks for letter in stack}
    return [*(area for area in areas if id(area) not in stacked), *map(_join, stacks)]


def _is_letter(area: Area) -> bool:
    return area.angle == 0 and area.length < MAX_LETTER * area.height


def _stands_below(letter: Area, upper: Area) -> bool:
    size = max(upper.height, letter.height)
    return (
        abs(letter.x - upper.x) < size / 3
        and size / 2 < letter.y - upper.y < 2 * size
        and 2 * min(upper.height, letter.height) > size
    )


def _join(stack: Sequence[Area]) -> Area:
    bounds = np.array([letter.bounds for letter in stack])
    (x0, y0), (x1, y1) = bounds[:, :2].min(axis=0).tolist(), bounds[:, 2:].max(axis=0).tolist()
    return Area((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0, tuple(stack))


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows, first and past-the-last columns of all runs of True, row by row."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _connect(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns for each run the number of its connected component (pixels touch at corners too), from 0."""
    stride = int(ends.max()) + 2
    below = (rows + 1) * stride
    first = np.searchsorted(rows * stride + ends, below + starts, "left")
    past = np.searchsorted(rows * stride + starts, below + ends, "right")
    counts = np.maximum(past - first, 0)
    upper = np.repeat(np.arange(len(rows)), counts)
    lower = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
    roots = np.arange(len(rows))
    while True:
        one, other = roots[upper], roots[lower]
        apart = one != other
        if not apart.any():
            return np.unique(roots, return_inverse=True)[1]
        one, other = one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while (roots != (higher := roots[roots])).any():
            roots = higher


def _tilts(
    rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Returns the angle of the main axis of each component, by its second moments; 0 where it has none."""
    length = (ends - starts).astype(float)
    xs = length * (starts + ends - 1) / 2
    squares = [end * (end - 1) * (2 * end - 1) / 6 for end in (ends.astype(float), starts.astype(float))]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(labels, values, count)

    area = total(length)
    x, y = total(xs) / area, total(length * rows) / area
    xx = total(squares[0] - squares[1]) / area - x * x + 1 / 12
    yy = total(length * rows * rows) / area - y * y + 1 / 12
    xy = total(xs * rows) / area - x * y
    angles = np.arctan2(2 * xy, xx - yy) / 2
    spread = np.hypot(2 * xy, xx - yy)
    long, short = (xx + yy + spread) / 2, np.maximum((xx + yy - spread) / 2, 1 / 12)
    upright = np.where(np.abs(angles) > np.pi / 4, np.copysign(np.pi / 2, angles), 0)
    skew = np.abs(np.sin(angles - upright)) * np.sqrt(long / short)
    angles = np.where(skew < MAX_SKEW, upright, angles)
    result: np.ndarray = np.where(long < MIN_ELONGATION**2 * short, 0, angles)
    return result


def _extents(
    rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, labels: np.ndarray, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns how far each component reaches along its axis (from, to) and across it (from, to)."""
    cos, sin = np.cos(angles)[labels], np.sin(angles)[labels]
    count = len(angles)
    u0, v0 = np.full((2, count), np.inf)
    u1, v1 = np.full((2, count), -np.inf)
    for x in (starts, ends):
        for y in (rows, rows + 1):
            u, v = x * cos + y * sin, y * cos - x * sin
            np.minimum.at(u0, labels, u)
            np.maximum.at(u1, labels, u)
            np.minimum.at(v0, labels, v)
            np.maximum.at(v1, labels, v)
    return u0, u1, v0, v1
