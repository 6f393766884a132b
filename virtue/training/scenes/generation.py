"""Generates scenes: any number of them, each by its number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from virtue.errors import InputError
from virtue.geometry import Box
from virtue.torch_device import find_device
from virtue.training.scenes.arrangement import (
    Boxes,
    Demand,
    Design,
    demand,
    demands_of,
    list_designs,
    place,
    stack,
)
from virtue.training.scenes.asked_pairs import Pair, find_bound_pair, find_pair
from virtue.training.scenes.composition import (
    Composition,
    Layer,
    Light,
    Placement,
    compose,
    find_visible,
    lay,
    turned_size,
)
from virtue.training.scenes.cutout_folder import Cutout
from virtue.training.scenes.grounds import Ground
from virtue.training.scenes.relations import RELATIONS
from virtue.training.scenes.scene import ELEMENTS, SWAPS, Caption, Query, Scene, SceneObject

LONG_SIDES = {2: (0.3, 0.5), 3: (0.22, 0.4), 4: (0.2, 0.34)}
"""Number of objects -> least and greatest long side of each, in sides of the picture."""
MAX_ANGLE = 15
"""Degrees by which an object is turned at most."""
MAX_BLUR = 0.8
MIN_SEEN = 0.35
"""Share of an object that can be seen."""
MIN_PIXELS = 48
"""Pixels of an object that can be seen."""
MIN_NAMES = 8
"""Names that the cut-outs must have: five in a picture, and three that are not."""
MAX_DRAWS = 1000
"""Cut-outs that are looked at for one of another name."""
MAX_ATTEMPTS = 500
"""Arrangements that are tried for a scene."""
AT_ONCE = 64
"""Pictures that a device composes together."""


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A scene before its picture is composed."""

    index: int
    objects: tuple[SceneObject, ...]
    queries: tuple[Query, ...]
    ground: str
    composition: Composition


