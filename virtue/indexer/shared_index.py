"""`index` and `reindex` into a library that many processes write to: folders are walked part by part, and
what is to be embedded is listed for all. Nothing as long as the library is held: the store keeps what is
found."""

from __future__ import annotations

import os
from collections import Counter

from virtue.indexer.annotations import CocoImage
from virtue.indexer.captions import PhotoCaptions
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.index_run import Run, lost_folder_error, unfollowed_error
from virtue.indexer.name_matching import ending
from virtue.indexer.reach import find_out_of_reach
from virtue.indexer.shared_work import embed_with_others
from virtue.indexer.walk import Walk
from virtue.indexer.walk_parts import WalkParts
from virtue.indexer.walking import describe_emptied, describe_unfollowed, is_empty, remember_options
from virtue.interrupts import stopping_softly
from virtue.paths import is_below_any
from virtue.store.walked import WalkedFile, WalkedFiles


def index_shared(run: Run) -> None:
    """Does the work of `index`, in a block of `sharing`."""
    given, report, jobs = run.given, run.report, run.writer.jobs
    assert jobs is not None
    jobs.named = run.named
    with run.store.read() as snapshot:
        run.begin(lambda: snapshot.files_apart(run.roots))
    with jobs.walking() as walked:
        annotated, captioned = _look_ahead(run, walked)
        with CommitQueue(run.writer) as queue, stopping_softly(queue.finish):
            parts = WalkParts(run, walked, queue, annotated, captioned)
            found = run.walk(parts.take)
            parts.end(found)
            queue.finish()
        if parts.behind or (found.not_followed and given.paths and given.follow_links is None):
            report.warnings.append(describe_unfollowed(found.not_followed, parts.behind))
        report.warnings += describe_emptied(parts.lost, set(run.tops), walked.has_photos_below)
        remember_options(run.writer, run.roots, run.options, parts.passed_by, run.tops, found, report)
        if not given.reembed:
            embed_with_others(
                run.store,
                run.writer,
                run.embedder,
                parts.count,
                walked.new_problems,
                report,
                workers=run.workers,
                timeout=run.timeout,
                progress=run.progress,
            )
            with CommitQueue(run.writer) as queue, stopping_softly(queue.finish):
                parts.say_again(queue)
                queue.finish()
        _drop_moved(run, walked)
    run.tell_of_unread(parts.unread)
    run.end()


def _look_ahead(run: Run, walked: WalkedFiles) -> tuple[dict[bytes, CocoImage], dict[bytes, PhotoCaptions]]:
    """Looks through all folders once before anything is written, where that must be known of the whole: what
    would lose its vectors, and which files are meant by names. Returns what is said of photos, by their
    paths."""
    given = run.given
    has_names = given.annotations is not None or given.captions is not None
    if not (given.reembed or has_names):
        return {}, {}

    def note(part: Walk) -> None:
        paths = filter(run.store.takes, part.files)
        walked.add(WalkedFile(path, ending=ending(path) if has_names else None) for path in paths)

    found = run.walk(note)
    if given.reembed:
        _refuse_losses(walked, found)
    said = run.match(walked)
    walked.look_again()
    return said


def _refuse_losses(walked: WalkedFiles, found: Walk) -> None:
    """Raises an error if photos would lose their vectors: those behind links that are not followed, and all
    of a folder that holds nothing, or is not there."""
    lost = Counter[bytes]()
    for some in walked.lost():
        for path, is_missing in some:
            if not is_missing and found.not_followed and is_below_any(path, found.not_followed):
                raise unfollowed_error(path)
            if path not in found.problems and not found.hides(path):
                lost[os.path.dirname(path)] += 1
    for folder in sorted(lost):
        if not os.path.isdir(folder) or is_empty(folder):
            raise lost_folder_error(folder, lost[folder])


def _drop_moved(run: Run, walked: WalkedFiles) -> None:
    """Drops the missing paths of photos that are at another. Where a disk may be missing, only those of
    photos that this run found at a new path: other copies will be back with the disk."""
    roots = set(run.roots)
    for some in walked.moved():
        away = find_out_of_reach((each.path for each in some if not each.is_new), roots)
        moved = [each for each in some if each.is_new or each.path not in away]
        if moved:
            run.writer.drop_paths([each.path for each in moved])
            run.report.missing -= sum(each.is_noted for each in moved)
