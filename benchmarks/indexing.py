"""How fast photos are indexed, beside what reading them costs: `python -m benchmarks.indexing`.

    python -m benchmarks.indexing [--photos 40] [--megapixels 12] [--seed 1] [--side 512] [--ocr]

Makes JPEGs of that size with the texture of real photos (pieces of those in `examples/photos`, enlarged
little, with a sensor's grain), then measures on the same cores, in turn: decoding at reduced scale plus
resizing with Pillow; full decoding; `virtue index --no-ocr` as a process from start to exit, so that runs of
older versions compare; with `--ocr` also `virtue index --ocr` over the same library, which then does nothing
but read the photos (few of them hold text). Prints one JSON object:
photos a second of each, how many times longer `virtue index` takes than reduced decoding (`ratio`; target
2.5 with one pass at 512 pixels, 4 with a second at 768), the same without the start of the process
(`ratio_running`), and its peak memory in MB (all processes together; target 1,000); of reading the seconds a
photo, and the same peak.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.watched import Watched, watch

SOURCES = Path(__file__).parent.parent / "examples" / "photos"
ENLARGED = 2.0
"""How much the pieces of real photos are enlarged at most."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--side", type=int, default=512, help="pixels on the long side after resizing")
    parser.add_argument("--regions", default="auto")
    parser.add_argument("--workers", type=int, help="as for virtue index")
    parser.add_argument("--ocr", action="store_true", help="measure reading, too")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        folder.mkdir()
        photos = make_photos(folder, options.photos, options.megapixels, options.seed)
        best: dict[str, float] = {}
        runs, readings = [], []
        for repetition in range(options.repetitions):
            for name, work in (("reduced", partial(reduced, side=options.side)), ("full", full)):
                rate = read_rate(work, photos)
                best[name] = max(rate, best.get(name, 0))
            library = Path(scratch) / f"library{repetition}"
            runs.append(run_index(folder, library, options, "--no-ocr"))
            if options.ocr:
                readings.append(run_index(folder, library, options, "--ocr"))
    fastest = min(runs, key=lambda run: run.seconds)
    running = json.loads(fastest.stdout)["seconds"]
    count = len(photos)
    figures = {
        "benchmark": "indexing",
        "photos": count,
        "megapixels": options.megapixels,
        "megabytes_a_photo": round(sum(photos.values()) / count / 1e6, 2),
        "cores": len(os.sched_getaffinity(0)),
        "reduced_decode_photos_s": round(best["reduced"], 2),
        "full_decode_photos_s": round(best["full"], 2),
        "index_photos_s": round(count / fastest.seconds, 2),
        "index_running_photos_s": round(count / running, 2),
        "ratio": round(best["reduced"] * fastest.seconds / count, 2),
        "ratio_running": round(best["reduced"] * running / count, 2),
        "peak_mb": round(max(run.peak_mb for run in runs)),
        **({"read_s_a_photo": round(min(run.seconds for run in readings) / count, 3)} if readings else {}),
        **({"read_peak_mb": round(max(run.peak_mb for run in readings))} if readings else {}),
        "repetitions": options.repetitions,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(figures, indent=2))
    return 0


def make_photos(folder: Path, count: int, megapixels: float, seed: int) -> dict[Path, int]:
    """Paths and sizes in bytes."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    chance, grain = random.Random(seed), np.random.default_rng(seed)
    sources = [Image.open(path).convert("RGB") for path in sorted(SOURCES.glob("*.jpg"))]
    noise = grain.normal(0, 4, (height, width, 1)).astype(np.int16)
    photos = {}
    for number in range(count):
        canvas = mosaic(sources, width, height, chance)
        pixels = np.asarray(canvas, np.int16) + np.roll(noise, chance.randrange(height), axis=0)
        path = folder / f"{number:05}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
        photos[path] = path.stat().st_size
    return photos


def mosaic(sources: list[Image.Image], width: int, height: int, chance: random.Random) -> Image.Image:
    canvas = Image.new("RGB", (width, height))
    y = 0
    while y < height:
        x, tall = 0, 0
        while x < width:
            source = chance.choice(sources)
            scale = chance.uniform(1, ENLARGED)
            piece = source.resize((round(source.width * scale), round(source.height * scale)))
            canvas.paste(piece, (x, y))
            x, tall = x + piece.width, max(tall, piece.height)
        y += tall
    return canvas


def reduced(path: Path, side: int) -> None:
    with Image.open(path) as image:
        scale = side / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image.draft("RGB", size)
        image.resize(size, Image.Resampling.BICUBIC)


def full(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def read_rate(work: Callable[[Path], None], photos: dict[Path, int]) -> float:
    """Photos a second, on all cores; the start of the processes does not count."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(work, list(photos)[: 2 * cores]))
        started = time.perf_counter()
        list(pool.map(work, photos))
        return len(photos) / (time.perf_counter() - started)


def run_index(folder: Path, library: Path, options: argparse.Namespace, *ocr: str) -> Watched:
    command = [sys.executable, "-m", "virtue", "index", str(folder), "--database", str(library), "--json"]
    command += ["--regions", options.regions, *ocr]
    if options.workers:
        command += ["--workers", str(options.workers)]
    done = watch(command)
    told = {} if done.status else json.loads(done.stdout)
    if options.photos not in (told.get("indexed"), told.get("read")):
        sys.exit(f"virtue index failed with {done.status}: {done.stderr}")
    return done


if __name__ == "__main__":
    sys.exit(main())
