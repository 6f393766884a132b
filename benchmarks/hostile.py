"""Gives virtue what strangers might: `python -m benchmarks.hostile`.

    python -m benchmarks.hostile [--inputs 2000] [--seed 1] [--kinds parquet,coco,...]

Exports, annotations, captions, libraries, pictures and model folders of which something was changed: a value
for an odd one, a type, a depth, a size, a file for a pipe or a link, some bytes; and bombs. Each goes through
the commands that read such things. Prints one JSON object. A fault is:

- a command that ends by a signal, in a traceback, or in "a mistake in virtue itself";
- one that takes more than 60 s, or more than 1.5 GB with all its processes;
- an input that is refused and changes the library all the same, or a file of the user that is no part of it;
- an input that is accepted and leaves a library that `virtue verify` does not call sound.

The exit status is 1 if there was one. Linux only: every command runs in a forked process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.hostile_files import hostile_captions, hostile_coco, hostile_parquet
from benchmarks.hostile_libraries import hostile_library
from benchmarks.hostile_pictures import hostile_pictures
from benchmarks.watched import family, resident

SECONDS = 60
MEMORY_MB = 1500
INTERVAL = 0.02
MISTAKES = ("Traceback (most recent call last)", "a mistake in virtue itself", "this was not expected")
SHARES = {"parquet": 0.2, "coco": 0.12, "captions": 0.12, "libraries": 0.3, "pictures": 0.2, "models": 0.06}
"""Of the inputs that are of each kind."""
PICTURES_AT_ONCE = 20
REFUSED = 2


@dataclass(frozen=True)
class Ended:
    """How a command ended: `status` is negative for a signal."""

    words: list[str]
    status: int
    seconds: float
    peak_mb: float
    said: str

    @property
    def fault(self) -> str | None:
        if self.seconds > SECONDS:
            return f"took more than {SECONDS} s"
        if self.peak_mb > MEMORY_MB:
            return f"took {self.peak_mb:.0f} MB"
        if self.status not in (0, 1, REFUSED):
            return f"ended with status {self.status}"
        return next((mistake for mistake in MISTAKES if mistake in self.said), None)


@dataclass
class Figures:
    """What was found. `ends` counts statuses by kind."""

    ends: dict[str, Counter[str]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0
    inputs: int = 0

    def tell(self, fault: str, what: str, ended: Ended | None = None) -> None:
        self.faults[fault if not fault.startswith("took ") or "MB" not in fault else "took more memory"] += 1
        said = "" if ended is None else f" {' '.join(ended.words)[-200:]}: {ended.said[-600:]}"
        self.told.append(f"{what}: {fault}{said}")
        if os.environ.get("HOSTILE_LOG"):
            print(self.told[-1], file=sys.stderr, flush=True)


class Bench:
    """Sound things to change, and the forks that commands run in."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.figures = Figures()
        self.photos = scratch / "photos"
        self.photos.mkdir()
        grain = np.random.default_rng(0)
        for number in range(4):
            noise = Image.fromarray(grain.integers(0, 255, (6, 8, 3), dtype=np.uint8))
            noise.resize((160, 120), Image.Resampling.BICUBIC).save(self.photos / f"{number}.png")
        self.names = [f"{number}.png" for number in range(4)]
        self.precious = scratch / "precious.txt"
        self.precious.write_text("precious\n" * 1000)
        self.sound, self.mine, self.indexed = (scratch / name for name in ("sound", "mine", "indexed"))
        self.export = scratch / "sound.parquet"
        self._make()

    def _make(self) -> None:
        coco, captions = self.scratch / "coco.json", self.scratch / "captions.csv"
        from benchmarks.hostile_files import sound_coco

        coco.write_text(json.dumps(sound_coco(self.names)))
        captions.write_text("path,caption\n" + "".join(f"{name},a thing {name}\n" for name in self.names))
        given = ["--annotations", str(coco), "--captions", str(captions)]
        for words in (
            ["index", str(self.photos), "-d", str(self.sound), "--regions", "3", "-q", *given],
            ["export", str(self.export), "-d", str(self.sound)],
            ["index", str(self.photos / "0.png"), "-d", str(self.mine), "--regions", "2", "-q"],
        ):
            ended = self.run(words)
            assert ended.status == 0, ended
        shutil.copytree(self.sound, self.indexed)
        child = os.fork()  # the threads that FAISS starts would be lost in later forks
        if child == 0:
            _grow_and_index(self.indexed)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

    def run(self, words: list[str]) -> Ended:
        """Runs a command in a fork, which has all that is imported; ends it when its time is up."""
        with tempfile.TemporaryFile() as told:
            started = time.monotonic()
            child = os.fork()
            if child == 0:
                _be_virtue(words, told.fileno())
            peak, status = 0.0, None
            while status is None:
                peak = max(peak, sum(map(resident, family(child))) / 1e6)
                pid, raw, usage = os.wait4(child, os.WNOHANG)
                if pid:
                    status = os.waitstatus_to_exitcode(raw)
                    peak = max(peak, usage.ru_maxrss / 1e3)
                elif time.monotonic() - started > SECONDS:
                    os.killpg(child, signal.SIGKILL)
                time.sleep(INTERVAL)
            seconds = time.monotonic() - started
            told.seek(0)
            said = told.read().decode("utf-8", "replace").strip()
        ended = Ended(words, status, seconds, peak, said)
        self.figures.slowest = max(self.figures.slowest, seconds)
        self.figures.largest = max(self.figures.largest, peak)
        return ended

    def check(self, kind: str, what: str, words: list[str]) -> Ended:
        """Runs a command and notes how it ended, and what was wrong with that."""
        ended = self.run(words)
        self.figures.ends.setdefault(kind, Counter())[str(ended.status)] += 1
        if os.environ.get("HOSTILE_LOG") == "all":
            print(kind, what, ended.status, f"{ended.seconds:.1f} s", ended.said[-200:], file=sys.stderr)
        if ended.fault:
            self.figures.tell(ended.fault, f"{kind}: {what}", ended)
        return ended

    def take(self, kind: str, what: str, words: list[str], library: Path, before: str) -> None:
        """Has a library take an input in, and looks at what it is left with."""
        ended = self.check(kind, what, [*words, "-d", str(library)])
        if ended.status == REFUSED:
            if content_of(library) != before:
                self.figures.tell("a refused input changed the library", f"{kind}: {what}", ended)
        elif not ended.fault:
            sound = self.run(["verify", "-d", str(library)])
            if sound.status != 0:
                self.figures.tell("an accepted input left damage", f"{kind}: {what}", sound)
            self.check(kind, f"{what}, then search", ["search", "a thing", "-d", str(library), "--json"])


