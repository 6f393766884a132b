"""Reads what users pass: documents to `Embedder.encode` and queries to `Library.search` alike.

A `str` is always a text. A `pathlib.Path`, `bytes` (the content of a file), Pillow image, uint8 array
or `Picture` is an image. A dict joins parts:

    {"image": path (here a `str` too) or any image, "box": (x0, y0, x1, y1) or Box,
     "points": [(x, y), (x, y, 1), (x, y, 0), Point], "mask": path, array or any image, "text": str}
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from virtue.errors import InputError, PromptError
from virtue.geometry import Box, Point, Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

    from virtue.pictures import Picture

URL = re.compile(r"(https?|ftp|s3)://|data:image/", re.IGNORECASE)
PICTURE_URL = re.compile(
    r"((https?|ftp|s3)://\S+\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)|data:image/\S+)", re.IGNORECASE
)
"""A text that is this is meant as a picture: other libraries take it for one."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""What is left of bytes that were decoded as something else than they are."""

Input: TypeAlias = (
    "str | os.PathLike[str] | bytes | Image | np.ndarray | Picture | Mapping[str, Any] | ModelInput"
)


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """A text, an image with or without a prompt drawn on it, or an image and a text; nothing is decoded yet.

    Attributes:
        image, mask: what `virtue.pictures.load` and `load_mask` take; a str is a path.
        box, points: in pixels of the upright original; a box also (`Box.relative`) in fractions.

    Raises:
        InputError: there is neither an image nor a text, one is of no known kind, or the address of a picture
            on the net; or the text holds a lone surrogate.
        PromptError: there is a prompt without an image.
    """

    image: Any = None
    box: Box | None = None
    points: tuple[Point, ...] = ()
    mask: Any = None
    text: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("image", self.image), ("mask", self.mask)):
            _refuse_url(value)
            if isinstance(value, str):
                object.__setattr__(self, name, Path(value))
            elif value is not None and not _is_image(value):
                raise InputError(
                    f"{type(value).__name__} is not a valid {name}: "
                    "give a path, bytes, a Pillow image or an array"
                )
        if self.text is not None and not isinstance(self.text, str):
            raise InputError(f"a text must be a str, not {type(self.text).__name__}")
        if self.text is not None and (half := LONE_SURROGATE.search(self.text)):
            raise InputError(
                f"the text holds half a character (U+{ord(half[0]):04X}): decode its bytes as what they are"
            )
        if self.text is not None and PICTURE_URL.fullmatch(self.text):
            _refuse_url(self.text)
        if self.image is None and self.has_prompt:
            raise PromptError("a box, points or a mask need an image that they are drawn on: give one")
        if self.is_empty:
            raise InputError("nothing is given: give a text, an image, or both")

    @classmethod
    def of(cls, value: Any) -> Self:
        """Reads one input of any kind that this module's description names.

        Raises:
            InputError: it is of no known kind, or a dict with other keys.
            PromptError: a box or a point is none.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, Mapping):
            return cls._of_mapping(value)
        if _is_image(value):
            return cls(image=value)
        raise InputError(
            f"{type(value).__name__} is not an input: give a str (a text), a pathlib.Path, bytes, a Pillow "
            f"image, an array, or a dict with the keys {', '.join(cls._keys())}"
        )

    @classmethod
    def _keys(cls) -> list[str]:
        return [field.name for field in fields(cls)]

    @classmethod
    def _of_mapping(cls, value: Mapping[str, Any]) -> Self:
        unknown = [key for key in value if key not in cls._keys()]
        if unknown:
            raise InputError(f"unknown key {unknown[0]!r}: an input may hold {', '.join(cls._keys())}")
        given = {key: part for key, part in value.items() if part is not None}
        if "box" in given:
            given["box"] = Box.of(given["box"])
        if "points" in given:
            given["points"] = _read_points(given["points"])
        return cls(**given)

    @property
    def is_empty(self) -> bool:
        return self.image is None and self.text is None

    @property
    def has_prompt(self) -> bool:
        return self.box is not None or bool(self.points) or self.mask is not None


@dataclass(frozen=True, slots=True, eq=False)
class LoadedInput:
    """An input after decoding: `picture` is shrunk to what the model uses, `prompt` is checked and in pixels
    of the upright original."""

    picture: Picture | None
    prompt: Prompt | None
    text: str | None


def is_single(inputs: Any) -> bool:
    """Returns whether this is one input rather than several of them."""
    if isinstance(inputs, np.ndarray):
        return inputs.dtype.kind not in "OUS"
    return not isinstance(inputs, Iterable) or isinstance(inputs, str | bytes | Mapping | os.PathLike)


def load_input(
    given: ModelInput,
    side: int | None,
    loaded: dict[object, Picture] | None = None,
    *,
    as_query: bool = False,
    keep_alpha: bool = False,
) -> LoadedInput:
    """Decodes the image and the mask of an input, and checks its prompt against the image.

    Args:
        side: pixels on the long side that the picture should have at most.
        loaded: pictures that were decoded before, by path or object; they are not decoded again, and
            new ones are added.
        as_query: whether a picture with transparency is a cut-out: what is transparent is not meant. If
            nothing is drawn on it, it is cropped to what is opaque.
        keep_alpha: of a document, as for `pictures.load`; the model then pools under it.

    Raises:
        InputError: the input means something of a library, and holds nothing to embed.
        PictureError: the picture or the mask cannot be read.
        PromptError: a box, point or mask does not fit the picture.
    """
    if given.image is None and given.text is None:
        raise InputError("a region or photo of a library has no vector outside of it: search that library")
    if given.image is None:
        return LoadedInput(None, None, given.text)
    from virtue.pictures import load, load_cutout, load_mask  # late: a text needs no Pillow

    loaded = {} if loaded is None else loaded
    is_path = isinstance(given.image, os.PathLike)
    key = (os.fspath(given.image) if is_path else id(given.image), as_query and given.has_prompt)
    if key not in loaded:
        loaded[key] = (
            load_cutout(given.image, side=side, crop=not given.has_prompt)
            if as_query
            else load(given.image, side=side, keep_alpha=keep_alpha)
        )
    picture = loaded[key]
    is_cutout = as_query and picture.alpha is not None
    if not given.has_prompt:
        return LoadedInput(picture, Prompt(mask=_opaque(picture)) if is_cutout else None, given.text)
    mask = None if given.mask is None else load_mask(given.mask, picture.width, picture.height)
    prompt = Prompt(given.box, given.points, mask).within(picture.width, picture.height)
    return LoadedInput(picture, _on_cutout(prompt, picture) if is_cutout else prompt, given.text)


def _opaque(picture: Picture) -> np.ndarray:
    """(height, width) bool, in the frame of the upright original: what of a cut-out is not transparent."""
    from PIL import Image

    assert picture.alpha is not None
    alpha = Image.fromarray(picture.alpha).resize((picture.width, picture.height), Image.Resampling.BILINEAR)
    opacity = np.asarray(alpha)
    return 2 * opacity.astype(np.uint16) >= opacity.max()


def _on_cutout(prompt: Prompt, picture: Picture) -> Prompt:
    """What a prompt means on a cut-out: its opaque part.

    Raises:
        PromptError: there is none.
    """
    opaque = _opaque(picture)
    mask = opaque if prompt.mask is None else opaque & prompt.mask
    rows, columns = (slice(None), slice(None))
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box.corners
        rows, columns = slice(int(y0), math.ceil(y1)), slice(int(x0), math.ceil(x1))
    if not mask[rows, columns].any():
        raise PromptError("what is drawn lies where the picture is transparent: draw it on what can be seen")
    return Prompt(prompt.box, prompt.points, mask)


def _refuse_url(value: Any) -> None:
    if isinstance(value, str) and URL.match(value):
        raise InputError(
            f"{value[:200]} is an address: virtue gets nothing from the net; download it, and give its path"
        )


def _is_image(value: Any) -> bool:
    if isinstance(value, os.PathLike | bytes | np.ndarray):
        return True
    from PIL.Image import Image

    from virtue.pictures import Picture

    return isinstance(value, Image | Picture)


def _read_points(values: Any) -> tuple[Point, ...]:
    if isinstance(values, Point):
        return (values,)
    if not isinstance(values, list | tuple | np.ndarray) or not len(values):
        raise PromptError(
            f"{values!r} is not a list of points: give [(x, y, 1), ...], 0 for what is not meant"
        )
    return tuple(map(_read_point, values))


def _read_point(value: Any) -> Point:
    if isinstance(value, Point):
        return value
    try:
        if isinstance(value, str):
            raise TypeError
        x, y, label = (*value, 1) if len(value) == 2 else value
        # 1, True and 1.0 are one label, 0.5 and "1" are none.
        return Point(float(x), float(y), {0: False, 1: True}[label])
    except (TypeError, ValueError, KeyError):
        raise PromptError(
            f"{value!r} is not a point: give (x, y) or (x, y, 1), 0 for what is not meant"
        ) from None
