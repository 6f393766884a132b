"""Kills `virtue index` at random moments and looks for what it lost.

    python -m benchmarks.kill [--rounds 200] [--photos 12] [--seed 1]

Each round changes the folder (new photos, an edited, a renamed, a copied, a deleted one), starts
`virtue index`, kills it with SIGKILL at a random moment, notes what the catalogue acknowledges,
and lets a second run finish. A fault is: an acknowledged photo that is gone or was embedded again,
a photo missing or doubled at the end, a region or caption that no row backs, anything `virtue
verify` finds, a file in the library that is not part of it, a worker that outlives its parent.
Prints one JSON object; the exit status is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

VIRTUE = [sys.executable, "-m", "virtue"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--photos", type=int, default=12, help="new photos a round")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(Path(scratch), random.Random(options.seed))
        for number in range(options.rounds):
            trial.round(number, options.photos)
            say(f"round {number + 1} of {options.rounds}: {len(trial.faults)} faults, "
                f"{trial.killed} killed while running, {trial.partly} with a part committed")  # fmt: skip
    print(
        json.dumps(
            {
                "rounds": options.rounds,
                "killed_while_running": trial.killed,
                "killed_with_part_committed": trial.partly,
                "photos": trial.photos_seen,
                "faults": len(trial.faults),
                "what": trial.faults[:20],
                "seconds": round(time.monotonic() - started, 1),
            }
        )
    )
    return 1 if trial.faults else 0


class Trial:
    def __init__(self, scratch: Path, chance: random.Random) -> None:
        self.folder, self.library = scratch / "photos", scratch / "library"
        self.folder.mkdir()
        self.chance = chance
        self.faults: list[str] = []
        self.killed = self.partly = self.photos_seen = 0
        self.usual = 3.0

    def round(self, number: int, new: int) -> None:
        # A library that only grows makes late rounds slow without making them harder.
        if number % 20 == 0:
            shutil.rmtree(self.folder)
            shutil.rmtree(self.library, ignore_errors=True)
            self.folder.mkdir()
        self.change_folder(number, new)
        before = self.acknowledged()
        self.kill_one(self.chance.uniform(0.2, 1.1) * self.usual)
        after_kill = self.acknowledged()
        self.partly += set(before) != set(after_kill)
        started = time.monotonic()
        self.finish()
        self.usual = 0.7 * self.usual + 0.3 * (time.monotonic() - started + self.usual) / 2
        self.check(number, after_kill)

    def change_folder(self, number: int, new: int) -> None:
        paths = sorted(self.folder.glob("*.jpg"))
        if len(paths) > 4:
            edited, renamed, copied, deleted = self.chance.sample(paths, 4)
            picture(self.chance).save(edited)
            renamed.rename(renamed.with_name(f"renamed-{number}.jpg"))
            shutil.copy(copied, copied.with_name(f"copy-{number}.jpg"))
            deleted.unlink()
        for index in range(new):
            path = self.folder / f"{number}-{index}.jpg"
            picture(self.chance).save(path, quality=90)
            path.with_suffix(".txt").write_text(f"picture {index} of round {number}")

    def kill_one(self, seconds: float) -> None:
        process = subprocess.Popen(
            [*VIRTUE, "index", self.folder, "--database", self.library], stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        if process.poll() is None:
            self.killed += 1
            process.send_signal(signal.SIGKILL)
        process.wait()

    def finish(self) -> None:
        done = subprocess.run(
            [*VIRTUE, "index", self.folder, "--database", self.library],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            self.faults.append(f"the second run ended with {done.returncode}: {done.stderr.decode()[-300:]}")

    def acknowledged(self) -> dict[bytes, frozenset[int]]:
        """Photos with an embedding, by content hash, with the rows of their regions: what the
        catalogue promises at this moment, read with SQLite alone."""
        catalogue = self.library / "catalogue.db"
        if not catalogue.exists():
            return {}
        with sqlite3.connect(catalogue) as connection:
            has_tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'regions'").fetchone()
            found: dict[bytes, set[int]] = {}
            if has_tables:
                for photo, row in connection.execute(
                    "SELECT hash, row FROM regions JOIN photos ON photos.id = photo_id WHERE row IS NOT NULL"
                ):
                    found.setdefault(photo, set()).add(row)
        connection.close()
        return {photo: frozenset(rows) for photo, rows in found.items()}

    def check(self, number: int, promised: dict[bytes, frozenset[int]]) -> None:
        def fault(sentence: str) -> None:
            self.faults.append(f"round {number}: {sentence}")

        final = self.acknowledged()
        on_disk = {photo_hash(path) for path in self.folder.glob("*.jpg")}
        self.photos_seen += len(on_disk)
        for lost in on_disk - set(final):
            fault(f"photo {lost.hex()[:8]} is on disk and not in the library")
        for photo, rows in promised.items():
            if photo in on_disk and final.get(photo) != rows:
                fault(f"acknowledged photo {photo.hex()[:8]} lost its rows or was embedded again")
        rows_used = [row for rows in final.values() for row in rows]
        if len(rows_used) != len(set(rows_used)):
            fault("two regions share a row")
        verified = subprocess.run(
            [*VIRTUE, "verify", "--database", self.library], capture_output=True, check=False
        )
        if verified.returncode:
            fault(f"verify: {verified.stdout.decode()[-300:]}")
        for stray in self.strays():
            fault(f"stray file {stray}")
        if workers_alive():
            fault("a worker outlived its parent")

    def strays(self) -> list[str]:
        allowed = r"catalogue\.db(-wal|-shm)?|writer\.(lock|json)|(regions|captions)-1\.f16"
        return [
            str(path.relative_to(self.library))
            for path in self.library.rglob("*")
            if not re.fullmatch(allowed, path.name)
        ]


def photo_hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def picture(chance: random.Random) -> Image.Image:
    """A small picture that no other equals."""
    noise = np.random.default_rng(chance.getrandbits(63))
    coarse = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((240, 180), Image.Resampling.BICUBIC)


def workers_alive() -> bool:
    """Whether a decoding worker lives whose parent died; it is given a moment to notice."""
    for _ in range(20):
        orphans = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, ValueError):
                    continue
                if b"virtue.indexer.worker" in command and parent == 1:
                    orphans.append(entry.name)
        if not orphans:
            return False
        time.sleep(0.1)
    return True


def say(sentence: str) -> None:
    if sys.stderr.isatty() or os.environ.get("VIRTUE_VERBOSE"):
        print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
