"""Measures the segmentation stream on photographic cut-outs that lie on photos, none of which it has seen:
python -m benchmarks.small_virtue.real_cutouts OUT --cutouts DIR --grounds DIR

OUT is that of `python -m benchmarks.small_virtue`, whose cut-outs must be others. Prints how much of the
predicted masks overlaps the exact ones (IoU) as JSON, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks.small_virtue.features import Projection, cache_scenes
from benchmarks.small_virtue.segmenter import Segmenter, measure_masks
from virtue.training.scenes import Scenes, read_cutouts, read_grounds, split

SEED = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--cutouts", type=Path, required=True)
    parser.add_argument("--grounds", type=Path, required=True, help="those kept for tests are used")
    parser.add_argument("--count", type=int, default=500, help="scenes, of each of which one mask counts")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    photos = split(read_grounds(given.grounds), "test")
    scenes = Scenes(read_cutouts(given.cutouts), photos, length=given.count, seed=SEED)
    projection = Projection.load(given.out / "projection.npz")
    features = cache_scenes(given.out / "real", scenes, projection, given.count, given.processes)
    segmenter = Segmenter()
    segmenter.load_state_dict(torch.load(given.out / "segmenter.pt", weights_only=True))
    found = measure_masks(segmenter.eval(), features)
    print(json.dumps({name: each.as_json() for name, each in found.items()}))


if __name__ == "__main__":
    main()
