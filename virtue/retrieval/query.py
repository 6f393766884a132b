"""A query: parts that are added up and parts that are taken away, each with a weight."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from virtue.embedder.inputs import ModelInput
from virtue.errors import InputError
from virtue.retrieval.hit import Hit


@dataclass(frozen=True, slots=True, eq=False)
class Part(ModelInput):
    """One part of a query: whatever a model embeds (`ModelInput`), where a text beside an image says how the
    answer differs from it; or what is like a region or a photo of the library, whose file need not be there
    any more.

    Attributes:
        region_id, photo_id: those of a `Hit`.
        weight: relative to the other parts. A part of weight -0.5 is left out, as one of weight 0.5 in
            `Query.without` is. Alone, a part weighs the same whatever its weight.

    Raises:
        InputError: as for `ModelInput`; or the text is blank; or an id goes with anything else; or the weight
            is 0 or not finite.
        PromptError: there is a prompt without an image.
    """

    region_id: int | None = None
    photo_id: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name, kind in (("region_id", int), ("photo_id", int), ("weight", float)):
            _check_number(name, getattr(self, name), kind)
        if not math.isfinite(self.weight) or not self.weight:
            raise InputError(
                f"a part of a query cannot weigh {self.weight:g}: give a positive number, or a negative "
                "one for what hits should not look like"
            )
        ModelInput.__post_init__(self)
        if self.text is not None and not self.text.strip():
            raise InputError("the text is empty: give at least one word")
        if self.is_stored and (
            self.image is not None or self.text is not None or None not in (self.region_id, self.photo_id)
        ):
            raise InputError("a region_id or photo_id goes alone: give the rest as further parts")

    @classmethod
    def of(cls, value: Any) -> Self:
        """Reads what a program gives: whatever `ModelInput.of` takes, a dict perhaps with `weight`, or with
        `region_id` or `photo_id` alone; or a `Hit`, which stands for its region, its photo or its caption,
        as its kind says.

        Raises:
            InputError: it is none of these, or a dict with other keys.
            PromptError: a box or a point is none, or has no image.
        """
        if not isinstance(value, Hit):
            return super(Part, cls).of(value)
        if value.kind == "caption":
            return cls(text=value.caption)
        return cls(region_id=value.region_id) if value.kind == "region" else cls(photo_id=value.photo_id)

    @property
    def is_stored(self) -> bool:
        """Whether this part is a region or photo of the library, whose vector is stored."""
        return self.region_id is not None or self.photo_id is not None

    @property
    def is_empty(self) -> bool:
        return self.image is None and self.text is None and not self.is_stored

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
    def is_text(self) -> bool:
        """Whether the query consists of texts only."""
        return all(part.image is None and not part.is_stored for part in self.wanted)

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


def _as_list(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _check_number(name: str, value: Any, kind: type) -> None:
    if value is not None and (not isinstance(value, (int, kind)) or isinstance(value, bool)):
        raise InputError(f"the {name} of a query must be a number, not {value!r}")
