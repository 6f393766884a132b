"""Scenes as training data, composed while they are needed: a thing finds its caption among ten."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from virtue.geometry import Point, Prompt
from virtue.pictures import load
from virtue.training.examples import Example, Side
from virtue.training.scenes import (
    Ground,
    SceneObject,
    Scenes,
    draw_grounds,
    read_cutouts,
    read_grounds,
    split,
)

PromptKind = Literal["box", "point", "mask", "none"]


class SceneSource:
    """Implements `Source`: a row for each scene, which asks about one of its things.

    Args:
        prompts: how things are prompted; each row in one of these ways.
    """

    is_cheap = False

    def __init__(
        self, scenes: Scenes, *, prompts: Sequence[PromptKind] = ("box",), weight: float = 1.0
    ) -> None:
        self.name = "scenes"
        self.weight = weight
        self.faults: list[str] = []
        self._scenes, self._prompts = scenes, prompts

    def __len__(self) -> int:
        return len(self._scenes)

    def example(self, row: int) -> Example:
        scene, chance = self._scenes[row], random.Random(row)
        query = chance.choice(scene.queries)
        prompt = draw_prompt(scene.objects[query.object], chance.choice(self._prompts))
        true, *false = (Side(text=caption.text, instruction="") for caption in query.captions)
        return Example(Side(image=load(scene.picture), prompt=prompt), true, tuple(false))


def draw_prompt(thing: SceneObject, kind: PromptKind) -> Prompt | None:
    """Draws what a user would on a thing; a point lies on what can be seen of it, near its middle."""
    if kind == "box":
        return Prompt(box=thing.box)
    if kind == "mask":
        return Prompt(mask=thing.mask)
    if kind == "none":
        return None
    rows, columns = thing.mask.nonzero()
    nearest = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    return Prompt(points=(Point(columns[nearest] + 0.5, rows[nearest] + 0.5),))


def compose_scenes(cutouts: Path, grounds: Path | None, *, seed: int, length: int) -> Scenes:
    """Makes scenes of the cut-outs and grounds that are not kept for tests.

    Args:
        grounds: a folder of photos; None: drawn grounds alone.

    Raises:
        InputError: a folder cannot be used, or holds too little.
    """
    places: list[Ground] = [*(read_grounds(grounds) if grounds else []), *draw_grounds()]
    return Scenes(split(read_cutouts(cutouts), "train"), split(places, "train"), length=length, seed=seed)
