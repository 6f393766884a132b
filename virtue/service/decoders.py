"""Processes that decode pictures for the service. One that dies is replaced, and its task tried again."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, TypeAlias

from virtue.cpu import usable_cores
from virtue.errors import PictureError, VirtueError
from virtue.indexer.messages import Heavy, Refused
from virtue.indexer.worker_process import WorkerLostError, WorkerProcess
from virtue.service.decoder_messages import (
    NAMES,
    Mask,
    MaskTask,
    PictureTask,
    QueryPicture,
    Thumbnail,
    ThumbnailTask,
)

MODULE = "virtue.service.decoder"
MAX_DECODERS = 4
"""Processes, of some 60 MB each."""
MAX_SECONDS = 20.0
"""That a decoder may spend on one picture."""
MAX_START_SECONDS = 30.0
"""For which another is started if one is killed before it is ready."""
MAX_TRIES = 4
"""How often a picture is decoded when its decoder dies; then it is the picture's fault."""

Task: TypeAlias = PictureTask | MaskTask | ThumbnailTask


class Decoders:
    """A few decoder processes, which many threads share. They start when they are first needed.

    Args:
        lost: told of each that died.
    """

    def __init__(self, lost: Callable[[], None] = lambda: None) -> None:
        self.count = min(usable_cores(), MAX_DECODERS)
        self._lost = lost
        self._turns = threading.Semaphore(self.count)
        self._heavy = threading.Lock()
        self._idle: deque[WorkerProcess] = deque()
        self._all: set[WorkerProcess] = set()
        self._changing = threading.Lock()
        self._is_closed = False
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that live."""
        with self._changing:
            return [worker.pid for worker in self._all]

    def picture(self, content: bytes, side: int | None) -> QueryPicture:
        """Decodes a query picture.

        Raises:
            PictureError: it is none, or is beyond the limits.
        """
        answer = self._do(PictureTask(content, side, MAX_SECONDS))
        assert isinstance(answer, QueryPicture)
        return answer

    def mask(self, content: bytes, width: int, height: int) -> Mask:
        """Decodes a mask of a picture of this size.

        Raises:
            PictureError: it is no picture, or of another size.
        """
        answer = self._do(MaskTask(content, width, height, MAX_SECONDS))
        assert isinstance(answer, Mask)
        return answer

    def thumbnail(
        self, content: bytes, side: int, box: tuple[float, float, float, float] | None = None
    ) -> bytes:
        """Makes a JPEG of a picture, or of a part of it.

        Raises:
            PictureError: it is none, or the box lies outside.
        """
        answer = self._do(ThumbnailTask(content, side, box, MAX_SECONDS))
        assert isinstance(answer, Thumbnail)
        return answer.content

    def close(self) -> None:
        with self._changing:
            self._is_closed = True
            workers = list(self._all)
        for worker in workers:
            worker.close()
        self._log.close()

    def _do(self, task: Task) -> object:
        with self._turns:
            for _ in range(MAX_TRIES):
                worker = self._take()
                try:
                    answer = worker.ask(task, MAX_SECONDS)
                    if isinstance(answer, Heavy):
                        with self._heavy:
                            answer = worker.ask(True, MAX_SECONDS)
                except WorkerLostError as error:
                    self._drop(worker)
                    reason = str(error)
                    if worker.was_late:
                        break
                    continue
                self._idle.append(worker)
                if isinstance(answer, Refused):
                    raise PictureError(answer.reason)
                return answer
        raise PictureError(f"{reason}: give another picture")

    def _take(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            self._drop(worker)
        until = time.monotonic() + MAX_START_SECONDS
        while True:
            with self._changing:
                if self._is_closed:
                    raise VirtueError("the service ends")
                worker = WorkerProcess(MODULE, self._log, NAMES)
                self._all.add(worker)
            try:
                worker.wait_until_ready()
            except WorkerLostError as error:
                self._drop(worker)
                if time.monotonic() > until:
                    raise VirtueError(f"the process that decodes pictures did not start: {error}") from None
                continue
            return worker

    def _drop(self, worker: WorkerProcess) -> None:
        with self._changing:
            self._all.discard(worker)
            is_closed = self._is_closed
        worker.close()
        if not is_closed:
            self._lost()
