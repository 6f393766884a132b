"""Finds things by their colour: `virtue evaluate recoloured`.

Lays 15 cut-out things, stamps of Tux Paint kept for evaluation (see `virtue.evaluation.sample_photos`), on a
plain ground, each dyed in four colours, and searches for "a red car" among the 60 pictures.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from virtue.errors import InputError
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.front_door import digest_of_photos, fingerprint_of, indexed, open_outcomes
from virtue.evaluation.measures import Measured
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


def evaluate(
    packages: Path,
    each: bool = False,
    model: str = "mini",
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes recall@1 and recall@5 among all pictures, and the share of things' colours whose picture comes
    before the thing's other three.

    Args:
        each: list every query too.
        cache: a folder where places are kept, to go on after an interruption; None: nowhere.
        tell: called with how many queries are done, and of how many.
    """
    with tempfile.TemporaryDirectory() as scratch:
        queries = paint(packages, Path(scratch))
        pictures = [Path(scratch, name) for name in queries]

        def search(todo: list[int]) -> Iterator[list[float]]:
            with indexed(pictures, model) as door:
                for number in todo:
                    name = pictures[number].name
                    names = [hit["photo"] for hit in door.search(queries[name], top=len(queries))]
                    same = [other for other in names if _thing(other) == _thing(name)]
                    place = names.index(name) + 1 if name in names else len(names) + 1
                    yield [place, same[:1] == [name]]

        fingerprint, content = fingerprint_of(model), digest_of_photos(pictures)
        keys = [(content, query) for query in queries.values()]
        found = open_outcomes(cache, "recoloured", fingerprint).fill(keys, search, tell)
    things = [_thing(name) for name in queries]
    figures = {
        "recall@1": Measured.of([float(place <= 1) for place, _ in found], things),
        "recall@5": Measured.of([float(place <= 5) for place, _ in found], things),
        "right_of_four": Measured.of([right for _, right in found], things),
    }
    rows = [
        {"words": query, "place": int(place), "right_of_four": bool(right)}
        for query, (place, right) in zip(queries.values(), found, strict=True)
    ]
    facts = {"pictures": len(rows), "fingerprint": fingerprint}
    return Findings("recoloured", figures, facts | ({"each": rows} if each else {}))


def _thing(name: str) -> str:
    return name.rsplit(" ", 1)[0]
