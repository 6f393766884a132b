"""Captions by rule, without a language model: categories, boxes, and WordNet's siblings of a word."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from virtue.geometry import Box
from virtue.training.scar_building.annotated_things import Thing
from virtue.training.scar_building.elements import Elements, RejectedError
from virtue.training.scenes.relations import APART, LEVEL
from virtue.training.scenes.scene import SWAPS

INSIDE = 0.5
"""Share of a box up to which it is not inside another that covers it."""
OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@lru_cache(maxsize=1)
def siblings() -> dict[str, list[str]]:
    """Words -> others under the same hypernym of WordNet 3.0 (licences/wordnet.txt of the bundled model)."""
    found: dict[str, list[str]] = json.loads(Path(__file__).with_name("siblings.json").read_text("utf-8"))
    return found


class RuleSwapper:
    """Makes captions by rule, of what a file of annotations says.

    Args:
        things: all that is annotated: scenes are swapped for those of other pictures.
    """

    name = "rules"

    def __init__(self, things: Sequence[Thing]) -> None:
        self._scenes = sorted({scene for thing in things if (scene := _scene(thing))})
        self._categories = sorted({thing.category for thing in things})

    def swap(self, thing: Thing) -> Elements:
        """Makes the elements of a caption, and their swaps.

        Raises:
            RejectedError: the annotations do not say enough.
        """
        rng = random.Random(thing.id)
        scene = _scene(thing)
        if not scene:
            raise RejectedError("nothing is annotated that tells the scene")
        other, true, false = self._relation(thing, rng)
        scenes = [each for each in self._scenes if each != scene]
        objects = self._objects(thing, rng)
        if len(scenes) < SWAPS or len(objects) < SWAPS:
            raise RejectedError("too little else is annotated to swap it for")
        return Elements.read(
            {
                "object": _with_article(thing.category),
                "relation": f"{true} {_with_article(other)}",
                "scene": scene,
                "object_swaps": [_with_article(each) for each in objects[:SWAPS]],
                "relation_swaps": [f"{each} {_with_article(other)}" for each in false[:SWAPS]],
                "scene_swaps": rng.sample(scenes, SWAPS),
            }
        )

    def _objects(self, thing: Thing, rng: random.Random) -> list[str]:
        """Lists names for another thing: siblings first, none of which is in the picture."""
        here = {thing.category, *(category for category, _ in thing.others)}
        near = [name for name in siblings().get(thing.category, ()) if name not in here]
        far = [name for name in self._categories if name not in here and name not in near]
        rng.shuffle(far)
        return near + far

    def _relation(self, thing: Thing, rng: random.Random) -> tuple[str, str, list[str]]:
        """Finds another thing, a true relation to it, and false ones, the opposite first."""
        counts = Counter([thing.category, *(category for category, _ in thing.others)])
        options = []
        for other, box in thing.others:
            true, false = judge_boxes(thing.box, box)
            for relation in true:
                wrong = [OPPOSITES[relation], *(each for each in false if each != OPPOSITES[relation])]
                if counts[other] == 1 and len(wrong) >= SWAPS:
                    options.append((other, relation, wrong))
        if not options:
            raise RejectedError("it has no clear relation to a thing that is the only one of its name")
        return options[rng.randrange(len(options))]


def judge_boxes(one: Box, other: Box) -> tuple[list[str], list[str]]:
    """Says which relations are true of two boxes and which are false; some are neither."""
    (x, y, w, h), (p, q, v, u) = one.xywh, other.xywh
    across, down = (p + v / 2 - x - w / 2) / ((w + v) / 2), (q + u / 2 - y - h / 2) / ((h + u) / 2)
    true, false = [], []
    for name, distance in (("left of", across), ("right of", -across), ("above", down), ("below", -down)):
        if distance >= APART:
            true.append(name)
        elif distance <= LEVEL:
            false.append(name)
    shared = one.iou(other) * (one.area + other.area) / (1 + one.iou(other))
    if shared <= INSIDE * one.area:
        false.append("inside")
    if abs(across) >= APART or down <= LEVEL:
        false.append("on top of")
    return true, false


def _scene(thing: Thing) -> str:
    if thing.captions:
        return f"in a picture of {thing.captions[0].strip().rstrip('.').lower()}"
    names = sorted({category for category, _ in thing.others} - {thing.category})
    return (
        f"in a picture with {' and '.join(_with_article(name) for name in names)}" if len(names) > 1 else ""
    )


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
