"""Which box of a photo is shown for words: the place is the best row's, the box is one that fits."""

from __future__ import annotations

import pytest

from tests.retrieval.conftest import Fill, Painted
from virtue.embedder import Embedder
from virtue.geometry import Box
from virtue.retrieval import search

RED = ("red", (60, 40, 70, 50))
"""Scores 1 for "red"."""
THING = ("white", (20, 20, 36, 36))
"""A red thing with white around: scores less."""
INSIDE = ("red", (22, 22, 34, 34))
LARGE = ("red", (0, 0, 38, 38))
"""Some of it is painted over."""


def painted(**objectness: float) -> Painted:
    places = {
        place: objectness[name] for place, name in enumerate(("large", "thing"), 1) if name in objectness
    }
    return Painted("a.png", "blue", [LARGE, THING, INSIDE, RED], objectness=places)


@pytest.mark.parametrize("find", ["auto", "regions"])
def test_the_box_of_a_thing_is_shown_and_the_best_row_ranks(
    fill: Fill, embedder: Embedder, find: str
) -> None:
    store = fill(painted(thing=0.6), Painted("b.png", "blue", [("red", (0, 0, 4, 4))]))
    first, second = search(store, embedder, "red", find=find)  # type: ignore[arg-type]
    assert (first.box, first.object, first.kind) == (Box(20, 20, 36, 36), "thing", "region")
    assert first.region_box == first.box
    assert first.score == pytest.approx(1, abs=1e-3), "of the red rows"
    assert (second.box, second.object) == (Box(0, 0, 4, 4), None)


def test_the_surer_of_two_things_is_shown(fill: Fill, embedder: Embedder) -> None:
    boxes = [("red", (0, 0, 20, 20)), ("red", (40, 0, 60, 20))]
    store = fill(Painted("a.png", "blue", boxes, objectness={1: 0.3, 2: 0.7}))
    (hit,) = search(store, embedder, "red")
    assert hit.box == Box(40, 0, 60, 20)


def test_where_no_detector_looked_a_larger_box_is_preferred(fill: Fill, embedder: Embedder) -> None:
    (hit,) = search(fill(painted()), embedder, "red")
    assert (hit.box, hit.object) == (Box(0, 0, 38, 38), None)


def test_a_thing_that_is_not_what_was_asked_for_is_not_shown(fill: Fill, embedder: Embedder) -> None:
    boxes = [("green", (0, 0, 20, 20)), ("red", (30, 0, 70, 40))]
    (hit,) = search(fill(Painted("a.png", "blue", boxes, objectness={1: 0.9})), embedder, "red")
    assert hit.box == Box(30, 0, 70, 40)


def test_the_whole_photo_is_shown_where_it_answers_better_than_its_things(
    fill: Fill, embedder: Embedder
) -> None:
    boxes = [("green", (0, 0, 8, 8)), ("white", (40, 40, 50, 50))]
    (hit,) = search(fill(Painted("a.png", "red", boxes, objectness={1: 0.9, 2: 0.2})), embedder, "red")
    assert (hit.kind, hit.box, hit.object) == ("photo", Box(0, 0, 80, 60), None)
