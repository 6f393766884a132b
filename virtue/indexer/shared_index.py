"""`index PATH` into a library that many processes write to: folders are walked part by part, and what is to
be embedded is listed for all. Nothing as long as the library is held here: the store keeps what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.interrupts import stopping_softly
from virtue.indexer.pairs import raw_stems
from virtue.indexer.pipeline import Pipeline
from virtue.indexer.plan import Plan, make_plan, note_problems
from virtue.indexer.reach import find_out_of_reach
from virtue.indexer.report import Progress, Report
from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.roots import Options, Regions, Roots
from virtue.indexer.shared_work import embed_with_others, limit_of_known, list_jobs
from virtue.indexer.walk import Walk
from virtue.indexer.walking import (
    choose_options,
    describe_emptied,
    describe_unfollowed,
    find_tops,
    folders_above,
    remember_options,
    walk_all,
)
from virtue.store import FileState
from virtue.store.records import ForgottenPhoto
from virtue.store.walked import WalkedFile, WalkedFiles

if TYPE_CHECKING:
    from virtue.store import Generation, Snapshot, Store, Writer


@dataclass(frozen=True, slots=True)
class Given:
    """What a run was told, as of `index`; `paths` are absolute."""

    paths: list[bytes]
    regions: Regions | None
    exclude: Iterable[str]
    follow_links: bool | None
    ocr: bool | None
    rehash: bool


def index_shared(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    given: Given,
    roots: Roots,
    forgotten: Sequence[ForgottenPhoto],
    report: Report,
    *,
    workers: int,
    timeout: float,
    progress: Callable[[Progress], None] | None,
    started: float,
) -> None:
    """Does the work of `index`, in a block of `sharing`.

    Args:
        roots: as remembered.
        forgotten: photos to pass by.
        report: is added to.
        started: when the run began (`time.monotonic`).
    """
    jobs, target = writer.jobs, writer.target
    assert jobs is not None and target is not None
    with store.read() as snapshot:
        tops = find_tops(given.paths, roots, lambda: snapshot.files_apart(roots), False, report)
    scope = set(given.paths or tops)
    options = choose_options(scope, roots, given.regions, given.exclude, given.follow_links, given.ocr)

    def limit_of(path: bytes, state: FileState | None) -> int:
        if given.regions is not None and path in scope:
            return Options(given.regions).limit
        return limit_of_known(roots, path, state)

    with jobs.walking() as walked:
        with CommitQueue(writer) as queue, stopping_softly(queue.finish):
            listing = _Listing(
                store, writer, embedder, target, walked, queue, roots, options, limit_of, given, forgotten,
                report,
            )  # fmt: skip
            found = walk_all(tops, given.paths, roots, progress, started, listing.take)
            listing.end(found, tops)
            queue.finish()
        if listing.behind or (found.not_followed and given.paths and given.follow_links is None):
            report.warnings.append(describe_unfollowed(found.not_followed, listing.behind))
        report.warnings += describe_emptied(listing.lost, set(tops), walked.has_photos_below)
        remember_options(writer, roots, options, listing.passed_by, tops, found, report)
        embed_with_others(
            store,
            writer,
            embedder,
            listing.count,
            walked.new_problems,
            report,
            workers=workers,
            timeout=timeout,
            progress=progress,
        )
        _drop_moved(writer, walked, set(roots), report)
    if not target.active:
        writer.activate(target)


class _Listing:
    """What is done with each part of a walk, and at its end.

    Attributes:
        count: files that were listed.
        behind: photos of the library behind links that are not followed.
        lost: how many photos are missing now below each folder that was walked.
        passed_by: as `Roots.count_passed_by` counts.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        embedder: PhotoEmbedder,
        target: Generation,
        walked: WalkedFiles,
        queue: CommitQueue,
        roots: Roots,
        options: list[tuple[bytes, Options]],
        limit_of: Callable[[bytes, FileState | None], int],
        given: Given,
        forgotten: Sequence[ForgottenPhoto],
        report: Report,
    ) -> None:
        self._store, self._writer, self._embedder, self._target = store, writer, embedder, target
        self._walked, self._queue, self._roots, self._limit_of = walked, queue, roots, limit_of
        self._options = options
        self._named, self._rehash, self._report = set(given.paths), given.rehash, report
        self._forgotten = {photo.path: photo for photo in forgotten if photo.path not in self._named}
        self.count = self.behind = 0
        self.lost = Counter[bytes]()
        self.passed_by = Counter[tuple[bytes, str]]()

    def take(self, part: Walk) -> None:
        """Lists what of a part is to be embedded, and notes what is known under new paths."""
        while self._options:  # before any process embeds by them
            folder, options = self._options.pop()
            self._writer.remember_root(folder, options.to_json())
        with self._store.read() as snapshot:
            known = snapshot.files(self._target, part.files)
            new = self._add(part, known)
            part.files = {path: found for path, found in part.files.items() if path in new}
            known = {path: state for path, state in known.items() if path in new}
            known |= self._beside(snapshot, part)
            known |= snapshot.files_of({state.hash for state in known.values() if state.hash}, self._target)
        self.passed_by += self._roots.count_passed_by(part.passed_by)
        requirements = EmbeddingRequirements({}, {}, self._roots.link_rule)
        plan = make_plan(part, [], known, requirements, self._limit_of, self._rehash, self._forgotten)
        assert self._writer.jobs is not None
        list_jobs(
            self._writer.jobs,
            plan.opened,
            lambda path: self._limit_of(path, known.get(path)),
            self._named,
        )
        self.count += len(plan.opened)
        self._keep(plan, known, requirements)

    def _add(self, part: Walk, known: dict[bytes, FileState]) -> set[bytes]:
        """Notes the files of a part; returns those that are in no earlier part."""
        some = []
        for path in part.files:
            state = known.get(path)
            problem = None if state is None or state.missing else state.problem
            some.append(WalkedFile(path, state.hash if state else None, problem))
        return self._walked.add([*some, *(WalkedFile(path, is_passed_by=True) for path in part.passed_by)])

    def _beside(self, snapshot: Snapshot, part: Walk) -> dict[bytes, FileState]:
        """Returns what is known of pictures that may lie beside a RAW, and are not in this part."""
        found: dict[bytes, FileState] = {}
        for stem in raw_stems(part):
            found |= snapshot.files_between(stem + b".", stem + b"/", self._target)
        return {path: state for path, state in found.items() if path not in part.files}

    def _keep(self, plan: Plan, known: dict[bytes, FileState], requirements: EmbeddingRequirements) -> None:
        pipeline = Pipeline(
            self._store, self._queue, self._embedder, requirements, known, self._limit_of, self._report
        )
        pipeline.start(plan)
        pipeline.finish(plan)

    def end(self, found: Walk, tops: list[bytes]) -> None:
        """Notes what is gone below what was walked whole, and what was a problem of the walk itself."""
        for some in self._walked.gone(tops):
            gone = [each for each in some if each.path not in found.problems and not found.hides(each.path)]
            missing = [each.path for each in gone if each.hash and not each.is_missing]
            self._walked.note_missing(missing)
            self.lost.update(folder for path in missing for folder in folders_above(path, set(tops)))
            self._report.missing += len(missing)
            self._queue.add(missing=missing)
            dropped = [each.path for each in gone if each.hash is None]
            if dropped:
                self._writer.drop_paths(dropped)
        plan, silent = Plan(), found.unlisted.difference(found.problems)
        with self._store.read() as snapshot:
            self.behind = sum(map(snapshot.count_photos_below, found.not_followed))
            below = filter(None, map(snapshot.any_photo_below, silent))
            known = snapshot.files(self._target, {*found.problems, *below})
        note_problems(plan, found, known)
        self._keep(plan, known, EmbeddingRequirements({}, {}, self._roots.link_rule))


def _drop_moved(writer: Writer, walked: WalkedFiles, roots: set[bytes], report: Report) -> None:
    """Drops the missing paths of photos that are at another. Where a disk may be missing, only those of
    photos that this run found at a new path: other copies will be back with the disk."""
    for some in walked.moved():
        away = find_out_of_reach((each.path for each in some if not each.is_new), roots)
        moved = [each for each in some if each.is_new or each.path not in away]
        if moved:
            writer.drop_paths([each.path for each in moved])
            report.missing -= sum(each.is_noted for each in moved)
