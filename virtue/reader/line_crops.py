"""Tilted lines of a picture -> upright strips of one height, as recognition reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from virtue.reader.text_areas import Area

HEIGHT = 48
"""Pixels of a line's height where it is read."""
STEP = 8
"""Pixels of which a strip's width is a multiple: recognition looks at so many at once."""
MAX_RATIO = 64
"""Times its height that a line may be long; longer ones are squeezed."""


def strip_width(area: Area) -> int:
    return math.ceil(min(area.length / area.height, MAX_RATIO) * HEIGHT / STEP) * STEP


def crop_areas(image: Image.Image, areas: Sequence[Area]) -> list[np.ndarray]:
    """Returns a strip (48, w, 3) uint8 of each area. Letters that stand on each other are laid side by
    side."""
    halves = [image]
    return [
        np.concatenate([_crop(halves, part) for part in area.letters or (area,)], axis=1) for area in areas
    ]


def _crop(halves: list[Image.Image], area: Area) -> np.ndarray:
    """Crops one area from the picture, or its half, quarter ..., whichever is nearest in size, since sampling
    does not blur what it shrinks. `halves` grows as they are needed."""
    level = max(0, round(math.log2(area.height / HEIGHT)))
    while len(halves) <= level and min(halves[-1].size) > 1:
        halves.append(halves[-1].reduce(2))
    level = min(level, len(halves) - 1)
    width = strip_width(area)
    corner, right, _, down = area.corners / 2**level
    (ax, ay), (bx, by) = (right - corner) / width, (down - corner) / HEIGHT
    strip = halves[level].transform(
        (width, HEIGHT),
        Image.Transform.AFFINE,
        (ax, bx, corner[0], ay, by, corner[1]),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(strip)
