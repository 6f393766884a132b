"""A query: parts that are added up and parts that are taken away, each with a weight."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from virtue.embedder.inputs import ModelInput
from virtue.errors import InputError
from virtue.retrieval.hit import Hit
from virtue.whole_numbers import read_whole

MAX_TEXT = 100_000
"""Characters of a text that is searched for; models read some hundred words."""


@dataclass(frozen=True, slots=True, eq=False)
class Part(ModelInput):
    """One part of a query: whatever a model embeds (`ModelInput`), where a text beside an image says how the
    answer differs from it; or what is like a region or a photo of the library, whose file need not be there
    any more; or a vector of one's own.

    Attributes:
        region_id, photo_id: those of a `Hit`.
        vector: (dim,) or (k, dim) numbers, of any length but 0: kept as (k, dim) float32 unit rows. A row of
            the library scores its best dot product with them.
        weight: relative to the other parts. A part of weight -0.5 is left out, as one of weight 0.5 in
            `Query.without` is. Alone, a part weighs the same whatever its weight.

    Raises:
        InputError: as for `ModelInput`; or the text is blank or too long; or an id or a vector goes with
            anything else; or the vector is none; or the weight is 0 or not finite.
        PromptError: there is a prompt without an image.
    """

    region_id: int | None = None
    photo_id: int | None = None
    vector: Any = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("region_id", "photo_id"):
            if (id := getattr(self, name)) is not None:
                object.__setattr__(self, name, read_whole(f"the {name} of a query", id))
        if not isinstance(self.weight, int | float) or isinstance(self.weight, bool):
            raise InputError(f"the weight of a query must be a number, not {self.weight!r}")
        if not math.isfinite(self.weight) or not self.weight:
            raise InputError(
                f"a part of a query cannot weigh {self.weight:g}: give a positive number, or a negative "
                "one for what hits should not look like"
            )
        ModelInput.__post_init__(self)
        if self.vector is not None:
            object.__setattr__(self, "vector", _unit_rows(self.vector))
        if self.text is not None and not self.text.strip():
            raise InputError("the text is empty: give at least one word")
        if self.text is not None and len(self.text) > MAX_TEXT:
            raise InputError(f"the text has {len(self.text):,} characters: give at most {MAX_TEXT:,}")
        if self.is_stored and (
            self.image is not None or self.text is not None or None not in (self.region_id, self.photo_id)
        ):
            raise InputError("a region_id or photo_id goes alone: give the rest as further parts")
        if self.vector is not None and not (self.image is None and self.text is None and not self.is_stored):
            raise InputError("a vector goes alone: give the rest as further parts")

    @classmethod
    def of(cls, value: Any) -> Self:
        """Reads what a program gives: whatever `ModelInput.of` takes, a dict perhaps with `weight`, or with
        `region_id`, `photo_id` or `vector` alone; an array that is a vector (its shape tells: an image has
        rows and columns of uint8); or a `Hit`, which stands for its region, its photo or its caption,
        as its kind says.

        Raises:
            InputError: it is none of these, or a dict with other keys.
            PromptError: a box or a point is none, or has no image.
        """
        if _is_vector(value):
            return cls(vector=value)
        if not isinstance(value, Hit):
            return super(Part, cls).of(value)
        if value.kind == "caption":
            return cls(text=value.caption)
        is_region = value.kind == "region" and value.region_id is not None  # a line of text is none
        return cls(region_id=value.region_id) if is_region else cls(photo_id=value.photo_id)

    @property
    def is_stored(self) -> bool:
        """Whether this part is a region or photo of the library, whose vector is stored."""
        return self.region_id is not None or self.photo_id is not None

    @property
    def is_empty(self) -> bool:
        return self.image is None and self.text is None and self.vector is None and not self.is_stored

    def __str__(self) -> str:
        words = [] if self.image is None else [self._image_name() + self._prompt_name()]
        words += [] if self.text is None else [f'"{self.text}"']
        words += [] if self.region_id is None else [f"region {self.region_id}"]
        words += [] if self.photo_id is None else [f"photo {self.photo_id}"]
        words += [] if self.vector is None else ["a vector"]
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
            raise InputError("the parts of `without` need positive weights")
        if not self.wanted:
            also = ", not only what to leave out" if self.unwanted else ""
            raise InputError(f"nothing to search for: give words, an image, or both{also}")

    @classmethod
    def of(cls, value: Any, without: Any = ()) -> Query:
        """Makes a query from one thing that `Part.of` takes, or from a list or tuple of several."""
        more = tuple(Part.of(item) for item in _as_list(without))
        if isinstance(value, Query):
            return replace(value, without=value.without + more) if more else value
        parts = tuple(Part.of(item) for item in _as_list(value))
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
    def is_one_picture(self) -> bool:
        """Whether the query is a picture, and nothing is drawn on it or said beside it."""
        (first, *more) = (*self.parts, *self.without)
        return not more and first.image is not None and first.text is None and not first.has_prompt

    @property
    def is_text(self) -> bool:
        """Whether the query consists of texts only."""
        return all(part.text is not None and part.image is None for part in self.wanted)

    @property
    def has_prompt(self) -> bool:
        """Whether something is marked in a picture: by a box, points or a mask, or as a region of a hit."""
        return any(
            part.box or part.points or part.mask is not None or part.region_id is not None
            for part in self.wanted
        )

    def __str__(self) -> str:
        wanted = " + ".join(str(part) for part in self.wanted)
        return wanted + "".join(f" - {part}" for part in self.unwanted)


def _is_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (
        value.ndim == 1 or (value.ndim == 2 and value.dtype.kind == "f")
    )


def _unit_rows(vector: Any) -> np.ndarray:
    """Returns (k, dim) float32 unit rows.

    Raises:
        InputError: the vector is none.
    """
    try:
        rows = np.atleast_2d(np.asarray(vector))
        if rows.dtype.kind not in "fiu":
            raise TypeError
        rows = rows.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError("a vector is an array of numbers, of shape (dim,)") from None
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"an array of shape {np.shape(vector)} is no vector: give one of shape (dim,)")
    if not np.isfinite(rows).all():
        raise InputError("the vector holds numbers that are none (NaN or infinite): make it again")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        raise InputError("the vector is zero, which is alike to all and to nothing: make it again")
    rows = rows / largest
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _as_list(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
