"""Where the objects of a scene lie: drawn at random, so that what is demanded of the first one holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from virtue.training.scenes.relations import NAMES, RELATIONS

MAX_TRIES = 40
"""Places that are tried for an object before the others are placed anew."""


@dataclass(frozen=True, slots=True)
class Design:
    """What makes a scene bound.

    `truth` holds for (A, B) and `twin` for (A, C), and each is false of the other pair. The two `fillers` are
    false of both. The four are both ends of two axes, so no list of candidates tells which of them is true.
    """

    truth: str
    twin: str
    fillers: tuple[str, str]


def list_designs() -> list[Design]:
    """Lists all designs: each pair of axes, each two of its four relations, in both orders."""
    designs = []
    for axes in (("x", "y"), ("x", "z"), ("y", "z")):
        four = [NAMES[axis, sign] for axis in axes for sign in (1, -1)]
        for truth, twin in permutations(four, 2):
            first, second = (name for name in four if name not in (truth, twin))
            designs.append(Design(truth, twin, (first, second)))
    return designs


@dataclass(frozen=True, slots=True)
class Demand:
    """Where an object must lie as seen from the first one.

    For each axis 1 or -1 (the sign of the relation that the first has to it), 0 (neither), or None
    (anywhere). On axis z, 0 means that the two do not overlap.
    """

    x: int | None
    y: int | None
    z: int


def demand(relation: str, level: Sequence[str] = ()) -> Demand:
    """Makes the demand that the first object has this relation to the other, and on the axes of `level` none
    else."""
    signs: dict[str, int | None] = {"x": None, "y": None, "z": 0}
    signs.update({RELATIONS[name].axis: 0 for name in level})
    signs[RELATIONS[relation].axis] = RELATIONS[relation].sign
    return Demand(signs["x"], signs["y"], signs["z"] or 0)


def demands_of(design: Design) -> list[Demand]:
    """What a design demands of B and of C."""
    four = (design.truth, design.twin, *design.fillers)
    return [demand(design.truth, four), demand(design.twin, four)]


def draw_offset(rng: np.random.Generator, wanted: Demand) -> tuple[float, float]:
    """Draws how far the other object lies from the first, along x and y, in half the sum of their sizes."""
    offsets: dict[str, float] = {}
    if wanted.z:  # they overlap
        near = [rng.uniform(0, 0.25), rng.uniform(0.4, 0.7)]
        if wanted.x is None and (wanted.y is not None or rng.random() < 0.5):
            near.reverse()
        signs = rng.choice([-1.0, 1.0], 2)
        return float(near[0] * signs[0]), float(near[1] * signs[1])
    apart = "x" if wanted.y == 0 or (wanted.x is None and wanted.y is None and rng.random() < 0.5) else "y"
    for axis, sign in (("x", wanted.x), ("y", wanted.y)):
        if sign:
            offsets[axis] = sign * rng.uniform(1.0, 1.8)
        elif sign == 0:
            offsets[axis] = rng.uniform(-0.25, 0.25)
        elif axis == apart and not (wanted.x or wanted.y):
            offsets[axis] = rng.choice([-1.0, 1.0]) * rng.uniform(1.0, 1.8)
        else:
            offsets[axis] = rng.uniform(-1.8, 1.8)
    return offsets["x"], offsets["y"]


Boxes = list[tuple[float, float, float, float]]
"""Centre x, centre y, width and height of each object."""


def place(
    rng: np.random.Generator, sizes: Sequence[tuple[float, float]], demands: Mapping[int, Demand], canvas: int
) -> Boxes | None:
    """Draws places for all objects within a square of `canvas` pixels.

    Args:
        sizes: width and height of each object.
        demands: for objects other than the first, where they must lie as seen from it. The others lie
            anywhere, and overlap nothing.

    Returns:
        None if there was no place for one.
    """
    boxes: Boxes = []
    for number, (w, h) in enumerate(sizes):
        if w > canvas or h > canvas:
            return None
        for _ in range(MAX_TRIES):
            if number in demands:
                first = boxes[0]
                across, down = draw_offset(rng, demands[number])
                x, y = first[0] + across * (first[2] + w) / 2, first[1] + down * (first[3] + h) / 2
            else:
                x, y = rng.uniform(w / 2, canvas - w / 2), rng.uniform(h / 2, canvas - h / 2)
            inside = w / 2 <= x <= canvas - w / 2 and h / 2 <= y <= canvas - h / 2
            laid_on = number in demands and demands[number].z
            others = boxes[1:] if laid_on else boxes
            if inside and not any(_overlap((x, y, w, h), other) for other in others):
                boxes.append((x, y, w, h))
                break
        else:
            return None
    return boxes


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return (
        abs(one[0] - other[0]) < (one[2] + other[2]) / 2 and abs(one[1] - other[1]) < (one[3] + other[3]) / 2
    )


def stack(rng: np.random.Generator, count: int, demands: Mapping[int, Demand]) -> list[int]:
    """Draws in which order the objects are painted: what lies behind the first comes before it."""
    depths = rng.permutation(count).astype(float)
    for number, wanted in demands.items():
        if wanted.z:  # sign 1: the other lies further back
            depths[number] = depths[0] - wanted.z * (count + rng.random())
    return [int(number) for number in np.argsort(depths)]
