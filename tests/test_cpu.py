"""Quotas of containers, as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from virtue import cpu


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cpu, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cpu, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"own": "0::/\n", "groups/cpu.max": "max 100000\n"}, 8),
        ({"own": "0::/\n", "groups/cpu.max": "300000 100000\n"}, 3),
        ({"own": "0::/\n", "groups/cpu.max": "250000 100000\n"}, 2),
        ({"own": "0::/\n", "groups/cpu.max": "50000 100000\n"}, 1),
        ({"own": "0::/\n", "groups/cpu.max": "9900000 100000\n"}, 8),
        ({"own": "0::/\n", "groups/cpu.max": "nonsense\n"}, 8),
        # The group's own limit, and the tighter one of the group around it.
        ({"own": "0::/a/b\n", "groups/a/b/cpu.max": "600000 100000\n"}, 6),
        ({"own": "0::/a/b\n", "groups/a/b/cpu.max": "600000 100000", "groups/a/cpu.max": "400000 100000"}, 4),
        # Named by the host, mounted as the root.
        ({"own": "0::/docker/abc\n", "groups/cpu.max": "200000 100000\n"}, 2),
        (
            {
                "own": "5:memory:/x\n4:cpu,cpuacct:/x\n",
                "groups/cpu/x/cpu.cfs_quota_us": "500000\n",
                "groups/cpu/x/cpu.cfs_period_us": "100000\n",
                "groups/memory/x/cpu.max": "100000 100000\n",
            },
            5,
        ),
        (
            {
                "own": "1:cpu:/\n",
                "groups/cpu/cpu.cfs_quota_us": "-1\n",
                "groups/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ({"own": "1:cpuset:/\n", "groups/cpu.max": "100000 100000\n"}, 8),
    ],
)
def test_quotas_of_containers_count(group: Path, files: dict[str, str], cores: int) -> None:
    write(group, files)
    assert cpu.usable_cores() == cores


def test_what_uses_cores_keeps_to_the_quota(group: Path) -> None:
    from virtue.indexer.workers import default_workers
    from virtue.store.ann.faiss_runtime import faiss, faiss_threads

    write(group, {"own": "0::/\n", "groups/cpu.max": "100000 100000\n"})
    assert default_workers() == 1
    before = faiss.omp_get_max_threads()
    with faiss_threads():
        assert faiss.omp_get_max_threads() == 1
    assert faiss.omp_get_max_threads() == before
