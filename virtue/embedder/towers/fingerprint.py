"""What makes two models give equal vectors: their weights, preprocessing, words and way of reading."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn

READING_VERSION = 1
"""To be raised when this code gives other vectors than before from the same files."""
SAMPLES_PER_TENSOR = 64
"""Values of each tensor that are looked at, spread evenly. A file's header and size would not do: they are
the same for all models that were trained on from one; and hashing gigabytes costs seconds at every start."""


def compute_fingerprint(model: nn.Module, settings: Iterable[Path], reading: str) -> str:
    """Computes the fingerprint of a model: from values of every tensor, its settings, and how texts and
    regions are read."""
    digest = hashlib.sha256(f"{READING_VERSION} {reading}".encode())
    for file in settings:
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for part in _sample(model):
        digest.update(part)
    return f"towers-{digest.hexdigest()[:16]}"


def _sample(model: nn.Module) -> Iterator[bytes]:
    for name, value in sorted(model.state_dict().items()):
        flat = value.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLES_PER_TENSOR)]
        yield name.encode()
        yield some.to(torch.float32).cpu().numpy().tobytes()
