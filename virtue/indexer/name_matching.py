"""Which photos the names in files of annotations and captions mean."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import TypeVar

NOT_UTF8 = re.compile("[\udc80-\udcff]+")
FOLDS: tuple[Callable[[str], str], ...] = (
    str,
    partial(unicodedata.normalize, "NFC"),
    lambda name: unicodedata.normalize("NFC", name).casefold(),
)
"""Ways in which names are alike, the strictest first."""

T = TypeVar("T")


def read_as_windows(text: str) -> str:
    """Reads what is not UTF-8 in a text (`surrogateescape`) as Windows-1252, in which spreadsheets save."""

    def decode(found: re.Match[str]) -> str:
        return found[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace")

    return NOT_UTF8.sub(decode, text)


def match_to_files(
    entries: Mapping[str, T], folders: Sequence[bytes], files: Iterable[bytes]
) -> tuple[dict[bytes, T], list[str]]:
    """Matches entries with the paths of their photos; also returns the names for which there is no photo.

    A name is looked up below each of the folders, in turn; then by as many of its last parts as one path
    alone has in common with it, since files are also written elsewhere: on Windows, in a deeper folder, or in
    one that has moved. Letter case and the way of composing accents count unless nothing fits otherwise.
    """
    known = set(files)
    result: dict[bytes, T] = {}
    left: list[str] = []
    for name, entry in entries.items():
        try:
            raw = os.fsencode(name)
        except UnicodeEncodeError:  # no file can be called that
            left.append(name)
            continue
        paths = [os.path.normpath(os.path.join(folder, raw)) for folder in folders]
        found = next((path for path in paths if path in known), None)
        if found is None:
            left.append(name)
        else:
            result[found] = entry
    if not left:
        return result, []
    endings = [_Endings(known, fold) for fold in FOLDS]
    claims: dict[bytes, list[str]] = {}
    for name in left:
        spellings = dict.fromkeys((name, read_as_windows(name)))
        found = next(filter(None, (ending.find(each) for ending in endings for each in spellings)), None)
        if found is not None and found not in result:
            claims.setdefault(found, []).append(name)
    matched = {names[0]: path for path, names in claims.items() if len(names) == 1}
    result.update((path, entries[name]) for name, path in matched.items())
    return result, [name for name in left if name not in matched]


class _Endings:
    """Paths by their last part, as `fold` makes them alike."""

    def __init__(self, paths: Iterable[bytes], fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._paths: dict[str, list[tuple[list[str], bytes]]] = {}
        for path in paths:
            parts = _parts(fold(os.fsdecode(path)))
            self._paths.setdefault(parts[-1], []).append((parts, path))

    def find(self, name: str) -> bytes | None:
        """Finds the one path that shares the most last parts with a name; None: there is none, or several."""
        parts = _parts(self._fold(name))
        near = self._paths.get(parts[-1], ()) if parts else ()
        shared = [(_count_shared(parts, others), path) for others, path in near]
        most = max((count for count, _ in shared), default=0)
        best = [path for count, path in shared if count == most]
        return best[0] if len(best) == 1 else None


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns how many last parts are equal."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
