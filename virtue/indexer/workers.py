"""A pool of worker processes, each led by a thread of its own. One that dies or takes too long costs the
file it was reading and is replaced."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, NamedTuple

from virtue.cpu import usable_cores
from virtue.errors import VirtueError
from virtue.indexer.messages import Decoded, Hashed, Heavy, Refused, Task
from virtue.indexer.walk import Found
from virtue.indexer.worker_process import WorkerLostError, WorkerProcess
from virtue.interrupts import undivided
from virtue.resizing import Resizing

WORKER = "virtue.indexer.worker"
"""The module that a worker runs."""
FILE_TIMEOUT = 60.0
"""Seconds that a worker may spend on one file."""
MAX_STARTS = 3
"""How often a worker may be killed while it starts before that ends the run."""
TICK = 2.0
"""Seconds after which whoever waits for a result is told again that there is none yet."""


MAX_WORKERS = 8
"""No model keeps up with more, and each holds some 70 MB."""


def default_workers() -> int:
    """Returns the number of processes that decode by default: one for each core that may be used."""
    return min(usable_cores(), MAX_WORKERS)


class Outcome(NamedTuple):
    """The result of reading a file. `hashed` is None if it could not even be read; `decoded` is None if the
    pixels were not wanted; `problem` is the reason why there are none, and `is_verdict`
    whether that lies in what the file holds."""

    found: Found
    hashed: Hashed | None
    decoded: Decoded | None
    problem: str | None
    is_verdict: bool = False


class Pool:
    """Reads files in worker processes and yields the outcome of each, in any order; None when there is none
    yet, and again while that lasts.

    Args:
        files: what to read; taken as it is needed.
        side: as for `pictures.load`.
        resizing: what is done to every picture after that; None: nothing.
        keep_alpha: as for `pictures.load`.
        wanted: called once a file, by many threads, with its content's hash; whether to decode it.
        workers: number of processes.
        timeout: seconds a file may take.
        ahead: pictures, and pixels of them, that may wait to be taken while whoever takes them is at work.

    Two pictures per worker may wait in any case, and never much more than `ahead`, so memory stays bounded.
    """

    def __init__(
        self,
        files: Iterable[Found],
        side: int | None,
        wanted: Callable[[Found, Hashed], bool],
        workers: int,
        timeout: float = FILE_TIMEOUT,
        *,
        resizing: Resizing | None = None,
        keep_alpha: bool = False,
        ahead: tuple[int, int] = (0, 0),
    ) -> None:
        self._files = iter(files)
        self._side, self._wanted, self._timeout = side, wanted, timeout
        self._resizing, self._keep_alpha = resizing, keep_alpha
        self._taking = threading.Lock()
        self._heavy = threading.Lock()
        self._stopped = threading.Event()
        self._results: queue.SimpleQueue[Outcome | Future[None]] = queue.SimpleQueue()
        self._room = _Room(2 * workers, *ahead)
        self._workers: dict[int, WorkerProcess] = {}
        self._threads = ThreadPoolExecutor(max_workers=workers)
        self._count = workers

    def __enter__(self) -> Iterator[Outcome | None]:
        return self._outcomes()

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for worker in list(self._workers.values()):
            worker.kill()
        self._room.open()
        self._threads.shutdown()

    def _outcomes(self) -> Iterator[Outcome | None]:
        with undivided():
            leads = [self._threads.submit(self._run_worker, number) for number in range(self._count)]
            for lead in leads:
                lead.add_done_callback(self._results.put)
        running, patience = self._count, 0.0
        while running:
            try:
                result: Outcome | Future[None] = self._results.get(timeout=patience)
            except queue.Empty:
                yield None
                patience = TICK
                continue
            patience = 0.0
            if isinstance(result, Outcome):
                with undivided():
                    self._room.give_back(_count_pixels(result))
                yield result
            else:
                result.result()
                running -= 1

    def _run_worker(self, number: int) -> None:
        """Hands file after file to one worker: what each thread of the pool does."""
        with tempfile.TemporaryFile() as log:
            try:
                while not self._stopped.is_set():
                    with self._taking:
                        found = next(self._files, None)
                    if found is None:
                        return
                    outcome = self._read(self._worker(number, log), found)
                    self._room.take(_count_pixels(outcome))
                    self._results.put(outcome)
            finally:
                if number in self._workers:
                    self._workers[number].close()

    def _worker(self, number: int, log: IO[bytes]) -> WorkerProcess:
        worker = self._workers.get(number)
        if worker is None or not worker.alive:
            if worker:
                worker.close()
            worker = self._start(number, log)
        return worker

    def _start(self, number: int, log: IO[bytes]) -> WorkerProcess:
        for attempt in range(1, MAX_STARTS + 1):
            worker = self._workers[number] = WorkerProcess(WORKER, log)
            if self._stopped.is_set():
                worker.kill()
            try:
                worker.wait_until_ready()
                break
            except WorkerLostError as error:
                worker.close()
                if attempt == MAX_STARTS or self._stopped.is_set():
                    raise VirtueError(f"the process that reads photos did not start: {error}") from None
        return worker

    def _read(self, worker: WorkerProcess, found: Found) -> Outcome:
        hashed: Hashed | None = None
        decoded: Decoded | None = None
        try:
            how = self._side, self._timeout, self._resizing, self._keep_alpha
            task = Task(found.path, *how, found.pictures)
            answer = worker.ask(task, self._timeout)
            if isinstance(answer, Hashed):
                hashed = answer
                wanted = self._wanted(found, hashed)
                if not wanted:
                    worker.tell(False)
                    return Outcome(found, hashed, None, None)
                answer = worker.ask(True, self._timeout)
            if isinstance(answer, Heavy):
                with self._heavy:
                    answer = worker.ask(True, self._timeout)
            if isinstance(answer, Refused):
                return Outcome(found, hashed, None, answer.reason, answer.is_verdict)
            assert isinstance(answer, Decoded)
            decoded = answer
        except WorkerLostError as error:
            return Outcome(found, hashed, None, str(error))
        return Outcome(found, hashed, decoded, None)


class _Room:
    """Where pictures wait: `least` of them in any case, else `pictures` with `pixels` in all."""

    def __init__(self, least: int, pictures: int, pixels: int) -> None:
        self._least, self._pictures, self._pixels = least, pictures, pixels
        self._waiting = self._waiting_pixels = 0
        self._is_open = False
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        """Waits until there is room for another."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._waiting += 1
            self._waiting_pixels += pixels

    def give_back(self, pixels: int) -> None:
        with self._changed:
            self._waiting -= 1
            self._waiting_pixels -= pixels
            self._changed.notify_all()

    def open(self) -> None:
        """Lets all in that wait, since nothing is taken any more."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        is_ahead = self._waiting < self._pictures and self._waiting_pixels < self._pixels
        return self._is_open or self._waiting < self._least or is_ahead


def _count_pixels(outcome: Outcome) -> int:
    return outcome.decoded.picture.pixels.size // 3 if outcome.decoded else 0
