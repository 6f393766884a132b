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
    """FAISS works with so many threads inside this block (None: `usable_cores`, no more than OMP_NUM_THREADS
    allows), and as before after it: a program that uses virtue has its own opinion, and torch may
    share the setting."""
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
