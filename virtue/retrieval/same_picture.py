"""Whether two files show the same picture: one a rescaled or recompressed copy of the other.

Perceptual hashes and embeddings cannot tell: receipts of one layout and shots of a burst agree in them. Here
pixels are compared, first of an overview and then at the full size of the smaller picture. What copying may
change is known: the frame, the brightness and the colours stay, as does the sharpness of edges, and every
small window changes about as much as the others of like contrast. One digit that differs is a window that
changes more.

Where the smaller one loses much of what the larger shows, as text of less than 6 pixels, nothing is told.
Some changes are no greater than those of a copy: a spot of 3 pixels, an edit of less than a level on the
whole, a blur of half a pixel, the grain of two shots from a tripod once JPEG has removed it or where it is
weaker than the texture. The bounds were measured with `benchmarks/same_picture.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from virtue.errors import PictureError
from virtue.pictures import Picture, Source, decode, load, open_image

OVERVIEW = 1024
"""Pixels on the long side of an overview, at most."""
TILE = 1600
"""Pixels on a side that are compared at once."""
MIN_SIDE = 200
"""Pixels on the short side under which text is no longer legible, so that nothing can be told."""
MAX_ASPECT = 16
"""How many times its short side the long side of a picture may be, so that an overview shows something."""
MAX_PIXELS = 50_000_000
"""Pixels of a picture that is compared at its full size: 600 MB for two of them."""
MAX_SHIFT, MAX_TILE_SHIFT = 0.3, 0.6
"""Pixels by which any part of a copy may be shifted, since resampling rounds: in an overview, and in a tile
of the full size, where soft parts leave it uncertain. A crop shifts more."""
WINDOW = 4
"""Pixels on each side of the windows that are compared; they overlap by half."""
BANDS = 24
"""Groups of windows of like contrast."""
QUANTILE = 0.97
"""Share of a band's windows that set its usual error."""
MAX_LEVEL, LEVEL_OF_CONTRAST = 5.6, 0.13
"""Levels by which windows of twice the size may differ on the whole, and what each level of contrast adds."""
NOISE = 4.0
"""Levels by which any window may differ."""
CELL, MAX_OFFSET, MAX_SCALING = 16, 1.6, 1.3
"""Pixels on each side of the cells whose brightness and colours are compared; levels of 255 by which they may
be higher or lower on the whole; levels by which a factor may change them (root mean square)."""
MAX_SHARPNESS = 0.45
"""How much sharper either may be: the multiple of its own fine detail that is added. A bilinear filter makes
0.35, a blur of 0.7 pixels 1."""
MIN_GRAIN_CORRELATION, GRAIN_BANDS = 0.5, 8
"""Correlation of the fine detail in each of the groups of windows of like energy, if a copy kept all of it:
that of two shots is not correlated."""
STRONG, SHOWN, MAX_LOST = 25.0, 0.75, 0.25
"""Contrast in levels from which on a window matters, the share of it that the smaller size must show, and the
share of these windows in which it may show less."""
MARGIN = 8
"""Pixels by which tiles overlap."""
MIN_TELLING = 100
"""Windows with fine detail that say something; fewer say nothing."""
RIDGE, SHARPNESS_RIDGE = 0.02, 1.0
"""Squares of levels: keep a plane without edges from having a shift, and one without detail a sharpness."""
MAX_SAMPLES = 200_000
"""Pixels from which the shift of a copy is estimated."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much the windows of a plane may differ.

    Attributes:
        error, of_contrast: usual error of a band at most, in levels of 255, and what each level of its
            contrast adds.
        outlier: how many times that, plus `NOISE`, the error of a window may be.
    """

    error: float
    of_contrast: float
    outlier: float


