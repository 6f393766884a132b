"""Regions and captions that a user has in the JSON format of COCO (cocodataset.org, format-data)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One entry of `annotations`: [x, y, w, h] or None, polygons or run-lengths or None. `faults` say what of
    it was none."""

    id: str
    box: list[float] | None
    segmentation: Any
    category: str | None
    caption: str | None
    faults: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[Any, ...]:
        return (self.box, self.segmentation, self.category, self.caption, *self.faults)


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
        if abs(width / declared[0] / (height / declared[1]) - 1) > 0.01:
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
            place = f"{self.origin}, annotation {annotation.id} of {self.name}"
            told = list(annotation.faults)
            work += _work(annotation.segmentation, declared, (width, height))
            try:
                region = _region(annotation, declared, (width, height), work, told)
            except (PromptError, ValueError, TypeError, OverflowError) as error:
                told += [str(error)] if str(error) not in told else []
                faults.append(f"{place}: {'; '.join(told)}: left out")
                continue
            faults += [f"{place}: {fault}: the rest of it is used" for fault in told]
            if annotation.caption:
                captions.append(
                    NewCaption(annotation.caption, "annotation", len(regions) if region else None)
                )
            if region:
                regions.append(region)
        return FittedAnnotations(tuple(regions), tuple(captions), tuple(faults))


def read_annotations(path: str | os.PathLike[str]) -> tuple[dict[str, CocoImage], list[str]]:
    """Reads annotations, by the `file_name` of their images, and sentences on what was left out.

    Raises:
        InputError: the file cannot be read or is not of the COCO format.
    """
    origin = printable(os.fspath(path))
    content = _read_json(path, origin)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f'{origin}: not COCO JSON: it needs the lists "images" and "annotations"')
    faults = _Faults(origin)
    categories = _table(content, "categories", faults, lambda entry: _name(entry["name"]))
    images = _images(content, faults)
    for index, entry in enumerate(_list(content, "annotations", origin)):
        _add(entry, index, images, categories, faults)
    return {image.name: image for image in images.values() if image and image.annotations}, faults.told()


