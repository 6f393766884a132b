"""Kills `virtue index` at random moments, hurts what it works with, and looks for what it lost.

    python -m benchmarks.kill [--rounds 200] [--photos 12] [--seed 1]

Each round changes the folder (new photos, an edited, a renamed, a copied, a deleted one, and one in a
sub-folder), then runs `virtue index` three times:

1. It is killed with SIGKILL at a random moment.
2. It comes to its end, in trouble.
3. It comes to its end after all trouble is over.

The trouble of the first two: two files may not be read; in every second round an empty folder lies in the
sub-folder's place, as where a drive is not mounted; a worker is killed, or suspended for a
second; another process writes to the library (it indexes another folder, or forgets what is missing).

Each picture has a word in it, which the run reads when all vectors are there.

A fault is: an acknowledged photo that is gone, doubled, embedded again or read again, after whichever run; a
photo missing or not read at the end; a region or caption that no row backs; anything `virtue verify` finds; a
file in the library that is not part of it; a worker that outlives its parent. Prints one JSON object; the
exit status is 1 if there was a fault.
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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, Timer

import numpy as np
from PIL import Image, ImageDraw, ImageFont

VIRTUE = [sys.executable, "-m", "virtue"]
_RIGHTS_OF_ROOT = "-dac_override,-dac_read_search"
POWERLESS = (
    ["setpriv", "--bounding-set", _RIGHTS_OF_ROOT, "--inh-caps", _RIGHTS_OF_ROOT] if os.geteuid() == 0 else []
)
"""What makes rights of files hold for a command that root runs."""
WORD = "Kilometre"
ENDS = ("is being written", "there is no library", "forgot 0 files")
"""What the other writer may say when it changed nothing."""
Photos = dict[bytes, frozenset[int]]
"""Photos by content hash, with the rows of their regions, or with the ids of captions of what was read."""


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
            say(f"round {number + 1} of {options.rounds}: {len(trial.faults)} faults, {dict(trial.counts)}")
    print(
        json.dumps(
            {
                "rounds": options.rounds,
                **trial.counts,
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
        self.drive, self.away, self.other = self.folder / "drive", scratch / "away", scratch / "other"
        self.chance = chance
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.renamed = b""
        self.forgettable: set[bytes] = set()
        self.usual = 3.0

    def round(self, number: int, new: int) -> None:
        # A library that only grows makes late rounds slow without making them harder.
        if number % 20 == 0:
            for folder in (self.folder, self.other, self.library):
                shutil.rmtree(folder, ignore_errors=True)
            self.drive.mkdir(parents=True)
            self.other.mkdir()
        self.forgettable = set()
        self.change_folder(number, new)
        before, read = self.acknowledged(), self.read()
        with self.trouble(number):
            promised = before | self.kill_one(number, before)
            read |= self.read()
            started = time.monotonic()
            self.finish(number, in_trouble=True)
            self.usual = 0.8 * self.usual + 0.2 * (time.monotonic() - started)
            self.compare(number, promised, self.acknowledged(), "embedded", "the run in trouble")
            self.compare(number, read, self.read(), "read", "the run in trouble")
        promised, read = self.acknowledged(), self.read()
        self.finish(number, in_trouble=False)
        self.compare(number, promised, self.acknowledged(), "embedded", "the last run")
        self.compare(number, read, self.read(), "read", "the last run")
        self.check(number)

    def change_folder(self, number: int, new: int) -> None:
        paths = sorted(self.folder.glob("*.jpg"))
        if len(paths) > 4:
            edited, renamed, copied, deleted = self.chance.sample(paths, 4)
            picture(self.chance).save(edited)
            self.renamed = photo_hash(renamed)
            renamed.rename(renamed.with_name(f"renamed-{number}.jpg"))
            shutil.copy(copied, copied.with_name(f"copy-{number}.jpg"))
            deleted.unlink()
        places = [self.folder] * new + [self.drive] * 2 + [self.other]
        for index, place in enumerate(places):
            path = place / f"{number}-{index}.jpg"
            picture(self.chance).save(path, quality=90)
            path.with_suffix(".txt").write_text(f"picture {index} of round {number}")

    @contextmanager
    def trouble(self, number: int) -> Iterator[None]:
        """Files that may not be read, and a drive that is not mounted, for as long as this lasts."""
        unreadable = self.chance.sample(sorted(self.folder.glob("*.jpg")), 2)
        for path in unreadable:
            path.chmod(0)
        if number % 2:
            self.drive.rename(self.away)
            self.drive.mkdir()
            self.counts["unmounted"] += 1
        try:
            yield
        finally:
            for path in unreadable:
                path.chmod(0o644)
            if number % 2:
                self.drive.rmdir()
                self.away.rename(self.drive)

    def kill_one(self, number: int, before: Photos) -> Photos:
        """What the catalogue acknowledges after the kill."""
        process = self.start("index", self.folder)
        other = self.disturb(process, self.chance.uniform(0.5, 1.1) * self.usual, beside=True)
        if process.poll() is None:
            self.counts["killed_while_running"] += 1
            process.send_signal(signal.SIGKILL)
        process.communicate()
        acknowledged = self.acknowledged()
        self.counts["killed_with_part_committed"] += set(before) != set(acknowledged)
        self.counts["killed_with_part_read"] += bool(acknowledged.keys() - self.read().keys()) and bool(
            self.read()
        )
        self.end(other, number)
        if workers_alive():
            self.faults.append(f"round {number}: a worker outlived its parent")
        return acknowledged

    def finish(self, number: int, in_trouble: bool) -> None:
        """Indexes to the end; while another process writes, the library says so and is asked again."""
        folders = [self.folder] if in_trouble else [self.folder, self.other]
        while True:
            process = self.start("index", *folders)
            if in_trouble:
                other = self.disturb(process, 0.9 * self.usual, beside=self.chance.random() < 0.5)
            said = process.communicate()[1].decode()
            if in_trouble:
                self.end(other, number)
            if not process.returncode:
                return
            if "is being written" not in said:
                self.faults.append(f"round {number}: a run ended with {process.returncode}: {said[-300:]}")
                return
            self.counts["found_it_being_written"] += 1

    def disturb(
        self, process: subprocess.Popen[bytes], seconds: float, beside: bool
    ) -> subprocess.Popen[bytes] | None:
        """For so long, another writer starts beside this process, and one of its workers is hurt."""
        hurt = Thread(
            target=self.hurt_worker, args=(process, self.chance.uniform(0, 0.2), self.chance.random() < 0.5)
        )
        hurt.start()
        first = self.chance.uniform(0.1, 0.9) * seconds
        time.sleep(first)
        other = self.write_beside() if beside else None
        time.sleep(seconds - first)
        return other

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        command = [*POWERLESS, *VIRTUE, *map(str, words), "--database", str(self.library)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def write_beside(self) -> subprocess.Popen[bytes]:
        # Only what is gone for good may be forgotten, and what was renamed and not yet found again.
        if self.chance.random() < 0.3 and (self.library / "catalogue.db").exists():
            self.forgettable.add(self.renamed)
            return self.start("forget", "--missing", "--yes")
        return self.start("index", self.other)

    def end(self, other: subprocess.Popen[bytes] | None, number: int) -> None:
        if other is None:
            return
        said = other.communicate()[1].decode()
        self.counts["wrote_beside"] += not other.returncode
        if other.returncode and not any(words in said for words in ENDS):
            self.faults.append(
                f"round {number}: the other writer ended with {other.returncode}: {said[-300:]}"
            )

    def hurt_worker(self, process: subprocess.Popen[bytes], delay: float, suspends: bool) -> None:
        """Waits for this process to have workers, and a moment more; then kills one, or suspends it for a
        second."""
        while not (workers := children(process.pid)):
            if process.poll() is not None:
                return
            time.sleep(0.01)
        time.sleep(delay)
        with suppress(ProcessLookupError):
            os.kill(workers[0], signal.SIGSTOP if suspends else signal.SIGKILL)
            self.counts["workers_suspended" if suspends else "workers_killed"] += 1
        if suspends:
            Timer(1, resume, [workers[0]]).start()

    def acknowledged(self) -> Photos:
        """Photos with an embedding, by content hash, with the rows of their regions: what the
        catalogue promises at this moment, read with SQLite alone."""
        return self.ask(
            "SELECT hash, row FROM regions JOIN photos ON photos.id = photo_id WHERE row IS NOT NULL"
        )

    def read(self) -> Photos:
        """Photos that were read."""
        return self.ask(
            "SELECT hash, c.id FROM photos LEFT JOIN captions c ON c.photo_id = photos.id AND source = 'ocr' "
            "WHERE read_by IS NOT NULL"
        )

    def ask(self, sql: str) -> Photos:
        catalogue = self.library / "catalogue.db"
        if not catalogue.exists():
            return {}
        found: dict[bytes, set[int]] = {}
        with sqlite3.connect(catalogue) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'regions'").fetchone():
                for photo, number in connection.execute(sql):
                    found.setdefault(photo, set()).add(number)
        connection.close()
        return {photo: frozenset(numbers) for photo, numbers in found.items()}

    def compare(self, number: int, promised: Photos, now: Photos, done: str, run: str) -> None:
        """Looks for photos that were acknowledged, and are neither edited nor deleted, in what is there."""
        kept = {photo_hash(path) for path in self.paths()}
        for photo, rows in promised.items():
            if photo in kept - self.forgettable and now.get(photo) != rows:
                what = f"{done} again" if photo in now else "lost"
                self.faults.append(
                    f"round {number}: acknowledged photo {photo.hex()[:8]} was {what} by {run}"
                )

    def paths(self) -> list[Path]:
        return [*self.folder.rglob("*.jpg"), *self.away.glob("*.jpg"), *self.other.glob("*.jpg")]

    def check(self, number: int) -> None:
        def fault(sentence: str) -> None:
            self.faults.append(f"round {number}: {sentence}")

        final = self.acknowledged()
        on_disk = {photo_hash(path) for path in self.paths()}
        self.counts["photos"] += len(on_disk)
        for lost in on_disk - set(final):
            fault(f"photo {lost.hex()[:8]} is on disk and not in the library")
        for unread in on_disk - set(self.read()):
            fault(f"photo {unread.hex()[:8]} was not read")
        for photo, captions in self.read().items():
            if photo in on_disk and len(captions) != 1:
                fault(f"photo {photo.hex()[:8]} has {len(captions)} captions of its one word")
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
    """A small picture that no other equals, with a word in it."""
    noise = np.random.default_rng(chance.getrandbits(63))
    coarse = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    made = coarse.resize((800, 600), Image.Resampling.BICUBIC)
    ImageDraw.Draw(made).rectangle((100, 200, 700, 330), "white")
    ImageDraw.Draw(made).text((150, 220), WORD, "black", ImageFont.load_default(size=80))
    return made


def children(pid: int) -> list[int]:
    """The workers of this process, whichever of its threads started them."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


def resume(worker: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)


def workers_alive() -> bool:
    """Whether a decoding worker lives whose parent died; it is given a moment to notice."""
    for _ in range(40):
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
