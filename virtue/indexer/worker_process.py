"""One process that reads pictures of strangers: started, asked, and killed if it takes too long."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import IO

from virtue.errors import VirtueError
from virtue.indexer.messages import Channel

START_TIMEOUT = 60.0
"""Seconds that a worker may take to start."""


class WorkerLostError(Exception):
    """The worker was killed, or ended because it took too long."""


class WorkerProcess:
    """A process that runs one of our modules, such as `virtue.indexer.worker`. What it prints goes to `log`.
    Its messages may name `names` beside those of the indexer."""

    def __init__(self, module: str, log: IO[bytes], names: Collection[tuple[str, str]] = ()) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",  # or threads of a decoder use up the address space it is limited to
        }
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        assert self._process.stdin and self._process.stdout
        self._channel = Channel(self._process.stdout, self._process.stdin, names)
        self._late = False

    def wait_until_ready(self) -> None:
        """Waits until it can be asked.

        Raises:
            WorkerLostError: it was killed, or took too long.
            VirtueError: it cannot run here.
        """
        timer = threading.Timer(START_TIMEOUT, self._expire)
        timer.start()
        try:
            self._channel.receive()
        except (EOFError, pickle.UnpicklingError):
            if self._process.wait() < 0:
                raise WorkerLostError(self._end()) from None
            self._log.seek(0)
            output = self._log.read().decode("utf-8", "replace").strip().splitlines()
            raise VirtueError(
                "the process that reads photos did not start: " + (output[-1] if output else self._end())
            ) from None
        finally:
            timer.cancel()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def was_late(self) -> bool:
        """Whether it was ended because it took too long."""
        return self._late

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
                raise WorkerLostError(f"reading it took more than {timeout:g} seconds") from None
            raise WorkerLostError(f"reading it ended the decoder ({self._end()})") from None
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
