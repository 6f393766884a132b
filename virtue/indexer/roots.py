"""What was indexed by name, and how: the options that later runs fall back on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from virtue.errors import InputError
from virtue.indexer.links import LinkRule
from virtue.indexer.walk import is_left_out
from virtue.paths import is_below
from virtue.store import Root

Regions = int | Literal["auto", "none"]

MAX_AUTO_REGIONS = 32
"""Regions proposed for a photo if `regions` is "auto"."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a folder is indexed with: regions of a photo, patterns of names or paths to leave out, whether
    links that lead out of it are followed, and whether the text in photos is read. `passed_by` says how many
    files of which ending the last run passed by there."""

    regions: Regions = "auto"
    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    ocr: bool = True
    passed_by: dict[str, int] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        if self.regions == "none":
            return 0
        return MAX_AUTO_REGIONS if self.regions == "auto" else self.regions

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        content = json.loads(text)
        # Libraries of before have no word on links, nor on text.
        return cls(
            content["regions"],
            tuple(content["exclude"]),
            content.get("follow_links", False) is True,
            content.get("ocr", True) is True,
            dict(content.get("passed_by", {})),
        )


def are_options(text: str) -> bool:
    """Returns whether options of a root can be read."""
    try:
        options = Options.from_json(text)
        return (
            parse_regions(options.regions) == options.regions
            and all(isinstance(pattern, str) for pattern in options.exclude)
            and all(isinstance(count, int) for count in options.passed_by.values())
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False


def without_links(text: str) -> str:
    """Returns options of a root, and links that lead out of it are not followed."""
    options = Options.from_json(text)
    return replace(options, follow_links=False).to_json() if options.follow_links else text


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


def count_passed_by(roots: Iterable[Root]) -> dict[str, int]:
    """Returns how many files of which ending were passed by below these folders."""
    total = Counter[str]()
    for root in roots:
        total.update(Options.from_json(root.options).passed_by)
    return dict(sorted(total.items()))


class Roots:
    """The folders indexed by name, with their options; a path follows the innermost folder above it."""

    def __init__(self, remembered: Iterable[Root] = ()) -> None:
        self._options = {root.path: Options.from_json(root.options) for root in remembered}
        self._near: dict[bytes, bytes | None] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._options))

    def of(self, path: bytes) -> Options | None:
        """Returns the options of a path; None: it is below no folder that was indexed by name."""
        root = self._innermost(path)
        return None if root is None else self._options[root]

    def _innermost(self, path: bytes) -> bytes | None:
        """Returns the innermost folder indexed by name that a path is, or lies below."""
        if path in self._options:
            return path
        folder = os.path.dirname(path)
        if folder == path:
            return None
        if folder not in self._near:  # folders alone: files are too many to be remembered
            self._near[folder] = self._innermost(folder)
        return self._near[folder]

    def count_passed_by(self, paths: Mapping[bytes, str]) -> Counter[tuple[bytes | None, str]]:
        """Counts paths with the endings that they were passed by for, by the innermost folder that was
        indexed by name and the ending."""
        return Counter((self._innermost(path), suffix) for path, suffix in paths.items())

    def note_passed_by(
        self, walked: Iterable[bytes], passed_by: Mapping[tuple[bytes | None, str], int]
    ) -> list[tuple[bytes, Options]]:
        """Notes what was passed by in the folders that were walked whole, as `count_passed_by` counts it;
        returns what is new and should be remembered."""
        counts: dict[bytes, dict[str, int]] = {folder: {} for folder in walked if folder in self._options}
        for (folder, suffix), count in passed_by.items():
            if folder is not None and folder in counts:
                counts[folder][suffix] = count
        changed = [
            (folder, replace(self._options[folder], passed_by=dict(sorted(count.items()))))
            for folder, count in counts.items()
            if count != self._options[folder].passed_by
        ]
        self._options.update(changed)
        return changed

    def link_rule(self, path: bytes) -> LinkRule:
        """Returns which links are followed at a path: within the folders indexed by name that it lies in, or
        else within its own."""
        folders = [folder for folder in self._options if is_below(path, folder)]
        options = self.of(path) or Options()
        return LinkRule(folders or [os.path.dirname(path)], options.follow_links)

    def _is_walked(self, folder: bytes) -> bool:
        """Returns whether the walk of the folder above it that was indexed by name comes to this one: not if
        it is excluded there, or lies behind a link that leads out."""
        above = self._innermost(folder)
        if above is None or is_left_out(folder, above, self._options[above].exclude):
            return False
        return self.link_rule(folder).admits(folder)

    def choose(
        self,
        folder: bytes,
        regions: Regions | None,
        exclude: Iterable[str] | None,
        follow_links: bool | None,
        ocr: bool | None,
    ) -> list[tuple[bytes, Options]]:
        """Sets the options of a folder (None: as before), and returns what is new and should be remembered:
        for this folder and for those below it that it overrides."""
        before = self.of(folder)
        options = before or Options()
        if regions is not None:
            options = replace(options, regions=regions)
        if exclude is not None:
            options = replace(options, exclude=tuple(exclude))
        if follow_links is not None:
            options = replace(options, follow_links=follow_links)
        if ocr is not None:
            options = replace(options, ocr=ocr)
        is_reached = folder in self._options or self._is_walked(folder)
        changed = [] if options == before and is_reached else [(folder, options)]
        for other, known in self._options.items():
            if other == folder or not is_below(other, folder):
                continue
            overridden = replace(
                known,
                regions=known.regions if regions is None else regions,
                follow_links=known.follow_links if follow_links is None else follow_links,
                ocr=known.ocr if ocr is None else ocr,
            )
            if overridden != known:
                changed.append((other, overridden))
        self._options.update(changed)
        self._near.clear()
        return changed
