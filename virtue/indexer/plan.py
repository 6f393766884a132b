"""Compares what lies in the folders with what the catalogue knows, without opening a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.walk import Found, Walk
from virtue.paths import is_below_any
from virtue.store import FileRecord, FileState


@dataclass(slots=True)
class Plan:
    """What a run has to do. `opened`: to be read. `records`: known contents under new or returned paths, and
    what cannot be a photo. `recaptioned`: photos whose sidecars changed, with the records to keep along with
    that."""

    opened: list[Found] = field(default_factory=list)
    records: list[FileRecord] = field(default_factory=list)
    recaptioned: dict[bytes, list[FileRecord]] = field(default_factory=dict)
    missing: list[bytes] = field(default_factory=list)
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    unchanged: int = 0
    relinked: int = 0


def make_plan(
    walk: Walk,
    roots: list[bytes],
    known: Mapping[bytes, FileState],
    requirements: EmbeddingRequirements,
    limit_of: Callable[[bytes, FileState | None], int],
    rehash: bool,
) -> Plan:
    """Compares the files found with those known.

    Args:
        roots: what was walked, whole.
        limit_of: how many proposals a path asks for.
    """
    plan = Plan(missing=find_missing(walk, roots, known))
    gone = set(plan.missing)
    for path, state in known.items():
        if state.hash is None or (state.missing and path not in walk.files) or path in gone:
            continue
        found = walk.files.get(path)
        if found is None or same_file(found, state):
            sidecar = found.sidecar if found else state.sidecar
            requirements.add(state.hash, path, limit_of(path, state), sidecar is not None)
    for path, found in walk.files.items():
        _classify(plan, found, known.get(path), requirements, rehash)
    for path, reason in walk.problems.items():
        plan.problems.append((path, reason))
        before = known.get(path)
        if before is None or before.problem != reason or before.missing:
            plan.records.append(FileRecord(path, 0, 0, None, problem=reason))
    return plan


def same_file(found: Found, state: FileState) -> bool:
    return (found.size, found.mtime_ns) == (state.size, state.mtime_ns)


def find_missing(walk: Walk, roots: list[bytes], known: Mapping[bytes, FileState]) -> list[bytes]:
    """Returns paths below the roots that were there and no longer are. What lies below a folder that could
    not be listed counts as still there."""
    tops, unlisted = set(roots), walk.unlisted
    return [
        path
        for path, state in known.items()
        if not state.missing
        and path not in walk.files
        and path not in walk.problems
        and is_below_any(path, tops)
        and not (unlisted and is_below_any(path, unlisted))
    ]


def _classify(
    plan: Plan, found: Found, state: FileState | None, requirements: EmbeddingRequirements, rehash: bool
) -> None:
    if state is None or not same_file(found, state) or rehash:
        plan.opened.append(found)
    elif state.problem is not None:
        plan.problems.append((found.path, state.problem))
        if state.missing:
            plan.records.append(record(found, problem=state.problem))
    elif state.hash is None or not requirements.satisfied(state.hash, state.settings):
        plan.opened.append(found)
    elif found.stamp != state.sidecar:
        plan.recaptioned.setdefault(state.hash, []).append(record(found, photo=state.hash))
    elif state.missing:
        plan.relinked += 1
        plan.records.append(record(found, photo=state.hash))
    else:
        plan.unchanged += 1


def record(found: Found, photo: bytes | None = None, problem: str | None = None) -> FileRecord:
    return FileRecord(found.path, found.size, found.mtime_ns, found.stamp, photo, problem)
