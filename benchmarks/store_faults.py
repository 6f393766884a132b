"""Kills writers of a library at random moments, and reads beside one that goes on; looks for faults.

    python -m benchmarks.store_faults [--rounds 200] [--seconds 300] [--readers 8] [--only append ...]

A round copies a small library, starts a process that appends, extends an index, trains it anew, deletes,
compacts or migrates, and kills it with SIGKILL at a random moment of the time that this usually takes. A
fault is: a photo or a row that was committed and is lost, doubled or changed; a commit of which a part
is there; anything `verify` finds; a file that belongs to nothing, after the next writer; a search that does
not find what is there. The vectors are made up, so that everything can be compared with what it must be.
Then `benchmarks.store_readers` runs for the seconds given. Prints one JSON object; the exit status is 1
if there was a fault.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import shelf, store_readers
from benchmarks.shelf import WORTH, State
from virtue.store import Store
from virtue.store import layout as names
from virtue.store.catalogue import database, migrate

# Children are copies of a process that has imported everything and used nothing: they start at once.
FORKS = multiprocessing.get_context("forkserver")
PRELOADED = [
    "benchmarks.store_readers",
    "virtue.store.ann.ivf",
    "virtue.store.ann.maintenance",
    "virtue.store.ann.manager",
]
PRELOADED += ["virtue.store.compaction", "virtue.store.catalogue.migrate", "virtue.store.lock", "alembic.op"]
ENDLESS = 60.0
"""Seconds that no work takes."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a child does, step by step.

    Attributes:
        start: what the library holds at first.
        step: the k-th step; at most one commit of it changes what the library holds.
        after: what it holds after the k-th step, from what it held before.
    """

    steps: int
    start: State
    step: Callable[[Store, int], None]
    after: Callable[[State, int], State]
    prepare: Callable[[Path], None] = lambda folder: None


def _photos(first: int, count: int, edition: int = 0) -> State:
    return dict.fromkeys(range(first, first + count), edition)


def _append(store: Store, k: int) -> None:
    with store.write("append") as writer:
        shelf.put(writer, _photos(1000 + 5 * k, 5))


def _appended(state: State, k: int) -> State:
    return state | _photos(1000 + 5 * k, 5)


def _extend(store: Store, k: int) -> None:
    with store.write("extend") as writer:
        shelf.put(writer, _photos(1000 + 5 * k, 5))
        writer.refresh_indexes(max_scanned_floats=WORTH)


def _retrain(store: Store, k: int) -> None:
    from virtue.store.ann import maintenance

    maintenance.MAX_GROWTH = 0  # any row that is added makes the training too old
    _extend(store, k)


def _delete(store: Store, k: int) -> None:
    with store.write("delete") as writer:
        writer.forget([shelf.path(k)])


def _deleted(state: State, k: int) -> State:
    return {number: edition for number, edition in state.items() if number != k}


def _compact(store: Store, k: int) -> None:
    with store.write("compact") as writer:
        if k % 2:
            shelf.put(writer, _photos(3 * k, 20, k))
        else:
            writer.compact()
            if not k:
                writer.refresh_indexes(max_scanned_floats=WORTH)


def _compacted(state: State, k: int) -> State:
    return state | _photos(3 * k, 20, k) if k % 2 else state


def _with_dead_rows(folder: Path) -> None:
    with Store.open(folder) as store, store.write("prepare") as writer:
        shelf.put(writer, _photos(0, 40, 5))
        shelf.put(writer, _photos(0, 40))


def _with_first_schema(folder: Path) -> None:
    """Puts what the catalogue holds into one as the first virtue made it."""
    old = folder.with_name("first")
    old.mkdir()
    database.create(old)
    with closing(sqlite3.connect(old / names.CATALOGUE)) as plain:
        tables = plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if not table.startswith("sqlite_"):
                plain.execute(f"DROP TABLE {table}")
        plain.commit()
    migrate.upgrade(old, "0001")
    with closing(sqlite3.connect(old / names.CATALOGUE)) as plain, plain:
        plain.execute("ATTACH ? AS now", (str(folder / names.CATALOGUE),))
        tables = plain.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table not in ("alembic_version", "sqlite_sequence"):
                columns = ", ".join(name for _, name, *_ in plain.execute(f"PRAGMA main.table_info({table})"))
                plain.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")
    for path in folder.glob(f"{names.CATALOGUE}*"):
        path.unlink()
    for path in names.index_files_in(folder):
        path.unlink()
    shutil.move(old / names.CATALOGUE, folder / names.CATALOGUE)
    shutil.rmtree(old)


WORKS = {
    "append": Work(6, _photos(0, 20), _append, _appended),
    "extend": Work(4, _photos(0, 60), _extend, _appended),
    "retrain": Work(3, _photos(0, 60), _retrain, _appended),
    "delete": Work(8, _photos(0, 40), _delete, _deleted),
    "compact": Work(4, _photos(0, 60), _compact, _compacted, _with_dead_rows),
    "migrate": Work(1, _photos(0, 60), lambda store, k: None, lambda state, k: state, _with_first_schema),
}


def work(name: str, folder: Path, said: Connection) -> None:
    """The child: says how many steps are done."""
    said.send(0)
    with Store.open(folder) as store:
        for k in range(WORKS[name].steps):
            WORKS[name].step(store, k)
            said.send(k + 1)


class Trial:
    """Rounds of one kind of work."""

    def __init__(self, name: str, scratch: Path, chance: random.Random) -> None:
        self.name, self.work, self.chance = name, WORKS[name], chance
        self.template, self.folder = scratch / f"{name}-template", scratch / name
        self.faults: list[str] = []
        self.killed = self.within = 0
        with Store.open(self.template, create=True) as store, store.write("prepare") as writer:
            writer.generation("made up", "made up", shelf.DIM)
            shelf.put(writer, self.work.start)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        self.work.prepare(self.template)
        self.usual = ENDLESS
        self.check("unharmed", self.run(ENDLESS))

    def round(self, number: int) -> None:
        done = self.run(self.chance.uniform(0, 1.05) * self.usual)
        self.check(f"{self.name}, round {number}", done)

    def run(self, kill_after: float) -> int:
        """The steps that were done before the child was killed, or was through."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        hear, said = FORKS.Pipe(duplex=False)
        child = FORKS.Process(target=work, args=(self.name, self.folder, said))
        child.start()
        said.close()
        hear.recv()
        began = time.monotonic()
        child.join(kill_after)
        seconds = time.monotonic() - began
        if child.is_alive():
            child.kill()
            child.join()
        killed = child.exitcode == -signal.SIGKILL
        self.killed += killed
        # How long it takes changes with what else the machine does.
        if not killed:
            self.usual = seconds if self.usual == ENDLESS else 0.7 * self.usual + 0.3 * seconds
        elif seconds > 0.9 * self.usual:
            self.usual *= 1.05
        if child.exitcode not in (0, -signal.SIGKILL):
            self.faults.append(f"{self.name}: the child ended with {child.exitcode}")
        done = 0
        try:
            while True:
                done = hear.recv()
        except EOFError:
            hear.close()
        return done

    def check(self, where: str, done: int) -> None:
        """Compares the library with what must be there after the steps that were acknowledged; of the next
        one, all or nothing."""
        state = self.work.start
        for k in range(done):
            state = self.work.after(state, k)
        following = self.work.after(state, done) if done < self.work.steps else state
        with Store.open(self.folder) as store:
            for moment in ("as it was left", "after the next writer"):
                with store.read() as snapshot:
                    found, wrong = shelf.held(snapshot)
                    wrong += self.unfound(snapshot, found)
                if found not in (state, following):
                    wrong.append(f"it holds {len(found)} photos: not what it held before or after a step")
                self.within += moment == "as it was left" and found != state
                self.faults += [f"{where}, {moment}: {sentence}" for sentence in wrong]
                with store.write("tidy"):
                    pass
            wrong = [fault.what for fault in store.verify()] + shelf.strays(self.folder)
        self.faults += [f"{where}: {sentence}" for sentence in wrong]

    def unfound(self, snapshot: Any, state: State) -> list[str]:
        """Photos that a search for one of their own regions does not find first."""
        wrong = []
        for number in self.chance.sample(sorted(state), min(5, len(state))):
            ranked = snapshot.search("regions", shelf.stored(number, state[number])[3], 3)
            first = snapshot.regions(ranked.rows[:1])
            if not first or (shelf.number_of(first[0].path), first[0].box.x0) != (number, 3):
                wrong.append(f"a search for a region of photo {number} does not find it")
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="of each kind of work")
    parser.add_argument("--seconds", type=float, default=300, help="of reading beside a writer")
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=WORKS, default=list(WORKS), help="kinds of work")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # so many processes only wait for each other's threads
    FORKS.set_forkserver_preload(PRELOADED)
    result: dict[str, Any] = {"rounds": options.rounds}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            began = time.monotonic()
            trial = Trial(name, Path(scratch), random.Random(options.seed))
            for number in range(options.rounds):
                trial.round(number)
            faults += trial.faults
            result[name] = {
                "killed_while_running": trial.killed,
                "with_the_next_step_committed": trial.within,
                "faults": len(trial.faults),
                "seconds": round(time.monotonic() - began, 1),
            }
            print(f"{name}: {result[name]}", file=sys.stderr)
        if options.seconds:
            place = Path(scratch) / "read"
            found = store_readers.measured(place, options.seconds, options.readers, options.seed)
            faults += found.pop("what")
            result["readers"] = found
    print(json.dumps({**result, "faults": len(faults), "what": faults[:20]}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
