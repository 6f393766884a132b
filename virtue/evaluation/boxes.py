"""Compares boxes drawn by hand with the boxes shown for words: `virtue evaluate boxes`.

PHOTOS is the set that `virtue.evaluation.real_photos` builds. The words of each box in `data/boxes.json` are
searched for in its photo alone (`--where "path = ..."`), since the question is which box the hit shows, not
which photo comes first. Half of the boxes are of things among COCO's 80 classes. Photos belong to half a or b
by the hash of their names: constants are chosen on half a, and what they are worth is reported on half b.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from virtue.errors import InputError
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.front_door import (
    check_photos,
    digest_of_photos,
    fingerprint_of,
    indexed,
    open_outcomes,
)
from virtue.evaluation.measures import Measured
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


def summarize(rows: Sequence[dict[str, Any]], prefix: str = "") -> dict[str, Measured]:
    """Measures the mean overlap of boxes, and the share of those that overlap by `GOOD` or more."""
    overlaps, photos = np.array([row["iou"] for row in rows]), [row["photo"] for row in rows]
    return {
        f"{prefix}mean_iou": Measured.of(overlaps, photos),
        f"{prefix}share_half": Measured.of((overlaps >= GOOD).astype(float), photos),
    }


def evaluate(
    folder: Path,
    labels: Sequence[dict[str, Any]],
    half: str = "all",
    each: bool = False,
    model: str = "mini",
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes mean intersection over union, and the share of boxes where it is at least a half.

    Args:
        labels: photo (its name), size (w, h), words, box (x, y, w, h), and coco, whether it is one of COCO's.
        half: a, b or all.
        each: list every box too.
        cache: a folder where shown boxes are kept, to go on after an interruption; None: nowhere.
        tell: called with how many boxes are looked at, and of how many.
    """
    labels = [label for label in labels if half in ("all", half_of(label["photo"]))]
    photos = photo_paths(folder)
    check_photos({label["photo"] for label in labels}, photos)
    check_sizes(labels, photos)

    def search(todo: list[int]) -> Iterator[list[float]]:
        with indexed(photos, model) as door:
            for number in todo:
                label = labels[number]
                hits = door.search(label["words"], top=1, photo=label["photo"])
                yield hits[0]["box"] if hits else []

    fingerprint, content = fingerprint_of(model), digest_of_photos(photos)
    keys = [(content, label["photo"], label["words"]) for label in labels]
    rows = []
    for label, shown in zip(
        labels, open_outcomes(cache, "boxes", fingerprint).fill(keys, search, tell), strict=True
    ):
        iou = overlap(label["box"], shown) if shown else 0.0
        rows.append({**label, "shown": shown or None, "iou": round(iou, 3)})
    figures = summarize(rows)
    for prefix, wanted in (("of_coco_", True), ("others_", False)):
        part = [row for row in rows if row["coco"] is wanted]
        if part:
            figures |= summarize(part, prefix)
    facts = {"photos": len({row["photo"] for row in rows}), "half": half, "fingerprint": fingerprint}
    return Findings("boxes", figures, facts | ({"each": rows} if each else {}))
