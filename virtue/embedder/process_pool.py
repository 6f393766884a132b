"""Several processes that embed, one for each device, as sentence-transformers has them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import cycle
from typing import Any

import numpy as np

from virtue.errors import InputError, ModelError

MAX_CHUNK = 5_000
CHUNKS_PER_PROCESS = 10
"""Into so many chunks the share of each process is divided, so that none waits long for the others."""


class ProcessPool:
    """Processes that hold an embedder each. Inputs and vectors travel in pickles.

    Args:
        load: makes an `Embedder` on a device.
        devices: the device of each process.
    """

    def __init__(self, load: Callable[[str], Any], devices: Sequence[str]) -> None:
        if not devices:
            raise InputError("no device is given: name one for each process")
        context = multiprocessing.get_context("spawn")
        self._executors = [
            ProcessPoolExecutor(1, context, initializer=_start, initargs=(load, device)) for device in devices
        ]

    def run(self, inputs: Sequence[Any], options: dict[str, Any], chunk_size: int | None) -> list[np.ndarray]:
        """Calls `Embedder.encode` on chunks of the inputs; the rows in their order.

        Raises:
            InputError: an input cannot be used; says which chunk's, and why.
            ModelError: a process ended.
        """
        if chunk_size is None:
            chunk_size = -(-len(inputs) // (CHUNKS_PER_PROCESS * len(self._executors)))
            chunk_size = min(max(1, chunk_size), MAX_CHUNK)
        if chunk_size < 1:
            raise InputError(f"chunk_size is {chunk_size}: give 1 or more")
        starts = range(0, len(inputs), chunk_size)
        running: list[Future[np.ndarray]] = [
            executor.submit(_encode, list(inputs[start : start + chunk_size]), options)
            for start, executor in zip(starts, cycle(self._executors), strict=False)
        ]
        rows: list[np.ndarray] = []
        for start, future in zip(starts, running, strict=True):
            try:
                rows += list(future.result())
            except BrokenProcessPool:
                raise ModelError("a process of the pool ended: start a new pool") from None
            except InputError as error:
                raise type(error)(f"of the inputs from {start} on, {error}", hint=error.hint) from None
        return rows

    def stop(self) -> None:
        for executor in self._executors:
            executor.shutdown(cancel_futures=True)


_embedder: Any = None
"""Of this process, if it is one of a pool."""


def _start(load: Callable[[str], Any], device: str) -> None:
    global _embedder
    _embedder = load(device)


def _encode(inputs: list[Any], options: dict[str, Any]) -> np.ndarray:
    vectors: np.ndarray = _embedder.encode(inputs, **options)
    return vectors
