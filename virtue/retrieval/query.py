"""What is asked: parts that are added up, and parts that are taken away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from virtue.errors import InputError, PromptError
from virtue.geometry import Box, Point

KEYS = ("image", "box", "points", "mask", "text")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One thing that is asked for: a text, an image, a prompt on an image, or one of the latter two
    together with a text that says how the answer differs from it.

    `image` and `mask` are whatever `virtue.pictures.load` and `load_mask` take, a path never being a
    plain str. Box and points are in pixels of the upright original, or (`Box.relative`) in fractions.

    Raises:
        InputError: there is neither an image nor a text, or the text is blank.
        PromptError: a prompt without an image.
    """

    image: Any = None
    box: Box | None = None
    points: tuple[Point, ...] = ()
    mask: Any = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.text is not None and not self.text.strip():
            raise InputError("the text to search for is empty: say what you look for")
        if self.image is None and self.prompted:
            raise PromptError("a box, points or a mask need an image that they are drawn on: give one")
        if self.image is None and self.text is None:
            raise InputError("nothing to search for: give words, an image, or both")

    @classmethod
    def of(cls, value: Any) -> Part:
        """Reads what a program gives: str is a text; a path object, Pillow image, array, bytes (the
        content of a file) or `Picture` an image; a dict holds any of `image` (here a str is a path),
        `box` (x0, y0, x1, y1), `points` [(x, y, 1 or 0)], `mask` and `text`.

        Raises:
            InputError: it is none of these, or a dict with other keys.
        """
        if isinstance(value, Part):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, Mapping):
            return cls._of_mapping(value)
        if _is_image(value):
            return cls(image=value)
        raise InputError(
            f"cannot search for a {type(value).__name__}: give a text, an image, or a dict with "
            + ", ".join(KEYS)
        )

    @classmethod
    def _of_mapping(cls, value: Mapping[str, Any]) -> Part:
        unknown = [key for key in value if key not in KEYS]
        if unknown:
            raise InputError(f"a query has no key {unknown[0]!r}: its keys are {', '.join(KEYS)}")
        text = value.get("text")
        if text is not None and not isinstance(text, str):
            raise InputError(f"the text of a query must be a str, not a {type(text).__name__}")
        image, box = _as_path(value.get("image")), value.get("box")
        if image is not None and not _is_image(image):
            kind = type(image).__name__
            raise InputError(f"a {kind} is no image: give a path, an image, an array or bytes")
        return cls(
            image=image,
            box=None if box is None else Box.of(box),
            points=tuple(_point(point) for point in _several(_listed(value.get("points")))),
            mask=_as_path(value.get("mask")),
            text=text,
        )

    @property
    def prompted(self) -> bool:
        return self.box is not None or bool(self.points) or self.mask is not None

    def as_input(self) -> Any:
        """What `Embedder.encode` and `Embedder.query` take."""
        if self.image is None:
            return self.text
        given: dict[str, Any] = {"image": self.image}
        if self.box is not None:
            given["box"] = self.box
        if self.points:
            given["points"] = [(point.x, point.y, int(point.positive)) for point in self.points]
        if self.mask is not None:
            given["mask"] = self.mask
        if self.text is not None:
            given["text"] = self.text
        return given

    def __str__(self) -> str:
        words = [] if self.image is None else [self._image_name() + self._prompt_name()]
        return " ".join([*words, *([] if self.text is None else [f'"{self.text}"'])])

    def _image_name(self) -> str:
        if isinstance(self.image, os.PathLike):
            return os.fsencode(os.path.basename(self.image)).decode("utf-8", "backslashreplace")
        return "an image"

    def _prompt_name(self) -> str:
        box = "@" + ",".join(f"{value:g}" for value in self.box.xywh) if self.box else ""
        drawn = ["points"] * bool(self.points) + ["a mask"] * (self.mask is not None)
        return box + (f" ({', '.join(drawn)})" if drawn else "")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """`parts` are added up, `without` is taken away from them.

    Raises:
        InputError: there are no parts.
    """

    parts: tuple[Part, ...]
    without: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            also = ", not only what to leave out" if self.without else ""
            raise InputError(f"nothing to search for: give words, an image, or both{also}")

    @classmethod
    def of(cls, value: Any, without: Any = ()) -> Query:
        """A query from one thing that `Part.of` takes, or a list or tuple of several, added up."""
        if isinstance(value, Query):
            return value
        parts = tuple(Part.of(item) for item in _several(value))
        return cls(parts, tuple(Part.of(item) for item in _several(without)))

    @property
    def is_text(self) -> bool:
        """Nothing but words are asked for."""
        return all(part.image is None for part in self.parts)

    def __str__(self) -> str:
        asked = " + ".join(str(part) for part in self.parts)
        return asked + "".join(f" - {part}" for part in self.without)


def _several(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, np.ndarray) else value


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _point(value: Any) -> Point:
    if isinstance(value, Point):
        return value
    try:
        x, y, *label = (float(number) for number in value)
        return Point(x, y, bool(label[0]) if label else True)
    except (TypeError, ValueError):
        raise PromptError(
            f"{value!r} is not a point: give (x, y, 1), or (x, y, 0) for what is not meant"
        ) from None


def _is_image(value: Any) -> bool:
    if isinstance(value, os.PathLike | bytes | np.ndarray):
        return True
    from PIL import Image

    from virtue.pictures import Picture

    return isinstance(value, Picture | Image.Image)
