"""Readers in other processes beside a writer that never rests: is every answer right for its version?

The writer adds, edits and forgets photos, indexes, compacts and changes the model, and notes what every
version holds. Readers search and note what they found in which version. Afterwards every answer is judged by
what its version held: each hit must be there, with the score that its vector has; what was asked for must
come first if it is there; without an index, nothing better may have been passed over. `benchmarks.
store_faults` runs it.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shelf
from benchmarks.shelf import WORTH, State
from virtue.store import Writer, open_store

FORKS = multiprocessing.get_context("forkserver")
WORK = ("add", "add", "edit", "edit", "forget", "index", "compact", "model")
TOP = 5
MOST = 80
"""Photos that the library holds at most."""
CLOSE = 1e-3
"""How far a score may be off: it is computed in fp16 rows and float32 sums, in another order."""


def measured(folder: Path, seconds: float, readers: int, seed: int) -> dict[str, Any]:
    library = folder / "library"
    folder.mkdir()
    with open_store(library, create=True) as store, store.write("prepare") as writer:
        writer.generation("made up", "0", shelf.DIM)
        start: State = dict.fromkeys(range(40), 0)
        shelf.put(writer, start)
    until = time.time() + seconds
    children = [FORKS.Process(target=write, args=(folder, start, until, seed))]
    children += [FORKS.Process(target=read, args=(folder, number, until, seed)) for number in range(readers)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    wrong = [f"a process ended with {child.exitcode}" for child in children if child.exitcode]
    wrong += [f"verify: {fault.what}" for fault in _verified(library)]
    versions = list(_lines(folder / "versions"))
    answers = [answer for n in range(readers) for answer in _lines(folder / f"answers-{n}")]
    counts = {"answers": len(answers), "versions_seen": len({answer[0] for answer in answers})}
    counts["of_an_index"] = sum(not exact for *_, exact, _ in answers)
    faults = wrong + judged(versions, answers)
    return {**counts, "versions": versions[-1][0], "wrong": len(faults), "what": faults}


def _verified(library: Path) -> list[Any]:
    with open_store(library) as store:
        return store.verify()


def _lines(path: Path) -> Iterator[Any]:
    with open(path) as lines:
        yield from map(json.loads, lines)


def write(folder: Path, state: State, until: float, seed: int) -> None:
    """Notes (version, model, what it holds) after each piece of work, of which only the last commit changes
    what readers see."""
    chance = random.Random(seed)
    model, following = 0, len(state)
    with open(folder / "versions", "w") as notes, open_store(folder / "library") as store:

        def note() -> None:
            with store.read() as snapshot:
                print(json.dumps([snapshot.version, model, sorted(state.items())]), file=notes, flush=True)

        note()
        while time.time() < until:
            with store.write("writing beside readers") as writer:
                for _ in range(10):
                    done = chance.choice(WORK)
                    if done == "add" and len(state) < MOST:
                        new = dict.fromkeys(range(following, following + 4), 0)
                        state, following = state | new, following + 4
                        shelf.put(writer, state, new, model)
                    elif done == "edit":
                        edited = chance.sample(sorted(state), 3)
                        state = state | {number: state[number] + 1 for number in edited}
                        shelf.put(writer, state, edited, model)
                    elif done == "forget" and len(state) > MOST // 2:
                        gone = chance.sample(sorted(state), 6)
                        state = {number: state[number] for number in state if number not in gone}
                        writer.forget([shelf.path(number) for number in gone])
                    elif done == "index":
                        writer.refresh_indexes(max_scanned_floats=WORTH)
                    elif done == "compact":
                        writer.compact()
                    elif done == "model":
                        model += 1
                        _rebuild(writer, state, model)
                    note()
                    time.sleep(chance.random() * 0.05)


def _rebuild(writer: Writer, state: State, model: int) -> None:
    new = writer.generation("made up", str(model), shelf.DIM)
    numbers = sorted(state)
    for first in range(0, len(numbers), 30):
        shelf.put(writer, state, numbers[first : first + 30], model)
    writer.activate(new)


def read(folder: Path, number: int, until: float, seed: int) -> None:
    """Notes (version, model, photo, edition, whether all rows were read, hits)."""
    chance = random.Random(f"{seed} {number}")
    with open(folder / f"answers-{number}", "w") as notes:
        while time.time() < until:
            with open_store(folder / "library") as store:
                for _ in range(300):
                    with store.read() as snapshot:
                        assert snapshot.generation is not None
                        model = int(snapshot.generation.fingerprint)
                        at, file = chance.choice(list(snapshot.files().items()))
                        photo, edition = shelf.number_of(at), int(file.settings or 0)
                        if chance.random() < 0.3:
                            photo, edition = chance.randrange(photo + 1), chance.randrange(edition + 1)
                        query = shelf.stored(photo, edition, model)[7]
                        ranked = snapshot.search("regions", query, TOP)
                        found = snapshot.regions(ranked.rows)
                        hits = [
                            (shelf.number_of(region.path), int(region.box.x0), round(float(score), 5))
                            for region, score in zip(found, ranked.scores, strict=True)
                        ]
                        exact = snapshot.search_params("regions") is None
                        answer = (snapshot.version, model, photo, edition, exact, hits)
                    print(json.dumps(answer), file=notes)
                    if time.time() > until:
                        break


def judged(versions: list[Any], answers: list[Any]) -> list[str]:
    """What is wrong with the answers, in sentences."""
    wrong: list[str] = []
    numbers = [version for version, _, _ in versions]
    for version, some in groupby(sorted(answers, key=lambda answer: answer[0]), key=lambda answer: answer[0]):
        # Within one piece of work readers see what was there before it, until its last commit.
        _, model, holds = versions[bisect_right(numbers, version) - 1]
        state = dict(holds)
        rows = np.concatenate([shelf.stored(n, edition, model)[:-1] for n, edition in state.items()])
        for _, asked_of, photo, edition, exact, hits in some:
            query = shelf.stored(photo, edition, asked_of)[7]
            sentence = (
                "another model" if asked_of != model else _wrong(state, model, rows, query, exact, hits)
            )
            if not sentence and state.get(photo) == edition and hits[0][:2] != [photo, 7]:
                sentence = "the region that was asked for is not the first"
            if sentence:
                wrong.append(f"version {version}, photo {photo}: {sentence}")
    return wrong


def _wrong(state: State, model: int, rows: np.ndarray, query: np.ndarray, exact: bool, hits: Any) -> str:
    if len({(number, place) for number, place, _ in hits}) != TOP:
        return "a hit is lacking, or there twice"
    for number, place, score in hits:
        if number not in state:
            return f"photo {number} is not there"
        if abs(float(shelf.stored(number, state[number], model)[place] @ query) - score) > CLOSE:
            return f"region {place} of photo {number} does not score {score}"
    best = np.sort(rows @ query)[::-1][:TOP]
    scores = np.array([score for *_, score in hits])
    if exact and (np.abs(best - scores) > CLOSE).any():
        return f"the best score {best.tolist()}, these {scores.tolist()}"
    return ""
