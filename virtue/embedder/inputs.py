"""What a caller may embed, read into one form.

A `str` is always a text. A `pathlib.Path`, `bytes` (the content of a file), Pillow image, uint8 array
or `Picture` is an image. A dict joins parts:

    {"image": path (here a `str` too) or any image, "box": (x0, y0, x1, y1) or Box,
     "points": [(x, y), (x, y, 1), (x, y, 0), Point], "mask": array or any image, "text": str}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from virtue.errors import InputError, PromptError
from virtue.geometry import Box, Point, Prompt
from virtue.pictures import Picture, load, load_mask

if TYPE_CHECKING:
    from PIL.Image import Image

Input: TypeAlias = "str | os.PathLike[str] | bytes | Image | np.ndarray | Picture | Mapping[str, Any]"

KEYS = ("image", "box", "points", "mask", "text")


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One input that was read: `picture` is shrunk to what the model uses, `prompt` is in pixels of the
    upright original and checked."""

    picture: Picture | None
    prompt: Prompt | None
    text: str | None


def is_single(inputs: Any) -> bool:
    """Returns whether this is one input rather than a sequence of them."""
    if isinstance(inputs, np.ndarray):
        return inputs.dtype.kind not in "OUS"
    return not isinstance(inputs, Sequence) or isinstance(inputs, str | bytes)


def read(value: Input, side: int | None) -> Request:
    """Reads one input; pictures are decoded with at most `side` pixels on the long side.

    Raises:
        InputError: it is of no known kind, or parts are missing.
        PictureError: the picture cannot be read.
        PromptError: a box, point or mask does not fit the picture.
    """
    if isinstance(value, str):
        return Request(None, None, _text(value))
    if not isinstance(value, Mapping):
        return Request(_picture(value, side), None, None)
    unknown = [key for key in value if key not in KEYS]
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r}: an input may hold {', '.join(KEYS)}")
    image, text = value.get("image"), value.get("text")
    prompted = any(value.get(key) is not None for key in ("box", "points", "mask"))
    if image is None and prompted:
        raise InputError("a box, points or a mask need an image: add the key 'image'")
    if image is None and text is None:
        raise InputError("an input needs an 'image' or a 'text'")
    picture = None if image is None else _picture(image, side)
    prompt = _prompt(value, picture) if picture is not None and prompted else None
    return Request(picture, prompt, None if text is None else _text(text))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"a text is a str, not {type(value).__name__}")
    if not value.strip():
        raise InputError("an empty text means nothing: give at least one word")
    return value


def _picture(value: Any, side: int | None) -> Picture:
    from PIL.Image import Image

    if not isinstance(value, str | os.PathLike | bytes | Image | np.ndarray | Picture):
        raise InputError(
            f"{type(value).__name__} is not an input: give a str (a text), a pathlib.Path, bytes, "
            f"a Pillow image, an array or a dict with the keys {', '.join(KEYS)}"
        )
    return load(value, side=side)


def _prompt(value: Mapping[str, Any], picture: Picture) -> Prompt:
    width, height = picture.width, picture.height
    box, points, mask = value.get("box"), value.get("points"), value.get("mask")
    return Prompt(
        box=None if box is None else Box.of(box),
        points=() if points is None else tuple(_points(points)),
        mask=None if mask is None else load_mask(mask, width, height),
    ).within(width, height)


def _points(values: Any) -> Iterable[Point]:
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or not len(values):
        raise PromptError(
            f"{values!r} is not a list of points: give [(x, y, 1), ...], 0 for what is not meant"
        )
    for value in values:
        if isinstance(value, Point):
            yield value
            continue
        try:
            x, y, label = (*value, 1) if len(value) == 2 else value
            yield Point(float(x), float(y), {0: False, 1: True}[int(label)])
        except (TypeError, ValueError, KeyError):
            raise PromptError(
                f"{value!r} is not a point: give (x, y) or (x, y, 1), 0 for what is not meant"
            ) from None
