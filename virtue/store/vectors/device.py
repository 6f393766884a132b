"""Computing on a device of torch for the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from virtue.errors import StoreError
from virtue.torch_device import free_memory

if TYPE_CHECKING:
    import torch


class DeviceFullError(StoreError):
    """A device has too little memory."""


@contextmanager
def computing_on(device: torch.device, wanted: str) -> Iterator[None]:
    """Isolates torch's computations in this block from modes that the program has set, and turns its
    out-of-memory error into ours.

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
        memory = free_memory(device)
        free = f" (free: {memory[0]:,} of {memory[1]:,} bytes)" if memory else ""
        raise DeviceFullError(f"the device {device} has not enough memory for {wanted}{free}") from None
