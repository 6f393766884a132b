"""A region as a picture of its own: cut out, or with a red circle around it. So models see a region that know
nothing of prompts; the paper's baselines (VIRTUE, arXiv 2510.00523, table of SCaR)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from virtue.geometry import Box
from virtue.pictures import Picture

RED = (255, 0, 0)


def crop_to_box(picture: Picture, box: Box) -> Picture:
    """Crops a picture to the box (pixels of the original), at least one pixel."""
    height, width = picture.pixels.shape[:2]
    x0, y0, x1, y1 = box.scaled(width / picture.width, height / picture.height).corners
    left, top = min(round(x0), width - 1), min(round(y0), height - 1)
    right, bottom = max(round(x1), left + 1), max(round(y1), top + 1)
    pixels = np.ascontiguousarray(picture.pixels[top:bottom, left:right])
    return Picture(pixels, pixels.shape[1], pixels.shape[0])


def draw_circle(picture: Picture, box: Box) -> Picture:
    """Draws a red ellipse around the box (Shtedritski et al., arXiv 2304.06712), through its corners."""
    height, width = picture.pixels.shape[:2]
    x0, y0, x1, y1 = box.scaled(width / picture.width, height / picture.height).corners
    wider, higher = (x1 - x0) * (2**0.5 - 1) / 2, (y1 - y0) * (2**0.5 - 1) / 2
    image = Image.fromarray(picture.pixels)
    line = max(1, round(max(width, height) / 100))
    ImageDraw.Draw(image).ellipse((x0 - wider, y0 - higher, x1 + wider, y1 + higher), outline=RED, width=line)
    return Picture(np.asarray(image), picture.width, picture.height)
