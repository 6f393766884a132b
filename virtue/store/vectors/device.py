"""Torch's devices: which one is meant, whether there is a GPU, and what to do when its memory runs out."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from virtue.distribution import install_hint
from virtue.errors import StoreError

if TYPE_CHECKING:
    import torch

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class DeviceFullError(StoreError):
    """A device has not the memory."""


def called(name: str) -> torch.device:
    """One of "cpu", "cuda", "cuda:1".

    Raises:
        StoreError: there is no such device here, or no torch.
    """
    if find_spec("torch") is None:
        raise StoreError(f"the device {name!r} needs torch: {install_hint('torch')}")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *["cuda"][:count], *(f"cuda:{number}" for number in range(count))]
    if name not in here:
        raise StoreError(f"there is no device {name!r} here: use one of {', '.join(here)}")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def has_cuda() -> bool:
    """Whether torch can work on a GPU. Torch takes seconds to load, so it is not loaded to learn that
    there is none."""
    if sys.modules.get("torch") is None and (find_spec("torch") is None or not _has_driver()):
        return False
    import torch

    return torch.cuda.is_available()


def _has_driver() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def in_blocks(count: int, size: int, work: Callable[[int, int], None]) -> None:
    """Calls `work(first, stop)` for blocks of `size` things until all `count` are done. Whenever the
    memory of the device is too small for a block, from there on blocks are half as large; `work` must
    have changed nothing until it has all the memory that it needs.

    Raises:
        torch.OutOfMemoryError: it is too small for a block of one.
    """
    import torch

    first, size = 0, min(size, count)
    while first < count:
        stop = min(count, first + size)
        full = False
        try:
            work(first, stop)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            full = True
        if full:  # not above, where the error still holds on to what `work` had
            size //= 2
            give_back()
        else:
            first = stop


def give_back() -> None:
    """Lets other programs have the memory that torch keeps for later."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def working(device: torch.device, wanted: str) -> Iterator[None]:
    """In this block torch computes as it is told, whatever modes the program around has set, and its
    error about memory becomes one of ours.

    Args:
        wanted: what the memory is for, such as "training an index".

    Raises:
        DeviceFullError: with what is free.
    """
    import torch

    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    except torch.OutOfMemoryError:
        free = ""
        if device.type == "cuda":
            left, total = torch.cuda.mem_get_info(device)
            free = f" (free: {left:,} of {total:,} bytes)"
        raise DeviceFullError(f"the device {device} has not enough memory for {wanted}{free}") from None
