"""Which relation of an object to another a question asks for, and which others are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virtue.training.scenes.arrangement import Design
from virtue.training.scenes.relations import judge
from virtue.training.scenes.scene import SWAPS, SceneObject


@dataclass(frozen=True, slots=True)
class Pair:
    """A relation of an object to the `other` (its place among the objects), and those in its place that are
    false: of a bound pair, the first of them is true of another pair with the same object."""

    other: int
    relation: str
    wrong: tuple[str, ...]
    is_bound: bool = False


def find_bound_pair(objects: Sequence[SceneObject], design: Design) -> Pair | None:
    """Returns the bound pair of the first three objects; None if what the design wants does not hold."""
    for other, relation, false in ((1, design.truth, design.twin), (2, design.twin, design.truth)):
        true_ones, false_ones = judge(objects[0], objects[other])
        if relation not in true_ones or not {false, *design.fillers} <= false_ones:
            return None
    return Pair(1, design.truth, (design.twin, *design.fillers), is_bound=True)


def find_pair(rng: np.random.Generator, objects: Sequence[SceneObject], number: int) -> Pair | None:
    """Draws an object to which this one has a clear relation; None if there is none."""
    options = []
    for other in range(len(objects)):
        if other != number:
            true_ones, false_ones = judge(objects[number], objects[other])
            if true_ones and len(false_ones) >= SWAPS:
                options.append((other, sorted(true_ones), sorted(false_ones)))
    if not options:
        return None
    other, trues, falses = options[rng.integers(len(options))]
    wrong = tuple(falses[place] for place in rng.permutation(len(falses))[:SWAPS])
    return Pair(other, trues[rng.integers(len(trues))], wrong)
