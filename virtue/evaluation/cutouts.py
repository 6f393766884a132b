"""Finds the photo that a cut-out was cut from: python -m virtue.evaluation.cutouts FOLDER

Indexes any folder of photos with `virtue index`, as it stands, and searches for PNG files by `virtue search`:
details as `virtue.evaluation.details` cuts them, of which only a part is opaque: round, a polygon, round with
a soft edge, or cut out by an unsteady hand. `square` has no transparency, to compare with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from virtue.escaping import escape_stderr
from virtue.evaluation.details import cut_details
from virtue.evaluation.front_door import run_virtue
from virtue.evaluation.rows import photo_paths

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
    folder: Path, count: int = 106, seed: int = 3, shapes: Iterable[str] = tuple(SHAPES)
) -> dict[str, Any]:
    """Computes for each shape the share of cut-outs that find their photo first, and among the first five.

    Raises:
        VirtueError: a command failed; in its own words.
    """
    paths = photo_paths(folder)
    rng = random.Random(seed)
    details = list(cut_details(paths, count, seed))
    found: dict[str, Any] = {"photos": len(paths), "cutouts": count}
    with tempfile.TemporaryDirectory() as scratch:
        library = os.path.join(scratch, "library")
        run_virtue("index", os.fspath(folder), "--database", library)
        for shape in shapes:
            ranks = []
            for owner, detail in details:
                cutout = Image.fromarray(detail.pixels)
                if shape != "square":
                    cutout.putalpha(SHAPES[shape](cutout.size, rng))
                file = Path(scratch, "cutout.png")
                cutout.save(file)
                answer = run_virtue("search", os.fspath(file), "--top", "5", "--json", "--database", library)
                hits = [os.path.realpath(json.loads(line)["path"]) for line in answer.splitlines()]
                wanted = os.path.realpath(paths[owner])
                ranks.append(hits.index(wanted) + 1 if wanted in hits else None)
            found[shape] = {
                "recall@1": round(ranks.count(1) / count, 3),
                "recall@5": round(sum(rank is not None for rank in ranks) / count, 3),
            }
    return found


def main() -> None:
    escape_stderr()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=106, help="cut-outs of each shape")
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps(evaluate(given.folder, given.count, given.seed)))


if __name__ == "__main__":
    main()
