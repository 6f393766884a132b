"""The three elements of a caption and their swaps, and what is checked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virtue.training.scenes.scene import ELEMENTS, SWAPS

MAX_WORDS = 25
"""Words of an element."""


class RejectedError(Exception):
    """A thing for which no row can be made; says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Elements:
    """An object, its relation to another (with that), and a scene; for each `SWAPS` others in its place."""

    object: str
    relation: str
    scene: str
    swaps: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, content: Any) -> Elements:
        """Reads what a model answered.

        Raises:
            RejectedError: something is missing, too long, or not another one.
        """
        if not isinstance(content, dict):
            raise RejectedError("the answer is no object")
        true = {name: _text(content.get(name), name) for name in ELEMENTS}
        swaps = {}
        for name in ELEMENTS:
            given = content.get(f"{name}_swaps")
            if not isinstance(given, list) or len(given) != SWAPS:
                raise RejectedError(f"there are no {SWAPS} swaps of the {name}")
            swaps[name] = tuple(_text(each, f"a swap of the {name}") for each in given)
            if len({true[name].casefold(), *(each.casefold() for each in swaps[name])}) != SWAPS + 1:
                raise RejectedError(f"two of the {name} and its swaps are equal")
        thing = set(true["object"].casefold().split())
        if any(thing <= set(each.casefold().split()) for each in swaps["object"]):
            raise RejectedError("a swap of the object is a kind of it")
        return cls(true["object"], true["relation"], true["scene"], swaps)

    def captions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns ten captions, the true one first, and which element each swaps ("" for the first)."""
        true = {name: getattr(self, name) for name in ELEMENTS}
        captions, swaps = [_say(true)], [""]
        for name in ELEMENTS:
            captions += [_say(true | {name: other}) for other in self.swaps[name]]
            swaps += [name] * SWAPS
        return tuple(captions), tuple(swaps)


def _say(elements: dict[str, str]) -> str:
    return f"{elements['object']} {elements['relation']}, {elements['scene']}"


def _text(value: Any, name: str) -> str:
    text = " ".join(value.split()).strip(" .,") if isinstance(value, str) else ""
    if not text:
        raise RejectedError(f"{name} is missing")
    if len(text.split()) > MAX_WORDS:
        raise RejectedError(f"{name} has more than {MAX_WORDS} words")
    return text