def _be_virtue(words: list[str], told: int) -> None:
    """What the fork does: as `virtue` would, and nothing after it."""
    os.setpgid(0, 0)
    for stream in (1, 2):
        os.dup2(told, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["virtue", *words]
    status: Any = 1
    try:
        from virtue.cli import main

        main(words)
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - whatever it is, it is a fault
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _grow_and_index(folder: Path) -> None:
    """Adds made-up vectors of the same model, and an index, for which there would be too few of them."""
    from virtue.geometry import Box
    from virtue.store import EmbeddedPhoto, FileRecord, NewRegion, PhotoInfo, open_store

    rng = np.random.default_rng(1)
    boxes = tuple(NewRegion(Box(n, 0, n + 10, 10), "proposal") for n in range(20))
    with open_store(folder) as store, store.write("benchmark") as writer:
        assert writer.target is not None
        dim = writer.target.dim
        photos = []
        for number in range(100):
            rows = rng.standard_normal((len(boxes), dim)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            info = PhotoInfo(hashlib.sha256(b"%d" % number).digest(), 160, 120)
            none = np.empty((0, dim), np.float32)
            settings = "regions=20 annotations=- captions=-"
            photos.append(EmbeddedPhoto(info, settings, boxes, rows, (), none))
        files = [FileRecord(b"/made/up/%d.png" % n, 1, 1, None, p.info.hash) for n, p in enumerate(photos)]
        writer.commit(photos, files)
        writer.refresh_indexes(max_scanned_floats=1000)


def content_of(library: Path) -> str:
    """All that a library holds, in a few characters: its tables and row files; "none" if it is not there."""
    if not (library / "catalogue.db").exists():
        return ", ".join(sorted(os.listdir(library))) if library.exists() else "none"
    digest = hashlib.sha256()
    with closing(sqlite3.connect(library / "catalogue.db")) as plain:
        for line in plain.iterdump():
            digest.update(line.encode("utf-8", "surrogateescape"))
    for path in sorted(library.glob("*.f16")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


# -- one input after the other -------------------------------------------------------------------------------


def apart(make: Callable[[], str]) -> str:
    """Makes an input in a fork: forks of commands share memory, and what this takes would count there."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            os.write(told.fileno(), make().encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        told.seek(0)
        return told.read().decode()


def try_parquet(bench: Bench, chance: random.Random, number: int) -> None:
    path = bench.scratch / f"{number}.parquet"
    what = apart(lambda: hostile_parquet(bench.export, path, chance))
    _take_anew(bench, "parquet", what, ["import", str(path)], chance)
    path.unlink()


def _take_anew(bench: Bench, kind: str, what: str, words: list[str], chance: random.Random) -> None:
    """Has a fresh copy of the user's library take it in, or a library that is not there yet."""
    library = bench.scratch / "taking"
    if chance.random() < 0.8:
        shutil.copytree(bench.mine, library)
    bench.take(kind, what, words, library, content_of(library))
    shutil.rmtree(library, ignore_errors=True)


def try_coco(bench: Bench, chance: random.Random, number: int) -> None:
    path = bench.scratch / f"{number}.json"
    what = apart(lambda: hostile_coco(bench.names, path, chance))
    _give(bench, "coco", what, "--annotations", path)


def try_captions(bench: Bench, chance: random.Random, number: int) -> None:
    path = bench.scratch / f"{number}.csv"
    what = apart(lambda: hostile_captions(bench.names, path, chance))
    if chance.random() < 0.2:
        _try_sidecar(bench, path, chance)
    else:
        _give(bench, "captions", what, "--captions", path)


def _give(bench: Bench, kind: str, what: str, option: str, path: Path) -> None:
    library = bench.scratch / "taking"
    shutil.copytree(bench.mine, library)
    words = ["index", str(bench.photos / "0.png"), option, str(path), "--workers", "1"]
    bench.take(kind, what, words, library, content_of(library))
    shutil.rmtree(library)
    path.unlink()


def _try_sidecar(bench: Bench, path: Path, chance: random.Random) -> None:
    """The same text beside a photo, or something that is no file there."""
    folder, library = bench.scratch / "beside", bench.scratch / "taking"
    folder.mkdir()
    shutil.copy(bench.photos / "0.png", folder)
    shutil.copytree(bench.mine, library)
    beside = folder / "0.txt"
    makes: dict[str, Callable[[], object]] = {
        "text": lambda: shutil.copy(path, beside),
        "noise": lambda: beside.write_bytes(chance.randbytes(50_000)),
        "a pipe": lambda: os.mkfifo(beside),
        "a folder": beside.mkdir,
        "a link to /dev/zero": lambda: beside.symlink_to("/dev/zero"),
    }
    kind = chance.choice(sorted(makes))
    makes[kind]()
    bench.take("captions", f"beside: {kind}", ["index", str(folder)], library, content_of(library))
    shutil.rmtree(folder)
    shutil.rmtree(library)
    path.unlink()


def try_libraries(bench: Bench, chance: random.Random, number: int) -> None:
    """Reads a hostile library in some ways, merges it, and at last writes to it."""
    template = chance.choice((bench.sound, bench.sound, bench.indexed))
    folder = bench.scratch / f"{number}.virtue"
    what = hostile_library(template, folder, bench.precious, chance)
    photo, there = str(bench.photos / "1.png"), ["-d", str(folder)]
    reads = [
        ["search", "a thing", "--json"], ["search", photo], ["search", "mug", "--find", "captions", "--json"],
        ["search", "a thing", "--find", "photos", "--min-score", "auto"], ["search", "mug", "-f"],
        ["search", "a thing", "--where", "rating >= 1 or width > 10 and path ~ *.png"], ["status"],
        ["status", "--problems"], ["status", "--missing", "--json"], ["status", "--forgotten"], ["verify"],
        ["similar"], ["similar", photo], ["export", str(bench.scratch / f"{number}.parquet")],
        ["search", "--like", "1", "--read-only"], ["status", "--json", "--read-only"],
        ["search", "a", "--html", str(bench.scratch / f"{number}.html")],
    ]  # fmt: skip
    for words in chance.sample(reads, 2):
        bench.check("libraries", what, [*words, *there])
    _take_anew(bench, "libraries", what, ["merge", str(folder)], chance)
    writes = [
        ["index", str(bench.photos), "-q", "--workers", "1"], ["index", "-q", "--workers", "1"],
        ["verify", "--repair"], ["compact"], ["forget", photo], ["forget", "--missing"], ["tune"],
        ["moved", str(bench.photos), str(bench.scratch)], ["import", str(bench.export)],
        ["merge", str(bench.mine)], ["reindex", "-q", "--workers", "1"],
    ]  # fmt: skip
    if chance.random() < 0.6:
        bench.check("libraries", what, [*chance.choice(writes), *there])
    if bench.precious.read_text() != "precious\n" * 1000:
        bench.figures.tell("a file of the user was changed", f"libraries: {what}")
        bench.precious.write_text("precious\n" * 1000)
    shutil.rmtree(folder, ignore_errors=True)
    for left in bench.scratch.glob(f"{number}.*"):
        left.unlink()


def try_pictures(bench: Bench, chance: random.Random, count: int) -> None:
    """Indexes a folder of hostile pictures, and searches with some."""
    pictures = hostile_pictures(chance, count)
    for first in range(0, len(pictures), PICTURES_AT_ONCE):
        folder, library = bench.scratch / "hostile", bench.scratch / "taking"
        folder.mkdir()
        some = pictures[first : first + PICTURES_AT_ONCE]
        for number, (_, ending, content) in enumerate(some):
            (folder / f"{number}.{ending}").write_bytes(content)
        bench.figures.inputs += len(some)
        whats = ", ".join(sorted({what for what, _, _ in some}))
        ended = bench.check("pictures", whats, ["index", str(folder), "-d", str(library)])
        if ended.status != 0 and not ended.fault:
            bench.figures.tell("a folder of pictures was refused", f"pictures: {whats}", ended)
        for number, (what, ending, _) in enumerate(some):
            if what != "damaged" or chance.random() < 0.1:
                path = str(folder / f"{number}.{ending}")
                bench.check("pictures", f"search: {what}", ["search", path, "-d", str(bench.sound)])
        shutil.rmtree(folder)
        shutil.rmtree(library, ignore_errors=True)


def try_models(bench: Bench, seed: int, count: int) -> None:
    """Has a new library indexed with hostile model folders."""
    try:
        import torch  # noqa: F401

        from benchmarks.hostile_models import model_folders
    except ImportError:
        bench.figures.ends["models"] = Counter({"torch is not installed": count})
        return
    folders = model_folders(random.Random(seed), bench.scratch)
    for hostile, _ in zip(folders, range(count), strict=False):
        library = bench.scratch / "taking"
        words = ["index", str(bench.photos / "0.png"), "--model", str(hostile.folder), "--offline", "-q"]
        ended = bench.check("models", hostile.what, [*words, "-d", str(library), "--regions", "1"])
        if ended.status == 0:
            bench.check("models", hostile.what, ["search", "a thing", "--offline", "-d", str(library)])
        if hostile.mark.exists():
            bench.figures.tell("code of the folder ran", hostile.what, ended)
        shutil.rmtree(library, ignore_errors=True)
        bench.figures.inputs += 1


ONE_BY_ONE: dict[str, Callable[[Bench, random.Random, int], None]] = {
    "parquet": try_parquet, "coco": try_coco, "captions": try_captions, "libraries": try_libraries,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(SHARES), help="of inputs")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    started = time.monotonic()
    _import_all()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        for kind, count in _counts(kinds, options.inputs):
            if kind == "pictures":
                try_pictures(bench, random.Random(f"{options.seed} pictures"), count)
            elif kind == "models":
                try_models(bench, options.seed, count)
            else:
                for number in range(count):
                    bench.figures.inputs += 1
                    ONE_BY_ONE[kind](bench, random.Random(f"{options.seed} {kind} {number}"), number)
    found = bench.figures
    figures = {
        "benchmark": "hostile",
        "inputs": found.inputs,
        "commands": sum(sum(ends.values()) for ends in found.ends.values()),
        "statuses": {kind: dict(ends) for kind, ends in found.ends.items()},
        "tracebacks": sum(found.faults[mistake] for mistake in MISTAKES),
        "hangs": found.faults[f"took more than {SECONDS} s"],
        "changes_by_refused_inputs": found.faults["a refused input changed the library"],
        "faults": dict(found.faults),
        "peak_mb": round(found.largest),
        "slowest_seconds": round(found.slowest, 1),
        "seconds": round(time.monotonic() - started),
        "what": found.told[:100],
        "seed": options.seed,
    }
    print(json.dumps(figures, indent=2))
    return int(bool(found.faults))


def _counts(kinds: list[str], inputs: int) -> Iterator[tuple[str, int]]:
    whole = sum(SHARES[kind] for kind in kinds)
    left = inputs
    for kind in kinds:
        count = left if kind == kinds[-1] else round(inputs * SHARES[kind] / whole)
        left -= count
        yield kind, count


def _import_all() -> None:
    """Imports here what the forks need, so that they begin where a command has its imports behind it."""
    for library in ("OPENBLAS", "OMP", "MKL"):  # a fork has none of the threads that its parent has made
        os.environ[f"{library}_NUM_THREADS"] = "1"
    import pyarrow.parquet
    import sqlalchemy

    import virtue.cli
    import virtue.display.console
    import virtue.embedder.mini
    import virtue.indexer
    import virtue.library
    import virtue.retrieval
    import virtue.store.folder_writer
    import virtue.store.transfer.importing

    assert pyarrow.parquet and sqlalchemy and virtue.cli


if __name__ == "__main__":
    sys.exit(main())
