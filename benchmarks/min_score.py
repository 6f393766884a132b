"""Whether `--min-score auto` tells what fits from what does not: python -m benchmarks.min_score FOLDER

Indexes the photos of a folder (`virtue.evaluation.sample_photos` builds one with texts.csv), asks with texts
and with details cut out of the photos, and compares rules that cut the ten best hits of each search: the
precision of what each keeps and of what it cuts, and how many of the right hits among the ten it loses. Then
each search is made again without the photos that are right: the less is kept of what is left, the better.
Prints one JSON object a rule and kind of query.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from virtue import Library
from virtue.evaluation.details import cut_details
from virtue.evaluation.rows import photo_paths
from virtue.evaluation.texts import read_texts
from virtue.retrieval.sureness_levels import LIKELY, POSSIBLE

TOP = 10
MANY = 100
"""Hits of a search, so that there are enough without the right ones."""


class Search(NamedTuple):
    """The scores and percentiles of all photos, best first, and which of them are right."""

    scores: np.ndarray
    percentiles: np.ndarray
    right: np.ndarray

    def only(self, chosen: np.ndarray) -> Search:
        return Search(*(values[chosen] for values in self))


Rule = Callable[[Search], np.ndarray]
"""A search -> which of its hits to keep."""


def rules() -> Iterator[tuple[str, Rule]]:
    yield "all", lambda found: np.ones(len(found.scores), bool)
    for least in (30, POSSIBLE, 75, LIKELY):
        name = f"auto: percentile {least:g}" if least == POSSIBLE else f"percentile {least:g}"
        yield name, lambda found, least=least: found.percentiles >= least
    for share in (0.8, 0.85, 0.9):
        yield f"{share} of the best", lambda found, share=share: found.scores >= share * found.scores[0]
    yield f"widest gap of {TOP}", lambda found: found.scores >= _widest(found.scores[:TOP])
    yield "two classes of 20 (Otsu)", lambda found: found.scores >= _otsu(found.scores[:20])


def _widest(scores: np.ndarray) -> float:
    return float(scores[np.argmax(scores[:-1] - scores[1:])])


def _otsu(scores: np.ndarray) -> float:
    """N. Otsu, "A threshold selection method from gray-level histograms", 1979."""
    counts = np.arange(1, len(scores))
    above = np.cumsum(scores)[:-1]
    apart = above / counts - (scores.sum() - above) / (len(scores) - counts)
    return float(scores[np.argmax(counts * (len(scores) - counts) * apart**2)])


def searches(library: Library, queries: Sequence[tuple[Any, set[bytes]]]) -> list[Search]:
    made = []
    for query, right in queries:
        hits = library.search(query, find="photos", top=MANY)
        scores, percentiles = np.array([(hit.score, hit.percentile) for hit in hits], float).T
        made.append(Search(scores, percentiles, np.array([hit.raw_path in right for hit in hits])))
    return made


def measure(made: Sequence[Search], rule: Rule) -> dict[str, float]:
    kept = right_kept = right = absent = empty = 0
    for found in made:
        fits = rule(found)[:TOP]
        kept += int(fits.sum())
        right_kept += int((fits & found.right[:TOP]).sum())
        right += int(found.right[:TOP].sum())
        left = int(rule(found.only(~found.right))[:TOP].sum())
        absent += left
        empty += left == 0
    count = len(made)
    cut = TOP * count - kept
    return {
        "searches": count,
        "kept": round(kept / count, 2),
        "precision_kept": round(right_kept / max(1, kept), 3),
        "precision_cut": round((right - right_kept) / max(1, cut), 4),
        "right": right,
        "right_lost": right - right_kept,
        "kept_without_the_right": round(absent / count, 2),
        "nothing_kept_without_the_right": round(empty / count, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--details", type=int, default=106)
    parser.add_argument("--seed", type=int, default=11, help="of the details; the rule was chosen on 3")
    given = parser.parse_args()
    paths = photo_paths(given.folder)
    names = [bytes(path.absolute()) for path in paths]
    texts = [(text, {names[n] for n in right}) for text, right in read_texts(given.folder, paths).items()]
    details = [(d, {names[n]}) for n, d in cut_details(paths, given.details, given.seed)]
    with tempfile.TemporaryDirectory() as folder, Library(folder) as library:
        library.index(given.folder)
        for kind, queries in (("text", texts), ("image", details)):
            made = searches(library, queries)
            for name, rule in rules():
                print(json.dumps({"asked": kind, "rule": name, **measure(made, rule)}), flush=True)


if __name__ == "__main__":
    main()
