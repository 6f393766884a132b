"""Photos as rows of regions, as a library holds them, and how well questions find them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from virtue.embedder import Embedder, Item
from virtue.errors import InputError, PictureError
from virtue.evaluation.findings import Tell
from virtue.evaluation.measures import Measured, hits_at
from virtue.evaluation.outcomes import Outcomes, digest_of_file
from virtue.formats import SUFFIXES
from virtue.geometry import Prompt
from virtue.pictures import load

REGIONS = 32
"""Proposals for each photo beside the photo itself."""
CHECKED_SIDE = 256
"""Pixels of the long side to which a photo is decoded to see whether it can be."""


def photo_paths(folder: Path) -> list[Path]:
    """Lists the pictures below a folder, in order of their names.

    Raises:
        InputError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no photos")
    return paths


def readable_photos(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Lists the pictures below a folder, and those that cannot be read, each with why.

    Raises:
        InputError: there are none, or none can be read.
    """
    paths, bad = [], []
    for path in photo_paths(folder):
        try:
            load(path, side=CHECKED_SIDE)
        except PictureError as error:
            bad.append((str(path.relative_to(folder)), str(error)))
        else:
            paths.append(path)
    if not paths:
        raise InputError(f"no photo of {folder} can be read: {bad[0][1]}")
    return paths, bad


def same_photos(paths: Sequence[Path]) -> list[set[int]]:
    """Lists for each file the places of all that hold the same bytes."""
    places: dict[str, set[int]] = {}
    for place, path in enumerate(paths):
        places.setdefault(digest_of_file(path), set()).add(place)
    return [places[digest_of_file(path)] for path in paths]


def embed_photo(embedder: Embedder, path: Path, regions: int = REGIONS) -> np.ndarray:
    """Embeds a photo and up to `regions` proposals in it, (n, dim) float32."""
    (scene,) = embedder.scenes([load(path, side=embedder.model.side)])
    boxes = embedder.propose(scene, regions)
    return embedder.embed([Item(scene), *(Item(scene, Prompt(box)) for box in boxes)])


def score_photos(
    embedder: Embedder,
    paths: Sequence[Path],
    queries: Callable[[], Sequence[np.ndarray]],
    key: object,
    outcomes: Outcomes,
    *,
    regions: int = REGIONS,
    tell: Tell | None = None,
) -> tuple[np.ndarray, float]:
    """Scores photos by their best region for each query.

    Args:
        queries: makes (k, dim) vectors of each query, if any photo is not scored yet.
        key: what the queries are made of.

    Returns:
        (queries, photos) float64, and the mean number of rows of a photo.
    """

    def compute(todo: list[int]) -> Iterator[list[float]]:
        asked = list(queries())
        for place in todo:
            rows = embed_photo(embedder, paths[place], regions)
            yield [len(rows), *(float((rows @ query.T).max()) for query in asked)]

    table = np.array(outcomes.fill([(digest_of_file(path), key) for path in paths], compute, tell))
    return table[:, 1:].T, float(table[:, 0].mean())


def recall(
    scores: np.ndarray, right: Sequence[set[int]], ranks: Sequence[int] = (1, 5)
) -> dict[str, Measured]:
    """Computes the share of queries that find a right photo among the first so many.

    Args:
        scores: (queries, photos).
        right: the places of the right photos of each query.
    """
    truth = np.zeros(scores.shape, bool)
    for row, places in enumerate(right):
        truth[row, list(places)] = True
    groups = [str(sorted(places)) for places in right]
    return {f"recall@{rank}": Measured.of(hits_at(scores, truth, rank), groups) for rank in ranks}
