"""What is asked: parts that are added up, and parts that are taken away, each with a weight."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from virtue.errors import InputError, PromptError
from virtue.geometry import Box, Point
from virtue.retrieval.hit import Hit

KEYS = ("image", "box", "points", "mask", "text", "region_id", "photo_id", "weight")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One thing that is asked for: a text, an image, a prompt on an image, or one of the latter two
    together with a text that says how the answer differs from it; or what is like a region or a photo of
    the library, whose file need not be there any more.

    `image` and `mask` are whatever `virtue.pictures.load` and `load_mask` take, a path never being a
    plain str. Box and points are in pixels of the upright original, or (`Box.relative`) in fractions.
    `region_id` and `photo_id` are those of a `Hit`.

    `weight` is relative to the other parts, 1 for each by default; a part of weight -0.5 is left out, as one
    of weight 0.5 in `Query.without` is. Alone, a part weighs the same whatever its weight.

    Raises:
        InputError: there is neither an image nor a text nor an id, or more than goes together; the text
            is blank; the weight is 0 or not finite.
        PromptError: a prompt without an image.
    """

    image: Any = None
    box: Box | None = None
    points: tuple[Point, ...] = ()
    mask: Any = None
    text: str | None = None
    region_id: int | None = None
    photo_id: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or not self.weight:
            raise InputError(
                f"a part of a query cannot weigh {self.weight:g}: give a positive number, or a negative "
                "one for what hits should not look like"
            )
        if self.is_stored and (
            self.image is not None or self.text is not None or None not in (self.region_id, self.photo_id)
        ):
            raise InputError("a region or photo of the library goes alone: give the rest as further parts")
        if self.text is not None and not self.text.strip():
            raise InputError("the text to search for is empty: say what you look for")
        if self.image is None and self.has_prompt:
            raise PromptError("a box, points or a mask need an image that they are drawn on: give one")
        if self.image is None and self.text is None and not self.is_stored:
            raise InputError("nothing to search for: give words, an image, or both")

    @classmethod
    def of(cls, value: Any) -> Part:
        """Reads what a program gives: str is a text; a path object, Pillow image, array, bytes (the
        content of a file) or `Picture` an image; a `Hit` what is like its region, its photo or its
        caption, as its kind says; a dict holds any of `image` (here a str is a path), `box`
        (x0, y0, x1, y1), `points` [(x, y, 1 or 0)], `mask` and `text`, or `region_id` or `photo_id`; and
        perhaps `weight`.

        Raises:
            InputError: it is none of these, or a dict with other keys.
        """
        if isinstance(value, Part):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if isinstance(value, Hit):
            return cls._of_hit(value)
        if isinstance(value, Mapping):
            return cls._of_mapping(value)
        if _is_image(value):
            return cls(image=value)
        raise InputError(
            f"cannot search for a {type(value).__name__}: give a text, an image, a hit, or a dict with "
            + ", ".join(KEYS)
        )

    @classmethod
    def _of_hit(cls, hit: Hit) -> Part:
        if hit.kind == "caption":
            return cls(text=hit.caption)
        return cls(region_id=hit.region_id) if hit.kind == "region" else cls(photo_id=hit.photo_id)

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
            region_id=_number(value, "region_id", int),
            photo_id=_number(value, "photo_id", int),
            weight=1.0 if value.get("weight") is None else _number(value, "weight", float),
        )

    @property
    def is_stored(self) -> bool:
        """Whether this part is a region or photo of the library, whose vector is stored."""
        return self.region_id is not None or self.photo_id is not None

    @property
    def has_prompt(self) -> bool:
        return self.box is not None or bool(self.points) or self.mask is not None

    def as_input(self) -> Any:
        """Returns the part as `Embedder.encode` and `Embedder.query` take it."""
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
        words += [] if self.text is None else [f'"{self.text}"']
        words += [] if self.region_id is None else [f"region {self.region_id}"]
        words += [] if self.photo_id is None else [f"photo {self.photo_id}"]
        return " ".join(words) + ("" if self.weight == 1 else f"::{self.weight:g}")

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
    """A query: `parts` are added up, and `without` and parts of negative weight are subtracted.

    Raises:
        InputError: there are no parts but such; something in `without` has a negative weight.
    """

    parts: tuple[Part, ...]
    without: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if any(part.weight < 0 for part in self.without):
            raise InputError("what is to be left out cannot weigh less than nothing: give a positive weight")
        if not self.wanted:
            also = ", not only what to leave out" if self.unwanted else ""
            raise InputError(f"nothing to search for: give words, an image, or both{also}")

    @classmethod
    def of(cls, value: Any, without: Any = ()) -> Query:
        """Makes a query from one thing that `Part.of` takes, or from a list or tuple of several."""
        more = tuple(Part.of(item) for item in _several(without))
        if isinstance(value, Query):
            return replace(value, without=value.without + more) if more else value
        parts = tuple(Part.of(item) for item in _several(value))
        return cls(parts, more)

    @property
    def wanted(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.weight > 0)

    @property
    def unwanted(self) -> tuple[Part, ...]:
        """The parts to subtract, with positive weights."""
        negative = (replace(part, weight=-part.weight) for part in self.parts if part.weight < 0)
        return (*self.without, *negative)

    @property
    def is_text(self) -> bool:
        """Whether the query consists of texts only."""
        return all(part.image is None and not part.is_stored for part in self.wanted)

    def __str__(self) -> str:
        asked = " + ".join(str(part) for part in self.wanted)
        return asked + "".join(f" - {part}" for part in self.unwanted)


def _several(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, np.ndarray) else value


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _number(value: Mapping[str, Any], key: str, kind: type) -> Any:
    number = value.get(key)
    if number is None or (isinstance(number, (int, kind)) and not isinstance(number, bool)):
        return number
    raise InputError(f"the {key} of a query must be a number, not {number!r}")


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
