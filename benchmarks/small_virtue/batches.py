"""Batches of questions about cached scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.small_virtue.features import SceneFeatures
from benchmarks.small_virtue.network import Prompted, box_shares
from benchmarks.small_virtue.words import embed_words

MODES = {"box": 0.55, "text": 0.15, "none": 0.14, "crop": 0.08, "circle": 0.08}
"""How a query says which thing is meant, and the share of samples that say it so in training."""
BOUND = 0.6
"""Share of the samples that are bound, where crops and circles leave the choice."""


@dataclass(frozen=True)
class Batch:
    """Questions.

    Attributes:
        given: the pictures with their prompts.
        subjects, others, places: (batch, 10, 384) vectors of the words of the captions, the first true.
        relations: (batch, 10).
        shares: (batch, MAX_OBJECTS, cells), of all things of the scene, to learn names from.
        names: (batch, MAX_OBJECTS): which name; -1: no thing.
    """

    given: Prompted
    subjects: Tensor
    relations: Tensor
    others: Tensor
    places: Tensor
    shares: Tensor
    names: Tensor


class Questions:
    """A set of scenes with the vectors of their words.

    Args:
        shares: (scenes, MAX_OBJECTS, cells) uint8: how much of each cell belongs to what a box means, as the
            segmentation stream has it; None: as much as lies in the box.
        frame: by what the boxes of prompts are multiplied.
        grid: (scenes, cells) uint8: what the segmentation stream finds by points spread over the picture,
            which then takes the place of a prompt where there is none; None: nothing does.
    """

    def __init__(
        self,
        features: SceneFeatures,
        shares: np.ndarray | None = None,
        frame: float = 1,
        grid: np.ndarray | None = None,
    ) -> None:
        self.features, self.shares, self.frame, self.grid = features, shares, frame, grid
        self.names = embed_words(features.vocabulary["names"])
        self.grounds = embed_words(features.vocabulary["grounds"])
        self.captions = np.asarray(features.captions)
        self.boxes = np.asarray(features.boxes)
        self.counts = (np.asarray(features.names) >= 0).sum(axis=1)
        twins = np.asarray(features.twins)
        self.bound = np.flatnonzero(twins[:, 0])
        self.cropped = np.flatnonzero(np.asarray(features.extra)[:, 0] >= 0)

    def draw(self, rng: np.random.Generator, size: int, modes: dict[str, float] = MODES) -> Batch:
        """Draws questions to learn from."""
        drawn = rng.choice(list(modes), size, p=np.array(list(modes.values())) / sum(modes.values()))
        scenes = rng.integers(len(self.boxes), size=size)
        things = np.zeros(size, int)
        for place in range(size):
            if drawn[place] in ("crop", "circle"):
                scenes[place] = rng.choice(self.cropped)
            elif rng.random() < BOUND:
                scenes[place] = rng.choice(self.bound)
            else:
                things[place] = rng.integers(self.counts[scenes[place]])
        return self.ask(scenes, things, drawn)

    def ask(self, scenes: np.ndarray, things: np.ndarray, modes: np.ndarray) -> Batch:
        """Asks about these things, each in its mode."""
        images = scenes.copy()
        for place, mode in enumerate(("crop", "circle")):
            images = np.where(modes == mode, np.asarray(self.features.extra)[scenes, place], images)
        cells = torch.from_numpy(np.asarray(self.features.images[images], np.float32))
        own = self.boxes[scenes, things] * self.frame
        known = torch.from_numpy(np.isin(modes, ("box", "text")))
        corners = torch.from_numpy(np.where(known[:, None], own, [0, 0, 1, 1]).astype(np.float32))
        seen = torch.from_numpy(modes == "box")
        shares = box_shares(corners)
        if self.shares is not None:
            masks = torch.from_numpy(self.shares[scenes, things] / np.float32(255))
            shares = torch.where(seen[:, None], masks, shares)
        if self.grid is not None:
            spread = torch.from_numpy(modes == "none")
            shares = torch.where(
                spread[:, None], torch.from_numpy(self.grid[scenes] / np.float32(255)), shares
            )
            seen = seen | spread
        fine = torch.from_numpy(np.asarray(self.features.fine[scenes], np.float32))
        given = Prompted(cells, corners, shares, known, seen, fine)
        captions = torch.from_numpy(self.captions[scenes, things].astype(np.int64))
        is_scene = ~np.isin(modes, ("crop", "circle"))
        names = np.where(is_scene[:, None], np.asarray(self.features.names)[scenes], -1)
        return Batch(
            given,
            *self.look_up(captions),
            self._all_shares(scenes),
            torch.from_numpy(names.astype(np.int64)),
        )

    def _all_shares(self, scenes: np.ndarray) -> Tensor:
        if self.shares is None:
            return box_shares(torch.from_numpy(self.boxes[scenes]))
        return torch.from_numpy(self.shares[scenes] / np.float32(255))

    def look_up(self, captions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the vectors of subjects, the numbers of relations, and the vectors of others and of places,
        of captions (..., 5) as `features` holds them."""
        subject, relation, _, other, ground = captions.unbind(-1)
        return self.names[subject], relation, self.names[other], self.grounds[ground]
