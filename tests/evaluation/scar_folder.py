"""Made files of SCaR's form, with pictures that `mini` can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.conftest import EXAMPLES

WORDS = (
    "<|image_1|>\nFind the caption that best describes the segmented object, considering both local details "
    "and global context in the given image."
)
THINGS = ("a dog", "a cup of coffee", "a cat", "a rocket")
FILES = ("dog", "coffee", "cat", "rocket")
SIZE = 240


def draw_pairs(folder: Path) -> None:
    """Pictures of 480 x 240 pixels: one thing on the left, the next on the right."""
    folder.mkdir(parents=True)
    tiles = [Image.open(EXAMPLES / "photos" / f"{name}.jpg").resize((SIZE, SIZE)) for name in FILES]
    for place, tile in enumerate(tiles):
        pair = Image.new("RGB", (2 * SIZE, SIZE))
        pair.paste(tile, (0, 0))
        pair.paste(tiles[(place + 1) % len(tiles)], (SIZE, 0))
        pair.save(folder / f"{place}.png")


def captions(thing: int) -> list[str]:
    """The truth, then three others each with another object, relation, scene."""
    other = THINGS[(thing + 1) % len(THINGS)]

    def say(what: str, relation: str, scene: str) -> str:
        return f"{what} {relation} {other} on {scene}"

    truth = (THINGS[thing], "beside", "grass")
    swapped = [THINGS[(thing + step) % len(THINGS)] for step in (1, 2, 3)]
    return [
        say(*truth),
        *(say(what, *truth[1:]) for what in swapped),
        *(say(truth[0], relation, truth[2]) for relation in ("on top of", "under", "inside")),
        *(say(*truth[:2], scene) for scene in ("the moon", "a carpet", "ice")),
    ]


def rows() -> list[dict[str, Any]]:
    """Two rows for each picture: its left half and its right half."""
    found = []
    for place in range(len(THINGS)):
        for side in (0, 1):
            found.append(
                {
                    "qry_text": WORDS,
                    "qry_image_path": f"{place}.png",
                    "bbox": [SIZE * side + 4.0, 4.0, SIZE - 8.0, SIZE - 8.0],
                    "tgt_text": captions((place + side) % len(THINGS)),
                }
            )
    return found


def write(file: Path, values: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(values), file)
    return file
