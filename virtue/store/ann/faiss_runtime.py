"""FAISS, and how many processors it may use. Imported by what works on indexes alone: loading it takes
time, and most libraries have none."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss as library

from virtue.cpu import usable_cores

faiss: Any = library
"""Untyped: its stubs lack much of what it has."""


@contextmanager
def faiss_threads(count: int | None = None) -> Iterator[None]:
    """Lets FAISS use so many threads inside this block (None: `usable_cores`, at most OMP_NUM_THREADS), and
    as many as before after it, since the setting is the program's and torch may share it."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(before, usable_cores()) if count is None else count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def give_back_memory() -> None:
    """Returns freed memory to the system, since glibc keeps what lies below memory that is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