class Scenes:
    """A set of scenes, made as they are asked for: `scenes[7]` is always the same.

    Args:
        cutouts: what lies in them; at least eight different names.
        grounds: on what; at least four different names of each family. With several families, each has an
            equal share.
        length: how many scenes there are.
        seed: other seeds give other scenes.
        size: pixels of a side of the picture.
        objects: how many objects a scene has, from the least to the most. Bound scenes have at least three.
        bound: share of the scenes that are bound; they are spread evenly.
        device: where torch composes pictures, as "cuda", in batches when one goes through all scenes or asks
            for many (`__getitems__`, as torch's DataLoader does); masks and boxes stay the same, pixels to
            within rounding. None: NumPy composes them.

    Raises:
        InputError: there are too few names, or a number makes no sense, or there is no such device.
    """

    def __init__(
        self,
        cutouts: Sequence[Cutout],
        grounds: Sequence[Ground],
        *,
        length: int = 1_000_000,
        seed: int = 0,
        size: int = 256,
        objects: tuple[int, int] = (3, 5),
        bound: float = 0.5,
        device: str | None = None,
    ) -> None:
        self.cutouts = sorted(cutouts, key=lambda cutout: cutout.name)
        self.length, self.seed, self.size, self.objects, self.bound = length, seed, size, objects, bound
        self.families = [
            sorted((ground for ground in grounds if ground.family == family), key=lambda ground: ground.name)
            for family in sorted({ground.family for ground in grounds})
        ]
        self._designs = list_designs()
        self._device = None if device is None else find_device(device, InputError)
        self._check()

    def _check(self) -> None:
        names = {cutout.name for cutout in self.cutouts}
        if len(names) < MIN_NAMES:
            raise InputError(
                f"the cut-outs have {len(names)} different names, and scenes need at least {MIN_NAMES}: "
                "add cut-outs with other captions"
            )
        for family in self.families or [[]]:
            captions = {ground.name for ground in family}
            if len(captions) <= SWAPS:
                raise InputError(
                    f"the grounds of one kind have {len(captions)} different captions, and scenes need at "
                    f"least {SWAPS + 1}: add some with other captions, or leave that kind out"
                )
        least, most = self.objects
        if not 2 <= least <= most <= len(names) - SWAPS:
            raise InputError(f"objects = {self.objects}: give the least and the most, from 2 on")
        if not 0 <= self.bound <= 1:
            raise InputError(f"bound = {self.bound}: give a share from 0 to 1")
        if self.bound and most < 3:
            raise InputError("bound scenes have at least three objects: give objects=(2, 3), or bound=0")

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Scene]:
        for start in range(0, self.length, AT_ONCE):
            yield from self._make(range(start, min(start + AT_ONCE, self.length)))

    def __getitem__(self, index: int) -> Scene:
        """Makes a scene by its number.

        Raises:
            IndexError: there is none of that number.
            InputError: no arrangement of these cut-outs was found.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Scene]:
        """Makes scenes by their numbers. Raises what `__getitem__` does."""
        if not all(-self.length <= index < self.length for index in indices):
            raise IndexError(f"there are {self.length} scenes, numbered from 0")
        return list(self._make([index % self.length for index in indices]))

    def _make(self, indices: Sequence[int]) -> Iterator[Scene]:
        if self._device is None:
            for index in indices:
                draft = self._draft(index)
                yield _finish(draft, compose(draft.composition))
            return
        from virtue.training.scenes.device_composition import compose_on_device

        drafts = [self._draft(index) for index in indices]
        pictures = compose_on_device([draft.composition for draft in drafts], self._device)
        yield from map(_finish, drafts, pictures)

    def _draft(self, index: int) -> _Draft:
        rng = np.random.default_rng([self.seed, index])
        is_bound = int((index + 1) * self.bound) > int(index * self.bound)
        design = self._designs[rng.integers(len(self._designs))] if is_bound else None
        for _ in range(MAX_ATTEMPTS):
            if draft := self._attempt(rng, index, design):
                return draft
        raise InputError(
            f"scene {index} of seed {self.seed}: the objects found no place; give fewer objects a scene, "
            "a larger picture, or cut-outs that are less narrow"
        )

    def _attempt(self, rng: np.random.Generator, index: int, design: Design | None) -> _Draft | None:
        least, most = self.objects
        amount = int(rng.integers(max(least, 3) if design else least, most + 1))
        cutouts = self._draw_cutouts(rng, amount)
        demands = _draw_demands(rng, design)
        looks = [_draw_look(rng, cutout, amount, self.size) for cutout in cutouts]
        sizes = [turned_size(c.size, scale, angle) for c, (scale, angle) in zip(cutouts, looks, strict=True)]
        boxes = place(rng, sizes, demands, self.size)
        if boxes is None:
            return None
        order = stack(rng, amount, demands)
        placements = _draw_placements(rng, cutouts, looks, boxes)
        painted = [placements[number] for number in order]
        layers = [lay(placement, self.size) for placement in painted]
        objects = _find_objects(order, painted, layers)
        pairs = objects and _find_pairs(rng, objects, design)
        if not objects or not pairs:
            return None
        family = self.families[rng.integers(len(self.families))]
        ground = family[rng.integers(len(family))]
        queries = [self._ask(rng, cutouts, place, pair, ground, family) for place, pair in enumerate(pairs)]
        middle, across, down = (float(value) for value in rng.uniform((0.75, -0.3, -0.3), (1.2, 0.3, 0.3)))
        light = Light(middle, (across, down))
        composition = Composition(ground.paint(rng, self.size), layers, painted, light)
        return _Draft(index, tuple(objects), tuple(queries), ground.name, composition)

    def _draw_cutouts(self, rng: np.random.Generator, amount: int) -> list[Cutout]:
        drawn: list[Cutout] = []
        for _ in range(amount):
            drawn.append(self._draw_unlike(drawn, rng))
        return drawn

    def _ask(
        self,
        rng: np.random.Generator,
        cutouts: Sequence[Cutout],
        number: int,
        pair: Pair,
        ground: Ground,
        family: Sequence[Ground],
    ) -> Query:
        """Makes the question about an object."""
        truth = Caption(
            cutouts[number].name,
            pair.relation,
            _draw_phrase(rng, pair.relation),
            cutouts[pair.other].name,
            ground.name,
        )
        captions = [
            truth,
            *(replace(truth, subject=name) for name in self._swap_object(rng, cutouts, number, pair.other)),
            *(replace(truth, relation=wrong, phrase=_draw_phrase(rng, wrong)) for wrong in pair.wrong),
            *(replace(truth, scene=name) for name in _swap_scene(rng, ground, family)),
        ]
        swaps = ("", *(element for element in ELEMENTS for _ in range(SWAPS)))
        return Query(number, tuple(captions), swaps, 1 + SWAPS if pair.is_bound else None)

    def _swap_object(
        self, rng: np.random.Generator, cutouts: Sequence[Cutout], number: int, other: int
    ) -> list[str]:
        """Draws names to put in the place of an object's: first those of other objects in the picture."""
        here = [place for place in rng.permutation(len(cutouts)) if place not in (number, other)]
        swaps = [cutouts[place] for place in here[:SWAPS]]
        while len(swaps) < SWAPS:
            swaps.append(self._draw_unlike([*cutouts, *swaps], rng))
        return [cutout.name for cutout in swaps]

    def _draw_unlike(self, others: Sequence[Cutout], rng: np.random.Generator) -> Cutout:
        """Draws a cut-out whose name is no part of another's, nor another a part of it ("a frog", "a green
        frog").

        Raises:
            InputError: there is none.
        """
        for _ in range(MAX_DRAWS):
            cutout = self.cutouts[rng.integers(len(self.cutouts))]
            if not any(cutout.words <= other.words or other.words <= cutout.words for other in others):
                return cutout
        raise InputError(
            "too few cut-outs have names that are no part of another's: add cut-outs with other captions"
        )