LUMA, CHROMA = _Bounds(10.0, 0.1, 1.35), _Bounds(6.3, 0.4, 1.45)
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is kept of a picture that is compared with several: its overview, 2.4 MB at most.

    Attributes:
        source: where the full size is read again, once the overview of another picture agrees.
    """

    source: Source
    overview: Picture


def look(source: Source) -> Look | None:
    """Reads the overview of a picture.

    Returns:
        None where its pixels tell nothing: it cannot be read, or has several frames or pages.
    """
    try:
        if isinstance(source, bytes | str | os.PathLike):
            with open_image(source) as image:
                # The second picture of a JPEG (MPO) is a preview, or a map of its brightness.
                if image.format != "MPO" and getattr(image, "is_animated", False):
                    return None
                return Look(source, decode(image, OVERVIEW))
        return Look(source, load(source, side=OVERVIEW))
    except PictureError:
        return None


def same_picture(one: Source | Look, other: Source | Look) -> bool:
    """Whether both show the same picture and differ in size, compression, format or colour space alone.

    Returns:
        False also where it cannot be told: a file cannot be read or has several frames; a picture has fewer
        than `MIN_SIDE` pixels on a side, more than `MAX_PIXELS`, or the shape of a strip.
    """
    first, second = (each if isinstance(each, Look) else look(each) for each in (one, other))
    if first is None or second is None:
        return False
    if not same_overview(first, second):
        return False
    small, large = _by_size(first, second)
    if large.width * large.height > MAX_PIXELS:
        return False
    if max(large.width, large.height) <= OVERVIEW:
        return _shows_enough(small.pixels, large.pixels)
    try:
        one_full, other_full = sorted(
            (load(each.source).pixels for each in (first, second)), key=lambda pixels: pixels.size
        )
    except PictureError:  # it was there a moment ago
        return False
    return _shows_enough(one_full, other_full) and _are_copies(one_full, other_full, MAX_TILE_SHIFT)


def same_overview(one: Look, other: Look) -> bool:
    """Whether both show the same picture, as far as their overviews tell: what is too small to be seen there
    may differ."""
    small, large = _by_size(one, other)
    short, long = sorted((small.width, small.height))
    return (
        short >= MIN_SIDE
        and long <= MAX_ASPECT * short
        and _has_shape_of(small, large)
        and _has_same_tone(small.pixels, large.pixels)
        and _are_copies(small.pixels, large.pixels, MAX_SHIFT)
    )


def _by_size(one: Look, other: Look) -> tuple[Picture, Picture]:
    first, second = sorted((one.overview, other.overview), key=lambda each: each.width * each.height)
    return first, second


def _has_shape_of(small: Picture, large: Picture) -> bool:
    """Whether the size of one is that of the other times a factor, rounded in any way."""
    across, down = large.width / small.width, large.height / small.height
    return min(abs(large.height / across - small.height), abs(large.width / down - small.width)) <= 1


def _has_same_tone(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether no offset and no factor changes the brightness or the colours of pictures (h, w, 3) uint8."""
    size = max(1, one.shape[1] // CELL), max(1, one.shape[0] // CELL)
    cells, other_cells = (
        np.asarray(
            Image.fromarray(pixels).resize(size, Image.Resampling.BOX).convert("YCbCr"), np.float32
        ).reshape(-1, 3)
        for pixels in (one, other)
    )
    for plane, other_plane in zip(cells.T, other_cells.T, strict=True):
        deviation, other_deviation = plane - plane.mean(), other_plane - other_plane.mean()
        mean = (deviation + other_deviation) / 2
        scaling = np.mean(mean * (other_deviation - deviation)) / (np.std(mean) + RIDGE)
        if abs(scaling) > MAX_SCALING or abs(plane.mean() - other_plane.mean()) > MAX_OFFSET:
            return False
    return True


def _shows_enough(small: np.ndarray, large: np.ndarray) -> bool:
    """Whether the size of one picture (h, w, 3) uint8 keeps the contrasts of the other, such as its text."""
    height, width = small.shape[:2]
    if large.shape == small.shape:
        return True
    full = Image.fromarray(large).convert("L")
    across, down = full.width / width, full.height / height
    for rows, columns in _tiles(height, width):
        right, bottom = min(columns.stop, width), min(rows.stop, height)
        box = (columns.start * across, rows.start * down, right * across, bottom * down)
        size = right - columns.start, bottom - rows.start
        shown = full.resize(size, Image.Resampling.BICUBIC, box)
        twice = full.resize((2 * size[0], 2 * size[1]), Image.Resampling.BOX, box)
        contrast = _contrast(np.asarray(twice, np.float32), 4 * WINDOW)
        strong = contrast > STRONG
        kept = _contrast(np.asarray(shown, np.float32), 2 * WINDOW)[strong] >= SHOWN * contrast[strong]
        if len(kept) >= MIN_TELLING and kept.mean() < 1 - MAX_LOST:
            return False
    return True


def _are_copies(small: np.ndarray, large: np.ndarray, max_shift: float) -> bool:
    """Whether pictures (h, w, 3) uint8 show the same at the size of the small one."""
    height, width = small.shape[:2]
    if large.shape != small.shape:
        large = np.asarray(Image.fromarray(large).resize((width, height), Image.Resampling.BICUBIC))
    return all(_agree(small[tile], large[tile], max_shift) for tile in _tiles(height, width))


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of about one size, which overlap by what their edges do not compare."""
    downs, acrosses = (np.linspace(0, n, math.ceil(n / TILE) + 1).astype(int) for n in (height, width))
    for top, bottom in pairwise(downs.tolist()):
        for left, right in pairwise(acrosses.tolist()):
            yield slice(max(0, top - MARGIN), bottom + MARGIN), slice(max(0, left - MARGIN), right + MARGIN)


def _agree(one: np.ndarray, other: np.ndarray, max_shift: float) -> bool:
    """Whether two pictures (h, w, 3) of one size have the same frame, brightness, colours and grain."""
    (luma, *chroma), (other_luma, *other_chroma) = _planes(one), _planes(other)
    smooth, other_smooth = _blur(luma), _blur(other_luma)
    difference, shift, sharpness = _align(smooth, other_smooth)
    return (
        shift <= max_shift
        and sharpness <= MAX_SHARPNESS
        and _is_level(difference, smooth[1:-1, 1:-1], other_smooth[1:-1, 1:-1])
        and _is_even(difference, smooth[1:-1, 1:-1], other_smooth[1:-1, 1:-1], LUMA)
        and all(_is_even(b - a, a, b, CHROMA) for a, b in zip(chroma, other_chroma, strict=True))
        and _has_same_grain(luma, other_luma)
    )


def _planes(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Brightness (h, w) and, at half the size since copies often keep no more, what blue and red exceed it
    by; float32."""
    yield pixels @ _WEIGHTS
    half = np.asarray(Image.fromarray(pixels).reduce(2), np.float32)
    luma = half @ _WEIGHTS
    yield _blur(half[:, :, 2] - luma)
    yield _blur(half[:, :, 0] - luma)


def _is_even(difference: np.ndarray, one: np.ndarray, other: np.ndarray, bounds: _Bounds) -> bool:
    """Whether no window of two planes (h, w) differs much, or more than those of like contrast do."""
    contrast = np.maximum(_contrast(one, WINDOW), _contrast(other, WINDOW)).ravel()
    error = np.sqrt(_windows(difference * difference, WINDOW)).ravel()
    edges = np.linspace(0, len(contrast), BANDS + 1).astype(int)[1:-1]
    for band in np.split(np.argpartition(contrast, edges), edges):
        usual = np.quantile(error[band], QUANTILE)
        if usual > bounds.error + bounds.of_contrast * np.median(contrast[band]):
            return False
        if error[band].max() > bounds.outlier * (usual + NOISE):
            return False
    return True


def _is_level(difference: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether no larger window of two planes (h, w) is brighter or darker, as under a faint watermark."""
    contrast = np.maximum(_contrast(one, 2 * WINDOW), _contrast(other, 2 * WINDOW))
    return bool(np.all(np.abs(_windows(difference, 2 * WINDOW)) <= MAX_LEVEL + LEVEL_OF_CONTRAST * contrast))


def _align(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The difference of two planes (h, w), less what resampling explains: an affine shift, other sharpness.

    One step of B. Lucas and T. Kanade, "An iterative image registration technique", IJCAI 1981.

    Returns:
        (h - 2, w - 2), the largest shift of any part, in pixels, and how much sharper one of them is.
    """
    mean, difference = (one + other) / 2, (other - one)[1:-1, 1:-1]
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in difference.shape)
    y = y[:, None]
    along_x, along_y = (mean[1:-1, 2:] - mean[1:-1, :-2]) / 2, (mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2
    sharper = mean[1:-1, 1:-1] - _blur(mean)
    step = math.ceil(math.sqrt(difference.size / MAX_SAMPLES))
    causes = [g * w for g in (along_x, along_y) for w in (1, x, y)]
    causes.append(sharper)
    sample = np.stack([cause[::step, ::step].ravel() for cause in causes])
    ridge = np.diag([RIDGE] * 6 + [SHARPNESS_RIDGE]).astype(np.float32)
    normal = sample @ sample.T + sample.shape[1] * ridge
    by = np.linalg.solve(normal, sample @ difference[::step, ::step].ravel())
    for cause, amount in zip(causes, by, strict=True):
        difference -= amount * cause
    return difference, float(np.abs(by[:6]).reshape(2, 3).sum(axis=1).max()), abs(float(by[6]))


def _has_same_grain(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the fine detail is correlated wherever both planes (h, w) have about as much of it."""
    fine, other_fine = (plane[1:-1, 1:-1] - _blur(plane) for plane in (one, other))
    energy, other_energy, common = (
        _windows(a * b, 2 * WINDOW) for a, b in ((fine, fine), (other_fine, other_fine), (fine, other_fine))
    )
    least, most = np.minimum(energy, other_energy), np.maximum(energy, other_energy)
    telling = (least > 1) & (least > most / 2)
    number = int(telling.sum())
    if number < MIN_TELLING:
        return True
    bands = np.array_split(np.argsort(least[telling]), min(GRAIN_BANDS, 2 * number // MIN_TELLING))
    energy, other_energy, common = energy[telling], other_energy[telling], common[telling]
    correlation = min(
        common[band].sum() / math.sqrt(energy[band].sum() * other_energy[band].sum()) for band in bands
    )
    # Compression that takes much of the detail away changes the rest of it, too.
    return bool(correlation >= MIN_GRAIN_CORRELATION * (number / (most > 1).sum()) ** 2)


def _blur(plane: np.ndarray) -> np.ndarray:
    """(h - 2, w - 2), each pixel weighted with its 8 neighbours."""
    rows = plane[:-2] + 2 * plane[1:-1] + plane[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _contrast(plane: np.ndarray, size: int) -> np.ndarray:
    """Standard deviations in the windows of a plane (h, w) float32."""
    return np.sqrt((_windows(plane * plane, size) - _windows(plane, size) ** 2).clip(0))


def _windows(plane: np.ndarray, size: int) -> np.ndarray:
    """Means of the square windows of so many pixels a side, which overlap by half."""
    step = size // 2
    height, width = (n // step * step for n in plane.shape)
    rows = plane[:height, :width].reshape(-1, step, width).sum(axis=1)
    cells = np.sum([rows[:, i::step] for i in range(step)], axis=0)
    rows = cells[:-1] + cells[1:]
    return (rows[:, :-1] + rows[:, 1:]) / size**2
