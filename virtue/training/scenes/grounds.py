"""Grounds: what scenes lie on, photos or drawn patterns, each with words for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from virtue.errors import PictureError
from virtue.pictures import load
from virtue.training.scenes.cutout_folder import captioned_files, report_passed_by

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PHOTO_SIDE = 640
"""Pixels that the long side of a photo has at most in memory."""
KEPT_PHOTOS = 256
"""Photos that are kept in memory."""
MIN_WINDOW = 0.5
"""Share of what fits into a photo that a window has at least."""
PREPOSITIONS = {
    "on", "in", "at", "under", "by", "among", "against", "inside", "outside", "beside", "near", "with",
    "along",
}  # fmt: skip


class Ground(Protocol):
    """What a scene lies on.

    Attributes:
        name: the words for it, as in "on a beach".
        family: grounds of one family are swapped for each other.
    """

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    def paint(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Makes a picture (size, size, 3) uint8."""
        ...


@dataclass(frozen=True, slots=True)
class PhotoGround:
    """A window of a photo."""

    name: str
    path: str
    family = "photo"

    def paint(self, rng: np.random.Generator, size: int) -> np.ndarray:
        photo = _photo(self.path)
        side = min(photo.size) * rng.uniform(MIN_WINDOW, 1)
        left, top = (rng.uniform(0, length - side) for length in photo.size)
        if rng.random() < 0.5:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        window = photo.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        return np.asarray(window)


@lru_cache(maxsize=KEPT_PHOTOS)
def _photo(path: str) -> Image.Image:
    return Image.fromarray(load(path, side=PHOTO_SIDE).pixels)


def read_grounds(folder: str | os.PathLike[str]) -> list[PhotoGround]:
    """Reads which photos below a folder have words for their place in `name.txt` beside them.

    Words that begin with no preposition get one: "a beach" becomes "against a beach". A photo that cannot be
    read costs itself: a warning counts and names it.

    Raises:
        InputError: there is no such folder, or nothing in it that can be used.
    """
    grounds, problems = [], []
    for path, caption in captioned_files(Path(folder), PHOTO_SUFFIXES):
        try:
            load(path, side=PHOTO_SIDE)
        except PictureError as error:
            problems.append(str(error))
            continue
        has_one = caption.split()[0].lower() in PREPOSITIONS
        words = caption[:1].lower() + caption[1:] if has_one else f"against {caption}"
        grounds.append(PhotoGround(words, os.fspath(path)))
    report_passed_by("grounds", problems, len(grounds))
    return grounds


COLOURS = {
    "red": (200, 40, 40), "orange": (235, 140, 40), "yellow": (235, 215, 60), "green": (60, 150, 70),
    "blue": (50, 90, 200), "purple": (130, 60, 160), "pink": (240, 150, 180), "brown": (120, 80, 50),
    "gray": (130, 130, 130), "white": (245, 245, 245), "black": (25, 25, 25),
}  # fmt: skip
SHADE = 18
"""How far each channel of a colour may be from that in `COLOURS`."""

Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def _plain(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)


def _fade(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y + 0 * x


def _stripes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    turn = rng.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    return (along * rng.uniform(4, 9)) % 1 < 0.5


def _checks(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    count = rng.uniform(3, 7)
    return ((x * count) % 1 < 0.5) ^ ((y * count) % 1 < 0.5)


def _dots(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    count = rng.uniform(4, 9)
    return ((x * count) % 1 - 0.5) ** 2 + ((y * count) % 1 - 0.5) ** 2 < rng.uniform(0.04, 0.12)


def _rings(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    middle = rng.uniform(0.2, 0.8, 2)
    return (np.hypot(x - middle[0], y - middle[1]) * rng.uniform(5, 10)) % 1 < 0.5


def _clouds(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cells = Image.fromarray(rng.random((6, 6), np.float32))
    return np.asarray(cells.resize((x.size, y.size), Image.Resampling.BICUBIC)).clip(0, 1)


PATTERNS: dict[str, tuple[str, Pattern]] = {
    "plain": ("on a plain {0} ground", _plain),
    "fade": ("on a ground that fades from {0} to {1}", _fade),
    "stripes": ("on a ground with {0} and {1} stripes", _stripes),
    "checks": ("on a {0} and {1} checkered ground", _checks),
    "dots": ("on a {0} ground with {1} dots", _dots),
    "rings": ("on a ground with {0} and {1} rings", _rings),
    "clouds": ("on a ground with {0} and {1} clouds", _clouds),
}
"""For each pattern its words and what draws it: from columns (1, width) and rows (height, 1), 0 to 1, the
share (height, width) of the second colour."""
SYMMETRIC = ("stripes", "checks", "rings", "clouds")
"""Patterns in which neither colour is the first."""


@dataclass(frozen=True, slots=True)
class DrawnGround:
    """A pattern of one or two colours."""

    pattern: str
    colours: tuple[str, ...]
    family = "drawn"

    @property
    def name(self) -> str:
        return PATTERNS[self.pattern][0].format(*self.colours).replace(" a orange", " an orange")

    def paint(self, rng: np.random.Generator, size: int) -> np.ndarray:
        one, two = (
            np.array(COLOURS[name], np.float32) + rng.uniform(-SHADE, SHADE, 3)
            for name in (self.colours * 2)[:2]
        )
        along = (np.arange(size, dtype=np.float32) + 0.5) / size
        share = PATTERNS[self.pattern][1](rng, along[None, :], along[:, None])
        shades = (one + np.linspace(0, 1, 256)[:, None] * (two - one)).clip(0, 255).astype(np.uint8)
        return shades[(share * 255).astype(np.uint8)]


def draw_grounds() -> list[DrawnGround]:
    """Lists all patterns in all colours."""
    grounds = []
    for pattern in PATTERNS:
        if pattern == "plain":
            grounds += [DrawnGround(pattern, (colour,)) for colour in COLOURS]
            continue
        for one, two in permutations(COLOURS, 2):
            if pattern not in SYMMETRIC or one < two:
                grounds.append(DrawnGround(pattern, (one, two)))
    return grounds
