"""Reads the lines of text in a picture: one network finds them, another reads each (PP-OCRv6 small).

Large letters are found best in a small copy of the picture, the small ones of a page or a screenshot in a
large one. The large copy is only looked at where the small one, or the pixels, tell of small text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from virtue.cpu import usable_cores
from virtue.geometry import Box
from virtue.onnx_session import open_session
from virtue.pictures import Picture, shrink
from virtue.reader.line_crops import HEIGHT, crop_areas, strip_width
from virtue.reader.text_areas import Area, find_areas

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FOLDER = Path(__file__).parent

MAX_LINES = 1000
"""Lines of a picture that are read, the largest first."""
MAX_COLUMNS = 300_000
"""Columns of pixels that all lines of a picture may have together, at 48 pixels of height: some 15,000
letters, which take one core ten seconds."""
MIN_SCORE = 0.8
"""Mean probability of its characters that a line must have."""
MIN_LETTERS = 3
"""Letters and digits that a line must have. One of a script of syllables or words counts twice."""
SYLLABLES = "\u3040"
"""The first character of such scripts: kana, Han."""

COARSE_SIDE, FINE_SIDE = 640, 1280
"""Pixels of the long side of the copies in which lines are looked for."""
MIN_SIDE = 32
"""Pixels that the sides of a copy must be a multiple of."""
DENSE = 0.12
"""Share of the coarse copy that may be text, from which on it is a page."""
MAYBE_TEXT = 0.1
"""Probability from which on a pixel may be text."""
LOW = 12
"""Height of a line in the coarse copy below which it is better looked for in the fine one."""
WELL_SEEN = 24
"""Height from which on a line is well found in the coarse copy."""
EVEN, SHARP = 0.4, 0.05
"""Shares of neighbouring pixels that are equal, and that are far apart, of a drawn picture full of text."""
FAR_APART = 48
COVERED = 0.5
"""Share of a line that may lie in others before it counts as read."""

PAD = 127
"""The grey that fills a strip up to the width of another."""
BATCH = 2048
"""Columns of pixels that are read at once."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text as it was read.

    Attributes:
        text: without spaces at its ends, and never more than one between.
        box: around it, upright, in pixels of the upright original.
        score: mean probability of its characters, 0 to 1.
    """

    text: str
    box: Box
    score: float


class _Reading(NamedTuple):
    area: Area
    text: str
    score: float


class Reader:
    """Reads Latin letters with accents, Chinese and Japanese. Files are opened on first use. Safe to share
    between threads.

    Attributes:
        name: of the reader and its version: what was read by another may be read again.
        side: pixels of the long side that a picture should be decoded to.
    """

    name = "pp-ocrv6-small 1"
    side = 1600

    def __init__(self, folder: Path = FOLDER, *, threads: int | None = None) -> None:
        self._folder = folder
        self._threads = threads
        self._opening = threading.RLock()
        # It takes 300 MB for a moment.
        self._fine_passes = threading.Semaphore(max(1, usable_cores() // 4))

    @cached_property
    def _detection(self) -> InferenceSession:
        return self._open("_detection", "detection.onnx")

    @cached_property
    def _recognition(self) -> InferenceSession:
        return self._open("_recognition", "recognition.onnx")

    def _open(self, name: str, file: str) -> InferenceSession:
        with self._opening:
            return self.__dict__.get(name) or open_session(self._folder / file, self._threads)

    @cached_property
    def _characters(self) -> list[str]:
        """By the number that recognition gives; the first stands for no character."""
        return ["", *self._recognition.get_modelmeta().custom_metadata_map["character"].split("\n"), " "]

    def read(self, picture: Picture) -> list[Line]:
        """Returns the lines that can be read, in reading order; of a picture without text none. A picture
        larger than `side` is shrunk. Of very many lines the smallest are left out (`MAX_LINES`)."""
        picture = shrink(picture, self.side)
        image = Image.fromarray(picture.pixels)
        coarse, share = self._find(image, COARSE_SIDE)
        if max(image.size) > COARSE_SIDE and _is_page(image, coarse, share):
            least = WELL_SEEN * max(image.size) / COARSE_SIDE
            read = self._read(image, [area for area in coarse if area.height >= least])
            with self._fine_passes:
                fine, _ = self._find(image, FINE_SIDE)
            read += self._read(image, _uncovered(fine, [reading.area for reading in read]))
        else:
            read = self._read(image, coarse)
        return _in_order([Line(text, _box(area, picture), score) for area, text, score in read])

    def _find(self, image: Image.Image, side: int) -> tuple[list[Area], float]:
        """Finds lines in a copy of the picture with so many pixels on its long side, or fewer; returns them
        in pixels of the picture, the largest first, and the share of the copy that may be text."""
        scale = min(side / max(image.size), 1)
        w, h = (max(1, round(length * scale / MIN_SIDE)) * MIN_SIDE for length in image.size)
        copy = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR))
        (text,) = self._detection.run(None, {"pixels": copy[None]})
        areas = find_areas(text[0, 0], MAX_LINES)
        share = float(np.mean(text > MAYBE_TEXT))
        return [area.stretched(image.width / w, image.height / h) for area in areas], share

    def _read(self, image: Image.Image, areas: Sequence[Area]) -> list[_Reading]:
        """Reads lines; those that cannot be read are left out."""
        columns = np.cumsum([max(len(area.letters), 1) * strip_width(area) for area in areas])
        areas = areas[: int(np.searchsorted(columns, MAX_COLUMNS, "right"))]
        strips = crop_areas(image, areas)
        read = self._recognize(strips)
        # What is not read may stand on its head.
        failed = [place for place, (_, score) in enumerate(read) if score < MIN_SCORE]
        turned = self._recognize([strips[place][::-1, ::-1] for place in failed])
        for place, again in zip(failed, turned, strict=True):
            read[place] = again
        return [
            _Reading(area, text, score)
            for area, (text, score) in zip(areas, read, strict=True)
            if score >= MIN_SCORE and _count_letters(text) >= MIN_LETTERS
        ]

    def _recognize(self, strips: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Returns text and score of each strip (48, w, 3)."""
        read: list[tuple[str, float]] = [("", 0.0)] * len(strips)
        for some in _batches(strips):
            width = max(strips[place].shape[1] for place in some)
            pixels = np.full((len(some), HEIGHT, width, 3), PAD, np.uint8)
            for row, place in enumerate(some):
                pixels[row, :, : strips[place].shape[1]] = strips[place]
            characters, probabilities = self._recognition.run(None, {"pixels": pixels})
            for place, *line in zip(some, characters, probabilities, strict=True):
                read[place] = self._decode(*line)
        return read

    def _decode(self, characters: np.ndarray, probabilities: np.ndarray) -> tuple[str, float]:
        """Leaves out repetitions and places without a character (connectionist temporal classification)."""
        kept = characters > 0
        kept[1:] &= characters[1:] != characters[:-1]
        if not kept.any():
            return "", 0.0
        text = "".join(self._characters[number] for number in characters[kept].tolist())
        return " ".join(text.split()), float(probabilities[kept].mean())


