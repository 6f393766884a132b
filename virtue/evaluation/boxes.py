"""Compares boxes drawn by hand with the boxes shown for words: python -m virtue.evaluation.boxes PHOTOS

PHOTOS is the set that `virtue.evaluation.real_photos` builds. The words of each box in `data/boxes.json` are
searched for in its photo alone (`--where "path = ..."`), since the question is which box the hit shows, not
which photo comes first. Half of the boxes are of things among COCO's 80 classes. Photos belong to half a or b
by the hash of their names: constants are chosen on half a, and what they are worth is reported on half b.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from virtue.errors import InputError
from virtue.evaluation.front_door import check_photos, indexed, make_parser, print_answer, read_labels
from virtue.evaluation.rows import photo_paths

GOOD = 0.5
"""The least intersection over union at which a box counts as found."""


def half_of(photo: str) -> str:
    """Says to which half a photo belongs, a or b."""
    return "ab"[hashlib.sha256(photo.encode()).digest()[0] % 2]


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Computes intersection over union of two boxes x, y, w, h."""
    (x, y, w, h), (u, v, s, t) = box, other
    width = max(min(x + w, u + s) - max(x, u), 0)
    height = max(min(y + h, v + t) - max(y, v), 0)
    shared = width * height
    return shared / (w * h + s * t - shared)


def check_sizes(labels: Sequence[dict[str, Any]], photos: Sequence[Path]) -> None:
    """Checks that the photos are as large as those on which the boxes were drawn.

    Raises:
        InputError: one is not.
    """
    sizes = {label["photo"]: label["size"] for label in labels}
    for photo in photos:
        if photo.name in sizes:
            with Image.open(photo) as image:
                size = list(image.size)
            if size != sizes[photo.name]:
                raise InputError(f"{photo} is {size}, but its boxes were drawn at {sizes[photo.name]}")


def summarize(overlaps: Sequence[float]) -> dict[str, float]:
    found = np.array(overlaps)
    return {
        "boxes": len(found),
        "mean_iou": round(float(found.mean()), 3),
        "share_half": round(float((found >= GOOD).mean()), 3),
    }


def evaluate(
    folder: Path, labels: Sequence[dict[str, Any]], half: str = "all", each: bool = False
) -> dict[str, Any]:
    """Computes mean intersection over union, and the share of boxes where it is at least a half.

    Args:
        labels: photo (its name), size (w, h), words, box (x, y, w, h), and coco, whether it is one of COCO's.
        half: a, b or all.
        each: list every box too.
    """
    labels = [label for label in labels if half in ("all", half_of(label["photo"]))]
    photos = photo_paths(folder)
    check_photos({label["photo"] for label in labels}, photos)
    check_sizes(labels, photos)
    rows = []
    with indexed(photos) as door:
        for label in labels:
            hits = door.search(label["words"], top=1, photo=label["photo"])
            shown = hits[0]["box"] if hits else None
            iou = overlap(label["box"], shown) if shown else 0.0
            rows.append({**label, "shown": shown, "iou": round(iou, 3)})
    found: dict[str, Any] = {"photos": len({row["photo"] for row in rows}), "half": half}
    found |= summarize([row["iou"] for row in rows])
    for name, wanted in (("of_coco", True), ("others", False)):
        part = [row["iou"] for row in rows if row["coco"] is wanted]
        if part:
            found[name] = summarize(part)
    return found | ({"each": rows} if each else {})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=("a", "b", "all"), default="all", help="half of the photos")
    parser.add_argument("--each", action="store_true", help="list every box")
    print_answer(parser, lambda given: evaluate(given.folder, read_labels("boxes"), given.half, given.each))


if __name__ == "__main__":
    main()
