"""Which photos the names in files of annotations and captions mean."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Protocol, TypeVar

NOT_UTF8 = re.compile("[\udc80-\udcff]+")
FOLDS: tuple[Callable[[str], str], ...] = (
    str,
    partial(unicodedata.normalize, "NFC"),
    lambda name: unicodedata.normalize("NFC", name).casefold(),
)
"""Ways in which names are alike, the strictest first: what is alike in one is so in all that follow."""

T = TypeVar("T")


class FoundFiles(Protocol):
    """The files that a walk has found."""

    def among(self, paths: Collection[bytes]) -> set[bytes]:
        """Returns which of these paths were found."""

    def with_endings(self, endings: Collection[str]) -> Iterable[bytes]:
        """Yields the paths whose `ending` is one of these."""


class HeldFiles:
    """Files that are held in memory."""

    def __init__(self, paths: Iterable[bytes]) -> None:
        self._paths = set(paths)

    def among(self, paths: Collection[bytes]) -> set[bytes]:
        return self._paths.intersection(paths)

    def with_endings(self, endings: Collection[str]) -> Iterator[bytes]:
        return (path for path in self._paths if ending(path) in endings)


def ending(path: bytes) -> str:
    """Returns the last part of a path, in the form in which the most names are alike."""
    return (_parts(FOLDS[-1](os.fsdecode(path))) or [""])[-1]


def read_as_windows(text: str) -> str:
    """Reads what is not UTF-8 in a text (`surrogateescape`) as Windows-1252, in which spreadsheets save."""

    def decode(found: re.Match[str]) -> str:
        return found[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace")

    return NOT_UTF8.sub(decode, text)


def match_to_files(
    entries: Mapping[str, T], folders: Sequence[bytes], files: FoundFiles
) -> tuple[dict[bytes, T], list[str]]:
    """Matches entries with the paths of their photos; also returns the names for which there is no photo.

    A name is looked up below each of the folders, in turn; then by as many of its last parts as one path
    alone has in common with it, since files are also written elsewhere: on Windows, in a deeper folder, or in
    one that has moved. Letter case and the way of composing accents count unless nothing fits otherwise.
    """
    below: dict[str, list[bytes]] = {}
    for name in entries:
        try:
            raw = os.fsencode(name)
        except UnicodeEncodeError:  # no file can be called that
            below[name] = []
        else:
            below[name] = [os.path.normpath(os.path.join(folder, raw)) for folder in folders]
    there = files.among({path for paths in below.values() for path in paths})
    result: dict[bytes, T] = {}
    left: list[str] = []
    for name, paths in below.items():
        found = next((path for path in paths if path in there), None)
        if found is None:
            left.append(name)
        else:
            result[found] = entries[name]
    if not left:
        return result, []
    claims: dict[bytes, list[str]] = {}
    for name, found in _find_by_endings(left, files):
        if found not in result:
            claims.setdefault(found, []).append(name)
    matched = {names[0]: path for path, names in claims.items() if len(names) == 1}
    result.update((path, entries[name]) for name, path in matched.items())
    return result, [name for name in left if name not in matched]


def _find_by_endings(names: Sequence[str], files: FoundFiles) -> Iterator[tuple[str, bytes]]:
    """Yields names with the one path that shares the most last parts with each, in the strictest way in which
    there is one."""
    sought = {name: _Sought(name) for name in names}
    by_ending: dict[str, list[_Sought]] = {}
    for each in sought.values():
        for last in each.endings:
            by_ending.setdefault(last, []).append(each)
    for path in files.with_endings(by_ending):
        text = os.fsdecode(path)
        folded = [_parts(fold(text)) for fold in FOLDS]
        for each in by_ending[folded[-1][-1]]:
            each.compare(path, folded)
    for name, each in sought.items():
        if (found := each.best()) is not None:
            yield name, found


class _Sought:
    """A name, in each spelling and each way of being alike, and what fits it best so far.

    Attributes:
        endings: of the paths that may be meant.
    """

    def __init__(self, name: str) -> None:
        spellings = dict.fromkeys((name, read_as_windows(name)))
        self._forms = [(way, _parts(fold(each))) for way, fold in enumerate(FOLDS) for each in spellings]
        self._most = [0] * len(self._forms)
        self._paths: list[bytes | None] = [None] * len(self._forms)
        self.endings = {parts[-1] for way, parts in self._forms if parts and way == len(FOLDS) - 1}

    def compare(self, path: bytes, folded: Sequence[Sequence[str]]) -> None:
        """Compares the name with a path, whose parts are given in each way of being alike."""
        for number, (way, parts) in enumerate(self._forms):
            shared = _count_shared(parts, folded[way])
            if shared > self._most[number]:
                self._most[number], self._paths[number] = shared, path
            elif shared == self._most[number]:
                self._paths[number] = None

    def best(self) -> bytes | None:
        """Returns the one path that fits; None: there is none, or several."""
        return next(filter(None, self._paths), None)


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns how many last parts are equal."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
