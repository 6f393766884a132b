"""Finds the photos that words mean: `virtue evaluate people`, `colours`, `hypernyms`.

PHOTOS is the set that `virtue.evaluation.real_photos` builds. `data/people.json`, `data/colours.json` and
`data/hypernyms.json` hold words, the photos that are right (labelled by looking at them), and those of which
one may say either, which are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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

KINDS = ("people", "colours", "hypernyms")


def places(found: Sequence[str], right: set[str], either: set[str]) -> list[int]:
    """Lists at which places, from 1, the right photos come, when those in `either` are passed over."""
    counted = [photo for photo in found if photo not in either]
    return [place for place, photo in enumerate(counted, 1) if photo in right]


def average_precision(at: Sequence[float], right: int) -> float:
    """Computes the mean of the precisions at the places of the right photos; one not found counts as none."""
    return sum(number / place for number, place in enumerate(at, 1)) / right


def evaluate(
    folder: Path,
    kind: str,
    labels: Sequence[dict[str, Any]],
    each: bool = False,
    model: str = "mini",
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes recall@1, recall@5 and the mean of average precisions, over queries that rank all photos.

    Args:
        kind: what the words are, for the result's name.
        labels: words, right (names of photos), either (names of photos, if any).
        each: list every query too.
        cache: a folder where places are kept, to go on after an interruption; None: nowhere.
        tell: called with how many queries are done, and of how many.
    """
    photos = photo_paths(folder)
    check_photos({name for label in labels for name in label["right"] + label.get("either", [])}, photos)

    def search(todo: list[int]) -> Iterator[list[int]]:
        with indexed(photos, model) as door:
            for number in todo:
                label = labels[number]
                names = [hit["photo"] for hit in door.search(label["words"], top=len(photos))]
                yield places(names, set(label["right"]), set(label.get("either", ())))

    fingerprint, content = fingerprint_of(model), digest_of_photos(photos)
    keys = [(content, label["words"], label["right"], label.get("either", [])) for label in labels]
    found = open_outcomes(cache, "words", fingerprint).fill(keys, search, tell)
    firsts = [at[0] if at else math.inf for at in found]
    precisions = [average_precision(at, len(label["right"])) for at, label in zip(found, labels, strict=True)]
    figures = {
        "recall@1": Measured.of([float(first <= 1) for first in firsts]),
        "recall@5": Measured.of([float(first <= 5) for first in firsts]),
        "mean_average_precision": Measured.of(precisions),
    }
    rows = [
        {"words": label["words"], "first": int(at[0]) if at else None, "average_precision": precision}
        for label, at, precision in zip(labels, found, precisions, strict=True)
    ]
    facts = {"photos": len(photos), "fingerprint": fingerprint}
    return Findings(kind, figures, facts | ({"each": rows} if each else {}))
