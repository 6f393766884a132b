"""Tells whether sureness tells what is there from what is not: `virtue evaluate sureness`.

Indexes copies of the photos of a folder (`virtue.evaluation.sample_photos` builds one), which have numbers
for names and no captions beside them, so that pictures alone decide. Looks at the first hit of searches,
made as `virtue search` makes them. What is there: the texts of `texts.csv`, and details cut out of the
photos. What is not: the words of `absent.txt`, one a line, that no photo shows; and each text and detail
once more, with the photos that are right left out by a filter. Prints the area under the ROC curve of what a
hit says of itself (0.5: nothing, 1: everything), with its 95 % bootstrap interval, and how many hits are
called what.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virtue.evaluation.details import cut_details, detail_owners
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.front_door import open_outcomes
from virtue.evaluation.measures import RESAMPLES, Measured, Numbers
from virtue.evaluation.outcomes import digest_of, digest_of_file
from virtue.evaluation.rows import readable_photos, same_photos
from virtue.evaluation.texts import read_texts
from virtue.library import Library
from virtue.retrieval.hit import Hit
from virtue.retrieval.sureness_levels import LEVELS

Facts = dict[str, Any]


def area_under_roc(there: np.ndarray, absent: np.ndarray) -> float:
    """Computes the share of pairs in which what is there has the higher value; ties count half."""
    higher = (there[:, None] > absent).mean()
    return float(higher + (there[:, None] == absent).mean() / 2)


def measure_area(there: np.ndarray, absent: np.ndarray, seed: int = 0) -> Measured:
    """Measures the area, and its interval by resampling the queries of either side."""
    rng = np.random.default_rng(seed)
    areas = [
        area_under_roc(rng.choice(there, len(there)), rng.choice(absent, len(absent)))
        for _ in range(RESAMPLES)
    ]
    return Measured(area_under_roc(there, absent), np.array(areas), len(there) + len(absent))


def compare(
    name: str, there: Sequence[Numbers], absent: Sequence[Numbers]
) -> tuple[dict[str, Measured], Facts]:
    """Compares first hits of what is there with first hits of what is not (`say`). Returns the areas, and how
    many hits are called what."""
    sides = [np.array([hit for hit in hits if hit], float).reshape(-1, 3) for hits in (there, absent)]
    figures = {}
    for column, figure in enumerate(("score", "percentile", "sureness")):
        sign = -1 if figure == "sureness" else 1  # the surest level is 0
        one, other = (sign * side[:, column] for side in sides)
        if len(one) and len(other):
            figures[f"{name}_{figure}"] = measure_area(one, other)
    called = {}
    for side, hits in zip(("there", "absent"), sides, strict=True):
        counts = Counter(LEVELS[int(level)] for level in hits[:, 2])
        called[side] = {level: counts[level] for level in LEVELS}
    return figures, {f"{name}_called": called}


def first_hit(library: Library, query: Any, left_out: Iterable[Path] = ()) -> Hit | None:
    """Returns the first hit of a query, among other photos than these."""
    hits = library.search(query, top=1, where=without(left_out) if left_out else None)
    return hits[0] if hits else None


def say(hit: Hit | None) -> list[float]:
    """Returns what a hit says of itself: score, percentile and the place of its level in `LEVELS`; [] of
    none."""
    if hit is None:
        return []
    return [hit.score, hit.percentile or 0.0, LEVELS.index(hit.sureness or "unsure")]


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


def evaluate(
    library: Library,
    folder: Path,
    copies: Path,
    details: int,
    seed: int,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Indexes copies of the photos of a folder in the new folder `copies`, and compares searches by kind of
    query.

    Args:
        cache: a folder where what hits say is kept, to go on after an interruption; None: nowhere.
        tell: called with how many searches are done, and of how many.
    """
    photos, bad = readable_photos(folder)
    paths = copy_numbered(photos, copies)
    texts, lost = read_texts(folder, photos)
    absent = folder / "absent.txt"
    words = absent.read_text("utf-8-sig", "replace").splitlines() if absent.is_file() else []
    same = same_photos(photos)
    owners = detail_owners(len(paths), details, seed)
    # Texts, or numbers of details; and the places of photos that are left out.
    groups: dict[str, list[tuple[str | int, set[int]]]] = {
        "texts": [(text, set()) for text in texts],
        "texts_left_out": list(texts.items()),
        "absent": [(word, set()) for word in words],
        "details": [(number, set()) for number in range(details)],
        "details_left_out": [(number, same[owner]) for number, owner in enumerate(owners)],
    }
    asked = [each for group in groups.values() for each in group]

    def search(todo: list[int]) -> Iterator[list[float]]:
        library.index(copies)
        pieces = [piece for _, piece in cut_details(paths, details, seed)]
        for number in todo:
            query, left_out = asked[number]
            value = pieces[query] if isinstance(query, int) else query
            yield say(first_hit(library, value, {paths[place] for place in left_out}))

    fingerprint, content = library.embedder.fingerprint, [digest_of_file(path) for path in paths]
    keys = [(digest_of(content, seed, details), query, sorted(left_out)) for query, left_out in asked]
    said = iter(open_outcomes(cache, "sureness", fingerprint).fill(keys, search, tell))
    found = {name: [next(said) for _ in group] for name, group in groups.items()}
    compared = [compare("texts_left_out", found["texts"], found["texts_left_out"])]
    if words:
        compared.append(compare("texts", found["texts"], found["absent"]))
    compared.append(compare("details_left_out", found["details"], found["details_left_out"]))
    figures = {name: figure for some, _ in compared for name, figure in some.items()}
    called = {name: levels for _, some in compared for name, levels in some.items()}
    return Findings("sureness", figures, {"photos": len(paths), **called}, [*bad, *lost])
