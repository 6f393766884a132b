"""From the processor to the device, neither waiting for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from virtue.interrupts import undivided, wait_for

Source = TypeVar("Source")
Prepared = TypeVar("Prepared")


def stage(values: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Returns the values in the processor's memory, ready for `upload`: for a card it is pinned, which is
    slow enough to be done beside other work. An array is copied."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(values)
    return tensor.contiguous().pin_memory() if device.type == "cuda" else tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns the tensor on the device. A card copies from pinned memory while it computes and while the
    program goes on, which a plain copy would make wait for all work before it; PyTorch keeps the pinned
    memory until the copy is made."""
    if device.type != "cuda":
        return tensor.to(device)
    # What is pinned already is not copied again.
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


@contextmanager
def prepare_ahead(
    prepare: Callable[[Source], Prepared], sources: Sequence[Source]
) -> Iterator[Callable[[int], Prepared]]:
    """Runs `prepare` over the sources, in their order, in a thread beside the work on those that are ready.

    Gives a function from a source's number to what `prepare` made of it, or raises what it raised. What was
    made is kept until the end: a batch that did not fit is tried again. One source needs no thread.
    """
    if len(sources) == 1:
        only = prepare(sources[0])
        yield lambda _: only
        return
    thread = ThreadPoolExecutor(1, thread_name_prefix="virtue-prepare")
    try:
        with undivided():
            coming = [thread.submit(prepare, source) for source in sources]
        yield lambda number: wait_for(coming[number])
    finally:
        thread.shutdown(cancel_futures=True)
