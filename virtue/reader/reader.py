"""Reads the lines of text in a picture: one network finds them, another reads each (PP-OCRv6 small)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from virtue.geometry import Box
from virtue.onnx_session import open_session
from virtue.pictures import Picture, shrink
from virtue.reader.text_areas import Area, find_areas

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FOLDER = Path(__file__).parent

MAX_LINES = 500
"""Lines of a picture that are read, those that take the most room: 10 seconds of one core."""
MIN_SCORE = 0.75
"""Mean probability of its characters that a line must have."""
MIN_LETTERS = 3
"""Letters and digits that a line must have. A Chinese, Japanese or Korean one counts twice."""
DETECTION_SIDE = 640
"""Pixels of the long side at which lines are looked for."""
STRIDE = 32
"""What the sides of a picture must be multiples of where lines are looked for."""
HEIGHT = 48
"""Pixels of a line's height where it is read."""
MAX_LENGTH = 64
"""Times its height that a line may be long; longer ones are squeezed."""
PAD = 127
"""The grey that fills a line up to the length of another."""
BATCH = 2048
"""Columns of pixels that are read at once."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text as it was read.

    Attributes:
        text: without spaces at its ends.
        box: around it, upright, in pixels of the upright original.
        score: mean probability of its characters, 0 to 1.
    """

    text: str
    box: Box
    score: float


class Reader:
    """Reads lines of Latin letters with accents, Chinese and Japanese. Files are opened on first use. Safe to
    share between threads.

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

    @cached_property
    def _detection(self) -> InferenceSession:
        with self._opening:
            return self.__dict__.get("_detection") or open_session(
                self._folder / "detection.onnx", self._threads
            )

    @cached_property
    def _recognition(self) -> InferenceSession:
        with self._opening:
            return self.__dict__.get("_recognition") or open_session(
                self._folder / "recognition.onnx", self._threads
            )

    @cached_property
    def _characters(self) -> list[str]:
        listed = self._recognition.get_modelmeta().custom_metadata_map["character"].split("\n")
        return ["", *listed, " "]  # 0 stands for none

    def read(self, picture: Picture) -> list[Line]:
        """Returns the lines that can be read, in reading order; of a picture without text none. A picture
        larger than `side` is shrunk."""
        picture = shrink(picture, self.side)
        areas = self._find(picture.pixels)
        crops = crop_areas(Image.fromarray(picture.pixels), areas)
        found = []
        for area, (text, score) in zip(areas, self._read_crops(crops), strict=True):
            text = " ".join(text.split())
            if score >= MIN_SCORE and count_letters(text) >= MIN_LETTERS:
                found.append(Line(text, _box(area, picture), score))
        return sort_lines(found)

    def _find(self, pixels: np.ndarray) -> list[Area]:
        height, width = pixels.shape[:2]
        scale = min(DETECTION_SIDE / max(height, width), 1)
        w, h = (max(1, round(length * scale / STRIDE)) * STRIDE for length in (width, height))
        seen = np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR))
        (probabilities,) = self._detection.run(None, {"pixels": seen[None]})
        areas = find_areas(probabilities[0, 0], MAX_LINES)
        return [_stretched(area, width / w, height / h) for area in areas]

    def _read_crops(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Returns text and score of each picture (48, w, 3) of a line."""
        read: list[tuple[str, float]] = [("", 0.0)] * len(crops)
        for some in _batches(crops):
            width = max(crops[index].shape[1] for index in some)
            pixels = np.full((len(some), HEIGHT, width, 3), PAD, np.uint8)
            for place, index in enumerate(some):
                pixels[place, :, : crops[index].shape[1]] = crops[index]
            characters, probabilities = self._recognition.run(None, {"pixels": pixels})
            for index, *line in zip(some, characters, probabilities, strict=True):
                read[index] = self._decode(*line)
        return read

    def _decode(self, characters: np.ndarray, probabilities: np.ndarray) -> tuple[str, float]:
        """Leaves out repetitions and places without a character (connectionist temporal classification)."""
        kept = characters > 0
        kept[1:] &= characters[1:] != characters[:-1]
        if not kept.any():
            return "", 0.0
        text = "".join(self._characters[index] for index in characters[kept].tolist())
        return text, float(probabilities[kept].mean())


def _batches(crops: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Yields the indices of crops of similar width, up to `BATCH` columns together."""
    some: list[int] = []
    for index in sorted(range(len(crops)), key=lambda index: crops[index].shape[1]):
        if some and crops[index].shape[1] * (len(some) + 1) > BATCH:
            yield some
            some = []
        some.append(index)
    if some:
        yield some


def _stretched(area: Area, sx: float, sy: float) -> Area:
    """Returns an area of another grid of pixels."""
    cos, sin = np.cos(area.angle), np.sin(area.angle)
    along, across = np.hypot(cos * sx, sin * sy), np.hypot(sin * sx, cos * sy)
    angle = float(np.arctan(sin * sy / (cos * sx))) if abs(cos) > 1e-6 else area.angle
    return Area(area.x * sx, area.y * sy, float(area.length * along), float(area.height * across), angle)


def crop_areas(image: Image.Image, areas: Iterable[Area]) -> list[np.ndarray]:
    """Returns each area turned upright, (48, w, 3) uint8."""
    halves = [image]
    crops = []
    for area in areas:
        level = max(0, int(np.log2(max(area.height / HEIGHT, 1))))
        while len(halves) <= level and min(halves[-1].size) > 1:
            halves.append(halves[-1].reduce(2))
        level = min(level, len(halves) - 1)
        width = int(np.ceil(min(area.length / area.height, MAX_LENGTH) * HEIGHT / 8)) * 8
        corner, right, _, down = area.corners / 2**level
        (ax, ay), (bx, by) = (right - corner) / width, (down - corner) / HEIGHT
        matrix = (ax, bx, corner[0], ay, by, corner[1])
        crop = halves[level].transform(
            (width, HEIGHT), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        crops.append(np.asarray(crop))
    return crops


def _box(area: Area, picture: Picture) -> Box:
    """Returns the upright box around an area, in pixels of the original."""
    height, width = picture.pixels.shape[:2]
    scale = np.array([picture.width / width, picture.height / height])
    low, high = area.corners.min(axis=0) * scale, area.corners.max(axis=0) * scale
    x0, y0 = np.maximum(low, 0).tolist()
    x1, y1 = np.minimum(high, [picture.width, picture.height]).tolist()
    return Box(x0, y0, x1, y1)


def count_letters(text: str) -> int:
    return sum(c.isalnum() * (2 if c >= "\u3040" else 1) for c in text)


def sort_lines(lines: Sequence[Line]) -> list[Line]:
    """Returns lines in reading order: from top to bottom, those beside each other from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box.y0 + line.box.y1):
        last = rows[-1][-1].box if rows else None
        middle = (line.box.y0 + line.box.y1) / 2
        if last is not None and last.y0 < middle < last.y1:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.x0)]
