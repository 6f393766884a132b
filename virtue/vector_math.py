"""Arithmetic of vectors in NumPy that several rooms need."""

from __future__ import annotations

import numpy as np

MIN_LENGTH = 1e-12
"""A shorter vector stays as it is, rather than be divided by nothing."""


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scales vectors (..., dim) to unit length, each on its own; zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), MIN_LENGTH)
