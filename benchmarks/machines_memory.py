"""How much memory `index PATH` takes over a library of many photos, in PostgreSQL and in a folder.

    python -m benchmarks.machines_memory [--photos 20000 200000]

Empty files, a thousand a folder, stand for photos. `unchanged`: the library knows all of them, as they are;
`missing`: none is there any more; `new`: it knows none, and all are listed (the run is stopped before any is
opened). `grown_mb` is what the process took beyond what it had when the run began, `bytes_a_photo` how that
grew from the fewest photos to the most. In a folder only `new` is measured: all is held in any case.

Prints one JSON object; what it is at goes to stderr.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.postgres_server import running_server
from virtue.store import open_store

RUN = """
import os, resource, sys, time
from contextlib import nullcontext, suppress
import psutil
from tests.indexer.colours import ColourModel
from virtue.errors import StoppedError
from virtue.indexer import index
from virtue.indexer.report import Report
from virtue.store import open_store

report = Report()
def progress(told):
    if told.stage == "indexing" and told.what == "indexing":
        raise StoppedError("all are listed")
with open_store(sys.argv[1], create=True) as store, store.write("benchmark") as writer:
    with writer.sharing(fills=True):
        before, began = psutil.Process().memory_info().rss, time.monotonic()
        with suppress(StoppedError):
            report = index(
                store, ColourModel(), sys.argv[2], workers=1, progress=progress, writer=writer
            )
        grown = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(grown, time.monotonic() - began, report.unchanged, report.missing)
"""
A_FOLDER = 1000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, nargs="+", default=[20_000, 200_000])
    options = parser.parse_args()
    counts = sorted(options.photos)
    figures: dict[str, list[dict[str, Any]]] = {}
    with running_server() as server, tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            folder = Path(scratch) / f"photos{count}"
            make_files(folder, count)
            database = server.make_database()
            runs = {"new in a folder": Path(scratch) / f"library{count}", "new": database}
            for name, place in runs.items():
                figures.setdefault(name, []).append(run(name, place, folder, count))
            with psycopg.connect(database, autocommit=True) as plain:
                plain.execute("TRUNCATE virtue.jobs")
            make_known(database, folder)
            figures.setdefault("unchanged", []).append(run("unchanged", database, folder, count))
            shutil.rmtree(folder)
            folder.mkdir()
            figures.setdefault("missing", []).append(run("missing", database, folder, count))
    slopes = {
        name: round(1e6 * (some[-1]["grown_mb"] - some[0]["grown_mb"]) / (counts[-1] - counts[0]))
        for name, some in figures.items()
        if len(counts) > 1
    }
    print(json.dumps({"photos": counts, **figures, "bytes_a_photo": slopes}, indent=1))
    return 0


def make_files(folder: Path, count: int) -> None:
    say(f"making {count:,} files")
    for number in range(count):
        place = folder / str(number // A_FOLDER)
        if number % A_FOLDER == 0:
            place.mkdir(parents=True)
        (place / f"{number}.jpg").touch()


def make_known(database: str, folder: Path) -> None:
    """Makes the library know all files of a folder, each as a photo of its own."""
    with open_store(database) as store, store.read() as snapshot:
        (generation,) = snapshot.generations()
    paths = [entry.path for place in os.scandir(os.fsencode(folder)) for entry in os.scandir(place)]
    with psycopg.connect(database) as plain, plain.cursor() as cursor:
        cursor.execute("SET search_path = virtue, public")
        sql = "COPY photos (id, hash, width, height, phash, live) FROM STDIN"
        with cursor.copy(sql) as copy:
            for number, path in enumerate(paths, 1):
                copy.write_row((number, hashlib.sha256(path).digest(), 100, 100, 0, True))
        with cursor.copy("COPY files (path, size, mtime_ns, ctime_ns, photo_id, missing) FROM STDIN") as copy:
            for number, path in enumerate(paths, 1):
                status = os.stat(path)
                copy.write_row((path, 0, status.st_mtime_ns, status.st_ctime_ns, number, False))
        with cursor.copy("COPY embeddings (photo_id, generation_id, settings) FROM STDIN") as copy:
            for number in range(1, len(paths) + 1):
                copy.write_row((number, generation.id, "regions=32 annotations=- captions=-"))
        cursor.execute("UPDATE generations SET active = TRUE")


def run(name: str, place: str | Path, folder: Path, count: int) -> dict[str, Any]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN, place, folder], check=True, capture_output=True, text=True
    )
    grown, seconds, unchanged, missing = map(float, done.stdout.split())
    say(f"{name}, {count:,} photos: {time.monotonic() - began:.0f} s")
    return {
        "grown_mb": round(grown / 1e6, 1),
        "seconds": round(seconds, 1),
        "unchanged": int(unchanged),
        "missing": int(missing),
    }


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
