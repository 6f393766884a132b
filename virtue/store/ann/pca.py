"""Short forms of rows: the directions in which rows hardly differ are left out of an index.

A search looks for candidates by the codes of short forms and scores them on whole rows, so what is left
out costs candidates, never the score. The directions are the principal ones of a sample (Pearson: On Lines
and Planes of Closest Fit, 1901); of a model trained to pack most into its leading columns, those columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from virtue.store.ann.faiss_runtime import faiss

MIN_REDUCED_DIM = 512
"""Columns from which on a shorter form pays. At 256, what a search saves on codes it spends on candidates."""
KEPT_VARIANCE = 0.75
"""The share of the variance of rows that their short form must keep."""
DIM_STEP = 32
SEED = 0


def fit(sample: np.ndarray) -> np.ndarray | None:
    """Fits a PCA to a sample (n, dim): (short, dim) float32, orthonormal rows. None: there are few columns,
    or more than half of them are needed.

    The mean, which all rows share, is not centred away, so that short forms are about as long as rows. The
    directions are mixed at random: codes give all columns alike the same room.
    """
    dim = sample.shape[1]
    if dim < MIN_REDUCED_DIM:
        return None
    mean = sample.mean(axis=0)
    moments, directions = np.linalg.eigh(sample.T @ sample / len(sample))  # weakest first
    lost = np.cumsum(moments) <= (1 - KEPT_VARIANCE) * (moments.sum() - mean @ mean)
    short = DIM_STEP * -(-(dim - int(lost.sum())) // DIM_STEP)
    if short > dim // 2:
        return None
    mixed = np.linalg.qr(np.random.default_rng(SEED).standard_normal((short, short)))[0]
    return np.ascontiguousarray(mixed @ directions[:, -short:].T, np.float32)


def reduce(rows: np.ndarray, directions: np.ndarray | None) -> np.ndarray:
    """Projects many rows (n, dim) to (n, short) float32; without a PCA they stay as they are."""
    return rows if directions is None else rows @ directions.T


def reduce_queries(queries: np.ndarray, directions: np.ndarray | None) -> np.ndarray:
    """Projects a few queries, without waking a pool of threads."""
    return queries if directions is None else np.vecdot(queries[:, None], directions)


def prepend(directions: np.ndarray | None, index: Any) -> Any:
    """Puts the PCA in front of an index of short rows, which makes it an index of full rows."""
    if directions is None:
        return index
    short, dim = directions.shape
    transform = faiss.LinearTransform(dim, short, False)
    faiss.copy_array_to_vector(directions.ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, index)


def split(index: Any) -> tuple[np.ndarray | None, Any]:
    """Splits an index into what `prepend` joined; a plain faiss.IndexIVFPQ has no PCA. The array belongs to
    the index and lives as long."""
    if not isinstance(index, faiss.IndexPreTransform):
        return None, index
    transform = faiss.downcast_VectorTransform(index.chain.at(0))
    directions = faiss.rev_swig_ptr(transform.A.data(), transform.A.size())
    inner = faiss.downcast_index(index.index)
    inner.referenced_objects = [index]  # its owner, as FAISS's own constructors note it
    return directions.reshape(transform.d_out, transform.d_in), inner
