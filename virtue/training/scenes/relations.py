"""Relations between two objects, decided by their masks with a margin: true, false, or neither."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from virtue.training.scenes.scene import SceneObject

APART = 0.9
"""Distance of two centres along an axis, in half the sum of both sizes (1: the boxes touch), from which on a
relation along that axis is true."""
LEVEL = 0.3
"""The same, up to which it is false."""
COVERED = 0.08
"""Share of the smaller object over which the one in front must be seen to lie on the one behind."""
CLEAR = 0.01
"""The same, up to which it is false."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of one object to another.

    Attributes:
        axis: "x", "y" or "z" (depth).
        sign: 1 if the other object lies further to the right, further down, or further back; else -1.
        phrases: words for it, as in "a frog ... a lemon".
    """

    axis: str
    sign: int
    phrases: tuple[str, ...]


RELATIONS = {
    "left": Relation("x", 1, ("left of", "to the left of", "on the left side of")),
    "right": Relation("x", -1, ("right of", "to the right of", "on the right side of")),
    "above": Relation("y", 1, ("above", "over", "higher up than")),
    "below": Relation("y", -1, ("below", "under", "lower down than")),
    "front": Relation("z", 1, ("in front of", "partly covering", "overlapping the front of")),
    "behind": Relation("z", -1, ("behind", "partly hidden by", "peeking out from behind")),
}
NAMES = {(relation.axis, relation.sign): name for name, relation in RELATIONS.items()}


def measure(one: SceneObject, other: SceneObject) -> dict[str, float]:
    """Measures how far two objects lie apart on each axis, above 0 in the direction of the sign 1.

    Returns:
        x, y: the distance of the centres of the boxes, in half the sum of their sizes. z: the share of the
        smaller object over which `one` is seen to lie on the other; below 0 if the other lies on it.
    """
    x, y, w, h = one.box.xywh
    other_x, other_y, other_w, other_h = other.box.xywh
    smaller = min(np.count_nonzero(one.whole), np.count_nonzero(other.whole))
    before = np.count_nonzero(one.mask & other.whole) / smaller
    behind = np.count_nonzero(other.mask & one.whole) / smaller
    return {
        "x": (other_x + other_w / 2 - x - w / 2) / ((w + other_w) / 2),
        "y": (other_y + other_h / 2 - y - h / 2) / ((h + other_h) / 2),
        "z": before - behind,
    }


def judge(one: SceneObject, other: SceneObject) -> tuple[frozenset[str], frozenset[str]]:
    """Says which relations of `one` to the other are true, and which are false; some are neither."""
    distances = measure(one, other)
    true, false = set(), set()
    for name, relation in RELATIONS.items():
        distance = relation.sign * distances[relation.axis]
        most, least = (COVERED, CLEAR) if relation.axis == "z" else (APART, LEVEL)
        if distance >= most:
            true.add(name)
        elif distance <= least:
            false.add(name)
    return frozenset(true), frozenset(false)
