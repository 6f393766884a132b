"""How a model wants pictures resized, so that it is done where they are decoded, beside the model's work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

TINY_CELLS = 2
"""A picture with a side shorter than a cell becomes a square of so many, as in VIRTUE's published code."""

SCALE_STEP = 1e-5
MIN_SCALE, MAX_SCALE = SCALE_STEP / 10, 100.0
"""How far NaFlex's pictures are shrunk or enlarged, and to what that is known."""


class Resizing(Protocol):
    """A rule for the size at which a model sees a picture. Two rules that are equal make equal bytes."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Computes the size (width, height) at which a picture of this size is seen."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Resizes (h, w, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True)
class WholeCells:
    """Qwen2-VL's rule, by Pillow's bicubic filter: sides are multiples of `cell`, near the aspect ratio, and
    the area in pixels is within bounds."""

    cell: int
    min_pixels: int
    max_pixels: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        cell = self.cell
        if min(width, height) < cell:
            width = height = TINY_CELLS * cell
        columns, rows = round(width / cell), round(height / cell)
        if columns * rows * cell * cell > self.max_pixels:
            shrink = math.sqrt(width * height / self.max_pixels)
            columns, rows = (max(1, math.floor(side / shrink / cell)) for side in (width, height))
        elif columns * rows * cell * cell < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (width * height))
            columns, rows = (math.ceil(side * grow / cell) for side in (width, height))
        return columns * cell, rows * cell

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        size = self.size(pixels.shape[1], pixels.shape[0])
        if min(pixels.shape[:2]) < self.cell:
            pixels = _resize(pixels, (TINY_CELLS * self.cell,) * 2, Image.Resampling.BICUBIC)
        return _resize(pixels, size, Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True)
class SquashedFirst:
    """The published evaluation's rule: a square of `side` pixels, whatever the aspect ratio, which is then
    resized as any picture is."""

    side: int
    then: WholeCells

    def size(self, width: int, height: int) -> tuple[int, int]:
        return self.then.size(self.side, self.side)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.then(_resize(pixels, (self.side, self.side), Image.Resampling.BICUBIC))


@dataclass(frozen=True, slots=True)
class FixedSize:
    """One size for every picture, whatever its aspect ratio. `filter` is the number of Pillow's."""

    width: int
    height: int
    filter: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        return self.width, self.height

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return _resize(pixels, (self.width, self.height), self.filter)


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The rule of SigLIP 2's NaFlex: as many whole patches of `patch` pixels as there may be, near the aspect
    ratio. `filter` is the number of Pillow's.

    The largest scale that fits is found by halving an interval, as transformers finds it: sizes near a bound
    hang on where that stops.
    """

    patch: int
    max_patches: int
    filter: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        low, high = MIN_SCALE, MAX_SCALE
        while high - low >= SCALE_STEP:
            middle = (low + high) / 2
            columns, rows = self._cells(middle, width), self._cells(middle, height)
            low, high = (middle, high) if columns * rows <= self.max_patches else (low, middle)
        return self._cells(low, width) * self.patch, self._cells(low, height) * self.patch

    def _cells(self, scale: float, side: int) -> int:
        return max(1, math.ceil(side * scale / self.patch))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return _resize(pixels, self.size(pixels.shape[1], pixels.shape[0]), self.filter)


def _resize(pixels: np.ndarray, size: tuple[int, int], resample: int) -> np.ndarray:
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling(resample)))
