"""Finds photos by what is written in them: `virtue evaluate written`.

PHOTOS is the set that `virtue.evaluation.real_photos` builds. `data/written.json` holds words that can be
read in a photo, and names the photos that show no letters at all, where nothing should be read.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def evaluate(
    folder: Path,
    labels: dict[str, Any],
    each: bool = False,
    model: str = "mini",
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes at which places photos come for what is written in them, and what is read where nothing is.

    Args:
        labels: queries (words, and the photo in which they can be read) and without_text (names of photos).
        each: list every query too.
        cache: a folder where places are kept, to go on after an interruption; None: nowhere.
        tell: called with how many queries are done, and of how many.
    """
    photos = photo_paths(folder)
    queries, blank = labels["queries"], labels["without_text"]
    check_photos({*(query["photo"] for query in queries), *blank}, photos)
    misread: dict[str, list[str]] = {}

    def search(todo: list[int]) -> Iterator[list[float]]:
        with indexed(photos, model) as door:
            for number in todo:
                if number == len(queries):
                    captions = door.captions()
                    misread.update({photo: captions[photo] for photo in blank if photo in captions})
                    yield [len(misread)]
                    continue
                query = queries[number]
                names = [hit["photo"] for hit in door.search(query["words"], top=len(photos))]
                yield [names.index(query["photo"]) + 1] if query["photo"] in names else []

    fingerprint, content = fingerprint_of(model), digest_of_photos(photos)
    keys = [*((content, query["words"], query["photo"]) for query in queries), (content, blank)]
    *found, (wrong,) = open_outcomes(cache, "written", fingerprint).fill(keys, search, tell)
    if wrong and not misread:  # the words themselves are not kept
        list(search([len(queries)]))
    rows = [{**query, "place": int(at[0]) if at else None} for query, at in zip(queries, found, strict=True)]
    hits = {
        f"recall@{rank}": [float(row["place"] is not None and row["place"] <= rank) for row in rows]
        for rank in (1, 5)
    }
    figures = {name: Measured.of(values) for name, values in hits.items() if values}
    if blank:
        figures["misread_without_text"] = Measured.of([float(photo in misread) for photo in blank])
    facts = {"photos": len(photos), "misread": misread, "fingerprint": fingerprint}
    return Findings("written", figures, facts | ({"each": rows} if each else {}))
