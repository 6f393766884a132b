"""Indexes made through FAISS's search for nearest neighbours, as its GPU build makes them on a card, against
those that FAISS makes on the processor. `faiss.knn` has the face of `faiss.knn_gpu`; where the GPU build
finds a card, that is tested too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.store.test_torch_training import assert_encoded, content, halves
from virtue.errors import StoreError
from virtue.store.ann import faiss_gpu_backend, kmeans, pca, training
from virtue.store.ann.backend import DEVICE_VARIABLE, choose_backend
from virtue.store.ann.faiss_backend import FaissBackend
from virtue.store.ann.faiss_gpu_backend import FaissGpuBackend, count_gpus, on_card
from virtue.store.ann.faiss_runtime import faiss
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

Make = Callable[[], FaissGpuBackend]
BACKENDS: list[Make] = [lambda: FaissGpuBackend(faiss.knn), *[lambda: on_card(0)][: count_gpus()]]
IDS = ["processor", "card"][: len(BACKENDS)]


@pytest.mark.parametrize("make", BACKENDS, ids=IDS)
@pytest.mark.parametrize(("dim", "count"), [(32, 12_000), (7, 2_000), (1, 64), (pca.MIN_REDUCED_DIM, 3_000)])
def test_it_encodes_as_the_processor_does(make: Make, dim: int, count: int) -> None:
    rows, numbers = halves(count, 1, dim), np.arange(count)
    new = training.train(FaissBackend(), rows, numbers)
    made = training.encode(FaissBackend(), new.index, new.scale, rows, numbers)
    theirs = content(made.index)
    ours = training.encode(make(), new.index, new.scale, rows, numbers)
    assert ours.count == made.count == count
    assert ours.residual == pytest.approx(made.residual, rel=1e-4, abs=1e-6)
    assert_encoded(ours.index, new.scale, rows)
    ids, lists, codes = content(ours.index)
    same = lists == theirs[1]
    assert ids.tolist() == theirs[0].tolist()
    assert same.mean() >= 0.999
    assert (codes == theirs[2])[same].mean() >= 0.999


@pytest.mark.parametrize("make", BACKENDS, ids=IDS)
def test_it_trains_as_well(make: Make) -> None:
    rows, numbers = halves(12_000, 3, 32), np.arange(12_000)
    ours, theirs = (training.train(backend, rows, numbers) for backend in (make(), FaissBackend()))
    assert ours.lists == theirs.lists
    assert ours.residual == pytest.approx(theirs.residual, rel=0.02)
    sample = rows[:2_000].astype(np.float32)
    products = np.vecdot(make().cluster(sample, 50), kmeans.cluster(sample, 50))
    assert products.mean() >= 0.99


def test_rows_go_to_the_card_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, numbers = halves(3_000, 4, 32), np.arange(3_000)
    whole = training.train(FaissGpuBackend(faiss.knn), rows, numbers)
    sizes: list[int] = []

    def counted(some: np.ndarray, *rest: Any, **options: Any) -> Any:
        sizes.append(some.size)
        return faiss.knn(some, *rest, **options)

    monkeypatch.setattr(faiss_gpu_backend, "MAX_FLOATS", 3_200)
    parts = training.train(FaissGpuBackend(counted), rows, numbers)
    assert max(sizes) <= 3_200
    assert parts.residual == pytest.approx(whole.residual, rel=1e-3)


def test_a_card_without_memory_leaves_the_work_to_the_processor() -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError(
            "Error: 'err == cudaSuccess' failed: StandardGpuResources: alloc fail: out of memory"
        )

    rows, numbers = halves(3_000, 4, 32), np.arange(3_000)
    with pytest.warns(UserWarning, match="^FAISS's card has not enough memory for making an index: FAISS"):
        made = training.train(FaissGpuBackend(full), rows, numbers)
    assert made.residual == training.train(FaissBackend(), rows, numbers).residual

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Error: no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        training.train(FaissGpuBackend(broken), rows, numbers)


def test_it_is_chosen_where_there_is_a_card_and_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    many = MAX_SCANNED_FLOATS + 1
    if not count_gpus():
        assert type(choose_backend(many)) is not FaissGpuBackend
        with pytest.raises(StoreError, match="FAISS finds 0 cards here, and none of number 1: leave out"):
            choose_backend(0, "faiss-gpu:1")
        monkeypatch.setenv(DEVICE_VARIABLE, "faiss-gpu")
        with pytest.raises(StoreError, match="none of number 0"):
            choose_backend(0)
    else:
        assert type(choose_backend(many)) is FaissGpuBackend
    assert type(choose_backend(many, "faiss")) is FaissBackend


def test_the_gpu_build_without_a_card_says_one_line_and_uses_the_processor() -> None:
    """In a process of its own, since it is said once. With the usual build nothing is said."""
    program = (
        "import logging, numpy as np; logging.basicConfig(level=logging.DEBUG)\n"
        "from virtue.store.ann.backend import choose_backend\n"
        f"kinds = {{type(choose_backend({MAX_SCANNED_FLOATS + 1})).__name__ for _ in range(3)}}\n"
        "print(*kinds)"
    )
    environment = {name: value for name, value in os.environ.items() if name != DEVICE_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    said = done.stderr.count("DEBUG:virtue:FAISS's GPU build finds no card here: indexes are made on the")
    is_gpu_build = hasattr(faiss, "StandardGpuResources")
    assert said == (1 if is_gpu_build and not count_gpus() else 0), done.stderr
    if not count_gpus():
        assert done.stdout.split()[0] in ("FaissBackend", "TorchBackend")
