"""Learns the projection of the look part, as it was learnt once for the bundled model.

    python -m tools.mini.learn_projection OUT --emoji DIR --stamps DIR --grounds DIR...

`tools.mini.training_pictures` says which packages supply the pictures, to be unpacked into the folders given
here. Writes OUT, a .npz with look_centre and look_projection, and prints, as JSON, what the projection costs
on pictures that it was not learnt from. Libraries made with another projection are not searched by pictures.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from tools.mini.look_projection import RAW, details_recall, learn_projection, look_at
from tools.mini.training_pictures import make, object_paths, read_grounds
from virtue.embedder.mini import FOLDER
from virtue.embedder.mini.config import Config
from virtue.embedder.mini.image_encoder import ImageEncoder

DIM = 384
SEED = 5


def learn(
    out: Path, emoji: Path, tuxpaint: Path, grounds: list[Path], count: int, held_out: int
) -> dict[str, object]:
    """Learns from `count` pictures, measures on `held_out` more."""
    config = Config()
    vision = ImageEncoder(FOLDER, config, None)
    pictures = make(read_grounds(grounds), object_paths(emoji, tuxpaint), count + held_out, SEED)
    rng = random.Random(SEED)
    samples = [
        look_at(vision, picture, config.side, rng)
        for picture in track(pictures, "looking", count + held_out, console=Console(stderr=True))
    ]
    centre, projection = learn_projection(samples[:count], DIM)
    np.savez(out, look_centre=centre, look_projection=projection.astype(np.float16))
    rest = samples[count:]
    return {
        "pictures": count,
        "held_out": held_out,
        "details_recall_at_1": {
            "raw": details_recall(rest, centre, np.eye(RAW, dtype=np.float32)),
            "projected": details_recall(rest, centre, projection),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--emoji", type=Path, required=True)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--grounds", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=2200, help="pictures to learn from")
    parser.add_argument("--held-out", type=int, default=200, help="pictures to measure on")
    given = parser.parse_args()
    made = learn(given.out, given.emoji, given.stamps, given.grounds, given.count, given.held_out)
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
