"""How well and how quickly an index finds the nearest rows, beside other ways to do it.

    python -m benchmarks.vectors --rows 1000000 --dim 256
    python -m benchmarks.vectors --rows 100000 --dim 768 --contenders virtue,flat,classic
    python -m benchmarks.vectors --vectors rows.npy --image-queries a.npy --text-queries b.npy

Builds a library from vectors (without given ones, made-up ones: see `benchmarks.synthetic`) and asks it and
the others the same queries. Every contender's effort is tuned for each kind of query by itself, on other
queries than those it is judged by, to a recall@10 of 0.95: virtue by its own `tune` (images: its own rows),
the others on queries of the same making. Prints one JSON object; `results` has, for each contender,

- `recall_image`, `recall_text`: the share of the ten best rows that are found,
- `us_image`, `us_text`: microseconds of processor time a query, one thread, one query a call; medians over
  repetitions in which the contenders take turns,
- `ram_bytes_per_vector`: what its process grows by, loading it and searching it a hundred times (anonymous
  memory: pages of files, which the system drops when it needs room, are not counted),
- `disk_bytes_per_vector`: its files, with the rows where it needs them, without virtue's catalogue,
- `build_seconds`: wall time from rows to index.

`peak_gigabytes` is the most anonymous memory that the building, tuning and searching took, of all
contenders together.

`library` has, for virtue, the seconds to open it and search once (`open_seconds`), and what a query costs
with all around it (`us_whole`: a snapshot, the search, the hits joined with the catalogue) beside what FAISS,
SQLite and NumPy's scoring take of that.
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.contenders import CONTENDERS, Contender, Data, Kind, Peak, Virtue, weighed
from benchmarks.library import LibraryFigures, fill
from benchmarks.synthetic import Photos
from virtue.store import open_store
from virtue.store.ann.tuning import true_best

KINDS: tuple[Kind, ...] = ("image", "text")
TUNING, JUDGING = 500, 500
CHUNK = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--vectors", type=Path, help="(n, d) float rows of unit length, .npy")
    parser.add_argument("--image-queries", type=Path, help="half tune the others, half judge all")
    parser.add_argument("--text-queries", type=Path, help="half tune, half judge")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to put the library and the indexes, to keep them")
    parser.add_argument("--weigh", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.weigh:
        print(json.dumps(weighed(options.weigh[0], Path(options.weigh[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        figures = measured(options, options.folder or Path(scratch))
    print(json.dumps(figures, indent=2))


def measured(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    chunks, rows, dim, queries = given(options) if options.vectors else made(options)
    library = folder / "library"
    say(f"filling a library with {rows} rows of {dim} dimensions")
    with Peak() as peak:
        filling = fill(library, chunks, dim)
    say(f"it took {peak.bytes / 1e9:.2f} GB of memory")
    with open_store(library) as store, store.read() as snapshot, Peak() as peak:
        stored = snapshot.mapped_rows("regions")
        say("searching exactly")
        judges = {kind: queries[kind][1] for kind in KINDS}
        none = np.empty(0, np.int64)
        truth = {kind: true_best(stored, q, none, [none] * len(q)) for kind, q in judges.items()}
        data = Data(folder, stored, {kind: queries[kind][0] for kind in KINDS})
        contenders = []
        for name in options.contenders.split(","):
            say(f"building {name}")
            contenders.append(CONTENDERS[name](data))
        results = {c.name: judged(c, judges, truth) for c in contenders}
        for c in contenders:
            if isinstance(c, Virtue):
                results[c.name]["tune_seconds"] = round(c.tune_seconds, 2)
            results[c.name]["build_seconds"] = round(c.build_seconds, 2)
            results[c.name]["disk_bytes_per_vector"] = round(c.disk_bytes() / rows, 1)
            results[c.name]["ram_bytes_per_vector"] = round(weight(c.name, folder) / rows, 1)
        for (name, kind), microseconds in timed(contenders, judges, options.repetitions).items():
            results[name][f"us_{kind}"] = microseconds
    return {
        "benchmark": "vectors",
        "rows": rows,
        "dim": dim,
        "data": str(options.vectors or "made up"),
        "results": list(results.values()),
        "peak_gigabytes": round(peak.bytes / 1e9, 2),
        "library": {"fill_seconds": round(filling, 1)} | library_figures(library, folder, judges, options),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def made(
    options: argparse.Namespace,
) -> tuple[Iterator[np.ndarray], int, int, dict[Kind, tuple[np.ndarray, np.ndarray]]]:
    photos = Photos(options.dim, options.seed)
    images, texts = photos.images(TUNING + JUDGING), photos.texts(TUNING + JUDGING)
    queries: dict[Kind, tuple[np.ndarray, np.ndarray]] = {
        "image": (images[:TUNING], images[TUNING:]),
        "text": (texts[:TUNING], texts[TUNING:]),
    }
    return photos.rows(options.rows), options.rows, options.dim, queries


def given(
    options: argparse.Namespace,
) -> tuple[Iterator[np.ndarray], int, int, dict[Kind, tuple[np.ndarray, np.ndarray]]]:
    if not (options.image_queries and options.text_queries):
        sys.exit("--vectors needs --image-queries and --text-queries")
    vectors = np.load(options.vectors, mmap_mode="r")
    queries: dict[Kind, tuple[np.ndarray, np.ndarray]] = {}
    paths: dict[Kind, Path] = {"image": options.image_queries, "text": options.text_queries}
    for kind, path in paths.items():
        asked = np.load(path).astype(np.float32)
        queries[kind] = (asked[0::2][:TUNING].copy(), asked[1::2][:JUDGING].copy())
    chunks = (vectors[a : a + CHUNK].astype(np.float32) for a in range(0, len(vectors), CHUNK))
    return chunks, len(vectors), vectors.shape[1], queries


def judged(
    contender: Contender, judges: dict[Kind, np.ndarray], truth: dict[Kind, np.ndarray]
) -> dict[str, object]:
    figures: dict[str, object] = {"name": contender.name}
    for kind in KINDS:
        hits = [
            len(set(contender.search(query[None], kind).tolist()) & set(best.tolist()))
            for query, best in zip(judges[kind], truth[kind], strict=True)
        ]
        figures[f"recall_{kind}"] = round(sum(hits) / truth[kind].size, 4)
        figures[f"effort_{kind}"] = contender.efforts[kind]
    return figures


def timed(
    contenders: list[Contender], judges: dict[Kind, np.ndarray], repetitions: int
) -> dict[tuple[str, Kind], float]:
    taken: dict[tuple[str, Kind], list[float]] = {}
    for _ in range(repetitions):
        for contender in contenders:
            for kind in KINDS:
                queries = judges[kind][: contender.timed]
                began = time.process_time()
                for number in range(len(queries)):
                    contender.search(queries[number : number + 1], kind)
                took = (time.process_time() - began) / len(queries)
                taken.setdefault((contender.name, kind), []).append(took)
    return {key: round(statistics.median(values) * 1e6, 1) for key, values in taken.items()}


def weight(name: str, folder: Path) -> int:
    """Bytes of memory that a fresh process grows by, loading this contender and searching it."""
    command = [sys.executable, "-m", "benchmarks.vectors", "--weigh", name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["bytes"])


def library_figures(
    library: Path, folder: Path, judges: dict[Kind, np.ndarray], options: argparse.Namespace
) -> dict[str, object]:
    if "virtue" not in options.contenders:
        return {}
    command = [sys.executable, "-m", "benchmarks.vectors", "--weigh", "virtue", str(folder)]
    opening = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return {
        "open_seconds": round(statistics.median(each["open_seconds"] for each in opening), 3),
        **LibraryFigures(library).measured(judges["image"][:100], options.repetitions),
    }


def say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
