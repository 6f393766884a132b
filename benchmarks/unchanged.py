"""How long `virtue index` takes where nothing changed: `python -m benchmarks.unchanged [--files 10000]`.

Makes real files (small PNGs in folders of 500, every third with a caption) and a library that knows
them all, with 20 regions each; then times whole processes of `virtue index` over them. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.cold_search import photo
from virtue import Embedder, Library
from virtue.indexer.requirements import Settings
from virtue.indexer.roots import Options
from virtue.indexer.walk import Walk, walk
from virtue.reader import Reader

REGIONS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        photos, library = Path(scratch) / "photos", Path(scratch) / "library"
        make(photos, options.files)
        fill(library, photos)
        command = [sys.executable, "-m", "virtue", "index", str(photos), "--json", "-q", "-d", str(library)]
        seconds = []
        for _ in range(options.repetitions):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=True)
            seconds.append(time.perf_counter() - started)
            assert json.loads(done.stdout)["unchanged"] == options.files
    print(
        json.dumps(
            {
                "benchmark": "unchanged",
                "files": options.files,
                "regions": options.files * REGIONS,
                "seconds": round(statistics.median(seconds), 2),
                "range_s": [round(min(seconds), 2), round(max(seconds), 2)],
                "target_s": 2,
                "python": platform.python_version(),
                "machine": platform.machine(),
                "cores": os.cpu_count(),
            }
        )
    )


def make(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number // 500:03}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number % 256, number // 256 % 256, 0)).save(path)
        if number % 3 == 0:
            path.with_suffix(".txt").write_text(f"photo number {number}")


def fill(folder: Path, photos: Path) -> None:
    """A library that knows every file as it is."""
    found = Walk()
    walk(os.fsencode(photos), (), found, set())
    settings = str(Settings(Options().limit))
    rng = np.random.default_rng(0)
    model = Embedder.from_pretrained("mini")
    with Library.create(folder) as library, library.store.write("benchmark") as writer:
        writer.generation(model.name, model.fingerprint, model.dim)
        files = list(found.files.values())
        for first in range(0, len(files), 500):
            embedded, records = [], []
            for number, file in enumerate(files[first : first + 500], first):
                made, record = photo(rng, number, REGIONS, model.dim)
                info = replace(made.info, read_by=Reader.name)
                embedded.append(replace(made, info=info, settings=settings))
                stamps = {"size": file.size, "mtime_ns": file.mtime_ns, "sidecar": file.stamp}
                records.append(replace(record, path=file.path, **stamps))
            writer.commit(embedded, records)


if __name__ == "__main__":
    main()
