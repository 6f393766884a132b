"""Blind guesses: they find what captions and boxes give away, and nothing where they give nothing away."""

from pathlib import Path
from random import Random

from virtue.evaluation.blind_guesses import guess
from virtue.evaluation.scar_files import ScarQuery
from virtue.geometry import Box

SIZES = [(100, 100)] * 120
PLACES = [(5, 40, "left of"), (75, 40, "right of"), (40, 5, "over"), (40, 75, "under")]
SWAPS = (None, *["object"] * 3, *["relation"] * 3, *["scene"] * 3)


def make_queries() -> list[ScarQuery]:
    """Captions whose object is always a frog, whose relation is that of the box, whose scene is any."""
    rng = Random(7)
    queries = []
    for row in range(120):
        x, y, relation = rng.choice(PLACES)
        objects = ["a frog", "a cat", "a mug", "a car"]
        relations = [relation, *(other for _, _, other in PLACES if other != relation)]
        scenes = rng.sample(["at sea", "on grass", "by night", "in snow"], 4)
        captions = [f"{objects[0]} {relations[0]} a hat {scenes[0]}"]
        captions += [f"{thing} {relations[0]} a hat {scenes[0]}" for thing in objects[1:]]
        captions += [f"{objects[0]} {each} a hat {scenes[0]}" for each in relations[1:]]
        captions += [f"{objects[0]} {relations[0]} a hat {scene}" for scene in scenes[1:]]
        box = Box.from_xywh(x, y, 20, 20)
        queries.append(ScarQuery(row, Path(f"{row}.png"), box, "", tuple(captions), SWAPS))
    return queries


def accuracy(scores: list[list[float] | None], first: int) -> float:
    """How often the true caption beats the three that begin at `first`."""
    rows = [row for row in scores if row is not None]
    return sum(max(row[first : first + 3]) < row[0] for row in rows) / len(rows)


def test_guesses_find_what_is_given_away_and_only_that() -> None:
    queries = make_queries()
    alone, boxed = guess(queries, None), guess(queries, SIZES)
    assert [len(row or ()) for row in alone] == [10] * 120
    assert accuracy(alone, 1) == accuracy(boxed, 1) == 1, "the object is always the same"
    assert accuracy(boxed, 4) > 0.95, "the box tells the relation"
    assert accuracy(alone, 4) < 0.5 and accuracy(alone, 7) < 0.45 and accuracy(boxed, 7) < 0.45


def test_without_known_swaps_or_enough_pictures_there_is_no_guess() -> None:
    queries = make_queries()
    unknown = [ScarQuery(q.row, q.picture, q.box, q.words, q.captions, (None,) * 10) for q in queries]
    assert guess(unknown, None) == [None] * 120
    assert guess(queries[:9], None) == [None] * 9
