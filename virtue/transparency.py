"""Cut-outs: pictures of which a part is transparent, and only the rest is meant."""

from __future__ import annotations

import numpy as np

OPAQUE = 250
"""Alpha from which on a pixel is as good as opaque."""
RECTANGLE_CELLS = 48
"""Cells on the long side of the grid in which the largest opaque rectangle is looked for."""


def fill_transparent(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Fills what is transparent with colours that go over from those at the edge, the more blurred the
    farther from it, so that nothing there looks like an edge or a thing.

    Each level of a pyramid of halved pictures fills the holes of the one above it ("pull-push", Gortler et
    al. 1996, The Lumigraph).

    Args:
        pixels: (h, w, 3) uint8; any colour where it is transparent.
        alpha: (h, w) uint8, somewhere more than 0.

    Returns:
        (h, w, 3) uint8.
    """
    weight = np.asarray(alpha, np.float32)[..., None] / 255
    return _fill(pixels * weight, weight).round().clip(0, 255).astype(np.uint8)


def _fill(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fills a level: `colour` (h, w, 3) is multiplied by `weight` (h, w, 1)."""
    from PIL import Image

    height, width = weight.shape[:2]
    if (weight > 0.999).all():
        return colour
    if height == width == 1:
        return colour / weight
    half = -(-height // 2), -(-width // 2)
    halved = _halve(np.concatenate([colour, weight], axis=2), half)
    # What was seen at all counts in full one level above: else a narrow thing would fade.
    share = np.minimum(2 * halved[..., 3:], 1)
    ground = _fill(halved[..., :3] / np.maximum(halved[..., 3:], 1e-9) * share, share)
    bands = [
        Image.fromarray(band).resize((width, height), Image.Resampling.BILINEAR)
        for band in np.ascontiguousarray(ground.astype(np.float32).transpose(2, 0, 1))
    ]
    return colour + (1 - weight) * np.stack([np.asarray(band) for band in bands], axis=2)


def _halve(values: np.ndarray, half: tuple[int, int]) -> np.ndarray:
    padding = [(0, 2 * size - old) for size, old in zip(half, values.shape, strict=False)]
    even = np.pad(values, [*padding, (0, 0)], mode="edge")
    return even.reshape(half[0], 2, half[1], 2, -1).mean(axis=(1, 3))


def find_opaque_rectangle(alpha: np.ndarray) -> tuple[int, int, int, int]:
    """Finds the largest rectangle without a transparent pixel, to the nearest cell of a coarse grid.

    Args:
        alpha: (h, w) uint8.

    Returns:
        x0, y0, x1, y1 in pixels, half-open; empty if there is none.
    """
    height, width = alpha.shape
    cell = max(1, -(-max(height, width) // RECTANGLE_CELLS))
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.pad(alpha, ((0, rows * cell - height), (0, columns * cell - width)), mode="edge")
    cells = (padded >= OPAQUE).reshape(rows, cell, columns, cell)
    opaque: np.ndarray = np.all(cells, axis=(1, 3))
    best = (0, 0, 0, 0)
    largest = 0
    for top in range(rows):
        free = np.ones(columns, bool)
        for bottom in range(top + 1, rows + 1):
            free &= opaque[bottom - 1]
            edges = np.flatnonzero(np.diff(np.concatenate([[0], free, [0]])))
            if not len(edges):
                break
            lengths = edges[1::2] - edges[::2]
            longest = int(lengths.argmax())
            area = int(lengths[longest]) * (bottom - top)
            if area > largest:
                largest = area
                best = int(edges[2 * longest]), top, int(edges[2 * longest + 1]), bottom
    x0, y0, x1, y1 = (value * cell for value in best)
    return x0, y0, min(x1, width), min(y1, height)
