"""What `Embedder.encode` gives back: how many numbers, in which precision, as arrays or tensors. The names
and values are those of sentence-transformers 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from virtue.distribution import install_hint
from virtue.errors import InputError, ModelError
from virtue.vector_math import unit_rows

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
OutputValue = Literal["sentence_embedding"]
LEVELS = 255
"""Steps between the lowest and the highest number of a dimension, for int8 and uint8."""


@dataclass(frozen=True, slots=True)
class Output:
    """The form of the result; see `Embedder.encode`.

    Raises:
        InputError: a value is none of those that are known.
    """

    value: OutputValue | None = "sentence_embedding"
    precision: Precision | None = "float32"
    to_numpy: bool = True
    to_tensor: bool = False
    normalize: bool = True
    truncate_dim: int | None = None

    def __post_init__(self) -> None:
        if self.value not in ("sentence_embedding", None):
            raise InputError(
                f"output_value={self.value!r} is not to be had: an input has one vector and no tokens of its "
                "own; use 'sentence_embedding', or None for a dict"
            )
        if self.precision is not None and self.precision not in get_args(Precision):
            raise InputError(f"precision={self.precision!r} is none of {', '.join(get_args(Precision))}")
        if self.truncate_dim is not None and self.truncate_dim < 1:
            raise InputError(f"truncate_dim is {self.truncate_dim}: give 1 or more")

    def convert(self, rows: Sequence[np.ndarray], dim: int, is_single: bool) -> Any:
        """Converts rows (dim,) float32 of unit length.

        Raises:
            InputError: the vectors are shorter than `truncate_dim`, or int8 is asked for of one vector.
            ModelError: a tensor is asked for, and there is no torch.
        """
        vectors: Any = np.stack(rows) if rows else np.zeros((0, dim), np.float32)
        if self.truncate_dim is not None:
            if self.truncate_dim > dim:
                raise InputError(f"truncate_dim is {self.truncate_dim}: give 1 to {dim}")
            vectors = vectors[:, : self.truncate_dim]
            vectors = unit_rows(vectors) if self.normalize else vectors
        vectors = quantize(vectors, self.precision or "float32")
        if self.value is None:
            vectors = [{"sentence_embedding": vector} for vector in to_tensor(vectors)]
        elif self.to_tensor:
            vectors = to_tensor(vectors)
        elif not self.to_numpy:
            vectors = list(to_tensor(vectors))
        return vectors[0] if is_single else vectors


def quantize(vectors: np.ndarray, precision: Precision) -> np.ndarray:
    """Quantizes vectors (n, dim) float32 as sentence-transformers' `quantize_embeddings` does: int8 and uint8
    between the lowest and highest number of each dimension among these vectors, binary and ubinary by sign,
    eight to a byte.

    Raises:
        InputError: int8 or uint8 of a single vector, which has no range.
    """
    if precision == "float32":
        return vectors
    if precision in ("binary", "ubinary"):
        packed = np.packbits(vectors > 0, axis=-1)
        return (packed.astype(np.int16) - 128).astype(np.int8) if precision == "binary" else packed
    if len(vectors) == 1:
        raise InputError(f"precision={precision!r} needs more than one input, whose range it divides")
    kind = np.dtype(precision)
    if not len(vectors):
        return vectors.astype(kind)
    lowest = vectors.min(axis=0)
    steps = (vectors.max(axis=0) - lowest) / LEVELS
    steps[steps == 0] = 1
    levels = np.clip(np.floor((vectors - lowest) / steps), 0, LEVELS)
    return (levels - 128 if precision == "int8" else levels).astype(kind)


def to_tensor(vectors: np.ndarray) -> Any:
    """Makes a torch tensor, on the processor.

    Raises:
        ModelError: there is no torch.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise ModelError(f"a tensor needs torch: {install_hint('torch')}") from None
    return torch.from_numpy(np.ascontiguousarray(vectors))
