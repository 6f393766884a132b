"""Regions and captions that a user hands over in a file, made to fit the photos they are for."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Protocol, TypeVar

from virtue.errors import PromptError
from virtue.geometry import Box
from virtue.indexer import masks
from virtue.store import NewCaption, NewRegion, UserAnnotations
from virtue.store.records import USER_SOURCES, Source

MIN_SIDE = 1e-3
"""Pixels that a given box has at least, each way."""
MAX_OVERHANG = 1.0
"""Pixels by which a given box may leave its picture and is clipped: COCO's own boxes do, by rounding."""


@dataclass(frozen=True, slots=True)
class FittedAnnotations:
    """What one file says of one photo. `faults` are sentences on what does not fit the photo."""

    regions: tuple[NewRegion, ...] = ()
    captions: tuple[NewCaption, ...] = ()
    faults: tuple[str, ...] = ()


class AnnotationEntry(Protocol):
    """What a file says of a photo that has not been opened yet."""

    @property
    def content(self) -> str:
        """The content of the entry: equal contents give equal parts."""

    def fit(self, width: int, height: int) -> FittedAnnotations:
        """Returns the regions and captions, fitted to the photo's upright size."""


NOT_UTF8 = re.compile("[\udc80-\udcff]+")
FOLDS: tuple[Callable[[str], str], ...] = (
    str,
    partial(unicodedata.normalize, "NFC"),
    lambda name: unicodedata.normalize("NFC", name).casefold(),
)
"""Ways in which names are alike, the strictest first."""

E = TypeVar("E", bound=AnnotationEntry)


def digest(entries: Iterable[AnnotationEntry]) -> str:
    joined = "\0".join(sorted(entry.content for entry in entries))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def fit_all(entries: Iterable[AnnotationEntry], width: int, height: int) -> FittedAnnotations:
    """Joins the entries of all paths of one photo, and fits them to its size."""
    result = FittedAnnotations()
    for entry in {entry.content: entry for entry in entries}.values():
        result = join(result, entry.fit(width, height))
    return result


def join(first: FittedAnnotations, second: FittedAnnotations) -> FittedAnnotations:
    start = len(first.regions)
    moved = tuple(
        NewCaption(caption.text, caption.source, None if caption.region is None else caption.region + start)
        for caption in second.captions
    )
    return FittedAnnotations(
        first.regions + second.regions, first.captions + moved, first.faults + second.faults
    )


def fit_kept(given: UserAnnotations, width: int, height: int) -> dict[Source, FittedAnnotations]:
    """Returns what the catalogue keeps for a photo, by where it came from. A box or mask that does not fit
    any more (the file was edited into another size) is left out, and its caption is one of the photo then."""
    captioned = {caption.region for caption in given.captions if caption.source == "file"}
    parts: dict[Source, FittedAnnotations] = {}
    for source in USER_SOURCES:
        chosen = [
            index
            for index, region in enumerate(given.regions)
            if _source(region, index in captioned) == source and _fits(region.box, width, height)
        ]
        places: dict[int | None, int | None] = {None: None}
        places.update((old, new) for new, old in enumerate(chosen))
        captions = tuple(
            NewCaption(caption.text, caption.source, places.get(caption.region))
            for caption in given.captions
            if caption.source == source
        )
        regions = tuple(_with_fitting_mask(given.regions[index], width, height) for index in chosen)
        parts[source] = FittedAnnotations(regions, captions)
    return parts


def _source(region: NewRegion, is_captioned: bool) -> Source:
    if region.origin == "code":
        return "code"
    return "file" if is_captioned else "annotation"


def clip_box(x: float, y: float, w: float, h: float, width: int, height: int, scale: float = 1) -> Box:
    """Clips a box at the picture's edge if it is over it by no more than rounding, in a copy of the picture
    that was `scale` times smaller.

    Raises:
        PromptError: it leaves the picture by more, or has no size.
    """
    box = Box.from_xywh(x, y, w, h)
    over = MAX_OVERHANG * max(1, scale)
    if box.x0 < -over or box.y0 < -over or box.x1 > width + over or box.y1 > height + over:
        box = box.within(width, height)
    box = Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))
    if min(box.xywh[2:]) < MIN_SIDE:
        raise PromptError(f"box x,y,w,h = {x:g},{y:g},{w:g},{h:g} is smaller than any part of a picture")
    return box


def read_number(text: str) -> float:
    """Reads a whole number of JSON, of any length: Python refuses those of thousands of digits."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def read_as_windows(text: str) -> str:
    """Reads what is not UTF-8 in a text (`surrogateescape`) as Windows-1252, in which spreadsheets save."""

    def decode(found: re.Match[str]) -> str:
        return found[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace")

    return NOT_UTF8.sub(decode, text)


def match_to_files(
    entries: Mapping[str, E], folders: Sequence[bytes], files: Iterable[bytes]
) -> tuple[dict[bytes, E], list[str]]:
    """Matches entries with the paths of their photos; also returns the names for which there is no photo.

    A name is looked up below each of the folders, in turn; then by as many of its last parts as one path
    alone has in common with it, since files are also written elsewhere: on Windows, in a deeper folder, or in
    one that has moved. Letter case and the way of composing accents count unless nothing fits otherwise.
    """
    known = set(files)
    result: dict[bytes, E] = {}
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


def _with_fitting_mask(region: NewRegion, width: int, height: int) -> NewRegion:
    if region.mask is None or masks.is_encoding(region.mask, width, height):
        return region
    return replace(region, mask=None)


def _fits(box: Box, width: int, height: int) -> bool:
    try:
        box.within(width, height)
    except PromptError:
        return False
    return True
