"""Regions that programs mark in XMP: faces and things as the Metadata Working Group has them (Guidelines 2.0,
5.9), and Microsoft's rectangles of people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from virtue.errors import PromptError
from virtue.geometry import Box
from virtue.indexer.user_annotations import MIN_SIDE, FittedAnnotations
from virtue.indexer.xmp import Structure, Xmp
from virtue.store import NewCaption, NewRegion

MAX_REGIONS = 500
"""Regions of a photo that are kept."""
MAX_NAME = 1_000
"""Characters of a name that are kept."""
MAX_MISFIT = 0.05
"""By how much the shape of the picture that regions were drawn on may differ from the photo's: thumbnails are
rounded."""
MIN_INSIDE = 0.5
"""Share of a region that lies in the picture, so that it is clipped and not refused: faces are cut off."""
SAME_IOU = 0.7
"""Overlap (intersection over union) from which on two regions of one name are the same: programs write both
forms."""
THINGS = ("face", "pet", "barcode")
"""Types of regions that say what is in them. A focus area says nothing."""


class MarkedRegion(NamedTuple):
    """A region of a file's metadata. The corners are shares of width and height, NaN where the file has no
    number; `drawn_on` is the size of the picture in which it was marked: (0, 0) is not said."""

    name: str | None
    kind: str | None
    x0: float
    y0: float
    x1: float
    y1: float
    drawn_on: tuple[float, float] = (0, 0)


def read_regions(xmp: Xmp) -> tuple[MarkedRegion, ...]:
    """Reads the regions of a file, each once, and one more than are kept if there are more."""
    kept: list[MarkedRegion] = []
    for region in (*_working_group(xmp), *_microsoft(xmp)):
        if len(kept) <= MAX_REGIONS and not any(_is_same(region, other) for other in kept):
            kept.append(region)
    return tuple(kept)


def fit_regions(
    regions: Sequence[MarkedRegion], width: int, height: int, orientation: int
) -> FittedAnnotations:
    """Fits regions to a photo.

    Args:
        width, height: of the upright photo, in pixels.
        orientation: how its file is turned upright (EXIF's 1 to 8). Regions are drawn on the file as it is
            stored, unless the size they were drawn on is the upright one.
    """
    fitted: list[NewRegion] = []
    captions: list[NewCaption] = []
    faults: list[str] = []
    for region in regions[:MAX_REGIONS]:
        try:
            box = _fit(region, width, height, orientation)
        except PromptError as error:
            what = f"the region {region.name!r}" if region.name else "a region without a name"
            faults.append(f"{what} {error}: left out")
            continue
        if region.name:
            captions.append(NewCaption(region.name, "metadata", len(fitted)))
        fitted.append(NewRegion(box, "metadata", region.kind))
    if len(regions) > MAX_REGIONS:
        faults.append(f"the first {MAX_REGIONS:,} regions are kept")
    return FittedAnnotations(tuple(fitted), tuple(captions), tuple(faults))


def _working_group(xmp: Xmp) -> Iterator[MarkedRegion]:
    for regions in xmp.structures("mwg-rs:Regions"):
        sizes = [
            (_number(size.text("stDim:w")), _number(size.text("stDim:h")))
            for size in regions.structures("mwg-rs:AppliedToDimensions")
        ]
        drawn_on = next((size for size in sizes if size[0] > 0 and size[1] > 0), (0.0, 0.0))
        for each in regions.structures("mwg-rs:RegionList"):
            kind = (each.text("mwg-rs:Type") or "").strip().lower()
            area = next(each.structures("mwg-rs:Area"), None)
            if area is not None and (kind in THINGS or not kind):
                corners = _corners(area, drawn_on)
                yield MarkedRegion(_name(each.text("mwg-rs:Name")), kind or None, *corners, drawn_on)


def _corners(area: Structure, drawn_on: tuple[float, float]) -> tuple[float, float, float, float]:
    x, y, w, h = (_number(area.text(f"stArea:{name}")) for name in "xywh")
    across = _number(area.text("stArea:d"))
    wide, high = drawn_on if all(drawn_on) else (1.0, 1.0)
    if (area.text("stArea:unit") or "").strip().lower() == "pixel":
        x, y, w, h = x / wide, y / high, w / wide, h / high
        across /= min(wide, high)
    if math.isnan(w) and math.isnan(h):  # a circle, by its share of the shorter side
        w, h = across * min(wide, high) / wide, across * min(wide, high) / high
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _microsoft(xmp: Xmp) -> Iterator[MarkedRegion]:
    for info in xmp.structures("MP:RegionInfo"):
        for each in info.structures("MPRI:Regions"):
            rectangle = each.text("MPReg:Rectangle")
            if rectangle is None:  # a person who is somewhere in the photo
                continue
            numbers = [_number(part) for part in rectangle.split(",")]
            x, y, w, h = numbers if len(numbers) == 4 else [math.nan] * 4
            yield MarkedRegion(_name(each.text("MPReg:PersonDisplayName")), "face", x, y, x + w, y + h)


def _number(text: str | None) -> float:
    """Reads a number, also one with a comma as some countries write it."""
    try:
        return float((text or "").strip().replace(",", "."))
    except ValueError:
        return math.nan


def _name(text: str | None) -> str | None:
    clean = " ".join((text or "").split())
    return clean[:MAX_NAME].encode("utf-8", "replace").decode() or None


def _is_same(one: MarkedRegion, other: MarkedRegion) -> bool:
    if None not in (one.name, other.name) and one.name != other.name:
        return False
    corners = one[2:6], other[2:6]
    if not all(math.isfinite(value) for each in corners for value in each):
        return False
    try:
        return Box(*corners[0]).iou(Box(*corners[1])) >= SAME_IOU
    except PromptError:
        return False


def _fit(region: MarkedRegion, width: int, height: int, orientation: int) -> Box:
    """Returns the box in pixels of the upright photo.

    Raises:
        PromptError: it lies elsewhere, has no size, or was drawn on another picture; the end of a sentence.
    """
    corners = (region.x0, region.y0, region.x1, region.y1)
    if not all(map(math.isfinite, corners)):
        raise PromptError("has no four numbers for its place")
    if region.x1 <= region.x0 or region.y1 <= region.y0:
        raise PromptError("has no size")
    if _is_as_stored(region.drawn_on, width, height, orientation):
        corners = _turn(corners, orientation)
    x0, x1 = corners[0] * width, corners[2] * width
    y0, y1 = corners[1] * height, corners[3] * height
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    inside = max(right - left, 0) * max(bottom - top, 0)
    if inside < MIN_INSIDE * (x1 - x0) * (y1 - y0):
        raise PromptError("lies outside the picture")
    if min(right - left, bottom - top) < MIN_SIDE:
        raise PromptError("is smaller than any part of a picture")
    return Box(left, top, right, bottom)


def _is_as_stored(drawn_on: tuple[float, float], width: int, height: int, orientation: int) -> bool:
    """Returns whether regions were drawn on the picture as it is stored, by its size then."""
    if not all(drawn_on):
        return True
    stored = (height, width) if orientation > 4 else (width, height)
    shapes = [_misfit(drawn_on, size) for size in (stored, (width, height))]
    if min(shapes) > MAX_MISFIT:
        raise PromptError(
            f"was drawn on a picture of {drawn_on[0]:g} x {drawn_on[1]:g} pixels, of which this one of "
            f"{width} x {height} (upright) is no copy"
        )
    return shapes[0] <= shapes[1]


def _misfit(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(math.log(one[0] / one[1] / (other[0] / other[1])))


def _turn(corners: tuple[float, float, float, float], orientation: int) -> tuple[float, float, float, float]:
    """Turns corners of a stored picture upright, all in shares of its sides (EXIF 2.32, 4.6.4)."""
    x0, y0, x1, y1 = corners
    if orientation in (2, 3):
        x0, x1 = 1 - x1, 1 - x0
    if orientation in (3, 4):
        y0, y1 = 1 - y1, 1 - y0
    if orientation in (7, 8):
        x0, x1 = 1 - x1, 1 - x0
    if orientation in (6, 7):
        y0, y1 = 1 - y1, 1 - y0
    return (y0, x0, y1, x1) if orientation > 4 else (x0, y0, x1, y1)
