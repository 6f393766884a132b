"""Files that have to be opened -> worker processes -> the model -> the queue, within bounded memory."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from virtue.embedder.model import pools_alpha, resizing_of
from virtue.errors import InputError
from virtue.indexer.commit_queue import MAX_PHOTOS, CommitQueue
from virtue.indexer.embedding import (
    Job,
    PhotoEmbedder,
    embed_captions,
    embed_texts,
    indexed_captions,
    photo_info,
)
from virtue.indexer.messages import Decoded, Hashed
from virtue.indexer.metadata import Metadata, lay_over, recall
from virtue.indexer.model_threads import ModelThreads
from virtue.indexer.plan import Plan, is_known, record, record_failure
from virtue.indexer.report import Report
from virtue.indexer.requirements import EmbeddingRequirements, Settings
from virtue.indexer.sidecar_files import UNREAD, Stamp
from virtue.indexer.user_annotations import FittedAnnotations, fit_all, fit_kept, join
from virtue.indexer.walk import Found
from virtue.indexer.workers import Outcome, Pool
from virtue.indexer.xmp_regions import fit_regions
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
from virtue.store.catalogue.given import Given
from virtue.store.records import METADATA, Source

if TYPE_CHECKING:
    from virtue.indexer.leased_files import LeasedFiles
    from virtue.indexer.own_files import OwnFiles
    from virtue.store import Store

LOG = logging.getLogger("virtue")

MAX_BATCH_PIXELS = 64_000_000
"""Pixels at which a batch is full (192 MB), however few photos hold them."""


class Pipeline:
    """One run over the files that a plan opens. A photo's files are kept together with its vectors, so a
    path is known only once its photo is.

    Args:
        forgotten: hashes of photos to pass by, but for files that are `named`.
        leased: files of a library that other processes write to, where `known` is not all there is.

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
        leased: LeasedFiles | OwnFiles | None = None,
    ) -> None:
        self._store, self._queue, self._embedder = store, queue, embedder
        self._requirements, self._known, self._limit_of, self._report = requirements, known, limit_of, report
        self._forgotten, self._named, self._leased = forgotten, named, leased
        self._embedded = {state.hash: state.settings for state in known.values() if state.hash}
        self._threads = ModelThreads(embedder, report.warnings.append)
        self._lock = threading.Lock()
        self._in_work: dict[bytes, list[tuple[Found, Hashed]]] = {}
        self._batch: list[tuple[Found, Hashed, Decoded]] = []
        self._recaptioned: dict[bytes, list[FileRecord]] = {}
        self._redescribed: list[tuple[Job, FileRecord]] = []
        # Copies that were found when their photo was done, and have metadata beside them of their own: one of
        # each photo is opened once more, the others wait for it.
        self._late: dict[bytes, list[tuple[Found, Hashed]]] = {}
        self._waiting: dict[bytes, list[tuple[Found, Hashed]]] = {}
        self._heard: dict[bytes, Collection[bytes]] = {}
        self._fresh: set[bytes] = set()
        self._failed: dict[bytes, tuple[str, bool]] = {}
        self._of_raws: set[bytes] = set()
        self._alone: list[Found] = []
        self._elsewhere: set[bytes] = set()
        self.passed_by: list[bytes] = []

    def start(self, plan: Plan) -> None:
        """Commits what needs no file to be opened."""
        report = self._report
        report.problems += plan.problems
        report.known_problems += plan.known_problems
        report.unchanged += plan.unchanged
        report.relinked += plan.relinked
        report.missing += len(plan.missing)
        report.forgotten += plan.forgotten
        self._recaptioned = plan.recaptioned
        self._queue.add(files=plan.records, missing=plan.missing)

    def run(self, files: Sequence[Found] | Iterator[Found], workers: int, timeout: float) -> Generator[int]:
        """Opens the files, and yields again and again how many are done. A RAW whose picture beside it turns
        out to be damaged is opened once more, by itself, and so is one of the copies that were found when
        their photo was done, and have metadata beside them of their own."""
        done = 0
        while files:
            done = yield from self._run(files, done, workers, timeout)
            files, self._alone = self._alone, []
            if self._late:
                self._settle()
                self._waiting, self._late = self._late, {}
                files += [some.pop()[0] for some in self._waiting.values()]
            done -= len(files)

    def _run(
        self, files: Sequence[Found] | Iterator[Found], done: int, workers: int, timeout: float
    ) -> Generator[int, None, int]:
        model = self._embedder.model
        pool = Pool(
            files,
            model.side,
            self._is_wanted,
            min(workers, len(files)) if isinstance(files, Sequence) else workers,
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
            self._embed_texts()
        return done

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
                    files = [replace(file, sidecar=_unread(file.sidecar, "text")) for file in files]
                    if all(self._stamp_of(file.path).is_text_unread for file in files):
                        beside = beside._replace(faults=())
                records += files
                self._report.warnings += beside.faults
            embedded = embed_captions(self._embedder, list(read.values()), self._report.warnings.append)
            updates = [
                CaptionUpdate(photo, *kept, ("sidecar",)) for photo, kept in zip(read, embedded, strict=True)
            ]
            self._report.recaptioned += len(updates)
            self._queue.add(files=records, captions=updates)

    def _stamp_of(self, path: bytes) -> Stamp:
        """Returns the stamp that a file had when it was last looked at."""
        state = self._known.get(path)
        return Stamp.parse(state.sidecar if state else None)

    def _is_wanted(self, found: Found, hashed: Hashed) -> bool:
        """Returns whether this content must be decoded. The pool's threads call it."""
        photo = hashed.hash
        if self._is_forgotten(found, hashed):
            return False
        if self._leased is not None and not self._learn(self._leased, found, photo):
            return False
        limit = self._limit_of(found.path, self._known.get(found.path))
        with self._lock:
            self._requirements.add(photo, found.path, limit, found.stamp is not None)
            if photo in self._in_work:
                return False
            is_silent = photo in self._fresh or not self._is_said_anew(found, photo)
            if is_silent and self._requirements.satisfied(photo, self._embedded.get(photo)):
                return False
            self._in_work[photo] = []
            return True

    def _learn(self, leased: LeasedFiles | OwnFiles, found: Found, photo: bytes) -> bool:
        """Learns what the library has of a photo; returns whether no other process is working on it."""
        others = leased.claim(found.path, photo)
        with self._lock:
            if others is None:
                self._elsewhere.add(found.path)
                return False
            for path, state in others.items():
                if self._embedded.get(photo) is None:
                    self._embedded[photo] = state.settings
                if path != found.path and not state.missing:
                    limit = self._limit_of(path, state)
                    self._requirements.add(photo, path, limit, state.sidecar is not None)
            return True

    def _is_said_anew(self, found: Found, photo: bytes) -> bool:
        """Returns whether files with metadata beside a photo changed."""
        before = self._stamp_of(found.path) if self._is_at(found.path, photo) else Stamp()
        return Stamp.parse(found.stamp).metadata != before.metadata

    def _is_forgotten(self, found: Found, hashed: Hashed) -> bool:
        """Returns whether this content was forgotten, and the file is not named by itself."""
        return hashed.hash in self._forgotten and found.path not in self._named

    def _pass_by(self, found: Found) -> None:
        self._report.forgotten += 1
        if found.path in self._known:  # it held another photo
            self._queue.add(missing=[found.path])

    def _take(self, outcome: Outcome) -> None:
        found, hashed, decoded, problem, is_verdict = outcome
        if self._leased is not None and found.path in self._elsewhere:
            self._elsewhere.remove(found.path)
            self._leased.put_back(found.path)
            return
        if hashed and hashed.is_beside and decoded:
            self._of_raws.add(hashed.hash)
        if problem is not None and hashed and hashed.is_beside and is_verdict:
            for copy, read in self._leave(hashed.hash):
                self._refuse(_as_read(copy, read), problem, is_verdict)
            self._alone.append(found._replace(pictures=()))
        elif problem is not None:
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

    def _is_at(self, path: bytes, photo: bytes) -> bool:
        """Returns whether the photo was at this path before."""
        state = self._known.get(path)
        return state is not None and state.hash == photo and not state.missing

    def _count_link(self, path: bytes, photo: bytes, is_beside: bool = False) -> None:
        if self._is_at(path, photo):
            self._report.unchanged += 1
        elif is_beside or photo in self._of_raws:
            self._report.paired += 1
        else:
            self._report.relinked += 1

    def _link(self, found: Found, hashed: Hashed, is_described: bool = False) -> None:
        """Records a path of a photo whose vectors are there.

        Args:
            is_described: whether the metadata beside it were read.
        """
        photo = hashed.hash
        if self._embedded.get(photo) is None:
            self._refuse(_as_read(found, hashed), *self._failed[photo])
            return
        found = _as_read(found, hashed)
        new = record(found, photo=photo)
        before = self._known[found.path].sidecar if self._is_at(found.path, photo) else None
        if self._is_said_anew(found, photo) and not is_described:
            self._late.setdefault(photo, []).append((found, hashed))
            return
        self._count_link(found.path, photo, hashed.is_beside)
        if found.stamp != before:
            self._recaptioned.setdefault(photo, []).append(new)
        else:
            self._queue.add(files=[new])

    def _embed(self) -> None:
        batch, self._batch = self._batch, []
        jobs = [job for job in (self._job(*photo) for photo in batch) if not self._describe(job)]
        if jobs:
            self._keep(self._threads.put(jobs))

    def _describe(self, job: Job) -> bool:
        """Takes over what was said anew of a photo, where that needs no vectors but those of texts; returns
        whether that is so."""
        with self._lock:
            if not self._requirements.satisfied(job.hash, self._embedded.get(job.hash)):
                return False
        if job.hash in self._fresh:
            self._settle()
        with self._store.read() as snapshot:
            known, told = snapshot.known_metadata(job.hash), snapshot.sidecar_texts(job.hash)
        marked = [region for region in job.given.regions if region.origin == METADATA]
        first = len(job.given.regions) - len(marked)
        names = [
            replace(caption, region=caption.region - first)
            for caption in job.given.captions
            if caption.source == METADATA and caption.region is not None
        ]
        if known is None or (marked, names) != (
            [*known.regions],
            [caption for caption in known.captions if caption.region is not None],
        ):
            return False
        file = record(job.file, photo=job.hash)
        texts = {caption for caption in known.captions if caption.region is None} | {
            NewCaption(text, "sidecar") for text in told
        }
        info = photo_info(job)
        captions = set(indexed_captions(job, self._report.warnings.append))
        if captions == texts and replace(info, tags=tuple(sorted(info.tags))) == known.info:
            self._count_link(job.file.path, job.hash)
            self._queue.add(files=[file])
        else:
            self._report.recaptioned += 1
            if not self._is_at(job.file.path, job.hash):
                self._count_link(job.file.path, job.hash)
            self._redescribed.append((job.without_pixels(), file))
            self._fresh.add(job.hash)
            if len(self._redescribed) >= MAX_PHOTOS:
                self._embed_texts()
        self._release(job.hash)
        return True

    def _settle(self) -> None:
        """Commits what this run learnt, so that it can be compared with."""
        self._embed_texts()
        self._queue.finish()
        self._fresh.clear()

    def _embed_texts(self) -> None:
        """Embeds what was said anew of photos."""
        some, self._redescribed = self._redescribed, []
        updates = embed_texts(self._embedder, [job for job, _ in some], self._report.warnings.append)
        self._queue.add(files=[file for _, file in some], captions=updates)

    def _release(self, photo: bytes) -> None:
        """Links the files that waited for a photo."""
        heard = self._heard.pop(photo, ())
        for copy, read in (*self._leave(photo), *self._waiting.pop(photo, [])):
            self._link(copy, read, is_described=copy.path in heard)

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
                self._fresh.add(job.hash)
            self._release(job.hash)

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
        described, marked, is_complete = self._described(found, photo, source, decoded)
        if Given.from_json(metadata).has_regions:
            marked = FittedAnnotations()
        given = join(join(join(annotations, captions), kept["code"]), marked)
        decoded = replace(decoded, metadata=described)
        inside = [f"{printable(found.path)}: {fault}" for fault in (*described.faults, *marked.faults)]
        self._report.warnings += (*annotations.faults, *captions.faults, *beside.faults, *inside)
        file = _as_read(found, hashed)
        texts = beside.texts
        if not is_complete:
            file = file._replace(stamp=_unread(file.stamp, "metadata"))
        if not beside.is_complete:  # what was read before stays, and the next run tries again
            file = file._replace(stamp=_unread(file.stamp, "text"))
            with self._store.read() as snapshot:
                texts += snapshot.sidecar_texts(photo)
        with self._store.read() as snapshot:
            read = snapshot.read_text(photo)
        return Job(file, photo, decoded, str(settings), settings.regions, given, texts, metadata, read)

    def _described(
        self, found: Found, photo: bytes, source: bytes | None, decoded: Decoded
    ) -> tuple[Metadata, FittedAnnotations, bool]:
        """Returns what is said of a photo in its file and beside it, the regions in that, and whether all of
        it could be read. If not, what is known stays, and the next run tries again.

        Args:
            source: the photo that this one was before.
        """
        picture, metadata = decoded.picture, decoded.metadata
        with self._lock:
            beside = self._requirements.metadata_beside(photo)
            self._heard[photo] = self._requirements.paths_beside(photo)
        if not self._stamp_of(found.path).is_metadata_unread:
            self._report.warnings += beside.faults
        if not beside.is_complete and source is not None:
            with self._store.read() as snapshot:
                known = snapshot.known_metadata(source)
            if known and (known.info.width, known.info.height) == (picture.width, picture.height):
                names = tuple(caption for caption in known.captions if caption.region is not None)
                return recall(metadata, known), FittedAnnotations(known.regions, names), False
        metadata = lay_over(metadata, beside.said)
        size = picture.width, picture.height
        return metadata, fit_regions(metadata.regions, *size, metadata.orientation), beside.is_complete

    def _kept(
        self, photo: bytes | None, size: tuple[int, int]
    ) -> tuple[dict[Source, FittedAnnotations], str | None]:
        """Returns what the user said of a photo, and of its metadata."""
        given = UserAnnotations()
        if photo is not None:
            with self._store.read() as snapshot:
                given = snapshot.user_annotations(photo)
        return fit_kept(given, *size), given.given


def _unread(stamp: str | None, what: Literal["text", "metadata"]) -> str:
    return str(replace(Stamp.parse(stamp), **{what: UNREAD}))


def _as_read(found: Found, hashed: Hashed | None) -> Found:
    """Returns a file with its size and time at the reading of its content, not at the listing of its
    folder."""
    return (
        found._replace(size=hashed.size, mtime_ns=hashed.mtime_ns, ctime_ns=hashed.ctime_ns)
        if hashed
        else found
    )
