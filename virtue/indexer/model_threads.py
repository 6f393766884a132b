"""Runs the model on batches of photos, in several threads where it gains by that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Protocol, Self, runtime_checkable

from virtue.errors import InputError
from virtue.indexer.embedding import Job, PhotoEmbedder, embed_photos
from virtue.indexer.model_processes import ModelProcesses
from virtue.interrupts import is_done, undivided, wait_for
from virtue.store import EmbeddedPhoto

MAX_BATCH = 16
"""Photos that go through a model together."""
MAX_THREAD_BATCH = 8
"""The same for a model that several threads share, so that few photos keep all of them busy too."""


@runtime_checkable
class ThreadedModel(Protocol):
    """A model for the CPU that is best called by several threads at once, each using few cores. Other models
    are called by one thread, and use several cores by themselves."""

    @property
    def concurrent_calls(self) -> int: ...


class ModelThreads:
    """Embeds batches of photos, which go in by `put` and come back in order."""

    def __init__(self, embedder: PhotoEmbedder, warn: Callable[[str], None]) -> None:
        self._embedder = embedder
        self._warn = warn
        devices = getattr(embedder, "devices", ())
        self._processes = ModelProcesses(embedder, devices, warn) if len(devices) > 1 else None
        self._count = embedder.model.concurrent_calls if isinstance(embedder.model, ThreadedModel) else None
        if self._processes:
            self._count = len(devices)
        self._running: deque[tuple[Sequence[Job], Future[list[EmbeddedPhoto | InputError]]]] = deque()
        self._open = ExitStack()

    @property
    def max_batch(self) -> int:
        return MAX_BATCH if self._count is None or self._processes else MAX_THREAD_BATCH

    def __enter__(self) -> Self:
        if self._count is not None:
            from threadpoolctl import threadpool_limits

            # The products of one photo are too small to share out, and waiting threads of BLAS burn the
            # cores that decode: indexing took twice the CPU time with them.
            self._open.enter_context(threadpool_limits(1, user_api="blas"))
            self._threads = self._open.enter_context(ThreadPoolExecutor(self._count))
        if self._processes:  # the last to come is the first to go: no thread then waits for a process
            self._open.enter_context(self._processes)
        return self

    def __exit__(self, *error: object) -> None:
        for _, future in self._running:
            future.cancel()
        self._open.close()

    def put(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, EmbeddedPhoto | InputError]]:
        """Starts on a batch, and yields what was finished meanwhile; waits while all threads are busy."""
        if self._count is None or self._count == 1:
            yield from zip(jobs, embed_photos(self._embedder, jobs, self._warn), strict=True)
            return
        with undivided():
            self._running.append((jobs, self._threads.submit(self._embed, jobs)))
        while len(self._running) > self._count:
            yield from self._first()
        yield from self.finished()

    def _embed(self, jobs: Sequence[Job]) -> list[EmbeddedPhoto | InputError]:
        if self._processes:
            return self._processes.embed(jobs)
        return embed_photos(self._embedder, jobs, self._warn)

    def finished(self) -> Iterator[tuple[Job, EmbeddedPhoto | InputError]]:
        """Yields what is finished, and waits for nothing."""
        while self._running and is_done(self._running[0][1]):
            yield from self._first()

    @property
    def idle(self) -> bool:
        """Whether the model has nothing to do, or one of its processes."""
        return len(self._running) < (self._count if self._processes and self._count else 1)

    def rest(self) -> Iterator[tuple[Job, EmbeddedPhoto | InputError]]:
        while self._running:
            yield from self._first()

    def _first(self) -> Iterator[tuple[Job, EmbeddedPhoto | InputError]]:
        jobs, future = self._running.popleft()
        embedded = wait_for(future)
        yield from zip(jobs, embedded, strict=True)
