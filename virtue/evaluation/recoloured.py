"""Finds things by their colour: python -m virtue.evaluation.recoloured --packages DIR

Lays 15 cut-out things, stamps of Tux Paint kept for evaluation (see `virtue.evaluation.sample_photos`), on a
plain ground, each dyed in four colours, and searches for "a red car" among the 60 pictures.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageOps

from virtue.errors import InputError
from virtue.evaluation.front_door import indexed, make_parser, print_answer
from virtue.evaluation.sample_photos import SEED, SMALL, paste, plain_ground, stamps

COLOURS = {"red": "#c81e1e", "yellow": "#ebcd28", "green": "#289632", "blue": "#2850c8"}
LIGHTER, DARKER = 0.5, 0.85
"""How much white or black the brightest and the darkest parts get."""

THINGS = {
    "sedan": "car",
    "truck": "truck",
    "green_korean_bus": "bus",
    "guitar2": "guitar",
    "violin": "violin",
    "tophat": "hat",
    "t_glove": "glove",
    "t_sock": "sock",
    "t_scarf": "scarf",
    "t_pants": "pair of trousers",
    "camera_35mm": "camera",
    "frog-1": "frog",
    "747": "airplane",
    "pink_tricycle": "tricycle",
    "uk_post_box": "mailbox",
}
"""Stem of a stamp -> what it shows."""


def dye(stamp: Image.Image, colour: str) -> Image.Image:
    """Dyes a cut-out RGBA picture. Its median brightness gets the colour itself; light and shade stay."""
    alpha = stamp.getchannel("A")
    gray = stamp.convert("L")
    median = int(np.median(np.asarray(gray)[np.asarray(alpha) > 127]))
    light, dark = _mix(colour, "white", LIGHTER), _mix(colour, "black", DARKER)
    dyed = ImageOps.colorize(gray, black=dark, mid=colour, white=light, midpoint=min(max(median, 60), 200))
    dyed.putalpha(alpha)
    return dyed


def _mix(colour: str, other: str, share: float) -> tuple[int, ...]:
    pairs = zip(ImageColor.getrgb(colour), ImageColor.getrgb(other), strict=True)
    return tuple(round((1 - share) * one + share * two) for one, two in pairs)


def paint(packages: Path, out: Path) -> dict[str, str]:
    """Writes the pictures into `out`: name of a picture -> query that it answers.

    Raises:
        InputError: the stamps are not there.
    """
    there = {path.stem: path for path in stamps(packages, 0)}
    missing = sorted(set(THINGS) - set(there))
    if missing:
        raise InputError(
            f"{packages} lacks the stamps {', '.join(missing)}; see virtue.evaluation.sample_photos"
        )
    rng = random.Random(SEED)
    queries = {}
    for stem, thing in THINGS.items():
        with Image.open(there[stem]) as image:
            stamp = image.convert("RGBA")
        for colour, dyes in COLOURS.items():
            ground = plain_ground((SMALL, 240), rng)
            paste(ground, dye(stamp, dyes), rng.uniform(0.6, 0.95), rng)
            name = f"{thing} {colour}.png"
            ground.save(out / name)
            queries[name] = f"a {colour} {thing}"
    return queries


def evaluate(packages: Path, each: bool = False) -> dict[str, Any]:
    """Computes recall@1 and recall@5 among all pictures, and the share of things' colours whose picture comes
    before the thing's other three."""
    with tempfile.TemporaryDirectory() as scratch:
        queries = paint(packages, Path(scratch))
        rows = []
        with indexed([Path(scratch, name) for name in queries]) as door:
            for name, query in queries.items():
                names = [hit["photo"] for hit in door.search(query, top=len(queries))]
                thing = name.rsplit(" ", 1)[0]
                same = [other for other in names if other.rsplit(" ", 1)[0] == thing]
                place = names.index(name) + 1 if name in names else None
                rows.append({"words": query, "place": place, "right_of_four": same[:1] == [name]})
    places = np.array([row["place"] or np.inf for row in rows])
    found: dict[str, Any] = {
        "pictures": len(rows),
        "recall@1": round(float((places <= 1).mean()), 3),
        "recall@5": round(float((places <= 5).mean()), 3),
        "right_of_four": round(float(np.mean([row["right_of_four"] for row in rows])), 3),
    }
    return found | ({"each": rows} if each else {})


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="the folder they were unpacked into")
    parser.add_argument("--each", action="store_true", help="list every query")
    print_answer(parser, lambda given: evaluate(given.packages, given.each))


if __name__ == "__main__":
    main()
