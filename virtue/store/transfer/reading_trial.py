"""Reads a Parquet file once, with little memory: `python -m virtue.store.transfer.reading_trial FILE DIM`.

A stranger's file may expand to more than there is memory for, or crash what reads it. That costs this process
alone, which says why on stdout and ends with another status than 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow

from virtue.store.transfer.parquet import read_tables

MAX_MEMORY = 1_000_000_000
"""Bytes that reading an export may take; our own take less than a tenth."""


def main() -> int:
    _limit_memory()
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    try:
        for _ in read_tables(Path(sys.argv[1]), int(sys.argv[2])):
            pass
    except MemoryError:
        print(
            f"reading it takes more than {MAX_MEMORY / 1e9:.0f} GB of memory: if it is sound, write it with "
            "row groups of 4,096 rows"
        )
        return 1
    except (
        pyarrow.ArrowException,
        ValueError,
        TypeError,
        LookupError,
        OSError,
        NotImplementedError,
    ) as error:
        print(" ".join(str(error).split()))
        return 1
    return 0


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


if __name__ == "__main__":
    sys.exit(main())
