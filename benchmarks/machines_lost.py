"""Kills processes that index into one library in PostgreSQL, and its server, and looks for what is lost.

    python -m benchmarks.machines_lost [--photos 400] [--rounds 20]

First four processes index a folder of pictures with the bundled model, one by `Library.index` and three by
`Library.join`. When all have leases two of them are killed, one after the other. `lost` counts photos that
are not in the library at the end, `doubled` full images too many or too few, `leased_when_killed` files that
the killed ones had, and `embedded_twice` pictures; those beyond what was leased are
`embedded_twice_unleased`.

Then, in each round, one process commits photo after photo, and the server is killed (SIGKILL) at a random
moment, and started again. `lost` counts photos that were acknowledged and are gone, `split` those without all
of their regions.

Prints one JSON object; what it is at goes to stderr. The exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.kill import picture
from tests.postgres_server import Server, running_server
from virtue.store import open_store

WORKER = """
import hashlib, os, sys
from virtue import Library
from virtue.embedder import Embedder

embedder = Embedder.from_pretrained("mini")
plain = embedder.scenes

def scenes(pictures):
    with open(sys.argv[2], "a") as log:
        for picture in pictures:
            print(os.getpid(), hashlib.sha256(picture.pixels.tobytes()).hexdigest(), file=log)
    return plain(pictures)

embedder.scenes = scenes
with Library(sys.argv[1], embedder=embedder) as library:
    if len(sys.argv) > 3:
        library.index(sys.argv[3], workers=1, ocr=False)
    else:
        library.join(workers=1)
"""
COMMITTER = """
import sys
from tests.store.builders import DIM, file, photo
from virtue.store import open_store
with open_store(sys.argv[1], create=True) as store, store.write("benchmark") as writer:
    writer.generation("m", "f", DIM)
    first = int(sys.argv[2])
    for number in range(first, first + 1_000_000):
        writer.commit([photo(number, proposals=3)], [file(f"/{number}.jpg", number)])
        print(number, flush=True)
"""
REGIONS = 4
"""Of each photo of a round."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with running_server() as server:
        workers = kill_workers(server, options.photos, chance)
        rounds = kill_server(server, options.rounds, chance)
    print(json.dumps({"workers": workers, "server": rounds}, indent=1))
    faults = workers["lost"], workers["doubled"], workers["embedded_twice_unleased"], rounds["lost"]
    return 1 if any(faults) or rounds["split"] else 0


def kill_workers(server: Server, photos: int, chance: random.Random) -> dict[str, Any]:
    database = server.make_database()
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch) / "photos", Path(scratch) / "log"
        folder.mkdir()
        for number in range(photos):
            picture(chance).save(folder / f"{number}.jpg")
        began = time.monotonic()
        processes = [start(WORKER, database, log, folder)]
        wait(log.exists)
        processes += [start(WORKER, database, log) for _ in range(3)]
        wait(lambda: len({pid for pid, _ in read(log)}) == len(processes))
        leased: set[bytes] = set()
        with psycopg.connect(database, autocommit=True) as plain:
            for process in chance.sample(processes[1:], 2):
                time.sleep(chance.uniform(0, 2))
                process.kill()
                process.wait()
                sql = "SELECT path FROM virtue.jobs JOIN virtue.workers ON id = owner WHERE name LIKE %s"
                leased |= {path for (path,) in plain.execute(sql, (f"% {process.pid}",))}
                say(f"killed one of {len(processes)} processes; {len(leased)} files were leased")
        for process in processes:
            process.wait()
        seconds = time.monotonic() - began
        counts = Counter(mark for _, mark in read(log))
        twice = sum(count > 1 for count in counts.values())
        with open_store(database) as store, store.read() as snapshot:
            stored = snapshot.counts()
            whole = len(snapshot.full_images(snapshot.photo_ids()))
        with psycopg.connect(database) as plain:
            sql = "SELECT count(*) FROM virtue.regions WHERE origin = 'whole'"
            ((images,),) = plain.execute(sql).fetchall()
    return {
        "processes": len(processes),
        "killed": 2,
        "photos": photos,
        "lost": photos - stored.photos,
        "doubled": abs(images - whole),
        "leased_when_killed": len(leased),
        "embedded_twice": twice,
        "embedded_twice_unleased": max(0, twice - len(leased)),
        "seconds": round(seconds, 1),
    }


def kill_server(server: Server, rounds: int, chance: random.Random) -> dict[str, Any]:
    database, acknowledged, lost, split, faults = server.make_database(), 0, 0, 0, 0
    for number in range(rounds):
        process = start(COMMITTER, database, 1_000_000 * number, stdout=subprocess.PIPE)
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(chance.randint(1, 60))]
        time.sleep(chance.uniform(0, 0.05))
        server.kill()
        done += [int(line) for line in process.stdout.read().split()]
        process.wait()
        server.start()
        with psycopg.connect(database) as plain:
            sql = (
                "SELECT hash, (SELECT count(*) FROM virtue.regions r JOIN virtue.vectors_1_regions v "
                "USING (row) WHERE photo_id = p.id) FROM virtue.photos p "
                "JOIN virtue.files f ON photo_id = p.id"
            )
            there = {int.from_bytes(hash, "big"): count for hash, count in plain.execute(sql)}
        acknowledged += len(done)
        lost += sum(each not in there for each in done)
        split = sum(count != REGIONS for count in there.values())
        say(f"round {number + 1} of {rounds}: {acknowledged} acknowledged, {lost} lost, {split} split")
    with open_store(database) as store:
        faults = len(store.verify())
    return {
        "rounds": rounds, "acknowledged": acknowledged, "lost": lost, "split": split, "faults": faults,
    }  # fmt: skip


def start(script: str, *words: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, words)], **options)


def wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.05)


def read(log: Path) -> list[tuple[str, str]]:
    """(process, picture) of each that was embedded."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [(line[0], line[1]) for line in lines if len(line) == 2]


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
