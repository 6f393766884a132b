"""Vectors of names and places, as MiniLM gives them, centred."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.small_virtue.features import Projection
from benchmarks.small_virtue.network import Conse
from virtue.embedder.mini import FOLDER
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.vector_math import unit_rows

MAX_TOKENS = 64


def embed_words(words: Sequence[str]) -> Tensor:
    """Embeds names ("a frog") and places ("on a beach"): (len(words), 384) unit rows, centred as the names of
    ImageNet's classes are."""
    return _embed_words(tuple(words))


@cache
def _embed_words(words: tuple[str, ...]) -> Tensor:
    with np.load(FOLDER / "arrays.npz") as arrays:
        centre = arrays["text_centre"].astype(np.float32)
    vectors = unit_rows(TextEncoder(FOLDER, MAX_TOKENS, 1)([f"a photo of {word}" for word in words]))
    return torch.from_numpy(unit_rows(vectors - centre))


def read_conse(projection: Projection) -> Conse:
    """Reads the classifier of ImageNet, for cells in their principal components."""
    with np.load(FOLDER / "arrays.npz") as arrays:
        classifier, bias, meanings = (
            arrays[name].astype(np.float32) for name in ("classifier", "bias", "meanings")
        )
    axes = projection.axes
    back = axes / (axes**2).sum(axis=0)
    weights = classifier @ back, bias + classifier @ projection.centre, unit_rows(meanings)
    return Conse(*(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in weights))
