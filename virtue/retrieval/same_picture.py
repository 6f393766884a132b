"""Whether two files show the same picture: one a rescaled or recompressed copy of the other.

Perceptual hashes and embeddings cannot tell: receipts of one layout and shots of a burst agree in them. Here
pixels are compared, first of an overview and then at the full size of the smaller picture. What copying may
change is known: the frame stays where it is, and every small window changes about as much as the others
of like contrast. One digit that differs is a window that changes more.

What the smaller one does not show cannot be told: digits under about 6 pixels high, an eye of 3
pixels, the grain of two shots from a tripod once JPEG has removed it. The bounds were measured with
`benchmarks/same_picture.py`.
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
MAX_LUMA_ERROR, MAX_CHROMA_ERROR, ERROR_OF_CONTRAST = 10.0, 6.3, 0.4
"""Usual error of a band at most, in levels of 255, and what each level of its contrast adds."""
MAX_OUTLIER, NOISE = 1.45, 4.0
"""How many times the usual error of its band, plus what is noise, the error of a window may be."""
MIN_GRAIN_CORRELATION = 0.25
"""Correlation of the fine detail in three of four windows: that of two shots is not correlated."""
MARGIN = 8
"""Pixels by which tiles overlap."""
MIN_TELLING = 100
"""Windows with fine detail that say something; fewer say nothing."""
RIDGE = 0.02
"""Keeps a plane without edges from having any shift."""
MAX_SAMPLES = 200_000
"""Pixels from which the shift of a copy is estimated."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


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
    small, large = sorted((first.overview, second.overview), key=lambda each: each.width * each.height)
    short, long = sorted((small.width, small.height))
    if short < MIN_SIDE or long > MAX_ASPECT * short or large.width * large.height > MAX_PIXELS:
        return False
    if not (_has_shape_of(small, large) and _are_copies(small.pixels, large.pixels, MAX_SHIFT)):
        return False
    if long <= OVERVIEW:
        return True
    try:
        one_full, other_full = sorted(
            (load(each.source).pixels for each in (first, second)), key=lambda pixels: pixels.size
        )
    except PictureError:  # it was there a moment ago
        return False
    return _are_copies(one_full, other_full, MAX_TILE_SHIFT)


def _has_shape_of(small: Picture, large: Picture) -> bool:
    """Whether the size of one is that of the other times a factor, rounded in any way."""
    across, down = large.width / small.width, large.height / small.height
    return min(abs(large.height / across - small.height), abs(large.width / down - small.width)) <= 1


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
    difference, shift = _align(smooth, other_smooth)
    return (
        shift <= max_shift
        and _is_even(difference, smooth[1:-1, 1:-1], other_smooth[1:-1, 1:-1], MAX_LUMA_ERROR)
        and all(_is_even(b - a, a, b, MAX_CHROMA_ERROR) for a, b in zip(chroma, other_chroma, strict=True))
        and _has_same_grain(luma, other_luma)
    )


def _planes(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Brightness (h, w) and, at half the size since copies often keep no more, what blue and red exceed it
    by; float32."""
    yield pixels @ _LUMA
    half = np.asarray(Image.fromarray(pixels).reduce(2), np.float32)
    luma = half @ _LUMA
    yield _blur(half[:, :, 2] - luma)
    yield _blur(half[:, :, 0] - luma)


def _is_even(difference: np.ndarray, one: np.ndarray, other: np.ndarray, most: float) -> bool:
    """Whether no window of two planes (h, w) differs much, or more than those of like contrast do."""
    variances = [_windows(plane * plane, WINDOW) - _windows(plane, WINDOW) ** 2 for plane in (one, other)]
    contrast = np.sqrt(np.maximum(*variances).clip(0)).ravel()
    error = np.sqrt(_windows(difference * difference, WINDOW)).ravel()
    edges = np.linspace(0, len(contrast), BANDS + 1).astype(int)[1:-1]
    for band in np.split(np.argpartition(contrast, edges), edges):
        usual = np.quantile(error[band], QUANTILE)
        if usual > most + ERROR_OF_CONTRAST * np.median(contrast[band]):
            return False
        if error[band].max() > MAX_OUTLIER * (usual + NOISE):
            return False
    return True


def _align(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """The difference of two planes (h, w), less what resampling explains: an affine shift, other sharpness.

    One step of B. Lucas and T. Kanade, "An iterative image registration technique", IJCAI 1981.

    Returns:
        (h - 2, w - 2), and the largest shift of any part, in pixels.
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
    normal = sample @ sample.T + RIDGE * sample.shape[1] * np.eye(len(sample), dtype=np.float32)
    by = np.linalg.solve(normal, sample @ difference[::step, ::step].ravel())
    for cause, amount in zip(causes, by, strict=True):
        difference -= amount * cause
    return difference, float(np.abs(by[:6]).reshape(2, 3).sum(axis=1).max())


def _has_same_grain(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the fine detail is correlated wherever both planes (h, w) have about as much of it."""
    fine, other_fine = (plane[1:-1, 1:-1] - _blur(plane) for plane in (one, other))
    energy, other_energy, common = (
        _windows(a * b, 2 * WINDOW) for a, b in ((fine, fine), (other_fine, other_fine), (fine, other_fine))
    )
    least, most = np.minimum(energy, other_energy), np.maximum(energy, other_energy)
    telling = (least > 1) & (least > most / 2)
    if telling.sum() < MIN_TELLING:
        return True
    correlation = common[telling] / np.sqrt(energy[telling] * other_energy[telling])
    return bool(np.quantile(correlation, 0.25) >= MIN_GRAIN_CORRELATION)


def _blur(plane: np.ndarray) -> np.ndarray:
    """(h - 2, w - 2), each pixel weighted with its 8 neighbours."""
    rows = plane[:-2] + 2 * plane[1:-1] + plane[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _windows(plane: np.ndarray, size: int) -> np.ndarray:
    """Means of the square windows of so many pixels a side, which overlap by half."""
    step = size // 2
    height, width = (n // step * step for n in plane.shape)
    rows = plane[:height, :width].reshape(-1, step, width).sum(axis=1)
    cells = np.sum([rows[:, i::step] for i in range(step)], axis=0)
    rows = cells[:-1] + cells[1:]
    return (rows[:, :-1] + rows[:, 1:]) / size**2
