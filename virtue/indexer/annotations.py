"""Regions and captions that a user has in the JSON format of COCO (cocodataset.org, format-data)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from virtue.errors import InputError, PromptError
from virtue.geometry import Box
from virtue.indexer import masks
from virtue.indexer.user_annotations import FittedAnnotations, clip_box, read_number
from virtue.paths import printable
from virtue.store import NewCaption, NewRegion

MAX_CHARACTERS = 500_000_000
"""Of a file: COCO's own largest has 470 million."""
MAX_PARTS = 20_000_000
"""Lists and objects in a file, each of which takes a hundred bytes: COCO's own largest has 5 million."""
MAX_NAME = 1_000
"""Characters of the name of a category, or of an id."""
MAX_ANNOTATIONS = 10_000
"""Of one image."""
MAX_WORK = 10_000_000_000
"""Pixels of masks that were drawn larger than their photo, of one image; and what outlines cost, for each row
that a line of them crosses `CROSSING_WORK` pixels. A few characters of text ask for hundreds of millions."""
CROSSING_WORK = 250
MAX_SIDE = 1_000_000
"""Pixels of a side of an annotated image."""
MAX_CORNERS = 100_000
MAX_POLYGONS = 1_000
"""Of one annotation: each is drawn line by line of the picture."""


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One entry of `annotations`: [x, y, w, h] or None, polygons or run-lengths or None. `fault` says why it
    is none."""

    id: str
    box: list[float] | None
    segmentation: Any
    category: str | None
    caption: str | None
    fault: str | None = None

    @property
    def content(self) -> tuple[Any, ...]:
        found = (self.box, self.segmentation, self.category, self.caption)
        return found if self.fault is None else (*found, self.fault)


@dataclass(slots=True)
class CocoImage:
    """All annotations of one image. `size` is what the file says of its (width, height)."""

    origin: str
    name: str
    size: tuple[int, int] | None
    annotations: list[CocoAnnotation] = field(default_factory=list)

    @property
    def content(self) -> str:
        return json.dumps([self.size, [annotation.content for annotation in self.annotations]])

    def fit(self, width: int, height: int) -> FittedAnnotations:
        """Fits the annotations to the photo. One that does not fit is left out alone. If the file was made on
        a larger or smaller copy of the photo, everything is scaled."""
        declared = self.size or (width, height)
        if max(declared) > MAX_SIDE:
            return FittedAnnotations(
                faults=(f"{self.origin}: {self.name} is annotated at an impossible size: left out",)
            )
        scale = (width / declared[0], height / declared[1])
        if abs(scale[0] / scale[1] - 1) > 0.01:
            turned = "; it was annotated lying on its side" if declared == (height, width) else ""
            return FittedAnnotations(
                faults=(
                    f"{self.origin}: {self.name} is annotated at {declared[0]} x {declared[1]} pixels and is "
                    f"{width} x {height} (upright){turned}: its annotations are left out",
                )
            )
        regions: list[NewRegion] = []
        captions: list[NewCaption] = []
        faults: list[str] = []
        work = 0.0
        if len(self.annotations) > MAX_ANNOTATIONS:
            faults.append(
                f"{self.origin}: the first {MAX_ANNOTATIONS:,} annotations of {self.name} are used, of "
                f"{len(self.annotations):,}"
            )
        for annotation in self.annotations[:MAX_ANNOTATIONS]:
            try:
                if annotation.fault is not None:
                    raise ValueError(annotation.fault)
                work += _work(annotation.segmentation, declared, (width, height))
                if work > MAX_WORK:
                    raise ValueError("the masks of this image take too much work")
                region = _region(annotation, declared, (width, height), scale)
            except (PromptError, ValueError, TypeError, OverflowError) as error:
                faults.append(f"{self.origin}, annotation {annotation.id} of {self.name}: {error}: left out")
                continue
            if annotation.caption:
                place = len(regions) if region else None
                captions.append(NewCaption(annotation.caption, "annotation", place))
            if region:
                regions.append(region)
        return FittedAnnotations(tuple(regions), tuple(captions), tuple(faults))


def read_annotations(path: str | os.PathLike[str]) -> dict[str, CocoImage]:
    """Reads annotations, by the `file_name` of their images.

    Raises:
        InputError: the file cannot be read or is not of the COCO format.
    """
    origin = printable(os.fspath(path))
    try:
        with open(path, encoding="utf-8-sig") as stream:
            is_long = os.fstat(stream.fileno()).st_size > MAX_CHARACTERS
            text = "" if is_long else stream.read(MAX_CHARACTERS + 1)
        if is_long or len(text) > MAX_CHARACTERS or text.count("[") + text.count("{") > MAX_PARTS:
            raise InputError(
                f"{origin}: more than {MAX_CHARACTERS:,} characters or {MAX_PARTS:,} lists: split it"
            )
        content = json.loads(text, parse_int=read_number)
        del text
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}: name a file of annotations") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin}: not JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f'{origin}: not COCO JSON: it needs the lists "images" and "annotations"')
    categories = _table(content, "categories", origin, lambda entry: _name(entry["name"]))
    images = _table(content, "images", origin, lambda entry: _image(entry, origin))
    for index, entry in enumerate(_list(content, "annotations", origin)):
        try:
            image, category = images[entry["image_id"]], entry.get("category_id")
            name = None if category is None else categories[category]
        except (KeyError, TypeError) as error:
            what = str(error)[:MAX_NAME]
            raise InputError(
                f"{origin}: annotations[{index}] refers to nothing that the file has ({what})"
            ) from None
        caption = entry.get("caption")
        caption = _clean(caption) if isinstance(caption, str) else None
        id, box, segmentation = entry.get("id"), entry.get("bbox"), entry.get("segmentation") or None
        fault = _find_fault(box, segmentation)
        image.annotations.append(
            CocoAnnotation(
                str(id)[:MAX_NAME] if isinstance(id, int | str) else str(index),
                None if fault else box,
                None if fault else segmentation,
                name,
                caption or None,
                fault,
            )
        )
    return {image.name: image for image in images.values() if image.annotations}


def _find_fault(box: Any, segmentation: Any) -> str | None:
    """Says what is no box, or no mask; None: both are, or are not given."""
    if box is not None and not (_are_numbers(box) and len(box) == 4):
        return "its box is no list of four numbers"
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        sized = isinstance(size, list) and len(size) == 2 and _are_numbers(size)
        if not (sized and (isinstance(counts, str) or _are_numbers(counts))):
            return "its mask is no run-length encoding"
    elif segmentation is not None and not (
        isinstance(segmentation, list) and all(map(_are_numbers, segmentation))
    ):
        return "its outline is no list of polygons"
    return None


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {int, float}


def _table(
    content: dict[str, Any], name: str, origin: str, made: Callable[[dict[str, Any]], Any]
) -> dict[Any, Any]:
    table = {}
    for index, entry in enumerate(_list(content, name, origin)):
        try:
            if not isinstance(entry, dict):
                raise TypeError("it is no object")
            table[entry["id"]] = made(entry)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {str(error)[:MAX_NAME]}"
            raise InputError(f"{origin}: {name}[{index}] is not of the COCO format ({what})") from None
    return table


def _name(value: Any) -> str:
    if not isinstance(value, str | int | float) or len(str(value)) > MAX_NAME:
        raise ValueError(f"a name is text, of {MAX_NAME:,} characters at most")
    return _clean(str(value))


def _clean(text: str) -> str:
    """Replaces lone surrogates, which JSON may hold and no database takes."""
    return " ".join(text.encode("utf-8", "replace").decode().replace("\0", " ").split())


def _list(content: dict[str, Any], name: str, origin: str) -> list[Any]:
    value = content.get(name, [])
    if not isinstance(value, list):
        raise InputError(f'{origin}: "{name}" is not a list')
    return value


def _image(entry: dict[str, Any], origin: str) -> CocoImage:
    size = None
    if entry.get("width") and entry.get("height"):
        size = (_side(entry["width"]), _side(entry["height"]))
        if min(size) <= 0:
            raise ValueError(f"a size of {size}")
    if not isinstance(entry["file_name"], str):
        raise TypeError("a file_name is text")
    return CocoImage(origin, entry["file_name"], size)


def _side(value: Any) -> int:
    """Reads a side in pixels; one that is infinite, or no number, is larger than any picture's."""
    try:
        return min(int(value), MAX_SIDE + 1)
    except (OverflowError, ValueError):
        return MAX_SIDE + 1


