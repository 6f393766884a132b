"""Small libraries of photos whose vectors follow from a number, so that anyone can tell what must be in
them and what a search must find."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo, Snapshot, Writer

DIM = 32
REGIONS = 20
"""Of each photo."""
WORTH = 10_000
"""Floats from which on these libraries get an index."""
BOXES = tuple(NewRegion(Box(n, 0, n + 10, 10), "proposal") for n in range(REGIONS))

State = dict[int, int]
"""What a library must hold: photos by number, with their edition. An edited photo has another edition, and
other vectors."""


@lru_cache(maxsize=20_000)
def vectors(number: int, edition: int, model: int = 0) -> np.ndarray:
    """(REGIONS + 1, DIM) float32, unit rows: of the regions, then of the caption. They lie in clusters,
    as those of real photos do."""
    places = _places(model)
    drawn = np.random.default_rng((number, edition, model))
    rows = places[drawn.integers(0, len(places), REGIONS + 1)] + 0.4 * drawn.standard_normal(
        (REGIONS + 1, DIM)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@lru_cache
def _places(model: int) -> np.ndarray:
    return np.random.default_rng((7, model)).standard_normal((40, DIM))


def stored(number: int, edition: int, model: int = 0) -> np.ndarray:
    """As `vectors`, after what storing them costs."""
    return vectors(number, edition, model).astype(np.float16).astype(np.float32)


def path(number: int) -> bytes:
    return b"/photos/%d.jpg" % number


def number_of(path: bytes) -> int:
    return int(path[len(b"/photos/") : -len(b".jpg")])


def put(writer: Writer, state: State, numbers: Iterable[int] | None = None, model: int = 0) -> None:
    """Commits photos of a state (None: all) at once."""
    chosen = sorted(state if numbers is None else numbers)
    writer.commit(
        [_photo(number, state[number], model) for number in chosen],
        [FileRecord(path(number), 1, 1, None, hash=_name(number)) for number in chosen],
    )


def _photo(number: int, edition: int, model: int) -> EmbeddedPhoto:
    rows = vectors(number, edition, model)
    told = (NewCaption(f"photo {number}", "sidecar"),)
    return EmbeddedPhoto(PhotoInfo(_name(number), 100, 80), str(edition), BOXES, rows[:-1], told, rows[-1:])


def _name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def held(snapshot: Snapshot, model: int = 0) -> tuple[State, list[str]]:
    """What the library holds, and in sentences what is wrong with it: rows lost, doubled or changed."""
    wrong: list[str] = []
    state: State = {}
    for at, file in snapshot.files().items():
        if file.settings is None:
            wrong.append(f"{os.fsdecode(at)} has no vectors")
        else:
            state[number_of(at)] = int(file.settings)
    seen: dict[int, list[int]] = {number: [] for number in state}
    rows = snapshot.mapped_rows("regions")
    for region in snapshot.regions(range(len(rows))):
        number, place = number_of(region.path), int(region.box.x0)
        seen[number].append(place)
        if not np.array_equal(rows[region.row], stored(number, state[number], model)[place]):
            wrong.append(f"region {place} of photo {number} has another vector")
    told = dict.fromkeys(state, 0)
    rows = snapshot.mapped_rows("captions")
    for caption in snapshot.captions(range(len(rows))):
        number = number_of(caption.path)
        told[number] += 1
        if not np.array_equal(rows[caption.row], stored(number, state[number], model)[-1]):
            wrong.append(f"the caption of photo {number} has another vector")
    wrong += [f"photo {n} has regions {places}" for n, places in seen.items() if sorted(places) != PLACES]
    wrong += [f"photo {number} has {count} captions" for number, count in told.items() if count != 1]
    return state, wrong


PLACES = list(range(REGIONS))


def strays(folder: Path) -> list[str]:
    """Files that are no part of a library."""
    ours = (
        r"catalogue\.db(-wal|-shm|\.backup)?|writer\.(lock|json)|(regions|captions)-\d+\.f16|index-\d+\.faiss"
    )
    return [each.name for each in folder.iterdir() if not re.fullmatch(ours, each.name)]
