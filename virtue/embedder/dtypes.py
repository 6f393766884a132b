"""The numbers that a model of torch computes with: of 32 bits, or of 16 in one of two formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from virtue.errors import ModelError

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "fp32", "bf16", "fp16"]

NATIVE_BF16 = 8
"""Compute capability from which on a card has bf16. Older ones (T4, RTX 20) only emulate it, slowly."""
TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def check_dtype(name: str) -> None:
    """Checks that this is the name of a dtype.

    Raises:
        ModelError: it is not.
    """
    if name not in get_args(Dtype):
        raise ModelError(f"dtype={name!r} is none of {', '.join(get_args(Dtype))}")


def choose_dtype(device: str, capability: int | None) -> str:
    """Chooses the dtype that "auto" means.

    Args:
        device: its type, such as "cuda".
        capability: the major number of a card's compute capability.
    """
    if device != "cuda" or capability is None:
        return "fp32"
    return "bf16" if capability >= NATIVE_BF16 else "fp16"


def find_dtype(name: str, device: torch.device) -> str:
    """Returns the dtype of this name: on this device, if it is "auto"."""
    import torch

    if name != "auto":
        return name
    is_card = device.type == "cuda"
    return choose_dtype(device.type, torch.cuda.get_device_capability(device)[0] if is_card else None)


def torch_dtype(name: str) -> torch.dtype:
    """Returns torch's own dtype for one of ours, which is not "auto"."""
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[name])
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Returns our name for a dtype of torch's."""
    return next(name for name, its in TORCH_NAMES.items() if str(dtype) == f"torch.{its}")
