"""A model on several devices: this process works on the first, and one process on each of the others.

Plain subprocesses, so that a program that uses virtue needs no `__main__` guard.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

from virtue.errors import InputError, ModelError, VirtueError
from virtue.indexer.embedding import Job, PhotoEmbedder, embed_photos
from virtue.store import EmbeddedPhoto

Embedded = list[EmbeddedPhoto | InputError]
Embed = Callable[[Sequence[Job]], Embedded]


class ModelProcesses:
    """As many batches at once as there are devices, each on a free one.

    Raises:
        ModelError: a process did not start, or ended; says on which device.
    """

    def __init__(self, embedder: PhotoEmbedder, devices: Sequence[str], warn: Callable[[str], None]) -> None:
        self._embedder, self._devices, self._warn = embedder, devices, warn
        self._free: queue.SimpleQueue[Embed] = queue.SimpleQueue()
        self._processes: list[_ModelProcess] = []

    def __enter__(self) -> Self:
        self._free.put(lambda jobs: embed_photos(self._embedder, jobs, self._warn))
        settings = getattr(self._embedder, "process_settings", {})
        try:
            self._processes += [_ModelProcess({**settings, "device": device}) for device in self._devices[1:]]
            for process in self._processes:
                if process.ask() != self._embedder.fingerprint:
                    raise ModelError(
                        f"the model on {process.device} is another: its files changed, start again"
                    )
                self._free.put(partial(process.embed, warn=self._warn))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.close()

    def embed(self, jobs: Sequence[Job]) -> Embedded:
        """Embeds photos as `embed_photos` does. Threads may call it at once, one for each device."""
        work = self._free.get()
        try:
            return work(jobs)
        finally:
            self._free.put(work)


class _ModelProcess:
    """One process, and the device that it works on."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.device = settings["device"]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "virtue.indexer.model_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
        )
        self._send(settings)

    def embed(self, jobs: Sequence[Job], warn: Callable[[str], None]) -> Embedded:
        self._send(jobs)
        made: Embedded = self.ask(warn)
        return made

    def ask(self, warn: Callable[[str], None] = lambda _: None) -> Any:
        """Waits for an answer.

        Raises:
            VirtueError: the process says why it could not work.
            ModelError: it ended.
        """
        assert self._process.stdout
        try:
            answer, warnings = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._ended() from None
        if isinstance(answer, VirtueError):
            raise answer
        for warning in warnings:
            warn(warning)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()

    def _send(self, message: object) -> None:
        assert self._process.stdin
        try:
            pickle.dump(message, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def _ended(self) -> ModelError:
        self._process.kill()
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return ModelError(
            f"the process with the model on {self.device} ended ({how}): what was done is kept, index again "
            "to go on"
        )