def _finish(draft: _Draft, picture: np.ndarray) -> Scene:
    return Scene(draft.index, picture, draft.objects, draft.queries, draft.ground)


def _draw_demands(rng: np.random.Generator, design: Design | None) -> dict[int, Demand]:
    if design:
        return dict(enumerate(demands_of(design), start=1))
    return {1: demand(list(RELATIONS)[rng.integers(len(RELATIONS))])}


def _draw_look(rng: np.random.Generator, cutout: Cutout, amount: int, size: int) -> tuple[float, float]:
    """Draws scale and angle."""
    least, most = LONG_SIDES[min(amount, max(LONG_SIDES))]
    scale = rng.uniform(least, most) * size / max(cutout.size)
    return float(scale), float(rng.uniform(-MAX_ANGLE, MAX_ANGLE))


def _draw_placements(
    rng: np.random.Generator, cutouts: list[Cutout], looks: list[tuple[float, float]], boxes: Boxes
) -> list[Placement]:
    placements = []
    for cutout, (scale, angle), (x, y, _, _) in zip(cutouts, looks, boxes, strict=True):
        red, green, blue = (float(gain) for gain in rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3))
        blur = float(rng.uniform(0, MAX_BLUR)) if rng.random() < 0.5 else 0.0
        mirrored = bool(rng.random() < 0.5)
        placements.append(Placement(cutout, (x, y), scale, angle, mirrored, (red, green, blue), blur))
    return placements


def _find_objects(
    order: Sequence[int], painted: Sequence[Placement], layers: Sequence[Layer]
) -> list[SceneObject] | None:
    """Lists the objects in their order; None if too little can be seen of one."""
    found: dict[int, SceneObject] = {}
    for number, placement, layer, mask in zip(order, painted, layers, find_visible(layers), strict=True):
        if mask.sum() < max(MIN_PIXELS, MIN_SEEN * layer.whole.sum()):
            return None
        found[number] = SceneObject(placement.cutout.name, mask, layer.whole, _box_around(mask))
    return [found[number] for number in range(len(order))]


def _find_pairs(
    rng: np.random.Generator, objects: Sequence[SceneObject], design: Design | None
) -> list[Pair] | None:
    """Finds for each object the relation that is asked for; None if one has none that is clear."""
    pairs = []
    for number in range(len(objects)):
        is_bound = design is not None and number == 0
        pair = find_bound_pair(objects, design) if design and is_bound else find_pair(rng, objects, number)
        if pair is None:
            return None
        pairs.append(pair)
    return pairs


def _swap_scene(rng: np.random.Generator, ground: Ground, family: Sequence[Ground]) -> list[str]:
    names: list[str] = []
    while len(names) < SWAPS:
        name = family[int(rng.integers(len(family)))].name
        if name != ground.name and name not in names:
            names.append(name)
    return names


def _draw_phrase(rng: np.random.Generator, relation: str) -> str:
    phrases = RELATIONS[relation].phrases
    return phrases[rng.integers(len(phrases))]


def _box_around(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
