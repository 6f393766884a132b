"""Tells whether sureness tells what is there from what is not: python -m virtue.evaluation.sureness FOLDER

Indexes copies of the photos of a folder (`virtue.evaluation.sample_photos` builds one), which have numbers
for names and no captions beside them, so that pictures alone decide. Looks at the first hit of searches,
made as `virtue search` makes them. What is there: the texts of `texts.csv`, and details cut out of the
photos. What is not: the words of `absent.txt`, one a line, that no photo shows; and each text and detail
once more, with the photos that are right left out by a filter. Prints the area under the ROC curve of what a
hit says of itself (0.5: nothing, 1: everything), with its 95 % bootstrap interval, and how many hits are
called what.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virtue.escaping import escape_stderr
from virtue.evaluation.details import cut_details
from virtue.evaluation.rows import add_model_options, load_model, photo_paths
from virtue.evaluation.texts import read_texts
from virtue.library import Library
from virtue.retrieval.hit import Hit
from virtue.retrieval.sureness_levels import LEVELS

RESAMPLES = 1000
DETAILS = 106


def area_under_roc(there: np.ndarray, absent: np.ndarray) -> float:
    """Computes the share of pairs in which what is there has the higher value; ties count half."""
    higher = (there[:, None] > absent).mean()
    return float(higher + (there[:, None] == absent).mean() / 2)


def bootstrap(there: np.ndarray, absent: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % interval of the area, by resampling the queries of either side."""
    rng = np.random.default_rng(seed)
    areas = [
        area_under_roc(rng.choice(there, len(there)), rng.choice(absent, len(absent)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)


def compare(there: Sequence[Hit], absent: Sequence[Hit]) -> dict[str, Any]:
    """Compares first hits of what is there with first hits of what is not."""
    found: dict[str, Any] = {"there": len(there), "absent": len(absent)}
    for name, value in (
        ("score", lambda hit: hit.score),
        ("percentile", lambda hit: hit.percentile),
        ("sureness", lambda hit: -LEVELS.index(hit.sureness or "unsure")),
    ):
        sides = [np.array([value(hit) for hit in hits], float) for hits in (there, absent)]
        area = area_under_roc(sides[0], sides[1])
        found[name] = [round(number, 3) for number in (area, *bootstrap(sides[0], sides[1]))]
    for name, hits in (("called_there", there), ("called_absent", absent)):
        counts = Counter(hit.sureness for hit in hits)
        found[name] = {level: counts[level] for level in LEVELS}
    return found


def first_hits(library: Library, queries: Iterable[Any], left_out: Iterable[set[Path]] = ()) -> list[Hit]:
    """Returns the first hit of each query; with `left_out`, among other photos than these."""
    filters = [without(paths) for paths in left_out]
    pairs = zip(queries, filters, strict=True) if filters else ((query, None) for query in queries)
    return [hit for query, where in pairs for hit in library.search(query, top=1, where=where)]


def without(paths: Iterable[Path]) -> str:
    """Returns the filter that leaves these photos out."""
    quoted = ("'" + os.fspath(path).replace("'", "''") + "'" for path in sorted(paths))
    return f"not path in ({', '.join(quoted)})"


def copy_numbered(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Copies photos into a new folder, under their numbers."""
    folder.mkdir()
    copies = [folder / f"{number}{photo.suffix}" for number, photo in enumerate(photos)]
    for photo, copy in zip(photos, copies, strict=True):
        shutil.copyfile(photo, copy)
    return copies


def evaluate(library: Library, folder: Path, copies: Path, details: int, seed: int) -> dict[str, Any]:
    """Indexes copies of the photos of a folder in the new folder `copies`, and compares searches by kind of
    query."""
    photos = photo_paths(folder)
    paths = copy_numbered(photos, copies)
    library.index(copies)
    texts = {text: {paths[place] for place in right} for text, right in read_texts(folder, photos).items()}
    there = first_hits(library, texts)
    found = {"texts_left_out": compare(there, first_hits(library, texts, texts.values()))}
    absent = folder / "absent.txt"
    if absent.is_file():
        words = absent.read_text(encoding="utf-8").splitlines()
        found["texts"] = compare(there, first_hits(library, words))
    places, pieces = zip(*cut_details(paths, details, seed), strict=True)
    own = [{paths[place]} for place in places]
    found["details_left_out"] = compare(first_hits(library, pieces), first_hits(library, pieces, own))
    return {"photos": len(paths), **found}


def main() -> None:
    escape_stderr()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    add_model_options(parser)
    parser.add_argument("--details", type=int, default=DETAILS, help="details to cut")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with Library(place / "library", embedder=load_model(given)) as library:
            print(json.dumps(evaluate(library, given.folder, place / "photos", given.details, given.seed)))


if __name__ == "__main__":
    main()
