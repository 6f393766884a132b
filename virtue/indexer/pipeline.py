"""Files that have to be opened -> worker processes -> the model -> the queue, within bounded memory."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from virtue.embedder.model import pools_alpha, resizing_of
from virtue.errors import InputError
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.embedding import Job, PhotoEmbedder, embed_captions
from virtue.indexer.messages import Decoded, Hashed
from virtue.indexer.model_threads import ModelThreads
from virtue.indexer.plan import Plan, is_known, record, record_failure
from virtue.indexer.report import Report
from virtue.indexer.requirements import EmbeddingRequirements, Settings
from virtue.indexer.user_annotations import FittedAnnotations, fit_all, fit_kept, join
from virtue.indexer.walk import UNREAD, Found
from virtue.indexer.workers import Outcome, Pool
from virtue.paths import printable
from virtue.pictures import reader
from virtue.store import (
    CaptionUpdate,
    EmbeddedPhoto,
    FileRecord,
    FileState,
    NewCaption,
    UserAnnotations,
)
from virtue.store.records import Source

if TYPE_CHECKING:
    from virtue.store import Store

LOG = logging.getLogger("virtue")

MAX_BATCH_PIXELS = 64_000_000
"""Pixels at which a batch is full (192 MB), however few photos hold them."""


class Pipeline:
    """One run over the files that a plan opens. A photo's files are kept together with its vectors, so a
    path is known only once its photo is.

    Args:
        forgotten: hashes of photos to pass by, but for files that are `named`.

    Attributes:
        passed_by: files that a file of annotations or captions speaks of, and that could not be read.
    """

    def __init__(
        self,
        store: Store,
        queue: CommitQueue,
        embedder: PhotoEmbedder,
        requirements: EmbeddingRequirements,
        known: Mapping[bytes, FileState],
        limit_of: Callable[[bytes, FileState | None], int],
        report: Report,
        forgotten: Collection[bytes] = (),
        named: Collection[bytes] = (),
    ) -> None:
        self._store, self._queue, self._embedder = store, queue, embedder
        self._requirements, self._known, self._limit_of, self._report = requirements, known, limit_of, report
        self._forgotten, self._named = forgotten, named
        self._embedded = {state.hash: state.settings for state in known.values() if state.hash}
        self._threads = ModelThreads(embedder, report.warnings.append)
        self._lock = threading.Lock()
        self._in_work: dict[bytes, list[tuple[Found, Hashed]]] = {}
        self._batch: list[tuple[Found, Hashed, Decoded]] = []
        self._recaptioned: dict[bytes, list[FileRecord]] = {}
        self._failed: dict[bytes, tuple[str, bool]] = {}
        self.passed_by: list[bytes] = []

    def start(self, plan: Plan) -> None:
        """Commits what needs no file to be opened."""
        report = self._report
        report.problems += plan.problems
        report.known_problems += plan.known_problems
        report.unchanged, report.relinked = plan.unchanged, plan.relinked
        report.missing, report.forgotten = len(plan.missing), plan.forgotten
        self._recaptioned = plan.recaptioned
        self._queue.add(files=plan.records, missing=plan.missing)

    def run(self, files: list[Found], workers: int, timeout: float) -> Generator[int]:
        """Opens the files, and yields again and again how many are done."""
        if not files:
            return
        model, done = self._embedder.model, 0
        pool = Pool(
            files,
            model.side,
            self._is_wanted,
            min(workers, len(files)),
            timeout,
            resizing=resizing_of(model),
            keep_alpha=pools_alpha(model),
            # While the model works on a batch, the next one is decoded.
            ahead=(self._threads.max_batch, MAX_BATCH_PIXELS),
        )
        with self._threads, pool as outcomes:
            for outcome in outcomes:
                if outcome is None:
                    self._keep(self._threads.finished())
                    if self._threads.idle:  # what is there is worth a batch: more would only come later
                        self._embed()
                    self._queue.commit_if_due()
                else:
                    self._take(outcome)
                    done += 1
                yield done
            self._embed()
            self._keep(self._threads.rest())

    def finish(self, plan: Plan) -> None:
        """Embeds the captions of sidecars that changed, without opening their photos."""
        pending = iter(self._recaptioned.items())
        while some := dict(islice(pending, 256)):
            read: dict[bytes, list[NewCaption]] = {}
            records: list[FileRecord] = []
            for photo, files in some.items():
                beside = self._requirements.sidecar_texts(photo)
                if beside.is_complete:
                    read[photo] = [NewCaption(text, "sidecar") for text in beside.texts]
                else:  # what was read before stays, and the next run tries again
                    files = [replace(file, sidecar=UNREAD) for file in files]
                    if all(self._was_unread(file.path) for file in files):
                        beside = beside._replace(faults=())
                records += files
                self._report.warnings += beside.faults
            embedded = embed_captions(self._embedder, list(read.values()), self._report.warnings.append)
            updates = [
                CaptionUpdate(photo, *kept, ("sidecar",)) for photo, kept in zip(read, embedded, strict=True)
            ]
            self._report.recaptioned += len(updates)
            self._queue.add(files=records, captions=updates)

    def _was_unread(self, path: bytes) -> bool:
        state = self._known.get(path)
        return state is not None and state.sidecar == UNREAD

    def _is_wanted(self, found: Found, hashed: Hashed) -> bool:
        """Returns whether this content must be decoded. The pool's threads call it."""
        photo = hashed.hash
        if self._is_forgotten(found, hashed):
            return False
        limit = self._limit_of(found.path, self._known.get(found.path))
        with self._lock:
            self._requirements.add(photo, found.path, limit, found.sidecar is not None)
            if photo in self._in_work or self._requirements.satisfied(photo, self._embedded.get(photo)):
                return False
            self._in_work[photo] = []
            return True

    def _is_forgotten(self, found: Found, hashed: Hashed) -> bool:
        """Returns whether this content was forgotten, and the file is not named by itself."""
        return hashed.hash in self._forgotten and found.path not in self._named

    def _pass_by(self, found: Found) -> None:
        self._report.forgotten += 1
        if found.path in self._known:  # it held another photo
            self._queue.add(missing=[found.path])

    def _take(self, outcome: Outcome) -> None:
        found, hashed, decoded, problem, is_verdict = outcome
        if problem is not None:
            self._fail(_as_read(found, hashed), hashed.hash if hashed else None, problem, is_verdict)
        elif hashed and decoded:
            self._batch.append((found, hashed, decoded))
            pixels = sum(decoded.picture.pixels.size // 3 for _, _, decoded in self._batch)
            if len(self._batch) >= self._threads.max_batch or pixels >= MAX_BATCH_PIXELS:
                self._embed()
        elif hashed and self._is_forgotten(found, hashed):
            self._pass_by(found)
        elif hashed:
            with self._lock:
                waiting = self._in_work.get(hashed.hash)
                if waiting is not None:
                    waiting.append((found, hashed))
                    return
            self._link(found, hashed)

    def _fail(self, found: Found, photo: bytes | None, problem: str, is_verdict: bool) -> None:
        """Records the problem of a file, and of all files that wait for the same content."""
        copies = self._leave(photo) if photo else []
        if photo:
            self._failed[photo] = problem, is_verdict
        self._refuse(found, problem, is_verdict)
        for copy, read in copies:
            self._refuse(_as_read(copy, read), problem, is_verdict)

    def _refuse(self, found: Found, problem: str, is_verdict: bool) -> None:
        LOG.info("skipped %s: %s", printable(found.path), problem)
        state = self._known.get(found.path)
        if is_known(state, problem):
            self._report.known_problems += 1
        else:
            self._report.problems.append((found.path, problem))
        if self._requirements.mentioned(found.path):
            self.passed_by.append(found.path)
        if os.path.lexists(found.path):  # else the next run sees what became of it
            judge = reader() if is_verdict else None
            self._queue.add(files=[record_failure(found, state, problem, judge)])

    def _leave(self, photo: bytes) -> list[tuple[Found, Hashed]]:
        with self._lock:
            return self._in_work.pop(photo, [])

    def _link(self, found: Found, hashed: Hashed) -> None:
        """Records a path of a photo whose vectors are there."""
        photo = hashed.hash
        if self._embedded.get(photo) is None:
            self._refuse(_as_read(found, hashed), *self._failed[photo])
            return
        state, found = self._known.get(found.path), _as_read(found, hashed)
        new = record(found, photo=photo)
        before = state if state and state.hash == photo and not state.missing else None
        if before:
            self._report.unchanged += 1
        else:
            self._report.relinked += 1
        if found.stamp != (before.sidecar if before else None):
            self._recaptioned.setdefault(photo, []).append(new)
        else:
            self._queue.add(files=[new])

    def _embed(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._keep(self._threads.put([self._job(*photo) for photo in batch]))

    def _keep(self, described: Iterable[tuple[Job, EmbeddedPhoto | InputError]]) -> None:
        for job, embedded in described:
            if isinstance(embedded, InputError):
                self._fail(job.file, job.hash, str(embedded), is_verdict=True)
                continue
            state = self._known.get(job.file.path)
            if job.hash in self._embedded or (state and state.hash):
                self._report.reembedded += 1
            else:
                self._report.indexed += 1
            self._queue.add(embedded=[embedded], files=[record(job.file, photo=job.hash)])
            with self._lock:
                self._embedded[job.hash] = job.settings
            for copy, read in self._leave(job.hash):
                self._link(copy, read)

    def _job(self, found: Found, hashed: Hashed, decoded: Decoded) -> Job:
        photo, size = hashed.hash, (decoded.picture.width, decoded.picture.height)
        state = self._known.get(found.path)
        with self._lock:
            before = self._embedded.get(photo)
            settings = self._requirements.settings(photo, Settings.parse(before) if before else None)
            annotated, captioned = self._requirements.annotations(photo), self._requirements.captions(photo)
            beside = self._requirements.sidecar_texts(photo)
        # An edited file takes along what its user had said of it, unless it says it anew.
        source = photo if photo in self._embedded else (state.hash if state else None)
        kept, metadata = self._kept(source, size)
        annotations, captions = kept["annotation"], kept["file"]
        if annotated:
            annotations = fit_all(annotated, *size)
        if captioned:
            captions = fit_all(captioned, *size)
        given = join(join(annotations, captions), kept["code"])
        inside = [f"{printable(found.path)}: {fault}" for fault in decoded.metadata.faults]
        self._report.warnings += (*given.faults, *beside.faults, *inside)
        file = _as_read(found, hashed)
        texts = beside.texts
        if not beside.is_complete:  # what was read before stays, and the next run tries again
            file = file._replace(stamp=UNREAD)
            with self._store.read() as snapshot:
                texts += snapshot.sidecar_texts(photo)
        with self._store.read() as snapshot:
            read = snapshot.read_text(photo)
        return Job(file, photo, decoded, str(settings), settings.regions, given, texts, metadata, read)

    def _kept(
        self, photo: bytes | None, size: tuple[int, int]
    ) -> tuple[dict[Source, FittedAnnotations], str | None]:
        """Returns what the user said of a photo, and of its metadata."""
        given = UserAnnotations()
        if photo is not None:
            with self._store.read() as snapshot:
                given = snapshot.user_annotations(photo)
        return fit_kept(given, *size), given.given


def _as_read(found: Found, hashed: Hashed | None) -> Found:
    """Returns a file with its size and time at the reading of its content, not at the listing of its
    folder."""
    return (
        found._replace(size=hashed.size, mtime_ns=hashed.mtime_ns, ctime_ns=hashed.ctime_ns)
        if hashed
        else found
    )
