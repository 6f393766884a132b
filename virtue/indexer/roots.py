"""What was indexed by name, and how: the options that later runs fall back on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from virtue.errors import InputError
from virtue.paths import is_below
from virtue.store import Root

Regions = int | Literal["auto", "none"]

MAX_AUTO_REGIONS = 32
"""Regions proposed for a photo if `regions` is "auto"."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a folder is indexed with: regions of a photo, and patterns of names or paths to leave out."""

    regions: Regions = "auto"
    exclude: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        if self.regions == "none":
            return 0
        return MAX_AUTO_REGIONS if self.regions == "auto" else self.regions

    def to_json(self) -> str:
        return json.dumps({"regions": self.regions, "exclude": list(self.exclude)})

    @classmethod
    def from_json(cls, text: str) -> Options:
        content = json.loads(text)
        return cls(content["regions"], tuple(content["exclude"]))


def are_options(text: str) -> bool:
    """Returns whether options of a root can be read."""
    try:
        options = Options.from_json(text)
        return parse_regions(options.regions) is not None and all(
            isinstance(pattern, str) for pattern in options.exclude
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False


def parse_regions(regions: str | int | None) -> Regions | None:
    """Checks how many regions a photo may have.

    Raises:
        InputError: it is none of "auto", "none", a number from 0 to 1,000 (as text, too).
    """
    if regions is None:
        return None
    if regions == "auto":
        return "auto"
    if regions == "none":
        return "none"
    if not isinstance(regions, bool) and str(regions).isdecimal() and int(regions) <= 1000:
        return int(regions)
    raise InputError(
        f"regions must be auto, none, or the most that a photo may have, up to 1000, not {regions!r}"
    )


class Roots:
    """The folders indexed by name, with their options; a path follows the innermost folder above it."""

    def __init__(self, remembered: Iterable[Root] = ()) -> None:
        self._options = {root.path: Options.from_json(root.options) for root in remembered}
        self._near: dict[bytes, Options | None] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._options))

    def of(self, path: bytes) -> Options | None:
        """Returns the options of a path; None: it is below no folder that was indexed by name."""
        if path in self._options:
            return self._options[path]
        if path not in self._near:
            above = os.path.dirname(path)
            self._near[path] = self.of(above) if above != path else None
        return self._near[path]

    def choose(
        self, folder: bytes, regions: Regions | None, exclude: Iterable[str] | None
    ) -> list[tuple[bytes, Options]]:
        """Sets the options of a folder (None: as before), and returns what is new and should be remembered:
        for this folder and for those below it that it overrides."""
        before = self.of(folder)
        options = before or Options()
        if regions is not None:
            options = replace(options, regions=regions)
        if exclude is not None:
            options = replace(options, exclude=tuple(exclude))
        changed = [] if options == before else [(folder, options)]
        if regions is not None:
            changed += [
                (other, replace(known, regions=regions))
                for other, known in self._options.items()
                if other != folder and is_below(other, folder) and known.regions != regions
            ]
        self._options.update(changed)
        self._near.clear()
        return changed