class _Faults:
    """What is wrong with a file, each kind told once with how often and an example."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        self._found.setdefault(kind, []).append(example)

    def told(self) -> list[str]:
        return [
            f"{self.origin}: {kind}: {examples[0]}{_and_more(len(examples) - 1)}"
            for kind, examples in self._found.items()
        ]


def _and_more(count: int) -> str:
    return f", and {count:,} more" if count else ""


def _read_json(path: str | os.PathLike[str], origin: str) -> Any:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            is_long = os.fstat(stream.fileno()).st_size > MAX_CHARACTERS
            text = "" if is_long else stream.read(MAX_CHARACTERS + 1)
        if is_long or len(text) > MAX_CHARACTERS or text.count("[") + text.count("{") > MAX_PARTS:
            raise InputError(
                f"{origin}: more than {MAX_CHARACTERS:,} characters or {MAX_PARTS:,} lists: split it"
            )
        return json.loads(text, parse_int=read_number)
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}: name a file of annotations") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin}: not JSON ({error})") from None


def _add(
    entry: Any,
    index: int,
    images: dict[Any, CocoImage | None],
    categories: dict[Any, str | None],
    faults: _Faults,
) -> None:
    """Adds an entry of `annotations` to its image."""
    if not isinstance(entry, dict):
        return faults.add("no annotations, and left out", f"annotations[{index}]")
    id = entry.get("id")
    id = str(id)[:MAX_NAME] if isinstance(id, int | str) else str(index)
    try:
        image = images[entry["image_id"]]
    except (KeyError, TypeError):
        return faults.add("annotations of no image that the file has, left out", f"annotation {id}")
    if image is None:
        return faults.add("annotations of an image whose id is not its own, left out", f"annotation {id}")
    category = None
    if entry.get("category_id") is not None:
        try:
            category = categories[entry["category_id"]]
        except (KeyError, TypeError):
            faults.add("annotations of an unknown category, taken without it", f"annotation {id}")
    caption = entry.get("caption")
    caption = _clean(caption) if isinstance(caption, str) else None
    box, segmentation = entry.get("bbox"), entry.get("segmentation") or None
    odd = []
    if box is not None and not (_are_numbers(box) and len(box) == 4):
        box = None
        odd.append("its box is no list of four numbers")
    if _are_numbers(segmentation):
        segmentation = [segmentation]  # one polygon, as some tools write it
    fault = _find_fault(segmentation)
    if fault:
        segmentation = None
        odd.append(fault)
    image.annotations.append(CocoAnnotation(id, box, segmentation, category, caption or None, tuple(odd)))
    return None


def _find_fault(segmentation: Any) -> str | None:
    """Says what is no mask; None: it is one, or is not given."""
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
    content: dict[str, Any], name: str, faults: _Faults, made: Callable[[dict[str, Any]], T]
) -> dict[Any, T | None]:
    """Reads a list of things by their ids; None stands for an id that different things have."""
    table: dict[Any, T | None] = {}
    for index, entry in enumerate(_list(content, name, faults.origin)):
        try:
            if not isinstance(entry, dict):
                raise TypeError("it is no object")
            id, thing = entry["id"], made(entry)
            is_new = table.setdefault(id, thing) == thing
        except (KeyError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {str(error)[:MAX_NAME]}"
            faults.add(f"{name} not of the COCO format, left out", f"{name}[{index}] ({what})")
            continue
        if not is_new:
            faults.add(f"{name} that share an id, left out", f"id {str(id)[:MAX_NAME]}")
            table[id] = None
    return table


def _images(content: dict[str, Any], faults: _Faults) -> dict[Any, CocoImage | None]:
    """Reads the images by their ids. One that is listed under several has all annotations of these."""
    images = _table(content, "images", faults, lambda entry: _image(entry, faults.origin))
    by_name: dict[str, CocoImage] = {}
    for id, image in images.items():
        if image is None:
            continue
        first = by_name.setdefault(image.name, image)
        if first.size == image.size:
            images[id] = first
        else:
            faults.add("images listed again with another size, left out", image.name)
            images[id] = None
    return images


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
    annotation: CocoAnnotation,
    declared: tuple[int, int],
    actual: tuple[int, int],
    work: float,
    told: list[str],
) -> NewRegion | None:
    """Makes a region of what is sound of a box and a mask; None: it is about the whole image. What is not is
    `told`, as long as the other is. `work` is that of all masks up to this one."""
    mask = box = None
    if annotation.segmentation:
        try:
            if work > MAX_WORK:
                raise ValueError("the masks of this image take too much work")
            mask = _mask(annotation.segmentation, declared, actual, told)
        except (ValueError, TypeError, OverflowError) as error:
            told.append(str(error))
    if mask is not None and not mask.any():
        if annotation.box is None:
            raise ValueError("its mask is empty")
        mask = None  # COCO has objects thinner than a pixel
    if annotation.box is not None:
        x, y, w, h = (float(value) for value in annotation.box)
        if mask is None and not (x or y or w or h) and annotation.caption:
            return None  # what some tools write for a caption of the whole image
        scale = actual[0] / declared[0], actual[1] / declared[1]
        try:
            box = clip_box(x * scale[0], y * scale[1], w * scale[0], h * scale[1], *actual, max(scale))
        except PromptError as error:
            if mask is None:
                raise
            told.append(str(error))
    if box is None and mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    if box is None:
        if annotation.caption and not told:
            return None
        raise ValueError(told[-1] if told else "it has neither a box, nor a mask, nor a caption")
    text = None if mask is None else json.dumps(masks.encode(mask), separators=(",", ":"))
    return NewRegion(box, "annotation", annotation.category, text)


def _mask(
    segmentation: Any, declared: tuple[int, int], actual: tuple[int, int], told: list[str]
) -> np.ndarray:
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
        odd = []
        for polygon in filter(None, segmentation):
            fault = _draw(mask, polygon, declared, actual)
            if fault:
                odd.append(fault)
        if odd and not mask.any():
            raise ValueError(odd[0])
        told += odd[:1]
    return mask


def _draw(
    mask: np.ndarray, polygon: list[float], declared: tuple[int, int], actual: tuple[int, int]
) -> str | None:
    """Draws a polygon, or says why it is none."""
    if len(polygon) % 2 or len(polygon) < 6:
        return "a polygon of fewer than three corners"
    corners = np.asarray(polygon, float).reshape(-1, 2) * np.divide(actual, declared)
    if not np.isfinite(corners).all():
        return "a polygon of infinite corners"
    if (corners < -1).any() or (corners > np.add(actual, 1)).any():
        return "a polygon leaves the picture"
    masks.fill(mask, corners)
    return None
