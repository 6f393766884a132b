"""What of a photo is shown: all of it, or a small region of it with its surroundings; and its copies."""

from __future__ import annotations

import numpy as np

from virtue.geometry import Box
from virtue.pictures import Picture, load

SMALL = 0.04
"""Share of its photo below which a region is shown with its surroundings alone."""
MAX_LENGTH = 2.5
"""Long side to short side of a photo, beyond which that is done too."""
SURROUNDINGS = 3
"""Sides of such a view to the longer side of the region."""


def choose_view(box: Box, width: int, height: int) -> Box:
    """Returns what to show of a photo of this size, of which `box` is the region that matters."""
    is_long = max(width, height) > MAX_LENGTH * min(width, height)
    if not is_long and box.area >= SMALL * width * height:
        return Box(0, 0, width, height)
    x, y, w, h = box.xywh
    side = SURROUNDINGS * max(w, h)
    shown_w, shown_h = min(width, side), min(height, side)
    x0 = min(max(x + w / 2 - shown_w / 2, 0), width - shown_w)
    y0 = min(max(y + h / 2 - shown_h / 2, 0), height - shown_h)
    return Box(x0, y0, x0 + shown_w, y0 + shown_h)


def load_view(path: str, view: Box, width: int, height: int, side: int) -> Picture:
    """Loads what is to be shown of a photo, with `side` pixels on its long side where the photo has them.

    Raises:
        PictureError: it cannot be read.
    """
    _, _, w, h = view.xywh
    picture = load(path, side=round(side * max(width, height) / max(w, h)))
    if (w, h) == (width, height):
        return picture
    rows, columns = picture.pixels.shape[:2]
    x0, y0, x1, y1 = map(round, view.scaled(columns / width, rows / height).corners)
    pixels = np.ascontiguousarray(picture.pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])
    return Picture(pixels, pixels.shape[1], pixels.shape[0])
