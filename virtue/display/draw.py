"""Boxes, points and masks drawn on pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from virtue.geometry import Box, Point
from virtue.pictures import Picture, load, load_mask, shrink
from virtue.retrieval.query import Part

BRIGHT = (255, 214, 0)
DARK = (17, 17, 17)
YES = (46, 204, 113)
NO = (231, 76, 60)
WHITE = (255, 255, 255)
MASK_TINT = 0.45


def thumbnail(picture: Picture, side: int) -> Image.Image:
    """Returns the picture with at most `side` pixels on its long side."""
    return Image.fromarray(shrink(picture, side).pixels)


def part_thumbnail(part: Part, side: int) -> Image.Image:
    """Returns the image of a query with what was drawn on it.

    Raises:
        PictureError, PromptError: it cannot be read, or what was drawn does not fit it.
    """
    picture = load(part.image, side=side)
    image = Image.fromarray(picture.pixels)
    sx, sy = image.width / picture.width, image.height / picture.height
    if part.mask is not None:
        image = _tinted(image, load_mask(part.mask, picture.width, picture.height))
    if part.box is not None:
        draw_box(image, part.box.within(picture.width, picture.height).scaled(sx, sy))
    for point in part.points:
        _draw_point(image, Point(point.x * sx, point.y * sy, point.positive))
    return image


def draw_box(image: Image.Image, box: Box, width: int | None = None, *, edged: bool = True) -> None:
    """Draws a bright frame between two dark ones, which shows on any background; `edged=False`: the bright
    one alone, for pictures of few pixels. `box` is in pixels of `image`; the frame grows inwards, so that it
    shows for a box as large as the picture too."""
    width = width or max(2, round(max(image.size) / 160))
    edge = max(1, width // 2)
    pen = ImageDraw.Draw(image)
    x0, y0 = round(box.x0), round(box.y0)
    x1, y1 = max(round(box.x1) - 1, x0), max(round(box.y1) - 1, y0)
    for colour, thickness in ((DARK, edge), (BRIGHT, width), (DARK, edge)):
        if (colour is BRIGHT or edged) and x0 <= x1 and y0 <= y1:
            pen.rectangle((x0, y0, x1, y1), outline=colour, width=thickness)
            x0, y0, x1, y1 = x0 + thickness, y0 + thickness, x1 - thickness, y1 - thickness


def _draw_point(image: Image.Image, point: Point) -> None:
    reach = max(4, round(max(image.size) / 70))
    pen = ImageDraw.Draw(image)
    inner = YES if point.positive else NO
    for radius, colour in ((reach + 2, DARK), (reach, WHITE), (reach - 2, inner)):
        pen.ellipse((point.x - radius, point.y - radius, point.x + radius, point.y + radius), fill=colour)


def _tinted(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """Shows a mask: what is outside it fades to gray, what is inside keeps its colours under a tint."""
    chosen = Image.fromarray(mask.astype(np.uint8) * 255).resize(image.size, Image.Resampling.BOX)
    tinted = Image.blend(image, Image.new("RGB", image.size, BRIGHT), MASK_TINT / 3)
    faded = Image.blend(image.convert("L").convert("RGB"), Image.new("RGB", image.size, DARK), MASK_TINT)
    return Image.composite(tinted, faded, chosen)
