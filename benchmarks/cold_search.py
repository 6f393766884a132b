"""How long a text search takes, beside `import torch`: `python -m benchmarks.cold_search`.

Prints one JSON object. `process`: a whole `virtue search` over the regions of a made-up library (random
unit vectors of the bundled model's form), and `python -c "import torch"`, in turn, as processes from start
to exit; medians in seconds and their ratio. `inside`: a search through `virtue.Library` in a process that
goes on, in milliseconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from virtue import Box, Embedder, Library
from virtue.embedder.mini import LOOK, MEANING
from virtue.store import EmbeddedPhoto, FileRecord, NewRegion, PhotoInfo
from virtue.vector_math import unit_rows

REGIONS_A_PHOTO = 20
WIDTH, HEIGHT = 4000, 3000
WORDS = ["a red mug on a desk", "two dogs running", "snow on a roof", "an old church", "a bicycle"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=15, help="of each process")
    parser.add_argument("--searches", type=int, default=300, help="inside one process")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        fill(library, options.regions)
        figures = {
            "benchmark": "cold_search",
            "regions": options.regions,
            "process": processes(library, options.torch_python, options.repetitions),
            "inside": inside(library, options.searches),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        }
    print(json.dumps(figures, indent=2))


def fill(folder: Path, regions: int) -> None:
    """A library of that many regions, in photos of `REGIONS_A_PHOTO`; there are no files behind it."""
    rng = np.random.default_rng(0)
    with Library.create(folder) as library, library.store.write("benchmark") as writer:
        model = Embedder.from_pretrained("mini")
        writer.generation(model.name, model.fingerprint, model.dim)
        for first in range(0, regions, 50 * REGIONS_A_PHOTO):
            count = min(50 * REGIONS_A_PHOTO, regions - first)
            starts = range(first, first + count, REGIONS_A_PHOTO)
            photos = [
                photo(rng, start, min(REGIONS_A_PHOTO, first + count - start), model.dim) for start in starts
            ]
            writer.commit([embedded for embedded, _ in photos], [file for _, file in photos])


def photo(rng: np.random.Generator, number: int, count: int, dim: int) -> tuple[EmbeddedPhoto, FileRecord]:
    digest = hashlib.sha256(str(number).encode()).digest()
    corners = rng.uniform(0, 0.5, (count - 1, 2)) * (WIDTH, HEIGHT)
    boxes = [Box(x, y, x + WIDTH / 3, y + HEIGHT / 3) for x, y in corners.tolist()]
    found = EmbeddedPhoto(
        PhotoInfo(digest, WIDTH, HEIGHT),
        "benchmark",
        (NewRegion(Box(0, 0, WIDTH, HEIGHT), "whole"), *(NewRegion(box, "proposal") for box in boxes)),
        as_mini(rng, count, dim),
        (),
        np.empty((0, dim), np.float32),
    )
    return found, FileRecord(b"/photos/%d.jpg" % number, 1, 1, None, hash=digest)


def as_mini(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """(count, dim) float32: meaning, look and colours, of lengths 2/3, 2/3 and 1/3."""
    parts = np.split(rng.standard_normal((count, dim)).astype(np.float32), [MEANING, MEANING + LOOK], axis=1)
    parts[2] = abs(parts[2])
    meaning, look, colours = (unit_rows(part) / np.float32(1.5) for part in parts)
    return np.concatenate([meaning, look, colours / 2], axis=1)


def processes(library: Path, torch_python: str, repetitions: int) -> dict[str, object]:
    """Medians of both, run in turn, so that whatever else the machine does hits both alike."""
    search = [sys.executable, "-m", "virtue", "search", WORDS[0], "--json", "--database", str(library)]
    torch = [torch_python, "-c", "import torch"]
    times: dict[str, list[float]] = {"search": [], "torch": []}
    for repetition in range(repetitions + 1):
        for name, command in (("search", search), ("torch", torch)):
            seconds = timed(partial(run, command))
            if repetition:  # the first round warms the disk's cache
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "search_s": round(medians["search"], 3),
        "import_torch_s": round(medians["torch"], 3),
        "ratio": round(medians["search"] / medians["torch"], 3),
        "target_ratio": 0.45,
        "search_range_s": [round(min(times["search"]), 3), round(max(times["search"]), 3)],
        "repetitions": repetitions,
    }


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.decode(errors='replace')}")


def inside(folder: Path, searches: int) -> dict[str, object]:
    with Library(folder) as library:
        for text in WORDS:
            library.search(text)
        times = [
            1000 * timed(partial(library.search, WORDS[number % len(WORDS)])) for number in range(searches)
        ]
    return {
        "p50_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
        "target_p50_ms": 15,
        "searches": searches,
    }


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
