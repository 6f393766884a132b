"""Runs a command and watches what memory it and all its descendants hold."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.02


@dataclass(frozen=True)
class Watched:
    """`peak_mb` is the highest sum of resident memory of all processes at one moment (pages that they share
    count in each), `peak_process_mb` that of the largest one."""

    status: int
    seconds: float
    peak_mb: float
    peak_process_mb: float
    stdout: str
    stderr: str


def watch(command: list[str]) -> Watched:
    """Linux only: reads /proc."""
    peak = largest = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        while process.poll() is None:
            held = [resident(pid) for pid in family(process.pid)]
            peak, largest = max(peak, sum(held)), max(largest, max(held, default=0))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - started
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    return Watched(process.returncode, seconds, peak / 1e6, largest / 1e6, *texts)


def family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for thread in threads(parent):
            try:
                found += [int(child) for child in (thread / "children").read_text().split()]
            except OSError:
                continue  # it ended meanwhile
    return found


def threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
