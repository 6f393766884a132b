"""Kills writers of a library at random moments, and reads beside one that goes on; looks for faults.

    python -m benchmarks.store_faults [--rounds 200] [--seconds 300] [--readers 8] [--only append ...]

A round copies a small library, starts a process that appends, extends an index, trains it anew, deletes,
compacts or migrates, and kills it with SIGKILL at a random moment of the time that this usually takes. In
every second round it is suspended first, for a twentieth of a second. In every second pair of rounds
another process appends all the while. A fault is: a photo or a row that either committed and that is
lost, doubled or changed; a commit of which a part is there; anything `verify` finds; a file that belongs to
nothing, after the next writer; a search that does not find what is there. The vectors are made up, so that
everything can be compared with what it must be. Then `benchmarks.store_readers` runs for the seconds
given. Prints one JSON object; the exit status is 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import itertools
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
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import shelf, store_readers
from benchmarks.shelf import WORTH, State
from virtue.errors import LockedError
from virtue.store import Store, open_store
from virtue.store import layout as names
from virtue.store.catalogue import database, migrate
from virtue.store.catalogue.form import TOKEN_TABLES

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
SUSPENDED = 0.05
"""Seconds that a child is suspended."""
PAUSE = 0.02
"""Seconds that the other writer leaves the library alone."""
OTHERS = 1000
"""The first step of the other writer: its photos are none of the first one's."""
T = TypeVar("T")


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
    with open_store(folder) as store, store.write("prepare") as writer:
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
            if not table.startswith(("sqlite_", *(f"{name}_" for name in TOKEN_TABLES))):
                plain.execute(f"DROP TABLE {table}")  # FTS5's own go with those that they belong to
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
    store = _in_turn(partial(open_store, folder))
    for k in range(WORKS[name].steps):
        _in_turn(partial(WORKS[name].step, store, k))
        said.send(k + 1)


def append_beside(folder: Path, is_current: bool, said: Connection) -> None:
    """The other writer: appends until it is killed, and says how many steps are done. A library that is not
    current is brought up to date by who opens it first."""
    if not is_current:
        said.send(0)
    store = _in_turn(partial(open_store, folder))
    if is_current:
        said.send(0)
    for k in itertools.count():
        _in_turn(partial(_append, store, OTHERS + k))
        said.send(k + 1)
        time.sleep(PAUSE)


def _in_turn(step: Callable[[], T]) -> T:
    """What comes of a step, which waits for its turn."""
    while True:
        try:
            return step()
        except LockedError:
            time.sleep(PAUSE / 10)


def start(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """A child that has said that it is about to begin, and what it says."""
    heard, said = FORKS.Pipe(duplex=False)
    child = FORKS.Process(target=target, args=(*arguments, said))
    child.start()
    said.close()
    heard.recv()
    return child, heard


def last(heard: Connection) -> int:
    """The last number that was said, 0 if none was."""
    number = 0
    try:
        while True:
            number = heard.recv()
    except EOFError:
        heard.close()
    return number


class Trial:
    """Rounds of one kind of work."""

    def __init__(self, name: str, scratch: Path, chance: random.Random) -> None:
        self.name, self.work, self.chance = name, WORKS[name], chance
        self.template, self.folder = scratch / f"{name}-template", scratch / name
        self.faults: list[str] = []
        self.killed = self.within = self.suspended = self.beside = 0
        with open_store(self.template, create=True) as store, store.write("prepare") as writer:
            writer.generation("made up", "made up", shelf.DIM)
            shelf.put(writer, self.work.start)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        self.work.prepare(self.template)
        self.usual = ENDLESS
        self.check("unharmed", *self.run(ENDLESS))

    def round(self, number: int) -> None:
        moment = self.chance.uniform(0, 1.05) * self.usual
        suspend_at = self.chance.uniform(0, moment) if number % 2 else None
        steps = self.run(moment, suspend_at, beside=number % 4 > 1)
        self.check(f"{self.name}, round {number}", *steps)

    def run(
        self, kill_after: float, suspend_at: float | None = None, beside: bool = False
    ) -> tuple[int, int]:
        """The steps of the child, and those of the other writer, that were done before they were killed, or
        the child was through."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        is_current = self.name != "migrate"
        other, heard_of_other = start(append_beside, self.folder, is_current) if beside else (None, None)
        child, heard = start(work, self.name, self.folder)
        began = time.monotonic()
        if suspend_at is not None:
            child.join(suspend_at)
            if child.is_alive() and child.pid:
                self.suspended += 1
                os.kill(child.pid, signal.SIGSTOP)
                time.sleep(SUSPENDED)
                with suppress(ProcessLookupError):  # it had ended, and only now is known to have
                    os.kill(child.pid, signal.SIGCONT)
        child.join(max(0.0, kill_after - (time.monotonic() - began)))
        seconds = time.monotonic() - began
        for process in (child, other):
            if process and process.is_alive():
                process.kill()
                process.join()
        killed = child.exitcode == -signal.SIGKILL
        self.killed += killed
        # How long it takes changes with what else the machine does.
        if not killed:
            self.usual = seconds if self.usual == ENDLESS else 0.7 * self.usual + 0.3 * seconds
        elif seconds > 0.9 * self.usual:
            self.usual *= 1.05
        for process in (child, other):
            if process and process.exitcode not in (0, -signal.SIGKILL):
                self.faults.append(f"{self.name}: a child ended with {process.exitcode}")
        beside_done = last(heard_of_other) if heard_of_other else 0
        self.beside += beside_done
        return last(heard), beside_done

    def check(self, where: str, done: int, beside_done: int) -> None:
        """Compares the library with what must be there after the steps that were acknowledged; of the next
        one of each writer, all or nothing."""
        state = self.work.start
        for k in range(done):
            state = self.work.after(state, k)
        following = self.work.after(state, done) if done < self.work.steps else state
        others: State = {}
        for k in range(beside_done):
            others = _appended(others, OTHERS + k)
        following_others = _appended(others, OTHERS + beside_done)
        first_of_others = min(following_others)
        with open_store(self.folder) as store:
            for moment in ("as it was left", "after the next writer"):
                with store.read() as snapshot:
                    found, wrong = shelf.held(snapshot)
                    wrong += self.unfound(snapshot, found)
                ours = {number: edition for number, edition in found.items() if number < first_of_others}
                theirs = {number: edition for number, edition in found.items() if number >= first_of_others}
                if ours not in (state, following):
                    wrong.append(f"it holds {len(ours)} photos: not what it held before or after a step")
                if theirs not in (others, following_others):
                    wrong.append(
                        f"it holds {len(theirs)} photos of the other writer, which wrote {len(others)}"
                    )
                self.within += moment == "as it was left" and ours != state
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
                "suspended": trial.suspended,
                "commits_beside": trial.beside,
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
