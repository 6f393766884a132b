"""Photos as rows of regions, as a library holds them, and how well questions find them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from virtue.embedder import Embedder, Item
from virtue.errors import InputError
from virtue.geometry import Prompt
from virtue.pictures import SUFFIXES, load

REGIONS = 32
"""Proposals for each photo beside the photo itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Vectors of regions, (n, dim) float32, and the index of each one's photo."""

    vectors: np.ndarray
    owners: np.ndarray

    @property
    def photos(self) -> int:
        return int(self.owners.max()) + 1

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Computes the score of each photo, (photos,): the best dot product of its regions with any of the
        (k, dim) queries."""
        best = np.full(self.photos, -np.inf, np.float32)
        np.maximum.at(best, self.owners, (self.vectors @ queries.T).max(axis=1))
        return best


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `load_model` reads."""
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--dtype",
        default=os.environ.get("VIRTUE_DTYPE", "auto"),
        help="what the model computes with: auto, fp32, bf16 or fp16",
    )


def load_model(given: argparse.Namespace) -> Embedder:
    return Embedder.from_pretrained(given.model, dtype=given.dtype)


def photo_paths(folder: Path) -> list[Path]:
    """Lists the pictures below a folder, in order of their names.

    Raises:
        InputError: there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no photos")
    return paths


def embed_photos(embedder: Embedder, paths: Sequence[Path], regions: int = REGIONS) -> Rows:
    """Embeds the full image and up to `regions` proposals of each photo."""
    vectors, owners = [], []
    for index, path in enumerate(paths):
        (scene,) = embedder.scenes([load(path, side=embedder.model.side)])
        boxes = embedder.propose(scene, regions)
        items = [Item(scene), *(Item(scene, Prompt(box)) for box in boxes)]
        vectors.append(embedder.embed(items))
        owners += [index] * len(items)
    return Rows(np.concatenate(vectors), np.array(owners))


def recall(
    rows: Rows, queries: Iterable[tuple[np.ndarray, set[int]]], ranks: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Computes the share of queries that find a right photo among the first so many. A query comes as its
    (k, dim) vectors and the photos that are right."""
    hits = []
    for vectors, right in queries:
        order = np.argsort(-rows.scores(vectors), kind="stable")
        hits.append([bool(right & set(order[:rank].tolist())) for rank in ranks])
    shares = np.mean(hits, axis=0).round(3).tolist()
    return {f"recall@{rank}": share for rank, share in zip(ranks, shares, strict=True)}
