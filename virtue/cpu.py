"""How many cores this process may use: a container's share counts, not the machine's number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Returns the number of cores that this process may use, at least 1: those of its affinity, and on Linux
    no more than the quotas of its control groups (version 2 or 1) and all that they lie in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def _quotas() -> Iterator[int]:
    """Yields the quotas of all control groups, in whole cores, rounded down."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        group = PurePosixPath(name.lstrip("/"))
        # Inside a container the name may be the host's, while only the container's own group is mounted.
        for part in (group, *group.parents):
            if not controllers:
                yield from _quota(CONTROL_GROUPS / part / "cpu.max")
            elif "cpu" in controllers.split(","):
                folder = CONTROL_GROUPS / "cpu" / part
                yield from _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _quota(*files: Path) -> Iterator[int]:
    """Reads a quota and a period from files; "max" and -1 mean that there is no quota."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        if int(quota) > 0:
            yield int(quota) // int(period)
    except (OSError, ValueError):
        return
