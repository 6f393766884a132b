"""`index` and `reindex` into a library that one process writes to: all paths are held."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator

from virtue.errors import StoreError
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.index_run import Run, lost_folder_error, unfollowed_error
from virtue.indexer.name_matching import HeldFiles
from virtue.indexer.pipeline import Pipeline
from virtue.indexer.plan import Plan, make_plan
from virtue.indexer.reach import find_out_of_reach
from virtue.indexer.walk import Walk
from virtue.indexer.walking import (
    describe_emptied,
    describe_unfollowed,
    folders_above,
    is_empty,
    remember_options,
)
from virtue.interrupts import stopping_softly
from virtue.paths import is_below, is_below_any
from virtue.store import FileState


def index_folder(run: Run) -> None:
    """Does the work of `index`."""
    given, report, roots = run.given, run.report, run.roots
    with run.store.read() as snapshot:
        known = snapshot.files(run.target)
    run.begin(lambda: [p for p, state in known.items() if roots.of(p) is None and not state.missing])
    found = run.walk()
    requirements = run.requirements(*run.match(HeldFiles(found.files)))
    plan = make_plan(found, run.tops, known, requirements, run.limit_of, given.rehash, run.passed_by())
    behind = _find_behind_links(found, known)
    if given.reembed:
        _refuse_losses(behind, found, known)
    if behind or (found.not_followed and given.paths and given.follow_links is None):
        report.warnings.append(describe_unfollowed(found.not_followed, len(behind)))
    walked = set(run.tops)
    lost_below = Counter(folder for path in plan.missing for folder in folders_above(path, walked))
    report.warnings += describe_emptied(
        lost_below, walked, lambda folder: any(is_below(path, folder) for path in found.files)
    )
    passed_by = roots.count_passed_by(found.passed_by)
    remember_options(run.writer, roots, run.options, passed_by, run.tops, found, report)
    with CommitQueue(run.writer) as queue:
        pipeline = Pipeline(
            run.store, queue, run.embedder, requirements, known, run.limit_of, report,
            run.forgotten_hashes, run.named,
        )  # fmt: skip
        with stopping_softly(queue.finish):
            pipeline.start(plan)
            began = time.monotonic()
            for done in run.open(pipeline, plan.opened):
                run.tell(done, len(plan.opened), began)
            pipeline.finish(plan)
            queue.finish()
    if plan.dropped:
        run.writer.drop_paths(plan.dropped)
    _drop_moved(run, known, plan)
    run.tell_of_unread(pipeline.passed_by)
    run.end()
    if run.writer.waste().is_much:
        try:
            run.writer.compact()
        except StoreError as error:  # what was asked for is done
            report.warnings.append(str(error))


def _drop_moved(run: Run, known: dict[bytes, FileState], plan: Plan) -> None:
    """Drops the missing paths of photos that are at another. Where a disk may be missing, only those of
    photos that this run found at a new path: other copies will be back with the disk."""
    with run.store.read() as snapshot:
        elsewhere = snapshot.found_elsewhere()
    gone = {path for path, _ in elsewhere}
    new = {path for path, here in elsewhere if here not in known or known[here].hash != known[path].hash}
    moved = new | gone.difference(find_out_of_reach(gone - new, set(run.roots)))
    if moved:
        run.writer.drop_paths(moved)
        run.report.missing -= len(moved.intersection(plan.missing))


def _find_behind_links(found: Walk, known: dict[bytes, FileState]) -> list[bytes]:
    """Finds the photos of the library that lie behind links that are not followed."""
    links = found.not_followed
    return [
        path
        for path, state in known.items()
        if links and state.hash and not state.missing and is_below_any(path, links)
    ]


def _refuse_losses(behind: list[bytes], found: Walk, known: dict[bytes, FileState]) -> None:
    """Raises an error if photos would lose their vectors: those behind links that are not followed, and all
    of a folder."""
    live = {state.hash for path, state in known.items() if path in found.files}
    for path in behind:
        if known[path].hash not in live:
            raise unfollowed_error(path)
    for folder, lost in _find_lost_folders(found, known, live):
        raise lost_folder_error(folder, lost)


def _find_lost_folders(
    found: Walk, known: dict[bytes, FileState], live: set[bytes | None]
) -> Iterator[tuple[bytes, int]]:
    """Finds folders whose photos are all gone, in this run or before, and how many those are: folders that
    hold nothing, or are not there. Photos that lie elsewhere as well are not gone."""
    there = {os.path.dirname(path) for path in (*found.files, *found.problems)}
    lost = Counter(
        os.path.dirname(path)
        for path, state in known.items()
        if state.hash and state.hash not in live and path not in found.problems and not found.hides(path)
    )
    for folder in sorted(lost.keys() - there):
        if not os.path.isdir(folder) or is_empty(folder):
            yield folder, lost[folder]