def _work(segmentation: Any, declared: tuple[int, int], actual: tuple[int, int]) -> float:
    """Returns what it costs to make the mask, beyond what a mask of the photo's size costs, in pixels."""
    if isinstance(segmentation, dict):
        return float(max(0, declared[0] * declared[1] - actual[0] * actual[1]))
    rise = 0.0
    for polygon in segmentation or ():
        ys = np.asarray(polygon[1::2], float).clip(0, declared[1])
        rise += float(np.abs(np.diff(ys, append=ys[:1])).sum())
    return CROSSING_WORK * rise * actual[1] / declared[1] if np.isfinite(rise) else 0.0


def _region(
    annotation: CocoAnnotation, declared: tuple[int, int], actual: tuple[int, int], scale: tuple[float, float]
) -> NewRegion | None:
    mask = _mask(annotation.segmentation, declared, actual) if annotation.segmentation else None
    if mask is not None and not mask.any():
        if annotation.box is None:
            raise ValueError("its mask is empty")
        mask = None  # COCO has objects thinner than a pixel
    if annotation.box is not None:
        x, y, w, h = (float(value) for value in annotation.box)
        if mask is None and not (x or y or w or h) and annotation.caption:
            return None  # what some tools write for a caption of the whole image
        box = clip_box(x * scale[0], y * scale[1], w * scale[0], h * scale[1], *actual)
    elif mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    elif annotation.caption:
        return None
    else:
        raise ValueError("it has neither a box, nor a mask, nor a caption")
    text = None if mask is None else json.dumps(masks.encode(mask), separators=(",", ":"))
    return NewRegion(box, "annotation", annotation.category, text)


def _mask(segmentation: Any, declared: tuple[int, int], actual: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [declared[1], declared[0]]:
            raise ValueError(
                f"its mask has the size {segmentation.get('size')}, not [{declared[1]}, {declared[0]}]"
            )
        mask = masks.decode(segmentation)
        if declared != actual:
            columns, rows = (
                ((np.arange(new) + 0.5) * (old / new)).astype(int)
                for old, new in zip(declared, actual, strict=True)
            )
            mask = mask[np.ix_(rows, columns)]
    else:
        corner_count = sum(len(polygon) for polygon in segmentation) / 2
        if corner_count > MAX_CORNERS or len(segmentation) > MAX_POLYGONS:
            raise ValueError(f"its outline has {corner_count:,.0f} corners in {len(segmentation):,} polygons")
        mask = np.zeros(actual[::-1], bool)
        for polygon in segmentation:
            corners = np.asarray(polygon, float).reshape(-1, 2) * np.divide(actual, declared)
            if len(corners) < 3 or not np.isfinite(corners).all():
                raise ValueError("a polygon of fewer than three corners")
            if (corners < -1).any() or (corners > np.add(actual, 1)).any():
                raise ValueError("a polygon leaves the picture")
            masks.fill(mask, corners)
    return mask
