"""Cosines of vectors, as sentence-transformers has them: arrays, or tensors of torch for tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from virtue.embedder.output import to_tensor
from virtue.vector_math import unit_rows


class Cosines(np.ndarray):
    """Cosines, float32. Code for sentence-transformers, where they are a tensor, moves them to a device."""

    def to(self, device: Any) -> Any:
        return to_tensor(np.asarray(self)).to(device)


def similarity(a: Any, b: Any) -> Any:
    """Computes the cosines of all pairs of rows: (n, m); a torch tensor if `a` is one."""
    return _like(a, _unit(a) @ _unit(b).T)


def similarity_pairwise(a: Any, b: Any) -> Any:
    """Computes the cosine of each row with the row of its number: (n,); a torch tensor if `a` is one."""
    return _like(a, np.vecdot(_unit(a), _unit(b)))


def _is_tensor(rows: Any) -> bool:
    return not isinstance(rows, np.ndarray) and hasattr(rows, "detach")


def _unit(rows: Any) -> np.ndarray:
    array = rows.detach().cpu().numpy() if _is_tensor(rows) else rows
    return unit_rows(np.atleast_2d(np.asarray(array, np.float32)))


def _like(rows: Any, cosines: np.ndarray) -> Any:
    return to_tensor(cosines) if _is_tensor(rows) else cosines.view(Cosines)
