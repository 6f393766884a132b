"""Boxes, points and masks, and the frames they live in.

Everything here is in pixels of the upright original (EXIF orientation applied), origin top left,
x to the right, y down, floats, half-open: the box (0, 0, width, height) is the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtue.errors import PromptError

if TYPE_CHECKING:
    import numpy as np

EDGE = 1e-3
"""Pixels by which a box may overshoot the picture before it is an error: room for the rounding
that a box written as text, or computed from a resized copy, brings along."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box by its corners (x0, y0, x1, y1), x0 < x1 and y0 < y1.

    In pixels, or (`unit=True`, made by `Box.relative`) in fractions of the picture's sides.

    Raises:
        PromptError: a corner is not a finite number, or the box has no size.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    unit: bool = False

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise PromptError(f"box {self.corners} holds {value}: give four finite numbers")
            object.__setattr__(self, name, value)
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise PromptError(
                f"box x,y,w,h = {_numbers(self.xywh)} has no size: width and height must be above 0"
            )

    @classmethod
    def relative(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """Makes a box in fractions (0 to 1) of the picture's width and height."""
        return cls(x0, y0, x1, y1, unit=True)

    @classmethod
    def from_xywh(cls, x: float, y: float, w: float, h: float) -> Box:
        return cls(x, y, x + w, y + h)

    @classmethod
    def parse(cls, text: str) -> Box:
        """Reads `x,y,w,h`, the order of the command line and of JSON."""
        try:
            x, y, w, h = (float(part) for part in text.split(","))
        except ValueError:
            raise PromptError(
                f"{text!r} is not a box: give four numbers x,y,w,h in pixels, such as 40,30,160,150"
            ) from None
        return cls.from_xywh(x, y, w, h)

    @classmethod
    def of(cls, value: Box | Iterable[float]) -> Box:
        """Makes a box from a `Box` or any four numbers (x0, y0, x1, y1)."""
        if isinstance(value, Box):
            return value
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            x0, y0, x1, y1 = (float(part) for part in value)
        except (TypeError, ValueError):
            raise PromptError(f"{value!r} is not a box: give (x0, y0, x1, y1)") from None
        return cls(x0, y0, x1, y1)

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1, self.y1

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1 - self.x0, self.y1 - self.y0

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def within(self, width: float, height: float) -> Box:
        """Returns this box in pixels of a picture of that size.

        Raises:
            PromptError: it leaves the picture.
        """
        sx, sy = (width, height) if self.unit else (1.0, 1.0)
        x0, y0, x1, y1 = self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy
        if x0 < -EDGE or y0 < -EDGE or x1 > width + EDGE or y1 > height + EDGE:
            raise PromptError(
                f"box x,y,w,h = {_numbers((x0, y0, x1 - x0, y1 - y0))} leaves the picture, "
                f"which is {width:g} x {height:g} pixels (upright)"
            )
        return Box(max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height))

    def scaled(self, sx: float, sy: float) -> Box:
        return Box(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy, self.unit)

    def iou(self, other: Box) -> float:
        """Computes the intersection over union, 0 to 1."""
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(w, 0.0) * max(h, 0.0)
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True)
class Point:
    """A point (x, y) in pixels; `positive` says whether it lies on what is meant or on what is not."""

    x: float
    y: float
    positive: bool = True

    @classmethod
    def parse(cls, text: str, positive: bool = True) -> Point:
        """Reads `x,y`."""
        try:
            x, y = (float(part) for part in text.split(","))
        except ValueError:
            raise PromptError(
                f"{text!r} is not a point: give two numbers x,y in pixels, such as 120,80"
            ) from None
        return cls(x, y, positive)

    def within(self, width: float, height: float) -> Point:
        """Returns this point after a check that it lies within a picture of that size.

        Raises:
            PromptError: it lies outside the picture.
        """
        if not (0 <= self.x < width and 0 <= self.y < height):
            raise PromptError(
                f"point {_numbers((self.x, self.y))} lies outside the picture, "
                f"which is {width:g} x {height:g} pixels (upright)"
            )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a user draws on one picture: a box, points, a mask, or a box with points.

    `mask` is a boolean array (height, width) of the picture's upright size.
    """

    box: Box | None = None
    points: tuple[Point, ...] = ()
    mask: np.ndarray | None = None

    def __bool__(self) -> bool:
        return self.box is not None or bool(self.points) or self.mask is not None

    def within(self, width: int, height: int) -> Prompt:
        """Returns this prompt in pixels of a picture of that size, every part checked.

        Raises:
            PromptError: a part leaves the picture, a mask is of another size or empty, or all
                points are negative.
        """
        box = self.box.within(width, height) if self.box else None
        points = tuple(point.within(width, height) for point in self.points)
        if points and box is None and not any(point.positive for point in points):
            raise PromptError("only negative points were given: add a positive one, or a box")
        if self.mask is not None:
            if self.mask.shape != (height, width):
                rows, columns = self.mask.shape[:2]
                raise PromptError(
                    f"the mask is {columns} x {rows} pixels, the picture {width} x {height} "
                    "(upright): they must agree"
                )
            if not self.mask.any():
                raise PromptError("the mask is empty: paint what you mean in white")
        return Prompt(box, points, self.mask)

    def outline(self, width: int, height: int) -> Box:
        """Returns the box to draw for this prompt: the box itself, else around the mask, else the
        neighbourhood of the positive points, else the whole picture."""
        if self.box:
            return self.box
        if self.mask is not None:
            rows, columns = self.mask.nonzero()
            return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        xs = [point.x for point in self.points if point.positive]
        ys = [point.y for point in self.points if point.positive]
        if not xs:
            return Box(0, 0, width, height)
        reach = min(width, height) / 10
        return Box(
            max(min(xs) - reach, 0),
            max(min(ys) - reach, 0),
            min(max(xs) + reach, width),
            min(max(ys) + reach, height),
        )


def compute_ious(corners: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the intersections over unions (n, m) of all pairs of boxes, (n, 4) and (m, 4), each given as
    x0, y0, x1, y1."""
    import numpy as np

    low = np.maximum(corners[:, None, :2], others[None, :, :2])
    high = np.minimum(corners[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas, other_areas = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (corners, others))
    return shared / (areas[:, None] + other_areas[None, :] - shared)


def suppress_non_maxima(
    count: int, suppresses: Callable[[int], np.ndarray], limit: int | None = None
) -> list[int]:
    """Selects from `count` things in order, best first, those that no selected one before them suppresses.

    Args:
        suppresses: for a thing's number, which of all things it suppresses: (count,) bool.
        limit: how many are selected at most.

    Returns:
        The numbers of the selected, in order.
    """
    import numpy as np

    kept: list[int] = []
    left = np.ones(count, bool)
    while left.any() and (limit is None or len(kept) < limit):
        kept.append(int(left.argmax()))
        left &= ~suppresses(kept[-1])
        left[kept[-1]] = False
    return kept


def _numbers(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
