"""What does the arithmetic of making an index: FAISS and NumPy, or torch on a GPU.

A training backend clusters rows, learns the codes of what is left of them, assigns rows to centroids, and
adds them to an index. Whichever does it, what comes out is a FAISS index of the same form.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np

from virtue.errors import StoreError
from virtue.store.ann.faiss_backend import FaissBackend
from virtue.store.ann.faiss_gpu_backend import count_gpus, on_card
from virtue.store.vectors.device import DeviceFullError
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS
from virtue.torch_device import find_device, has_cuda, release_memory

DEVICE_VARIABLE = "VIRTUE_INDEX_DEVICE"
"""Of the environment: where indexes are made, "faiss" (the processor), "faiss-gpu", "faiss-gpu:1" or a device
of torch. Without it, on a GPU if FAISS's GPU build or torch finds one, and there are more than
`MAX_SCANNED_FLOATS` floats."""
FAISS = "faiss"
FAISS_GPU = re.compile(r"faiss-gpu(?::(\d{1,3}))?")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CoarseAssigner(Protocol):
    """The centroids of a faiss.IndexIVFPQ, at work. Rows are (n, dim) float32, not yet scaled."""

    def train_codes(self, rows: np.ndarray) -> None:
        """Trains the codes of the index on what the centroids leave of these rows."""

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """Returns how far rows lie from their centroids, (n,) float32, in the scale of the index."""

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Adds rows with these numbers (n,) to the index; their distances."""


class TrainingBackend(Protocol):
    """Does the arithmetic in one place, the processor or a device."""

    def cluster(self, sample: np.ndarray, lists: int) -> np.ndarray:
        """Finds centroids (lists, dim) of unit length, float32, of unit rows (n, dim) in random order; n is
        `lists` or more."""

    def assigner(self, index: Any, scale: float) -> CoarseAssigner:
        """Makes what works with the centroids that `index`, a faiss.IndexIVFPQ of this scale, has already."""

    def computing(self) -> AbstractContextManager[None]:
        """Gives the block in which it may compute.

        Raises:
            DeviceFullError: the device has not the memory.
        """


def choose_backend(floats: int, device: str | None = None) -> TrainingBackend:
    """Returns the backend for so many numbers (rows x dimensions).

    Args:
        device: "faiss", "faiss-gpu" or a device of torch; None: see `DEVICE_VARIABLE`.

    Raises:
        StoreError: there is no such device.
    """
    device = device or os.environ.get(DEVICE_VARIABLE)
    if not device:
        device = _find_card() if floats > MAX_SCANNED_FLOATS else FAISS
    if device == FAISS:
        return FaissBackend()
    if of_faiss := FAISS_GPU.fullmatch(device):
        return on_card(int(of_faiss[1] or 0))
    found = find_device(device, StoreError)
    from virtue.store.ann.torch_backend import TorchBackend

    return TorchBackend(found)


def _find_card() -> str:
    if count_gpus():
        return "faiss-gpu"
    return "cuda" if has_cuda() else FAISS


def falls_back_to_faiss(
    work: Callable[Concatenate[TrainingBackend, Arguments], Result],
) -> Callable[Concatenate[TrainingBackend, Arguments], Result]:
    """Makes a function start again with FAISS, and a warning, when its backend has not the memory."""

    @wraps(work)
    def run(backend: TrainingBackend, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            with backend.computing():
                return work(backend, *args, **kwargs)
        except DeviceFullError as error:
            warnings.warn(f"{error}: FAISS trains the index on the CPU instead", stacklevel=3)
        release_memory()
        return work(FaissBackend(), *args, **kwargs)

    return run
