"""What a detector saw in a picture: the things in it, what any box shows of them, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from virtue.embedder.mini.detector import Detections
from virtue.embedder.model import Proposal
from virtue.embedder.proposals import MAX_AREA_SHARE
from virtue.geometry import Box, compute_ious, suppress_non_maxima

PERSON = "person"
PEOPLE = "people"
"""What a group of persons is called, a thing of its own: the box around them all."""

MIN_NAMED = 0.4
"""How sure it is at least what a thing is; below, there is a thing, but its name is more often wrong."""
MAX_IOU = 0.85
"""Intersection over union from which on two boxes need no row each."""


@dataclass(frozen=True, eq=False)
class Things:
    """The things in a picture, the surest first; two persons or more are one more, their group.

    Attributes:
        boxes: (n, 4) float64, x0, y0, x1, y1 in pixels of the upright original.
        scores: (n, names) float32, how sure it is that this is one of those.
        names: of the columns of `scores`; the last is `PEOPLE`.
        area: of the picture.
    """

    boxes: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    area: float

    @classmethod
    def of(cls, found: Detections, names: tuple[str, ...], width: int, height: int) -> Things:
        """Makes them of what a detector that knows `names` found in a picture of that size."""
        boxes = found.boxes * [width, height, width, height]
        scores = np.pad(found.scores, ((0, 0), (0, 1)))
        all_names = (*names, PEOPLE)
        if PERSON in names and len(boxes):
            person = found.scores[:, names.index(PERSON)]
            persons = np.flatnonzero((person >= MIN_NAMED) & (person == found.scores.max(axis=1)))
            if len(persons) > 1:
                around = np.concatenate([boxes[persons, :2].min(axis=0), boxes[persons, 2:].max(axis=0)])
                # As sure as it is that there is a second one.
                sure = np.sort(found.scores[persons].max(axis=1))[-2]
                group = np.eye(len(all_names), dtype=np.float32)[-1] * sure
                boxes, scores = np.vstack([boxes, around]), np.vstack([scores, group])
        order = np.argsort(-scores.max(axis=1, initial=0), kind="stable")
        return cls(boxes[order], scores[order], all_names, width * height)

    @property
    def proposals(self) -> list[Proposal]:
        """The things as boxes, the surest first, without what is nearly the whole picture, and groups that
        are one of their persons again. What is hardly sure has no name."""
        ious = compute_ious(self.boxes, self.boxes)
        distinct = suppress_non_maxima(len(self.boxes), (ious > MAX_IOU).__getitem__)
        made = []
        for box, scores in zip(self.boxes[distinct].tolist(), self.scores[distinct], strict=True):
            best = int(scores.argmax())
            sure = float(scores[best])
            made.append(Proposal(Box(*box), sure, self.names[best] if sure >= MIN_NAMED else None))
        return [each for each in made if each.box.area < MAX_AREA_SHARE * self.area]

    def shown_in(self, boxes: Sequence[Box]) -> np.ndarray:
        """Computes what boxes show of the things that have names, (boxes, names) float32: a thing counts as
        far as it and the box overlap (intersection over union)."""
        named = self.scores.max(axis=1, initial=0) >= MIN_NAMED
        if not named.any():
            return np.zeros((len(boxes), len(self.names)), np.float32)
        overlaps = compute_ious(np.array([box.corners for box in boxes]), self.boxes[named])
        shown: np.ndarray = (overlaps[:, :, None] * self.scores[named]).max(axis=1)
        return shown.astype(np.float32)


class ThingMeanings:
    """What things.npz says of the names of things."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "things.npz"

    def _load(self, name: str) -> np.ndarray:
        with np.load(self._path) as arrays:
            loaded: np.ndarray = arrays[name]
        return loaded if loaded.dtype.kind == "U" else loaded.astype(np.float32)

    @cached_property
    def meanings(self) -> dict[str, np.ndarray]:
        """(384,) unit vectors of the names of the bundled detector and of `PEOPLE`."""
        named = dict(zip(self._load("names").tolist(), self._load("meanings"), strict=True))
        return named | {PEOPLE: self._load("group")}

    @property
    def hypernyms(self) -> np.ndarray:
        """(1000, 384): what more general words add to the meanings of the classes."""
        return self._load("hypernyms")
