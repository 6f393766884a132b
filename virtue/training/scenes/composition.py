"""Composes a picture of cut-outs on a ground, with the exact mask of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from virtue.training.scenes.cutout_folder import Cutout

HALF = 128
"""Alpha from which on a pixel belongs to an object."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cut-out lies in a picture, and how it looks there.

    Attributes:
        cutout: what lies there.
        centre: x, y of its middle, in pixels.
        scale: its size in the picture, as a share of its own.
        angle: degrees by which it is turned, clockwise.
        mirrored: whether left and right are exchanged, before it is turned.
        gains: factors of red, green and blue.
        blur: standard deviation of a Gaussian, in pixels of the picture.
    """

    cutout: Cutout
    centre: tuple[float, float]
    scale: float
    angle: float
    mirrored: bool
    gains: tuple[float, float, float]
    blur: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box around its turned rectangle, in pixels of the picture."""
        return turned_size(self.cutout.size, self.scale, self.angle)

    def source_matrix(self, share: float) -> tuple[float, float, float, float]:
        """Computes the 2 x 2 matrix, row by row, that leads from offsets from the middle in the picture to
        offsets from the middle of the cut-out at a `share` of its size."""
        cos, sin = (turn(math.radians(self.angle)) / self.scale * share for turn in (math.cos, math.sin))
        side = -1 if self.mirrored else 1
        return side * cos, side * sin, -sin, cos


@dataclass(frozen=True, slots=True)
class Light:
    """The light of a picture: a factor that grows or falls evenly from one side to another.

    Attributes:
        middle: the factor in the middle of the picture.
        slope: by how much it grows over the whole width, and over the whole height.
    """

    middle: float
    slope: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A cut-out as it lies in the picture.

    Attributes:
        rows, columns: which part of the picture it takes.
        pixels: (h, w, 4) uint8 of that part, colours multiplied by alpha.
        whole: (height, width) bool, its mask if nothing lies over it.
    """

    rows: slice
    columns: slice
    pixels: np.ndarray
    whole: np.ndarray


def turned_size(size: tuple[int, int], scale: float, angle: float) -> tuple[float, float]:
    """Computes the width and height of the box around a scaled and turned rectangle."""
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    w, h = size[0] * scale, size[1] * scale
    return w * cos + h * sin, w * sin + h * cos


def lay(placement: Placement, size: int) -> Layer:
    """Warps a cut-out to its place in a picture of `size` x `size` pixels."""
    levels = placement.cutout.levels
    level = levels[min(max(int(-math.log2(placement.scale)), 0), len(levels) - 1)]
    share = level.width / placement.cutout.size[0], level.height / placement.cutout.size[1]
    reach = 1 + 3 * placement.blur
    (x, y), (w, h) = placement.centre, placement.size
    left, top = max(math.floor(x - w / 2 - reach), 0), max(math.floor(y - h / 2 - reach), 0)
    right, bottom = min(math.ceil(x + w / 2 + reach), size), min(math.ceil(y + h / 2 + reach), size)
    a, b, _, _ = placement.source_matrix(share[0])
    _, _, d, e = placement.source_matrix(share[1])
    c = level.width / 2 + a * (left - x) + b * (top - y)
    f = level.height / 2 + d * (left - x) + e * (top - y)
    image = level.transform(
        (right - left, bottom - top), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )
    if placement.blur:
        image = image.filter(ImageFilter.GaussianBlur(placement.blur))
    pixels = np.asarray(image)
    rows, columns = slice(top, bottom), slice(left, right)
    whole = np.zeros((size, size), bool)
    whole[rows, columns] = pixels[..., 3] >= HALF
    return Layer(rows, columns, pixels, whole)


def find_visible(layers: Sequence[Layer]) -> list[np.ndarray]:
    """Computes what can be seen of each layer, (height, width) bool. Later ones lie over earlier ones."""
    masks: list[np.ndarray] = []
    covered = np.zeros_like(layers[0].whole)
    for layer in reversed(layers):
        masks.append(layer.whole & ~covered)
        covered = covered | layer.whole
    return masks[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """What a picture is composed of.

    Attributes:
        ground: (size, size, 3) uint8.
        layers: what is laid over it, one after the other, each as its `placements` say.
    """

    ground: np.ndarray
    layers: Sequence[Layer]
    placements: Sequence[Placement]
    light: Light


def compose(composition: Composition) -> np.ndarray:
    """Lays layers over a ground, one after the other, and lights all of it: (size, size, 3) uint8."""
    light = composition.light
    picture = composition.ground.astype(np.float32)
    for layer, placement in zip(composition.layers, composition.placements, strict=True):
        part = picture[layer.rows, layer.columns]
        part *= 1 - layer.pixels[..., 3:] * np.float32(1 / 255)
        part += layer.pixels[..., :3] * np.array(placement.gains, np.float32)
    along = np.linspace(-0.5, 0.5, len(picture), dtype=np.float32)
    across = np.repeat(np.float32(light.middle) + np.float32(light.slope[0]) * along, 3)
    flat = picture.reshape(len(picture), -1)  # an inner axis of 3 would be slow
    flat *= across + (np.float32(light.slope[1]) * along)[:, None]
    np.minimum(flat, 255, out=flat)
    return picture.astype(np.uint8)
