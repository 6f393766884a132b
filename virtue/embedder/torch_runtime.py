"""What every family on torch needs: weights put in place, a check of the compiler, and transformers without
its chatter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers.utils import logging

from virtue.errors import ModelError


def place_weights(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Moves a module to a device, closed to gradients. Parameters are cast, buffers are not: frequencies of
    positions lose their meaning in 16 bits."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(False)
    module.to(device)


def check_compiler(device: torch.device) -> None:
    """Checks that `torch.compile` can work here.

    Raises:
        ModelError: what `torch.compile` needs is not here: a C++ compiler, and Triton for a card.
    """
    try:
        torch.compile(_double, dynamic=False)(torch.ones(3, device=device))
    except RuntimeError as error:  # all of the compiler's own errors are such
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise ModelError(
            f"compile=True cannot work here ({reason}): install a C++ compiler (for CUDA also Triton), or "
            "leave it out"
        ) from None


def _double(values: torch.Tensor) -> torch.Tensor:
    return values * 2


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silences transformers, which prints bars and a table of weights that did not fit; that becomes our
    error."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
