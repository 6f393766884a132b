"""Masks: polygons, and COCO run-length encodings `{"size": [height, width], "counts": ...}`.

Runs go down the columns and begin with zeros. `counts` is a list of them, or the text that COCO's own
tools write: differences to the run before the last, five bits a character (cocoapi, maskApi.c).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

MAX_PIXELS = 180_000_000
"""Pixels of a mask: as many as a picture may have."""


def fill(mask: np.ndarray, corners: np.ndarray) -> None:
    """Sets the pixels whose middles lie in a polygon (even-odd rule).

    Args:
        mask: (height, width) bool, changed in place.
        corners: (n, 2) x, y.
    """
    following = np.roll(corners, -1, axis=0)
    ys = corners[:, 1]
    for row in range(max(int(ys.min()), 0), min(int(ys.max()) + 1, len(mask))):
        middle = row + 0.5
        crossed = (ys > middle) != (following[:, 1] > middle)
        a, b = corners[crossed], following[crossed]
        xs = np.sort(a[:, 0] + (middle - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1]))
        first = np.ceil(xs - 0.5).clip(0, mask.shape[1]).astype(int)
        for start, end in zip(first[::2], first[1::2], strict=True):
            mask[row, start:end] = True


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Encodes a (height, width) bool mask, with its counts as text."""
    flat = np.asarray(mask, bool).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size])))
    if flat.size and flat[0]:
        runs = np.concatenate(([0], runs))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": _pack(runs.tolist())}


def decode(rle: dict[str, Any]) -> np.ndarray:
    """Decodes to a (height, width) bool mask.

    Raises:
        ValueError: the runs do not fill the size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = np.array(_unpack(counts) if isinstance(counts, str | bytes) else counts, np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a run-length encoding ({error})") from None
    pixels = height * width
    if pixels > MAX_PIXELS:
        raise ValueError(f"a mask of {width} x {height} pixels is larger than any picture")
    sound = height > 0 and width > 0 and runs.ndim == 1 and ((runs >= 0) & (runs <= pixels)).all()
    if not sound or runs.sum() != pixels:
        raise ValueError(f"the runs do not fill a mask of {width} x {height} pixels")
    values = np.arange(runs.size) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def is_encoding(text: str, width: int, height: int) -> bool:
    """Returns whether this is the JSON of a mask that is as large as the picture."""
    try:
        rle = json.loads(text)
        return isinstance(rle, dict) and rle.get("size") == [height, width] and decode(rle) is not None
    except (ValueError, RecursionError):
        return False


def _pack(runs: list[int]) -> str:
    text = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append(chr((bits | 0x20 if more else bits) + 48))
    return "".join(text)


def _unpack(text: str | bytes) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text.encode("ascii") if isinstance(text, str) else text:
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError("a character that does not belong there")
        value |= (bits & 0x1F) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a number that no mask needs")
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("it ends in the middle of a number")
    return runs