def _is_page(image: Image.Image, areas: Sequence[Area], share: float) -> bool:
    """Returns whether a picture may hold small text: by how much of it may be text, by the height of its
    lines, or since it is drawn, as a screenshot is, and full of sharp edges."""
    if share >= DENSE:
        return True
    scale = COARSE_SIDE / max(image.size)
    if areas and np.quantile([area.height * scale for area in areas], 0.25) < LOW:
        return True
    steps = np.abs(np.diff(np.asarray(image.getchannel("G")).astype(np.int16), axis=1))
    return bool(steps.size and np.mean(steps <= 1) >= EVEN and np.mean(steps > FAR_APART) >= SHARP)


def _uncovered(areas: Sequence[Area], read: Sequence[Area]) -> list[Area]:
    """Returns the areas that lie for less than a half in those that were read."""
    if not read:
        return list(areas)
    others = np.array([area.bounds for area in read])
    kept = []
    for area in areas:
        x0, y0, x1, y1 = area.bounds
        width = np.minimum(x1, others[:, 2]) - np.maximum(x0, others[:, 0])
        height = np.minimum(y1, others[:, 3]) - np.maximum(y0, others[:, 1])
        if np.sum(width.clip(0) * height.clip(0)) < COVERED * (x1 - x0) * (y1 - y0):
            kept.append(area)
    return kept


def _batches(strips: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Yields the places of strips of similar width, up to `BATCH` columns together."""
    some: list[int] = []
    for place in sorted(range(len(strips)), key=lambda place: strips[place].shape[1]):
        if some and strips[place].shape[1] * (len(some) + 1) > BATCH:
            yield some
            some = []
        some.append(place)
    if some:
        yield some


def _box(area: Area, picture: Picture) -> Box:
    """Returns the upright box around an area, in pixels of the original."""
    height, width = picture.pixels.shape[:2]
    sx, sy = picture.width / width, picture.height / height
    x0, y0, x1, y1 = area.bounds
    return Box(max(x0 * sx, 0), max(y0 * sy, 0), min(x1 * sx, picture.width), min(y1 * sy, picture.height))


def _count_letters(text: str) -> int:
    return sum(1 + (character >= SYLLABLES) for character in text if character.isalnum())


def _in_order(lines: Sequence[Line]) -> list[Line]:
    """Returns lines in reading order: from top to bottom, those beside each other from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box.y0 + line.box.y1):
        last = rows[-1][0].box if rows else None
        if last is not None and last.y0 < (line.box.y0 + line.box.y1) / 2 < last.y1:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.x0)]
