"""Collects what is done and commits it beside the work, often enough that little can be lost."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from virtue.interrupts import undivided
from virtue.store import CaptionUpdate, EmbeddedPhoto, FileRecord

if TYPE_CHECKING:
    from virtue.store import Writer

MAX_SECONDS = 3.0
"""Age of the oldest uncommitted piece of work at which it is committed (promised: 30)."""
MAX_PHOTOS = 256
"""Photos that are committed at once at most: their vectors wait in memory until then."""
MAX_CAPTIONS = 10_000
"""The same of captions, of which a page of text has hundreds."""
MAX_FILES = 10_000


@dataclass(slots=True)
class _Batch:
    since: float = field(default_factory=time.monotonic)
    embedded: list[EmbeddedPhoto] = field(default_factory=list)
    files: list[FileRecord] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    captions: list[CaptionUpdate] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.embedded or self.files or self.missing or self.captions)


class CommitQueue:
    """Collects results and commits them in a thread of its own, one commit at a time. The next waits for it,
    so that at most two batches are held. An error of a commit is raised by the call after it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._batch = _Batch()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def add(
        self,
        embedded: Iterable[EmbeddedPhoto] = (),
        files: Iterable[FileRecord] = (),
        missing: Iterable[bytes] = (),
        captions: Iterable[CaptionUpdate] = (),
    ) -> None:
        """Adds things that must be in the same commit."""
        with undivided():
            if not self._batch:
                self._batch.since = time.monotonic()
            self._batch.embedded += embedded
            self._batch.files += files
            self._batch.missing += missing
            self._batch.captions += captions
        self.commit_if_due()

    def commit_if_due(self) -> None:
        batch = self._batch
        captions = sum(len(photo.captions) for photo in batch.embedded)
        captions += sum(len(update.captions) for update in batch.captions)
        full = (
            len(batch.embedded) + len(batch.captions) >= MAX_PHOTOS
            or captions >= MAX_CAPTIONS
            or len(batch.files) + len(batch.missing) >= MAX_FILES
        )
        if batch and (full or time.monotonic() - batch.since >= MAX_SECONDS):
            self._commit()

    def finish(self) -> None:
        """Commits the rest and waits until it is on disk."""
        with undivided():
            if self._batch:
                self._commit()
            if self._running:
                self._running.result()
                self._running = None

    def _commit(self) -> None:
        with undivided():
            if self._running:
                self._running.result()
            batch, self._batch = self._batch, _Batch()
            self._running = self._thread.submit(
                self._writer.commit, batch.embedded, batch.files, batch.missing, batch.captions
            )
