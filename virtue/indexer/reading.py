"""The second step of indexing: the text in photos is read, and its lines made captions.

What was read is committed every few seconds, and with it who read the photo, so a run goes on where the last
one ended.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING

from virtue.added_pictures import name_of
from virtue.cpu import usable_cores
from virtue.errors import ModelError
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.embedding import MAX_CAPTIONS, PhotoEmbedder, embed_captions
from virtue.indexer.report import Progress, Report
from virtue.indexer.roots import Options, Roots
from virtue.indexer.shared_work import wait_for_others
from virtue.indexer.walk import Found
from virtue.indexer.workers import FILE_TIMEOUT, Pool, default_workers
from virtue.interrupts import is_done, stopping_softly, undivided, wait_for
from virtue.paths import is_below_any, printable
from virtue.pictures import Picture
from virtue.reader import Line, Reader
from virtue.store import CaptionUpdate, NewCaption
from virtue.store.job_queue import Job
from virtue.store.records import LEFT_OUT, UnreadPhoto

if TYPE_CHECKING:
    from virtue.store import Store, Writer
    from virtue.store.job_queue import JobQueue

LOG = logging.getLogger("virtue")

MAX_READERS = 4
"""Photos that are read at once: each takes 150 MB."""
PHOTOS_PER_WORKER = 8
"""Photos that are worth the start of a process to decode them."""
MAX_TEXTS = 256
"""Texts that wait to be embedded together."""
MAX_SECONDS = 1.0
"""How long they wait at most."""

MAX_REASON = 200
"""Characters of what an error of a library says."""

CHANGED = "it changed since it was indexed"


def read_texts(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    report: Report,
    paths: Sequence[bytes] = (),
    *,
    ocr: bool | None = None,
    workers: int | None = None,
    timeout: float = FILE_TIMEOUT,
    progress: Callable[[Progress], None] | None = None,
    reader: Reader | None = None,
) -> bool:
    """Reads the text in photos that `index` has embedded and that this reader has not read; returns whether
    any was read. A photo that cannot be read now, or in which the reader fails, is tried again by the next
    run.

    What is done is kept on KeyboardInterrupt, SystemExit and StoppedError, as by `index`.

    Args:
        report: of `index`; what was read is added to it.
        paths: the files and folders to read in, absolute; none: all that the library has.
        ocr: what was asked for in this run. None: what `Options` of the folders say.
        workers, timeout, progress: as of `index`.
        reader: what reads. None: the bundled one.

    Raises:
        ModelError: a file of the reader is missing or damaged.
    """
    started = time.monotonic()
    count, photos = workers or default_workers(), list[UnreadPhoto]()
    with store.read() as snapshot:
        roots, scope = Roots(snapshot.roots()), set(paths)
        for unread in snapshot.unread(Reader.name):
            chosen, left_out = _choose(unread, roots, scope, ocr)
            if left_out:
                writer.leave_unread(left_out)
            if writer.jobs is not None:
                _list(writer.jobs, chosen)
            else:
                photos += chosen
    if writer.jobs is not None:
        writer.jobs.stop_listing()
        while read_leased(writer, embedder, report, workers=count, timeout=timeout, progress=progress) or (
            writer.jobs.count("read")
        ):
            wait_for_others(writer.jobs, report, progress)
    elif photos:
        reading = reader or _open_reader()
        _read(writer, embedder, report, reading, photos, count, timeout, len(photos), progress)
    else:
        return False
    report.seconds += time.monotonic() - started
    LOG.info("%s: read %d photos, %d hold text", store.name, report.read, report.with_text)
    return report.read > 0


def list_unread(store: Store, writer: Writer) -> None:
    """Lists the photos whose text is to be read, as the options of their folders say, for whoever leases
    them."""
    assert writer.jobs is not None
    with store.read() as snapshot:
        roots = Roots(snapshot.roots())
        for unread in snapshot.unread(Reader.name):
            _list(writer.jobs, _choose(unread, roots, set(), None)[0])


def _list(jobs: JobQueue, photos: Iterable[UnreadPhoto]) -> None:
    jobs.add("read", (Job(each.paths[0], pictures=each.paths[1:], hash=each.hash) for each in photos))


def read_leased(
    writer: Writer,
    embedder: PhotoEmbedder,
    report: Report,
    *,
    workers: int,
    timeout: float,
    progress: Callable[[Progress], None] | None,
) -> bool:
    """Reads the text in photos that were listed, by whatever process, until none is free; returns whether
    there was any."""
    jobs, has_worked = writer.jobs, False
    assert jobs is not None
    while leased := jobs.lease("read"):
        has_worked = True
        photos = [UnreadPhoto(job.hash or b"", (job.path, *job.pictures), None) for job in leased]
        total = report.read + report.unread + jobs.count("read")
        _read(writer, embedder, report, _open_reader(), photos, workers, timeout, total, progress)
        jobs.finish("read")  # of what could not be read
    return has_worked


def _read(
    writer: Writer,
    embedder: PhotoEmbedder,
    report: Report,
    reader: Reader,
    photos: Sequence[UnreadPhoto],
    workers: int,
    timeout: float,
    total: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    started = time.monotonic()
    with CommitQueue(writer) as queue:
        reading = _Reading(queue, embedder, report, reader)
        with (
            stopping_softly(reading.finish),
            # Closed at once, or its workers would live as long as an error that somebody keeps.
            closing(reading.run(photos, workers, timeout)) as run,
        ):
            for done in run:
                if progress:
                    seconds = time.monotonic() - started
                    progress(Progress("reading", done, total, report.unread, seconds, "reading text"))
        reading.finish()


@lru_cache(maxsize=1)
def _open_reader() -> Reader:
    """Opens the reader once for a program that adds picture after picture."""
    return Reader()


def _choose(
    unread: Sequence[UnreadPhoto], roots: Roots, scope: set[bytes], ocr: bool | None
) -> tuple[list[UnreadPhoto], list[bytes]]:
    """Returns the photos to read, each with its paths in the scope, and the hashes of those that later runs
    are to leave out too: files that belong to no folder whose options would say so."""
    photos, left_out = [], []
    for photo in unread:
        paths = tuple(path for path in photo.paths if not scope or is_below_any(path, scope))
        if any(_is_wanted(path, photo.read_by, roots, scope, ocr) for path in paths):
            photos.append(photo._replace(paths=paths))
        elif ocr is False and photo.read_by is None and any(_is_single(path, roots) for path in paths):
            left_out.append(photo.hash)
    return photos, left_out


def _is_wanted(path: bytes, read_by: str | None, roots: Roots, scope: set[bytes], ocr: bool | None) -> bool:
    is_single = _is_single(path, roots)
    if ocr is not None and (is_single or path in scope):
        return ocr
    options = roots.of(path) or Options()
    return options.ocr and not (is_single and read_by == LEFT_OUT)


def _is_single(path: bytes, roots: Roots) -> bool:
    """Returns whether this file was indexed, or added, by its own name."""
    return roots.of(path) is None or name_of(path) is not None


class _Reading:
    """One run: workers decode, threads read, and what they read is embedded and committed in between."""

    def __init__(self, queue: CommitQueue, embedder: PhotoEmbedder, report: Report, reader: Reader) -> None:
        self._queue, self._embedder, self._report, self._reader = queue, embedder, report, reader
        self._count = min(usable_cores(), MAX_READERS)
        self._running: deque[tuple[UnreadPhoto, Future[list[Line] | str]]] = deque()
        self._read: list[tuple[bytes, tuple[NewCaption, ...]]] = []
        self._since = time.monotonic()
        self._failed: list[tuple[bytes, str]] = []

    def run(self, photos: Sequence[UnreadPhoto], workers: int, timeout: float) -> Generator[int]:
        """Reads photos, and yields again and again how many are done. Where a file of a photo fails, its next
        one is tried."""
        threads = ThreadPoolExecutor(self._count)
        try:
            while photos:
                failed = []
                for result in self._results(photos, threads, workers, timeout):
                    if result is not None:
                        photo, found = result
                        if not isinstance(found, str):
                            self._keep(photo, found)
                        elif len(photo.paths) > 1:
                            failed.append(photo._replace(paths=photo.paths[1:]))
                        else:
                            self._failed.append((photo.paths[0], found))
                            self._report.unread += 1
                    if self._is_due():
                        self._embed()
                    self._queue.commit_if_due()
                    yield self._report.read + self._report.unread
                photos = failed
        finally:
            threads.shutdown(cancel_futures=True)
            # What was waited for is kept, where the run was interrupted.
            for photo, future in self._running:
                if not future.cancelled() and future.exception() is None:
                    found = future.result()
                    if not isinstance(found, str):
                        self._keep(photo, found)

    def _results(
        self, photos: Sequence[UnreadPhoto], threads: ThreadPoolExecutor, workers: int, timeout: float
    ) -> Generator[tuple[UnreadPhoto, list[Line] | str] | None]:
        """Yields each photo with its lines, or with the reason why there are none, in any order; None when
        nothing is there yet."""
        at = {photo.paths[0]: photo for photo in photos}
        files = [Found(path, 0, 0, None) for path in at]
        # A photo is decoded in a third of the time in which it is read.
        workers = min(workers, math.ceil(self._count / 2), math.ceil(len(files) / PHOTOS_PER_WORKER))
        pool = Pool(
            files, Reader.side, lambda found, hashed: hashed.hash == at[found.path].hash, workers, timeout
        )
        with pool as outcomes:
            for outcome in outcomes:
                if outcome is None:
                    while self._running and is_done(self._running[0][1]):
                        yield self._first()
                    yield None
                elif outcome.decoded is None:
                    yield at[outcome.found.path], outcome.problem or CHANGED
                else:
                    with undivided():
                        future = threads.submit(self._read_lines, outcome.decoded.picture)
                        self._running.append((at[outcome.found.path], future))
                    # One more each than they read at the moment, for while texts are embedded.
                    while len(self._running) > 2 * self._count:
                        yield self._first()
        while self._running:
            yield self._first()

    def _read_lines(self, picture: Picture) -> list[Line] | str:
        """Returns the lines of a picture, or why the reader failed in it."""
        try:
            return self._reader.read(picture)
        except ModelError:  # what it reads with is not there, for any picture
            raise
        except Exception as error:
            LOG.warning("the reader failed in a picture", exc_info=True)
            said = " ".join(str(error).split())[:MAX_REASON]
            return f"the reader failed in it: {type(error).__name__}{': ' * bool(said)}{said}"

    def _first(self) -> tuple[UnreadPhoto, list[Line] | str]:
        photo, future = self._running[0]
        found = wait_for(future)
        self._running.popleft()
        return photo, found

    def _keep(self, photo: UnreadPhoto, lines: Sequence[Line]) -> None:
        self._report.read += 1
        self._report.with_text += bool(lines)
        if not self._read:
            self._since = time.monotonic()
        self._read.append((photo.hash, _as_captions(lines)))

    def _is_due(self) -> bool:
        texts = sum(len(captions) for _, captions in self._read)
        return texts >= MAX_TEXTS or bool(self._read and time.monotonic() - self._since >= MAX_SECONDS)

    def _embed(self) -> None:
        embedded = embed_captions(
            self._embedder, [captions for _, captions in self._read], self._report.warnings.append
        )
        self._queue.add(
            captions=[
                CaptionUpdate(hash, *captions, ("ocr",), Reader.name)
                for (hash, _), captions in zip(self._read, embedded, strict=True)
            ]
        )
        self._read = []

    def finish(self) -> None:
        """Commits what was read, and tells what could not be."""
        try:
            self._embed()
        finally:
            self._queue.finish()
        if self._failed:
            path, reason = self._failed[0]
            count = len(self._failed)
            self._report.warnings.append(
                f"the text in {count:,} photo{'s' * (count > 1)} could not be read now, such as in "
                f"{printable(path)} ({reason}): the next indexing tries again"
            )


def _as_captions(lines: Sequence[Line]) -> tuple[NewCaption, ...]:
    """Makes a caption of each line, and one of all of them."""
    lines = lines[: MAX_CAPTIONS - 1]
    captions = [NewCaption(line.text, "ocr", box=line.box) for line in lines]
    if len(lines) > 1:
        captions.append(NewCaption(" ".join(line.text for line in lines), "ocr"))
    return tuple(captions)
