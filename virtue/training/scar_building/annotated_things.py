"""Things that COCO JSON annotates: each with its box, its picture, and what else is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtue.errors import InputError, PictureError, PromptError
from virtue.geometry import Box
from virtue.indexer.annotations import CocoImage, read_annotations
from virtue.paths import printable
from virtue.pictures import open_image

PER_PICTURE = 5
"""Things of a picture that are described, the largest first, as in the paper."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An annotated thing.

    Attributes:
        id: its picture and the id of its annotation.
        picture: path of its picture; `name` is that relative to the folder of pictures.
        box: in pixels of the picture.
        category: what it is called.
        others: the categories and boxes of all other things in the picture.
        captions: what the file says of the whole picture.
    """

    id: str
    picture: Path
    name: str
    box: Box
    category: str
    others: tuple[tuple[str, Box], ...]
    captions: tuple[str, ...]


def read_things(annotations: Path, images: Path) -> tuple[list[Thing], list[str]]:
    """Reads the things that a file annotates, and sentences on what was left out.

    Raises:
        InputError: the file cannot be read, or nothing in it can be used.
    """
    pictures, faults = read_annotations(annotations)
    things: list[Thing] = []
    for image in pictures.values():
        try:
            things += _things_of(image, images, faults)
        except InputError as error:
            faults.append(f"{image.name}: {error}: left out")
    if not things:
        first = f" ({faults[0]})" if faults else ""
        raise InputError(
            f"{printable(os.fspath(annotations))} annotates nothing that can be used{first}: give COCO "
            "JSON with boxes and categories, and the folder of its pictures"
        )
    return things, faults


def _things_of(image: CocoImage, images: Path, faults: list[str]) -> Sequence[Thing]:
    path = images / image.name
    if not path.resolve().is_relative_to(images.resolve()) or not path.is_file():
        raise PictureError("the picture is not there")
    with open_image(path) as opened:
        size = opened.size
    if image.size and image.size != size:
        raise PictureError(
            f"it is {size[0]} x {size[1]} pixels, and was annotated at {image.size[0]} x {image.size[1]}"
        )
    found: list[tuple[str, str, Box]] = []
    for each in image.annotations:
        if each.box is None or each.category is None:
            continue
        try:
            found.append((each.id, each.category, Box.from_xywh(*each.box).within(*size)))
        except PromptError as error:
            faults.append(f"annotation {each.id} of {image.name}: {error}: left out")
    captions = tuple(each.caption for each in image.annotations if each.caption and each.box is None)
    largest = sorted(found, key=lambda one: -one[2].area)[:PER_PICTURE]
    return [
        Thing(
            f"{image.name}#{one[0]}",
            path,
            image.name,
            one[2],
            one[1],
            tuple(other[1:] for other in found if other is not one),
            captions,
        )
        for one in largest
    ]
