"""Finds the photo that a detail was cut out of: `virtue evaluate details`.

Takes any folder of photos; needs no labels. Each detail is a square of 72 to 88 pixels as seen with the
photo's long side at 512 pixels, cut from the photo as it is; of a few places the richest in edges is
taken, since nobody asks for a piece of sky.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from virtue.embedder import Embedder
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.outcomes import Outcomes, digest_of_file
from virtue.evaluation.rows import REGIONS, readable_photos, recall, same_photos, score_photos
from virtue.pictures import Picture, load

SMALLEST, LARGEST = 72 / 512, 88 / 512
PLACES = 4


def cut_details(paths: Sequence[Path], count: int, seed: int) -> Iterator[tuple[int, Picture]]:
    """Cuts details out of photos: `count` pairs of (photo's index, detail), spread evenly over the photos."""
    rng = random.Random(seed)
    for index in _deal(rng, len(paths), count):
        photo = load(paths[index])
        side = max(round(rng.uniform(SMALLEST, LARGEST) * max(photo.pixels.shape[:2])), 1)
        pieces = [_piece(photo.pixels, side, rng) for _ in range(PLACES)]
        pixels = np.ascontiguousarray(max(pieces, key=_edges))
        yield index, Picture(pixels, pixels.shape[1], pixels.shape[0])


def detail_owners(photos: int, count: int, seed: int) -> list[int]:
    """Lists out of which of the photos the details of `cut_details` are cut."""
    return _deal(random.Random(seed), photos, count)


def _deal(rng: random.Random, photos: int, count: int) -> list[int]:
    turns = list(range(photos))
    rng.shuffle(turns)
    return [turns[turn % photos] for turn in range(count)]


def _piece(pixels: np.ndarray, side: int, rng: random.Random) -> np.ndarray:
    height, width = pixels.shape[:2]
    left, top = rng.randint(0, max(width - side, 0)), rng.randint(0, max(height - side, 0))
    return pixels[top : top + side, left : left + side]


def _edges(pixels: np.ndarray) -> float:
    gray = pixels.mean(axis=2)
    return float(np.abs(np.diff(gray, axis=0)).sum() + np.abs(np.diff(gray, axis=1)).sum()) / gray.size


def evaluate(
    embedder: Embedder,
    folder: Path,
    count: int = 106,
    regions: int = REGIONS,
    seed: int = 3,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes how often a detail finds its photo first, and among the first five.

    Args:
        cache: a folder where scores are kept, to go on after an interruption; None: nowhere.
        tell: called with how many photos are scored, and of how many.
    """
    paths, bad = readable_photos(folder)
    outcomes = Outcomes(cache, "details", embedder.fingerprint, embedder.dtype, regions)
    scores, rows = score_photos(
        embedder,
        paths,
        lambda: [embedder.query(detail) for _, detail in cut_details(paths, count, seed)],
        (count, seed, [digest_of_file(path) for path in paths]),
        outcomes,
        regions=regions,
        tell=tell,
    )
    same = same_photos(paths)
    right = [same[owner] for owner in detail_owners(len(paths), count, seed)]
    facts = {"photos": len(paths), "rows_per_photo": round(rows, 1)}
    return Findings("details", recall(scores, right), facts, bad)
