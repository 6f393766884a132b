"""Finds photos by what is written in them: python -m virtue.evaluation.written PHOTOS

PHOTOS is the set that `virtue.evaluation.real_photos` builds. `data/written.json` holds words that can be
read in a photo, and names the photos that show no letters at all, where nothing should be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from virtue.evaluation.front_door import check_photos, indexed, make_parser, print_answer, read_labels
from virtue.evaluation.rows import photo_paths


def evaluate(folder: Path, labels: dict[str, Any], each: bool = False) -> dict[str, Any]:
    """Computes at which places photos come for what is written in them, and what is read where nothing is.

    Args:
        labels: queries (words, and the photo in which they can be read) and without_text (names of photos).
        each: list every query too.
    """
    photos = photo_paths(folder)
    queries, blank = labels["queries"], labels["without_text"]
    check_photos({*(query["photo"] for query in queries), *blank}, photos)
    rows = []
    with indexed(photos) as door:
        for query in queries:
            names = [hit["photo"] for hit in door.search(query["words"], top=len(photos))]
            place = names.index(query["photo"]) + 1 if query["photo"] in names else None
            rows.append({**query, "place": place})
        captions = door.captions()
    misread = {photo: lines for photo, lines in captions.items() if photo in blank}
    places = np.array([row["place"] or np.inf for row in rows])
    found: dict[str, Any] = {
        "photos": len(photos),
        "queries": len(rows),
        "first": int((places <= 1).sum()),
        "among_five": int((places <= 5).sum()),
        "without_text": len(blank),
        "misread": misread,
    }
    return found | ({"each": rows} if each else {})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", action="store_true", help="list every query")
    print_answer(parser, lambda given: evaluate(given.folder, read_labels("written"), given.each))


if __name__ == "__main__":
    main()
