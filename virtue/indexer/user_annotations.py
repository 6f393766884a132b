"""Regions and captions that a user hands over in a file, made to fit the photos they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

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
