"""Words for people, of whom the thousand classes know none: "a man" would otherwise mean a manhole cover."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files


@cache
def _words() -> frozenset[str]:
    text = files("virtue.embedder.mini").joinpath("people.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def names_people(text: str) -> bool:
    """Returns whether a text has a word for people."""
    return not _words().isdisjoint(re.findall(r"[a-z]+", text.lower()))
