"""Libraries large enough to be worth an index, with vectors that lie in clusters as real ones do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.store.builders import file, name
from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, NewCaption, NewRegion, PhotoInfo, Snapshot, Store, Writer, open_store
from virtue.store.catalogue.filters import RowFilter

DIM = 32
REGIONS = 20
"""Of each photo."""
WORTH = 20_000
"""Floats from which on these libraries get an index."""
RECALL = 0.92
"""What searches must reach here: they are tuned to 0.95, but with other queries, and these are few."""
BOXES = tuple(NewRegion(Box(n, 0, n + 10, 10), "proposal") for n in range(REGIONS))


def vectors(count: int, seed: int, world: int = 0, dim: int = DIM) -> np.ndarray:
    """(count, dim) float32, unit rows. Another world has other clusters."""
    places = np.random.default_rng((1, world))
    centres = places.standard_normal((60, dim)) + 2 * places.standard_normal(dim)
    bases = places.standard_normal((60, 6, dim)) * 0.3
    drawn = np.random.default_rng((2, seed))
    which = drawn.integers(0, 60, count)
    rows = centres[which] + np.einsum("nk,nkd->nd", drawn.standard_normal((count, 6)), bases[which])
    rows += 0.1 * drawn.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def texts(count: int, seed: int) -> np.ndarray:
    """(count, DIM): as vectors, but all off in one direction."""
    rows = vectors(count, seed) + 0.5 * vectors(1, 12345)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def photos(first: int, count: int, world: int = 0, captions: bool = False) -> list[EmbeddedPhoto]:
    """Photos of `REGIONS` regions each, perhaps each with a caption."""
    made = []
    for number in range(first, first + count):
        told = (NewCaption(f"photo {number}", "sidecar"),) * captions
        rows = vectors(REGIONS, number, world)
        said = texts(1, number)[:captions]
        made.append(EmbeddedPhoto(PhotoInfo(name(number), 100, 80), "auto", BOXES, rows, told, said))
    return made


def add(writer: Writer, first: int, count: int, **options: Any) -> None:
    files = [file(f"/photos/{number}.jpg", number) for number in range(first, first + count)]
    writer.commit(photos(first, count, **options), files)


def indexed(folder: Path, count: int = 150, **options: Any) -> Store:
    """A new library of that many photos, with an index."""
    store = open_store(folder, create=True)
    with store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        add(writer, 0, count, **options)
        writer.refresh_indexes(max_scanned_floats=WORTH)
    return store


def recall(snapshot: Snapshot, queries: np.ndarray, top: int = 10, filter: RowFilter | None = None) -> float:
    """The share of the best rows that searches find; each score must be that of the exact search."""
    found = 0
    total = 0
    for query in queries:
        ranked = snapshot.search("regions", query, top, filter)
        exact = snapshot.exact("regions", query[None], top, filter)
        scores = dict(zip(exact.rows.tolist(), exact.scores.tolist(), strict=True))
        assert len(ranked.rows) == len(exact.rows)
        assert (np.diff(ranked.scores) <= 0).all()
        for row, score in zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True):
            assert scores.get(row, score) == score
        found += len(scores.keys() & set(ranked.rows.tolist()))
        total += len(scores)
    return found / total


@contextmanager
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
