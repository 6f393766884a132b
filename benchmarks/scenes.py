"""Composes scenes on all cores: python -m benchmarks.scenes --cutouts DIR [--grounds DIR]

Each process makes its share, as the workers of torch's DataLoader do, after some that warm it up. Prints
JSON: scenes a second on the clock, and a second of processor time of one process.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from virtue.cpu import usable_cores
from virtue.training.scenes import Ground, Scenes, draw_grounds, read_cutouts, read_grounds

WARM_UP = 100


def compose(cutouts: Path, grounds: Path | None, size: int, numbers: range) -> tuple[float, float, float]:
    """Returns when the scenes were begun and ended, and how much processor time they took."""
    places: list[Ground] = [*(read_grounds(grounds) if grounds else []), *draw_grounds()]
    scenes = Scenes(read_cutouts(cutouts), places, size=size)
    for number in range(WARM_UP):
        scenes[-1 - number]
    began, used = time.time(), time.process_time()
    for number in numbers:
        scenes[number]
    return began, time.time(), time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cutouts", type=Path, required=True)
    parser.add_argument("--grounds", type=Path)
    parser.add_argument("--count", type=int, default=400, help="scenes of each process")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--processes", type=int, default=usable_cores())
    given = parser.parse_args()
    shares = [range(n * given.count, (n + 1) * given.count) for n in range(given.processes)]
    with ProcessPoolExecutor(given.processes) as pool:
        runs = list(pool.map(partial(compose, given.cutouts, given.grounds, given.size), shares))
    total, (begins, ends, used) = given.count * given.processes, zip(*runs, strict=True)
    found = {
        "processes": given.processes,
        "size": given.size,
        "scenes_per_second": round(total / (max(ends) - min(begins)), 1),
        "scenes_per_processor_second": round(total / sum(used), 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
