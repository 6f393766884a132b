"""FAISS, and how many processors it may use. Imported by what works on indexes alone: loading it takes
time, and most libraries have none."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as library

faiss: Any = library
"""Untyped: its stubs lack much of what it has."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Processors that this process may use: its affinity, and on Linux its container's quota."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return free if quota == "max" else max(1, min(free, int(quota) // int(period)))
    except (OSError, ValueError):
        return free


@contextmanager
def faiss_threads(count: int | None = None) -> Iterator[None]:
    """FAISS works with so many threads inside this block (None: `cores`, no more than OMP_NUM_THREADS
    allows), and as before after it: a program that uses virtue has its own opinion, and torch may
    share the setting."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(before, cores()) if count is None else count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def give_back_memory() -> None:
    """Returns what was freed to the system where it would be kept: glibc gives back only what lies above
    all that is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
