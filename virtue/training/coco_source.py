"""One's own regions and captions in COCO's JSON: a box finds its caption, a picture finds its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from virtue.errors import InputError
from virtue.geometry import Prompt
from virtue.indexer.annotations import read_annotations
from virtue.training.examples import Example, Side


class CocoSource:
    """Implements `Source`: a row for each annotation with a caption or a category. The query is the picture
    with the annotation's box, or the picture alone if it has none; the positive is the caption, else the
    category.

    Raises:
        InputError: the file cannot be read or is not of the COCO format.
    """

    is_cheap = True

    def __init__(self, file: Path, images: Path, *, weight: float = 1.0, limit: int | None = None) -> None:
        self.name = f"coco {file.stem}"
        self.weight = weight
        self._images = images
        annotated, self.faults = read_annotations(file)
        rows = [
            replace(image, annotations=[annotation])
            for image in annotated.values()
            for annotation in image.annotations
            if annotation.caption or annotation.category
        ]
        self._rows = rows[:limit]

    def __len__(self) -> int:
        return len(self._rows)

    def example(self, row: int) -> Example:
        image = self._rows[row]
        size = image.size
        if size is None:
            raise InputError(f"{self.name}: the image {image.name} has no width and height")
        (annotation,) = image.annotations
        if annotation.box:
            image = replace(image, annotations=[replace(annotation, segmentation=None)])
        width, height = size
        fitted = image.fit(width, height)
        if fitted.faults and not fitted.regions:
            raise InputError("; ".join(fitted.faults))
        prompt = Prompt(box=fitted.regions[0].box) if fitted.regions else None
        query = Side(image=self._images / image.name, prompt=prompt, drawn_at=size)
        return Example(query, Side(text=annotation.caption or annotation.category, instruction=""))
