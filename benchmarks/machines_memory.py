"""How much memory work over a library of many photos takes, in PostgreSQL and in a folder.

    python -m benchmarks.machines_memory [--photos 20000 100000]

Small pictures, a thousand a folder, one in ten a copy of another in other bytes. `new`: the library knows
none, and `index PATH` lists all (the run is stopped before any is opened). `unchanged`: it knows all of them,
as they are; `captioned`: so it does, and a file of captions names one; `similar`: all are compared with all;
`reindexed`: all are embedded by another model; `missing`: none is there any more. `grown_mb` is what the
process took beyond what it had when the run began, `bytes_a_photo` how that grew from the fewest to the
most; `told` is what the run counts. In a folder only `new` is measured: all is held in any case.

Prints one JSON object; what it is at goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image

from tests.indexer.colours import ColourModel
from tests.postgres_server import running_server
from virtue.geometry import Box
from virtue.indexer.plan import record
from virtue.indexer.walk import walk
from virtue.paths import hash_file
from virtue.store import EmbeddedPhoto, NewRegion, PhotoInfo, open_store
from virtue.store.catalogue.queries import chunks

RUN = """
import json, sys, time
from contextlib import suppress
from pathlib import Path
from tests.indexer.colours import ColourModel
from virtue.errors import StoppedError
from virtue.indexer import index, reindex
from virtue.retrieval.library_duplicates import find_duplicates
from virtue.store import open_store

def memory(which):  # in KB; getrusage would tell that of the process that started this one, if it had more
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))
what, place, folder, model = sys.argv[1], sys.argv[2], sys.argv[3], ColourModel(sys.argv[4])
told = {}
def progress(event):
    if event.stage == "indexing" and event.what == "indexing":
        raise StoppedError("all are listed")
with open_store(place, create=True) as store:
    before, began = memory("VmRSS"), time.monotonic()
    if what == "similar":
        with store.read() as snapshot:
            told["groups"] = sum(1 for _ in find_duplicates(snapshot, None))
    elif what == "reindexed":
        told["reembedded"] = reindex(store, model, workers=1).reembedded
    elif what == "captioned":
        told["reembedded"] = index(store, model, folder, captions=folder + ".jsonl", workers=1).reembedded
    elif what == "new":
        with suppress(StoppedError):
            index(store, model, folder, workers=1, progress=progress)
    else:
        report = index(store, model, folder, workers=1)
        told = {"unchanged": report.unchanged, "missing": report.missing}
    seconds = time.monotonic() - began
    grown = memory("VmHWM") - before
print(json.dumps({"grown_mb": round(1024 * grown / 1e6, 1), "seconds": round(seconds, 1), "told": told}))
"""
A_FOLDER = 1000
COPIED = 10
"""One in so many pictures is a copy of the one before."""
FIRST, SECOND = "colours-1", "colours-2"
"""Fingerprints of the model, and of the one that takes its place."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, nargs="+", default=[20_000, 100_000])
    options = parser.parse_args()
    counts = sorted(options.photos)
    figures: dict[str, list[dict[str, Any]]] = {}

    def measure(name: str, what: str, place: str | Path, folder: Path, model: str = FIRST) -> None:
        figures.setdefault(name, []).append(run(what, place, folder, model))
        say(f"{name}: {json.dumps(figures[name][-1])}")

    with running_server() as server, tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            folder = Path(scratch) / f"photos{count}"
            make_files(folder, count)
            database = server.make_database()
            measure("new in a folder", "new", Path(scratch) / f"library{count}", folder)
            measure("new", "new", database, folder)
            with psycopg.connect(database, autocommit=True) as plain:
                plain.execute("TRUNCATE virtue.jobs")
            make_known(database, folder)
            for what in ("unchanged", "captioned", "similar"):
                measure(what, what, database, folder)
            measure("reindexed", "reindexed", database, folder, SECOND)
            shutil.rmtree(folder)
            folder.mkdir()
            measure("missing", "missing", database, folder, SECOND)
    slopes = {
        name: round(1e6 * (some[-1]["grown_mb"] - some[0]["grown_mb"]) / (counts[-1] - counts[0]))
        for name, some in figures.items()
        if len(counts) > 1
    }
    print(json.dumps({"photos": counts, **figures, "bytes_a_photo": slopes}, indent=1))
    return 0


def make_files(folder: Path, count: int) -> None:
    say(f"making {count:,} files")
    drawn = np.random.default_rng(5)
    pixels = np.empty(0)
    for number in range(count):
        place = folder / str(number // A_FOLDER)
        if number % A_FOLDER == 0:
            place.mkdir(parents=True)
        is_copy = number % COPIED == 1
        if not is_copy:
            pixels = drawn.integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png", compress_level=9 if is_copy else 1)
    line = {"path": str(folder / "0" / "0.png"), "caption": "all is red"}
    folder.with_suffix(".jsonl").write_text(json.dumps(line))


def make_known(database: str, folder: Path) -> None:
    """Makes the library know all files of a folder."""
    say("making them known")
    drawn = np.random.default_rng(6)
    model, region = ColourModel(FIRST), NewRegion(Box(0, 0, 12, 12), "whole")
    none = np.empty((0, model.dim), np.float32)
    found = sorted(walk(bytes(folder)).files.values(), key=lambda file: int(Path(file.path.decode()).stem))
    vector, phash = none, 0
    with open_store(database) as store, store.write("benchmark") as writer:
        writer.generation(model.name, model.fingerprint, model.dim)
        for some in chunks(enumerate(found), A_FOLDER):
            photos, files = [], []
            for number, file in some:
                if number % COPIED != 1:
                    vector = drawn.standard_normal((1, model.dim)).astype(np.float32)
                    vector /= np.linalg.norm(vector)
                    phash = int(drawn.integers(2**64, dtype=np.uint64))
                hash = hash_file(file.path)
                assert hash is not None
                info = PhotoInfo(hash, 12, 12, phash=phash)
                settings = "regions=32 annotations=- captions=-"
                photos.append(EmbeddedPhoto(info, settings, (region,), vector, (), none))
                files.append(record(file, hash))
            writer.commit(photos, files)


def run(what: str, place: str | Path, folder: Path, model: str) -> dict[str, Any]:
    command = [sys.executable, "-c", RUN, what, str(place), str(folder), model]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
