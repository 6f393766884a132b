"""Finds the photo that a detail was cut out of: python -m virtue.evaluation.details FOLDER

Takes any folder of photos; needs no labels. Each detail is a square of 72 to 88 pixels as seen with the
photo's long side at 512 pixels, cut from the photo as it is; of a few places the richest in edges is
taken, since nobody asks for a piece of sky.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from virtue.embedder import Embedder
from virtue.escaping import escape_stderr
from virtue.evaluation.rows import (
    REGIONS,
    add_model_options,
    embed_photos,
    load_model,
    photo_paths,
    recall,
)
from virtue.pictures import Picture, load

SMALLEST, LARGEST = 72 / 512, 88 / 512
PLACES = 4


def cut_details(paths: Sequence[Path], count: int, seed: int) -> Iterator[tuple[int, Picture]]:
    """Cuts details out of photos: `count` pairs of (photo's index, detail), spread evenly over the photos."""
    rng = random.Random(seed)
    turns = list(range(len(paths)))
    rng.shuffle(turns)
    for turn in range(count):
        index = turns[turn % len(turns)]
        photo = load(paths[index])
        side = max(round(rng.uniform(SMALLEST, LARGEST) * max(photo.pixels.shape[:2])), 1)
        pieces = [_piece(photo.pixels, side, rng) for _ in range(PLACES)]
        pixels = np.ascontiguousarray(max(pieces, key=_edges))
        yield index, Picture(pixels, pixels.shape[1], pixels.shape[0])


def _piece(pixels: np.ndarray, side: int, rng: random.Random) -> np.ndarray:
    height, width = pixels.shape[:2]
    left, top = rng.randint(0, max(width - side, 0)), rng.randint(0, max(height - side, 0))
    return pixels[top : top + side, left : left + side]


def _edges(pixels: np.ndarray) -> float:
    gray = pixels.mean(axis=2)
    return float(np.abs(np.diff(gray, axis=0)).sum() + np.abs(np.diff(gray, axis=1)).sum()) / gray.size


def evaluate(
    embedder: Embedder, folder: Path, count: int = 106, regions: int = REGIONS, seed: int = 3
) -> dict[str, float]:
    paths = photo_paths(folder)
    rows = embed_photos(embedder, paths, regions)
    queries = ((embedder.query(detail), {index}) for index, detail in cut_details(paths, count, seed))
    size = {"photos": len(paths), "details": count, "rows_per_photo": round(len(rows.owners) / len(paths), 1)}
    return size | recall(rows, queries)


def main() -> None:
    escape_stderr()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    add_model_options(parser)
    parser.add_argument("--count", type=int, default=106, help="details to cut")
    parser.add_argument("--regions", type=int, default=REGIONS, help="proposals for each photo")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    embedder = load_model(given)
    print(json.dumps(evaluate(embedder, given.folder, given.count, given.regions, given.seed)))


if __name__ == "__main__":
    main()
