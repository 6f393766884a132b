"""Finds the photo that a cut-out was cut from: `virtue evaluate cutouts`.

Indexes any folder of photos with `virtue index`, as it stands, and searches for PNG files by `virtue search`:
details as `virtue.evaluation.details` cuts them, of which only a part is opaque: round, a polygon, round with
a soft edge, or cut out by an unsteady hand. `square` has no transparency, to compare with.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from virtue.evaluation.details import cut_details
from virtue.evaluation.findings import Findings, Tell
from virtue.evaluation.front_door import digest_of_photos, fingerprint_of, indexed, open_outcomes
from virtue.evaluation.measures import Measured
from virtue.evaluation.rows import readable_photos, same_photos

SUPERSAMPLING = 4


def _outline(radii: Callable[[random.Random], list[float]], turn: float = 0.0) -> Callable[..., Image.Image]:
    """Draws a closed line at distances of the centre that are shares of half the size."""

    def draw(size: tuple[int, int], rng: random.Random) -> Image.Image:
        width, height = (SUPERSAMPLING * length for length in size)
        shares = radii(rng)
        start = rng.uniform(0, turn)
        corners = [
            (
                width / 2 * (1 + share * math.cos(start + 2 * math.pi * place / len(shares))),
                height / 2 * (1 + share * math.sin(start + 2 * math.pi * place / len(shares))),
            )
            for place, share in enumerate(shares)
        ]
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        return mask.resize(size, Image.Resampling.LANCZOS)

    return draw


_round = _outline(lambda rng: [1.0] * 72)
_polygon = _outline(lambda rng: [rng.uniform(0.75, 1) for _ in range(rng.randint(4, 9))], turn=2 * math.pi)
_hand = _outline(lambda rng: [rng.uniform(0.8, 1) for _ in range(24)])


def _soft(size: tuple[int, int], rng: random.Random) -> Image.Image:
    return _round(size, rng).filter(ImageFilter.GaussianBlur(min(size) / 16))


SHAPES: dict[str, Callable[[tuple[int, int], random.Random], Image.Image]] = {
    "square": lambda size, rng: Image.new("L", size, 255),
    "round": _round,
    "polygon": _polygon,
    "soft": _soft,
    "hand": _hand,
}


def evaluate(
    folder: Path,
    count: int = 106,
    seed: int = 3,
    shapes: Iterable[str] = tuple(SHAPES),
    model: str = "mini",
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> Findings:
    """Computes for each shape the share of cut-outs that find their photo first, and among the first five.

    Args:
        cache: a folder where ranks are kept, to go on after an interruption; None: nowhere.
        tell: called with how many searches are done, and of how many.

    Raises:
        VirtueError: a command failed; in its own words.
    """
    paths, bad = readable_photos(folder)
    same = same_photos(paths)
    rng = random.Random(seed)
    details = list(cut_details(paths, count, seed))
    cutouts = [
        (shape, owner, _cut(detail.pixels, shape, rng)) for shape in shapes for owner, detail in details
    ]

    def search(todo: list[int]) -> Iterator[list[int]]:
        with indexed(paths, model) as door, tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "cutout.png")
            for number in todo:
                _, owner, cutout = cutouts[number]
                cutout.save(file)
                found = door.search_picture(file, top=5)
                yield [rank for rank, place in enumerate(found, 1) if place in same[owner]][:1]

    fingerprint, content = fingerprint_of(model), digest_of_photos(paths)
    keys = [(content, seed, count, shape, number) for number, (shape, _, _) in enumerate(cutouts)]
    ranks = open_outcomes(cache, "cutouts", fingerprint).fill(keys, search, tell)
    figures: dict[str, Measured] = {}
    owners = [owner for owner, _ in details]
    for shape in dict.fromkeys(shape for shape, _, _ in cutouts):
        own = [at for (other, _, _), at in zip(cutouts, ranks, strict=True) if other == shape]
        figures[f"{shape}_recall@1"] = Measured.of([float(at == [1]) for at in own], owners)
        figures[f"{shape}_recall@5"] = Measured.of([float(bool(at)) for at in own], owners)
    return Findings("cutouts", figures, {"photos": len(paths), "fingerprint": fingerprint}, bad)


def _cut(pixels: np.ndarray, shape: str, rng: random.Random) -> Image.Image:
    cutout = Image.fromarray(pixels)
    if shape != "square":
        cutout.putalpha(SHAPES[shape](cutout.size, rng))
    return cutout
