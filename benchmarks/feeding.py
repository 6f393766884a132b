"""Whether a model on a card is kept busy: `python -m benchmarks.feeding`.

    python -m benchmarks.feeding [--photos 160] [--megapixels 6] [--regions 8] [--seed 1]

The model waits as a program waits for a card: it sleeps for every photo, and the other threads go on.
Pictures are decoded and resized as for VIRTUE's released weights. For a model that is slower than decoding,
one as fast, and one that is faster, the whole of `virtue index` is compared with its slower half alone: the
model's waiting, or decoding (the mean of one measured before and one after). Prints one JSON object; `ratio`
is to be 1.1 at most. Run it on a machine that does nothing else: decoding fills all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.indexing import make_photos
from virtue.embedder.model import Find, Item, Proposal
from virtue.geometry import Box
from virtue.indexer import index
from virtue.indexer.walk import walk
from virtue.indexer.workers import Pool, default_workers
from virtue.pictures import Picture
from virtue.resizing import WholeCells
from virtue.store import open_store
from virtue.vector_math import unit_rows

SHARES = (2.0, 1.0, 0.5)
"""The model's time a photo, as a share of decoding's."""


class WaitingModel:
    """Sees what VIRTUE-2B sees, and sleeps so many seconds a photo."""

    name, fingerprint, dim, side, text_match = "waiting", "waiting-1", 1536, 4096, 0.7
    resizing = WholeCells(28, 3_136, 1_003_520)

    def __init__(self, seconds: float, regions: int) -> None:
        self._seconds, self._regions = seconds, regions
        self._random = np.random.default_rng(0)
        self.waited = 0.0

    @property
    def model(self) -> WaitingModel:
        return self

    def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
        began = time.perf_counter()
        time.sleep(self._seconds * len(pictures))
        self.waited += time.perf_counter() - began
        return list(pictures)

    def propose(self, scene: Picture, limit: int) -> list[Proposal]:
        count = min(limit, self._regions)
        sides = [scene.width * (n + 1) / (count + 1) for n in range(count)]
        return [Proposal(Box(n, 0, side, scene.height / 2)) for n, side in enumerate(sides)]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        return unit_rows(self._random.standard_normal((len(items), self.dim), np.float32))

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        return list(self.embed(items)[:, None])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=160)
    parser.add_argument("--megapixels", type=float, default=6.0)
    parser.add_argument("--regions", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        make_photos(photos, options.photos, options.megapixels, options.seed)
        few = Path(scratch) / "few"
        few.mkdir()
        make_photos(few, 4, 0.1, options.seed)
        measure_index(few, Path(scratch) / "library", WaitingModel(0, options.regions))  # modules are loaded
        measure_decoding(photos)  # files come into the memory of the system
        for number, share in enumerate(SHARES):
            decoding = measure_decoding(photos)
            model = WaitingModel(share * decoding / options.photos, options.regions)
            before = time.process_time()
            whole = measure_index(photos, Path(scratch) / f"library{number}", model)
            own = time.process_time() - before
            decoding = (decoding + measure_decoding(photos)) / 2
            slower = max(decoding, model.waited)
            runs.append(
                {
                    "decoding_s": round(decoding, 2),
                    "model_s": round(model.waited, 2),
                    "whole_s": round(whole, 2),
                    "own_cpu_s": round(own, 2),
                    "ratio": round(whole / slower, 3),
                    "ratio_in_turn": round((decoding + model.waited) / slower, 3),
                }
            )
    figures = {
        "benchmark": "feeding",
        "photos": options.photos,
        "megapixels": options.megapixels,
        "workers": default_workers(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "runs": runs,
        "ratio": max(run["ratio"] for run in runs),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(figures, indent=2))
    return 0


def measure_decoding(folder: Path) -> float:
    """Seconds that the workers take for all photos, from the start of the processes on."""
    files = list(walk(os.fsencode(folder)).files.values())
    began = time.perf_counter()
    rule = WaitingModel.resizing
    pool = Pool(files, WaitingModel.side, lambda *_: True, default_workers(), resizing=rule)
    with pool as outcomes:
        assert all(outcome.decoded for outcome in outcomes if outcome)
    return time.perf_counter() - began


def measure_index(folder: Path, library: Path, model: WaitingModel) -> float:
    with open_store(library, create=True) as store:
        began = time.perf_counter()
        report = index(store, model, folder)
        seconds = time.perf_counter() - began
        assert not report.problems, report.problems
    return seconds


if __name__ == "__main__":
    sys.exit(main())
