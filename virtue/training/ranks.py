"""The processes that train together, as torchrun starts them; alone, there is one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def join_ranks() -> str | None:
    """Joins the processes that torchrun started, until this one ends: by NCCL on cards, else by gloo.

    Returns:
        The device of this process; None: it was started alone.
    """
    if "LOCAL_RANK" not in os.environ:
        return None
    has_cards = torch.cuda.is_available()
    device = f"cuda:{os.environ['LOCAL_RANK']}" if has_cards else "cpu"
    if not dist.is_initialized():
        if has_cards:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if has_cards else "gloo")
        # Not after each run: who joins again finds addresses of before in torchrun's store, where nobody is.
        atexit.register(dist.destroy_process_group)
    return device


def gather_rows(rows: Tensor) -> Tensor:
    """Returns the rows (n, ...) of all ranks, in their order; each rank may have another number. Gradients go
    to the rank's own rows alone."""
    if world_size() == 1:
        return rows
    own = rows.detach().contiguous()
    count = torch.tensor([len(own)], device=own.device)
    counts = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    most = int(torch.stack(counts).max())
    padded = torch.zeros(most, *own.shape[1:], dtype=own.dtype, device=own.device)
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    parts = [part[: int(size)] for part, size in zip(parts, counts, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


def sum_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Replaces each tensor by its sum over all ranks, in one exchange."""
    tensors = list(tensors)
    if world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def any_rank(told: bool) -> bool:
    """Returns whether it is so for any rank; all must ask."""
    if world_size() == 1:
        return told
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    most = torch.tensor(int(told), device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return bool(most)


def wait_for_ranks() -> None:
    if world_size() > 1:
        dist.barrier()
