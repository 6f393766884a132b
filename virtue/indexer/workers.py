"""A pool of worker processes, each led by a thread of its own. One that dies or takes too long costs the
file it was reading and is replaced."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, NamedTuple

from virtue.cpu import usable_cores
from virtue.errors import VirtueError
from virtue.indexer.messages import Channel, Decoded, Hashed, Heavy, Refused, Task
from virtue.indexer.walk import Found
from virtue.resizing import Resizing

FILE_TIMEOUT = 60.0
"""Seconds that a worker may spend on one file."""
START_TIMEOUT = 60.0
"""Seconds that a worker may take to start."""
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
        self._workers: dict[int, _Worker] = {}
        self._threads = ThreadPoolExecutor(max_workers=workers)
        self._running: list[Future[None]] = []
        self._count = workers

    def __enter__(self) -> Iterator[Outcome | None]:
        self._running = [self._threads.submit(self._run_worker, number) for number in range(self._count)]
        for lead in self._running:
            lead.add_done_callback(self._results.put)
        return self._outcomes()

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for worker in list(self._workers.values()):
            worker.kill()
        self._room.open()
        self._threads.shutdown()

    def _outcomes(self) -> Iterator[Outcome | None]:
        running = len(self._running)
        patience = 0.0
        while running:
            try:
                result: Outcome | Future[None] = self._results.get(timeout=patience)
            except queue.Empty:
                yield None
                patience = TICK
                continue
            patience = 0.0
            if isinstance(result, Outcome):
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

    def _worker(self, number: int, log: IO[bytes]) -> _Worker:
        worker = self._workers.get(number)
        if worker is None or not worker.alive:
            if worker:
                worker.close()
            worker = self._start(number, log)
        return worker

    def _start(self, number: int, log: IO[bytes]) -> _Worker:
        for attempt in range(1, MAX_STARTS + 1):
            worker = self._workers[number] = _Worker(log)
            if self._stopped.is_set():
                worker.kill()
            try:
                worker.wait_until_ready()
                break
            except _WorkerLostError as error:
                worker.close()
                if attempt == MAX_STARTS or self._stopped.is_set():
                    raise VirtueError(f"the process that reads photos did not start: {error}") from None
        return worker

    def _read(self, worker: _Worker, found: Found) -> Outcome:
        hashed: Hashed | None = None
        decoded: Decoded | None = None
        try:
            task = Task(found.path, self._side, self._timeout, self._resizing, self._keep_alpha)
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
        except _WorkerLostError as error:
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


class _WorkerLostError(Exception):
    """The worker was killed, or ended because it took too long."""


class _Worker:
    """One worker process. What it prints goes to `log`."""

    def __init__(self, log: IO[bytes]) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",  # or threads of a decoder use up the address space it is limited to
        }
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "virtue.indexer.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        assert self._process.stdin and self._process.stdout
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self._late = False

    def wait_until_ready(self) -> None:
        """Waits until it can be asked.

        Raises:
            _WorkerLostError: it was killed, or took too long.
            VirtueError: it cannot run here.
        """
        timer = threading.Timer(START_TIMEOUT, self._expire)
        timer.start()
        try:
            self._channel.receive()
        except (EOFError, pickle.UnpicklingError):
            if self._process.wait() < 0:
                raise _WorkerLostError(self._end()) from None
            self._log.seek(0)
            output = self._log.read().decode("utf-8", "replace").strip().splitlines()
            raise VirtueError(
                "the process that reads photos did not start: " + (output[-1] if output else self._end())
            ) from None
        finally:
            timer.cancel()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, message: object) -> None:
        try:
            self._channel.send(message)
        except OSError:
            self._process.kill()

    def ask(self, message: object, timeout: float) -> object:
        timer = threading.Timer(timeout, self._expire)
        timer.start()
        try:
            self._channel.send(message)
            return self._channel.receive()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.kill()
            self._process.wait()
            if self._late:
                raise _WorkerLostError(f"reading it took more than {timeout:g} seconds") from None
            raise _WorkerLostError(f"reading it ended the decoder ({self._end()})") from None
        finally:
            timer.cancel()
            timer.join()  # or it could still end this worker while it reads the next file
            if self._late:
                self._process.wait()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _end(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit status {code}"
