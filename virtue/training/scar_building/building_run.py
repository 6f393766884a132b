"""Builds a SCaR file of annotated things, one after the other; an interrupted run goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from virtue.errors import InputError
from virtue.paths import printable
from virtue.training.scar_building.annotated_things import Thing
from virtue.training.scar_building.elements import Elements, RejectedError
from virtue.training.scar_building.llm_swapper import PostponedError
from virtue.training.scar_building.scar_rows import ScarRow, write_scar

AT_ONCE = 4
"""Things that are asked about at the same time."""
MAX_POSTPONED = 8
"""Things without an answer in a row, after which a run ends."""


class Swapper(Protocol):
    """What makes captions. `name` says which it is, in the file."""

    @property
    def name(self) -> str: ...
    def swap(self, thing: Thing) -> Elements: ...


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """What a run came to: rows written, how many things were rejected for which reason, and for how many
    there was no answer, of which the last one said why. Those are asked about again by the next run."""

    rows: int
    rejected: Counter[str]
    postponed: int
    why: str = ""


def build_scar(
    things: Sequence[Thing],
    swapper: Swapper,
    out: Path,
    tell: Callable[[int, int], None] | None = None,
) -> BuiltFile:
    """Builds a SCaR file of annotated things.

    Each answer is kept at once in a journal beside the file, so a run that was interrupted goes on where it
    ended. The journal stays until every thing has its answer.

    Raises:
        InputError: a file cannot be written, or the journal is of another run.
    """
    journal = out.with_name(f"{out.name}.journal")
    head = {"maker": swapper.name, "things": _digest(things)}
    try:
        known = _read_journal(journal, head)
        left = [thing for thing in things if thing.id not in known]
        postponed, why, in_a_row = 0, "", 0
        with open(journal, "a", encoding="utf-8") as file, ThreadPoolExecutor(AT_ONCE) as pool:
            if not known and file.tell() == 0:
                file.write(json.dumps(head) + "\n")
            for start in range(0, len(left), AT_ONCE):
                some = left[start : start + AT_ONCE]
                for thing, answer in zip(
                    some, pool.map(lambda one: _answer(swapper, one), some), strict=True
                ):
                    if isinstance(answer, PostponedError):
                        postponed, why, in_a_row = postponed + 1, str(answer), in_a_row + 1
                        continue
                    in_a_row = 0
                    known[thing.id] = answer
                    file.write(json.dumps({"id": thing.id, **answer}) + "\n")
                file.flush()
                if tell:
                    tell(len(things) - len(left) + start + len(some), len(things))
                if in_a_row >= MAX_POSTPONED:
                    postponed += len(left) - start - len(some)
                    break
    except OSError as error:
        raise InputError(
            f"{printable(os.fspath(journal))} cannot be written ({error.strerror or error}): name another "
            "file"
        ) from error
    rows = write_scar(out, _rows(things, known), swapper.name)
    if not postponed:
        journal.unlink()
    return BuiltFile(rows, Counter(a["rejected"] for a in known.values() if "rejected" in a), postponed, why)


def _answer(swapper: Swapper, thing: Thing) -> dict[str, Any] | PostponedError:
    try:
        captions, swaps = swapper.swap(thing).captions()
    except (RejectedError, InputError) as error:
        return {"rejected": str(error)}
    except PostponedError as error:
        return error
    return {"captions": captions, "swaps": swaps}


def _rows(things: Sequence[Thing], known: dict[str, dict[str, Any]]) -> Iterator[ScarRow]:
    for thing in things:
        answer = known.get(thing.id, {})
        if "captions" in answer:
            captions, swaps = tuple(answer["captions"]), tuple(answer["swaps"])
            yield ScarRow(thing.name, thing.box, captions, swaps, thing.category)


def _read_journal(path: Path, head: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Reads what is known; the last line may be cut off."""
    if not path.exists():
        return {}
    lines = path.read_text("utf-8").splitlines(keepends=True)
    if lines and lines[0] != json.dumps(head) + "\n":
        raise InputError(
            f"{printable(os.fspath(path))} is of a run with another model or other annotations: finish that "
            "one, or remove the file"
        )
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), "utf-8")
    return {answer.pop("id"): answer for answer in map(json.loads, whole[1:])}


def _digest(things: Sequence[Thing]) -> str:
    said = [[thing.id, thing.name, thing.box.corners, thing.category] for thing in things]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
