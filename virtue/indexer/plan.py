"""Compares what lies in the folders with what the catalogue knows, without opening a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from virtue.indexer.pairs import note_pictures_beside
from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.sidecar_files import Stamp
from virtue.indexer.walk import Found, Walk
from virtue.paths import is_below_any
from virtue.pictures import reader
from virtue.store import FileRecord, FileState
from virtue.store.records import ForgottenPhoto


@dataclass(slots=True)
class Plan:
    """What a run has to do. `opened`: to be read. `records`: known contents under new or returned paths, and
    what cannot be a photo. `recaptioned`: photos whose texts beside them changed, with the records to keep
    along with that. `problems`: those that no run met before; `known_problems` counts the others. `dropped`:
    paths of former problems where nothing is any more."""

    opened: list[Found] = field(default_factory=list)
    records: list[FileRecord] = field(default_factory=list)
    recaptioned: dict[bytes, list[FileRecord]] = field(default_factory=dict)
    missing: list[bytes] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    known_problems: int = 0
    unchanged: int = 0
    relinked: int = 0
    forgotten: int = 0


def make_plan(
    walk: Walk,
    roots: list[bytes],
    known: Mapping[bytes, FileState],
    requirements: EmbeddingRequirements,
    limit_of: Callable[[bytes, FileState | None], int],
    rehash: bool,
    forgotten: Mapping[bytes, ForgottenPhoto] | None = None,
) -> Plan:
    """Compares the files found with those known.

    Args:
        roots: what was walked, whole.
        limit_of: how many proposals a path asks for.
        forgotten: photos to pass by, by their paths.
    """
    gone = dict.fromkeys(find_gone(walk, roots, known))
    note_pictures_beside(walk, known, gone)
    plan = Plan(
        missing=[path for path in gone if known[path].hash and not known[path].missing],
        dropped=[path for path in gone if known[path].hash is None],
    )
    for path, state in known.items():
        if state.hash is None or (state.missing and path not in walk.files) or path in gone:
            continue
        found = walk.files.get(path)
        if found is None or same_file(found, state):
            stamp = found.stamp if found else state.sidecar
            requirements.add(state.hash, path, limit_of(path, state), stamp is not None)
    for path, found in walk.files.items():
        passed = forgotten.get(path) if forgotten and path not in known and not rehash else None
        if passed and (found.size, found.mtime_ns) == (passed.size, passed.mtime_ns):
            plan.forgotten += 1
            continue
        _classify(plan, found, known.get(path), requirements, rehash)
    plan.opened.sort(key=lambda found: found.beside is not None)  # pictures before the RAWs beside them
    note_problems(plan, walk, known)
    return plan


def note_problems(plan: Plan, walk: Walk, known: Mapping[bytes, FileState]) -> None:
    """Adds to a plan what was a problem of the walk itself."""
    for path, reason in _find_problems(walk, known):
        before = known.get(path)
        if is_known(before, reason):
            plan.known_problems += 1
            continue
        plan.problems.append((path, reason))
        if before is not None and path in walk.unreadable:
            same = Found(path, before.size, before.mtime_ns, None)
            plan.records.append(record_failure(same, before, reason))
        else:
            plan.records.append(FileRecord(path, 0, 0, None, problem=reason))


def is_known(state: FileState | None, problem: str) -> bool:
    """Returns whether an earlier run met this problem."""
    return state is not None and state.problem == problem and not state.missing


def _find_problems(walk: Walk, known: Mapping[bytes, FileState]) -> Iterator[tuple[bytes, str]]:
    """Finds what was a problem of the walk, and what became one since photos were known below it."""
    yield from walk.problems.items()
    silent = walk.unlisted.difference(walk.problems)
    if silent:
        photos = (path for path, state in known.items() if state.hash and is_below_any(path, silent))
        for folder in sorted({_above(path, silent) for path in photos}):
            yield folder, "folder that cannot be looked at"


def _above(path: bytes, folders: set[bytes]) -> bytes:
    while path not in folders:
        path = os.path.dirname(path)
    return path


def same_file(found: Found, state: FileState) -> bool:
    """Returns whether a file is the one that was read, by its size and times. Of files that older versions
    read, the time that cannot be put back is not known."""
    is_same = (found.size, found.mtime_ns) == (state.size, state.mtime_ns)
    return is_same and (state.ctime_ns is None or found.ctime_ns in (None, state.ctime_ns))


def find_gone(walk: Walk, roots: list[bytes], known: Mapping[bytes, FileState]) -> list[bytes]:
    """Returns known paths below the roots where nothing is. What lies below a folder that could
    not be listed, or behind a link that is not followed, counts as still there, and so does what was passed
    by."""
    tops = set(roots)
    return [
        path
        for path in known
        if path not in walk.files
        and path not in walk.problems
        and path not in walk.passed_by
        and is_below_any(path, tops)
        and not walk.hides(path)
    ]


def _classify(
    plan: Plan, found: Found, state: FileState | None, requirements: EmbeddingRequirements, rehash: bool
) -> None:
    if state is None or not same_file(found, state) or found.beside != state.beside or rehash:
        plan.opened.append(found)
    elif state.problem is not None:
        judged = state.judged_by == reader()
        if not judged or (state.hash is not None and not requirements.satisfied(state.hash, state.settings)):
            plan.opened.append(found)
            return
        plan.known_problems += 1
        if state.missing:
            plan.records.append(record_failure(found, state, state.problem, state.judged_by))
    elif state.hash is None or not requirements.satisfied(state.hash, state.settings):
        plan.opened.append(found)
    elif Stamp.parse(found.stamp).metadata != Stamp.parse(state.sidecar).metadata:
        plan.opened.append(found)  # what the photo says itself is needed too
    elif found.stamp != state.sidecar:
        plan.recaptioned.setdefault(state.hash, []).append(record(found, photo=state.hash))
    elif state.missing:
        plan.relinked += 1
        plan.records.append(record(found, photo=state.hash))
    else:
        plan.unchanged += 1
        if state.ctime_ns is None:
            plan.records.append(record(found, photo=state.hash))


def record(found: Found, photo: bytes) -> FileRecord:
    return FileRecord(
        found.path,
        found.size,
        found.mtime_ns,
        found.stamp,
        photo,
        ctime_ns=found.ctime_ns,
        beside=found.beside,
    )


def record_failure(
    found: Found, state: FileState | None, problem: str, judged_by: str | None = None
) -> FileRecord:
    """Makes the record of a file that could not be read. What the library has of it stays: its photo, and
    what was read beside that.

    Args:
        judged_by: the reader that found what the file holds to be no picture; None: it will be tried again.
    """
    photo, sidecar = (state.hash, state.sidecar) if state else (None, None)
    return FileRecord(
        found.path,
        found.size,
        found.mtime_ns,
        sidecar,
        photo,
        problem,
        judged_by,
        found.ctime_ns,
        found.beside,
    )
