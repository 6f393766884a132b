"""Finds the photos that words mean: python -m virtue.evaluation.words people|colours|hypernyms PHOTOS

PHOTOS is the set that `virtue.evaluation.real_photos` builds. `data/people.json`, `data/colours.json` and
`data/hypernyms.json` hold words, the photos that are right (labelled by looking at them), and those of which
one may say either, which are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virtue.evaluation.front_door import check_photos, indexed, make_parser, print_answer, read_labels
from virtue.evaluation.rows import photo_paths

KINDS = ("people", "colours", "hypernyms")


def places(found: Sequence[str], right: set[str], either: set[str]) -> list[int]:
    """Lists at which places, from 1, the right photos come, when those in `either` are passed over."""
    counted = [photo for photo in found if photo not in either]
    return [place for place, photo in enumerate(counted, 1) if photo in right]


def average_precision(at: Sequence[int], right: int) -> float:
    """Computes the mean of the precisions at the places of the right photos; one not found counts as none."""
    return sum(number / place for number, place in enumerate(at, 1)) / right


def evaluate(folder: Path, labels: Sequence[dict[str, Any]], each: bool = False) -> dict[str, Any]:
    """Computes recall@1, recall@5 and the mean of average precisions, over queries that rank all photos.

    Args:
        labels: words, right (names of photos), either (names of photos, if any).
        each: list every query too.
    """
    photos = photo_paths(folder)
    check_photos({name for label in labels for name in label["right"] + label.get("either", [])}, photos)
    rows = []
    with indexed(photos) as door:
        for label in labels:
            hits = door.search(label["words"], top=len(photos))
            at = places([hit["photo"] for hit in hits], set(label["right"]), set(label.get("either", ())))
            precision = average_precision(at, len(label["right"]))
            first = at[0] if at else None
            rows.append({"words": label["words"], "first": first, "average_precision": round(precision, 3)})
    firsts = np.array([row["first"] or np.inf for row in rows])
    found: dict[str, Any] = {
        "photos": len(photos),
        "queries": len(rows),
        "recall@1": round(float((firsts <= 1).mean()), 3),
        "recall@5": round(float((firsts <= 5).mean()), 3),
        "mean_average_precision": round(float(np.mean([row["average_precision"] for row in rows])), 3),
    }
    return found | ({"each": rows} if each else {})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("kind", choices=KINDS, help="which queries")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", action="store_true", help="list every query")
    print_answer(parser, lambda given: evaluate(given.folder, read_labels(given.kind), given.each))


if __name__ == "__main__":
    main()
