"""What is done with each part of a walk, where all of it is never held, and at its end."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from virtue.indexer.annotations import CocoImage
from virtue.indexer.captions import PhotoCaptions
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.index_run import Run
from virtue.indexer.own_files import OwnFiles
from virtue.indexer.pairs import raw_stems
from virtue.indexer.pipeline import Pipeline
from virtue.indexer.plan import Plan, make_plan, note_problems
from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.shared_work import list_jobs
from virtue.indexer.walk import Found, Walk
from virtue.indexer.walking import MAX_PART, folders_above
from virtue.store import FileState
from virtue.store.catalogue.queries import chunks
from virtue.store.walked import WalkedFile, WalkedFiles

if TYPE_CHECKING:
    from virtue.store import Snapshot


TOO_LONG = "its path is longer than this library takes ({:,} bytes): give folders shorter names"


class WalkParts:
    """Compares each part of a walk with what the library knows: lists what is to be embedded for all, or
    embeds it here.

    Args:
        annotated, captioned: what is said of photos, by their paths. These, and all when vectors take the
            place of others, are embedded by this process.

    Attributes:
        count: files that were listed.
        behind: photos of the library behind links that are not followed.
        lost: how many photos are missing now below each folder that was walked.
        passed_by: as `Roots.count_passed_by` counts.
        unread: files of which something was said, and that could not be read.
    """

    def __init__(
        self,
        run: Run,
        walked: WalkedFiles,
        queue: CommitQueue,
        annotated: dict[bytes, CocoImage],
        captioned: dict[bytes, PhotoCaptions],
    ) -> None:
        self._run, self._walked, self._queue = run, walked, queue
        self._annotated, self._captioned = annotated, captioned
        self._forgotten = run.passed_by()
        self._options = [*run.options]
        self._done, self._began, self._own = 0, time.monotonic(), len({*annotated, *captioned})
        if run.given.reembed:
            with run.store.read() as snapshot:
                self._own, _ = snapshot.photos_to_embed(run.target, 1)
        self.count = self.behind = 0
        self.lost = Counter[bytes]()
        self.passed_by = Counter[tuple[bytes | None, str]]()
        self.unread: list[bytes] = []
        self._said_of: list[Found] = []

    def take(self, part: Walk) -> None:
        """Lists or embeds what of a part is to be embedded, and notes what is known under new paths."""
        run = self._run
        self._leave_out_long(part.files)
        part.passed_by = {path: suffix for path, suffix in part.passed_by.items() if run.store.takes(path)}
        while self._options:  # before any process embeds by them
            folder, options = self._options.pop()
            run.writer.remember_root(folder, options.to_json())
        with run.store.read() as snapshot:
            known = snapshot.files(run.target, part.files)
            new = self._add(part, known)
            part.files = {path: found for path, found in part.files.items() if path in new}
            part.passed_by = {path: suffix for path, suffix in part.passed_by.items() if path in new}
            known = {path: state for path, state in known.items() if path in new}
            known |= self._beside(snapshot, part)
            known |= snapshot.files_of({state.hash for state in known.values() if state.hash}, run.target)
        self.passed_by += run.roots.count_passed_by(part.passed_by)
        requirements = run.requirements(self._annotated, self._captioned)
        plan = make_plan(part, [], known, requirements, run.limit_of, run.given.rehash, self._forgotten)
        if not run.given.reembed:
            self._share(plan, known, requirements)
        self._keep(plan, known, requirements)

    def _leave_out_long(self, found: dict[bytes, Found] | dict[bytes, str]) -> None:
        """Takes out paths that the store cannot keep, not even as problems, and tells of them."""
        store = self._run.store
        for path in [path for path in found if not store.takes(path)]:
            del found[path]
            self._run.report.problems.append((path, TOO_LONG.format(store.longest_path)))

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
            found |= snapshot.files_between(stem + b".", stem + b"/", self._run.target)
        return {path: state for path, state in found.items() if path not in part.files}

    def _share(self, plan: Plan, known: dict[bytes, FileState], requirements: EmbeddingRequirements) -> None:
        """Lists what a plan opens, but for what only this process knows something of."""
        run = self._run
        shared = [file for file in plan.opened if not requirements.mentioned(file.path)]
        plan.opened = [file for file in plan.opened if requirements.mentioned(file.path)]
        self._said_of += plan.opened
        assert run.writer.jobs is not None
        list_jobs(run.writer.jobs, shared, lambda path: run.limit_of(path, known.get(path)), run.named)
        self.count += len(shared)

    def _keep(self, plan: Plan, known: dict[bytes, FileState], requirements: EmbeddingRequirements) -> None:
        """Commits what a plan knows, and embeds what it opens."""
        run, before = self._run, self._done
        pipeline = Pipeline(
            run.store, self._queue, run.embedder, requirements, known, run.limit_of, run.report,
            run.forgotten_hashes, run.named, OwnFiles(run.store, run.target),
        )  # fmt: skip
        pipeline.start(plan)
        if plan.opened:
            for done in run.open(pipeline, plan.opened):
                self._done = before + done
                run.tell(self._done, max(self._done, self._own), self._began)
        pipeline.finish(plan)
        if plan.opened:
            self._queue.finish()  # the next part may have copies
        self.unread += pipeline.passed_by

    def say_again(self, queue: CommitQueue) -> None:
        """Embeds photos once more of which something was said, and that another process has stored since: it
        had a copy at work that nothing was said of."""
        run, self._queue = self._run, queue
        for some in chunks(self._said_of, MAX_PART):
            requirements = run.requirements(self._annotated, self._captioned)
            with run.store.read() as snapshot:
                known = snapshot.files(run.target, [file.path for file in some])
                known |= snapshot.files_of({s.hash for s in known.values() if s.hash}, run.target)
            for path, state in known.items():
                if state.hash and not state.missing:
                    limit = run.limit_of(path, state)
                    requirements.add(state.hash, path, limit, state.sidecar is not None)
            states = ((file, known.get(file.path)) for file in some)
            opened = [
                file
                for file, state in states
                if state and state.hash and not (state.missing or state.problem)
                and not requirements.satisfied(state.hash, state.settings)
            ]  # fmt: skip
            self._keep(Plan(opened), known, requirements)

    def end(self, found: Walk) -> None:
        """Notes what is gone below what was walked whole, and what was a problem of the walk itself."""
        run, tops = self._run, set(self._run.tops)
        self._leave_out_long(found.problems)
        for some in self._walked.gone(run.tops):
            gone = [each for each in some if each.path not in found.problems and not found.hides(each.path)]
            missing = [each.path for each in gone if each.hash and not each.is_missing]
            self._walked.note_missing(missing)
            self.lost.update(folder for path in missing for folder in folders_above(path, tops))
            run.report.missing += len(missing)
            self._queue.add(missing=missing)
            dropped = [each.path for each in gone if each.hash is None]
            if dropped:
                run.writer.drop_paths(dropped)
        plan, silent = Plan(), found.unlisted.difference(found.problems)
        with run.store.read() as snapshot:
            self.behind = sum(map(snapshot.count_photos_below, found.not_followed))
            below = filter(None, map(snapshot.any_photo_below, silent))
            known = snapshot.files(run.target, {*found.problems, *below})
        note_problems(plan, found, known)
        self._keep(plan, known, run.requirements({}, {}))
