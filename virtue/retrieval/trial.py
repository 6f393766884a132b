"""What a model sees in one photo: its regions, ranked by how well words fit them, and what each step took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from virtue.embedder import Embedder, Item
from virtue.embedder.model import pools_alpha
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture, load

Result = TypeVar("Result")

MAX_REGIONS = 32


@dataclass(frozen=True, slots=True)
class TrialRegion:
    """A region of the photo.

    Attributes:
        box: in pixels of the upright original; None: the full image.
        score: the highest dot product of its vector with the query's.
    """

    box: Box | None
    score: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a trial.

    Attributes:
        regions: best first.
        seconds: what loading the model, the picture (decoding and image work), its regions (proposing and
            embedding) and the words took, by these names.
    """

    model: str
    dim: int
    regions: tuple[TrialRegion, ...]
    seconds: dict[str, float]


def _load(photo: Path, embedder: Embedder) -> Picture:
    return load(photo, side=embedder.model.side, keep_alpha=pools_alpha(embedder.model))


def try_model(load_model: Callable[[], Embedder], photo: Path, words: str, limit: int = MAX_REGIONS) -> Trial:
    """Ranks the full image and up to `limit` proposed regions of a photo by words.

    Raises:
        ModelError: the model cannot be had.
        PictureError: the photo cannot be read.
        InputError: the words are too long for the model.
    """
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - began
        return result

    embedder = timed("model", load_model)
    (scene,) = timed("picture", lambda: embedder.scenes([_load(photo, embedder)]))
    query = timed("words", lambda: embedder.query(words, "regions"))

    def regions() -> list[TrialRegion]:
        boxes = embedder.propose(scene, limit)
        rows = embedder.embed([Item(scene), *(Item(scene, Prompt(box)) for box in boxes)])
        scores = (rows @ query.T).max(axis=1)
        return [TrialRegion(box, float(score)) for box, score in zip([None, *boxes], scores, strict=True)]

    found = timed("regions", regions)
    found.sort(key=lambda region: -region.score)
    return Trial(embedder.name, embedder.dim, tuple(found), seconds)
