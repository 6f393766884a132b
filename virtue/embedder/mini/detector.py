"""Where things are in a picture, and what they may be.

`NanoDet` is NanoDet-g (RangiLyu/nanodet, Apache-2.0) in ONNX Runtime: it knows the 80 classes of COCO, and
many a thing that is none of them gets a good box under a wrong name. Another `Proposer` can stand in its
place.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from virtue.geometry import compute_ious, suppress_non_maxima
from virtue.onnx_session import open_session

SIDE = 416
"""Pixels on the long side."""
STEP = 32
"""Sides are multiples of it."""
STRIDES = (8, 16, 32)
MIN_OBJECTNESS = 0.15
"""How sure the best class of a box is at least."""
MIN_SCORE = 0.15
"""How sure a further class of a box is at least."""
MAX_SAME_IOU = 0.6
"""Intersection over union from which on two boxes of one class are one thing."""
MAX_OTHER_IOU = 0.75
"""The same of any two classes: a cat is not a dog besides."""
MAX_CANDIDATES = 300
MIN_SIDE = 4
"""Pixels of the picture as the detector sees it; smaller boxes are noise."""


class Detections(NamedTuple):
    """The things in a picture, the surest first.

    Attributes:
        boxes: (n, 4) float64, x0, y0, x1, y1 in shares of the picture's sides.
        scores: (n, names) float32, 0 to 1: how sure it is that this is one of those; 0: it is not.
    """

    boxes: np.ndarray
    scores: np.ndarray


class Proposer(Protocol):
    """What finds things in pictures. Names are English nouns, such as "dog"."""

    names: tuple[str, ...]
    fingerprint: str
    """Equal fingerprints find equal things."""

    def detect(self, pixels: np.ndarray) -> Detections:
        """Finds things in a picture, (h, w, 3) uint8 RGB, 512 pixels on the long side."""


class NanoDet:
    """Implements `Proposer`."""

    fingerprint = "nanodet-g"

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        with np.load(folder / "things.npz") as arrays:
            self.names = tuple(arrays["names"].tolist())
        self._session = open_session(folder / "things.onnx", threads)

    def detect(self, pixels: np.ndarray) -> Detections:
        scale = SIDE / max(pixels.shape[:2])
        h, w = (max(1, round(length * scale / STEP)) * STEP for length in pixels.shape[:2])
        if pixels.shape[:2] != (h, w):
            from PIL import Image  # a search by words needs none

            pixels = np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BICUBIC))
        scores, sides = self._session.run(None, {"pixels": np.ascontiguousarray(pixels[None])})
        best = scores[0].max(axis=1)
        found = np.flatnonzero(best >= MIN_OBJECTNESS)
        found = found[np.argsort(-best[found], kind="stable")][:MAX_CANDIDATES]
        reach = np.array([-1, -1, 1, 1]) * sides[0][found]
        boxes = np.tile(_centres(w, h)[found], 2) + reach
        boxes = boxes.clip(0, [w, h, w, h])
        large = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1)
        boxes, scores = boxes[large], scores[0][found][large]
        kept = _choose(boxes, scores.argmax(axis=1))
        return Detections(
            boxes[kept] / [w, h, w, h], np.where(scores >= MIN_SCORE, scores, 0)[kept].astype(np.float32)
        )


def _centres(width: int, height: int) -> np.ndarray:
    """(cells, 2) x, y in pixels, row by row, stride by stride."""
    rows = []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        rows.append(np.stack([x.ravel(), y.ravel()], axis=1) * stride + stride / 2)
    return np.concatenate(rows)


def _choose(boxes: np.ndarray, classes: np.ndarray) -> list[int]:
    """Leaves out boxes of things that have a better one; the best come first."""
    ious = compute_ious(boxes, boxes)
    is_same = classes[:, None] == classes[None]
    stands_for = ious > np.where(is_same, MAX_SAME_IOU, MAX_OTHER_IOU)
    return suppress_non_maxima(len(boxes), stands_for.__getitem__, len(boxes))
