"""Searches of rows that are held on a device, against the scan of the same rows."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.clustered import DIM, WORTH, add, indexed, no_warnings, photos, vectors
from tests.store.devices import DEVICES
from virtue import Library
from virtue.errors import StoreError
from virtue.store import Snapshot, Store, open_store
from virtue.store.catalogue.filters import RowFilter, parse
from virtue.store.records import Ranked
from virtue.store.vectors import exact, gpu_rows
from virtue.store.vectors.gpu_rows import DeviceRows
from virtue.torch_device import find_device

NONE = np.empty(0, np.int64)


def called(place: str) -> torch.device:
    return find_device(place, StoreError)


def same(ours: Ranked, theirs: Ranked) -> None:
    assert ours.rows.tolist() == theirs.rows.tolist()
    assert ours.scores.tolist() == theirs.scores.tolist()
    assert ours.rows.dtype == theirs.rows.dtype
    assert ours.scores.dtype == theirs.scores.dtype


def alike(query: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, dim) fp16 rows of unit length, all as near to the query as halves can say, and each of them
    twice: scores tie, or differ by less than the order of a sum makes of them."""
    random = np.random.default_rng(seed)
    aside = random.standard_normal((-(-count // 2), len(query)))
    aside -= aside @ query[:, None] * query
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return np.concatenate([0.8 * query + 0.6 * aside] * 2)[:count].astype(np.float16)


@pytest.mark.parametrize("place", DEVICES)
@settings(max_examples=60)
@given(
    count=st.one_of(st.integers(0, 40), st.sampled_from([1023, 1024, 1025, 5000])),
    dim=st.sampled_from([3, 8, 96, 768]),
    k=st.integers(1, 4),
    top=st.one_of(st.integers(0, 40), st.integers(1, 6_000)),
    seed=st.integers(0, 2**32 - 1),
    close=st.booleans(),
    zeros=st.floats(0, 0.9),
    gone=st.sampled_from([0.0, 0.2, 1.0]),
    share=st.sampled_from([None, 0.0, 0.01, 0.5, 1.0]),
)
def test_best_is_what_a_scan_finds(
    place: str,
    count: int,
    dim: int,
    k: int,
    top: int,
    seed: int,
    close: bool,
    zeros: float,
    gone: float,
    share: float | None,
) -> None:
    random = np.random.default_rng(seed)
    queries = vectors(k, seed, dim=dim)
    rows = alike(queries[0], count, seed) if close else vectors(count, seed + 1, dim=dim).astype(np.float16)
    queries[:, : int(zeros * dim)] = 0
    dead = np.flatnonzero(random.random(count) < gone)
    allowed = None if share is None else random.random(count) < share
    theirs = exact.scan(rows, queries, dead, allowed, exact.DecodedRows()).top(top)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "MAX_GATHERED_ROWS", 0)
        patch.setattr(gpu_rows, "FLOATS", 1024 * dim)
        same(
            DeviceRows(called(place), "regions", dim).scan(rows, queries, dead, allowed).top(top),
            theirs,
        )


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("dim", [96, 768])
def test_scores_that_differ_by_rounding_alone_are_told_apart(place: str, dim: int) -> None:
    for seed in range(10):
        query = vectors(1, seed, dim=dim)
        rows = alike(query[0], 5_000, seed)
        held = DeviceRows(called(place), "regions", dim)
        theirs = exact.scan(rows, query, NONE, None, exact.DecodedRows()).top(700)
        same(held.scan(rows, query, NONE, None).top(700), theirs)


@pytest.mark.parametrize("place", DEVICES)
def test_rows_that_a_careless_device_confuses_are_told_apart(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where products are made of queries rounded to 11 bits: what is found stays the same."""
    queries = vectors(1, 1, dim=16)
    rows = alike(queries[0], 4_000, 2)
    theirs = exact.scan(rows, queries, NONE, None, exact.DecodedRows()).top(10)
    held = DeviceRows(called(place), "regions", 16)
    uploaded = torch.from_numpy

    def rounded(values: np.ndarray) -> torch.Tensor:
        return uploaded(
            values.astype(np.float16).astype(np.float32) if values.dtype == np.float32 else values
        )

    monkeypatch.setattr(torch, "from_numpy", rounded)
    same(held.scan(rows, queries, NONE, None).top(10), theirs)


@pytest.mark.parametrize("place", DEVICES)
def test_modes_of_the_program_around_change_nothing(place: str) -> None:
    query = vectors(1, 4, dim=3)
    rows = alike(query[0], 5_000, 1)
    theirs = [exact.scan(rows[:n], query, NONE, None, exact.DecodedRows()).top(700) for n in (4_000, 5_000)]
    held = DeviceRows(called(place), "regions", 3)
    before = torch.get_default_dtype()
    with torch.inference_mode(), torch.autocast(called(place).type, torch.bfloat16):
        torch.set_default_dtype(torch.float64)
        try:
            same(held.scan(rows[:4_000], query, NONE, None).top(700), theirs[0])
        finally:
            torch.set_default_dtype(before)
    same(held.scan(rows, query, NONE, None).top(700), theirs[1])


@pytest.mark.parametrize("place", DEVICES)
def test_only_what_is_new_is_brought_over(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_rows, "FLOATS", 1024 * 32)
    monkeypatch.setattr(exact, "MAX_GATHERED_ROWS", 0)
    rows, query = vectors(5_000, 3).astype(np.float16), vectors(1, 4)
    held = DeviceRows(called(place), "regions", DIM)
    for count in (10, 1_024, 1_500, 5_000, 3_000):
        theirs = exact.scan(rows[:count], query, NONE, None, exact.DecodedRows()).top(5)
        same(held.scan(rows[:count], query, NONE, None).top(5), theirs)
    # Rows never change: were they read again, a change would be seen.
    changed = rows.copy()
    changed[:] = 0
    changed[4_999] = rows[4_999]
    found = held.scan(changed, vectors(5_000, 3)[4_999:], NONE, None).top(1)
    assert found.rows.tolist() == [4_999]


def held(folder: Path, place: str) -> Store:
    return open_store(folder, vectors_device=place)


def compared(ours: Snapshot, theirs: Snapshot, seed: int, **options: Any) -> None:
    for query in vectors(10, seed):
        same(
            ours.search("regions", query, 10, **options), theirs.exact("regions", query[None], 10, **options)
        )


@pytest.mark.parametrize("place", DEVICES)
def test_a_library_that_is_held_is_searched_exactly(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with no_warnings(), indexed(folder, 150) as store, held(folder, place) as device:
        with device.read() as ours, store.read() as theirs:
            assert ours.search_params("regions") is not None
            compared(ours, theirs, 5)
            compared(ours, theirs, 6, filter=RowFilter(parse("not path ~ *7.jpg")))
            compared(ours, theirs, 7, filter=RowFilter(parse("path = none.jpg")))
            with store.write("test") as writer:
                writer.forget([b"/photos/%d.jpg" % number for number in range(0, 40, 2)])
                add(writer, 150, 30)
            compared(ours, theirs, 8)
        with device.read() as ours, store.read() as theirs:
            compared(ours, theirs, 9)
            new = ours.search("regions", vectors(20, 170)[4], 1)
            assert ours.regions(new.rows)[0].path == b"/photos/170.jpg"


@pytest.mark.parametrize("place", DEVICES)
def test_a_new_model_is_held_instead_of_the_old(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with (
        indexed(folder, 120) as store,
        held(folder, place) as device,
        device.read() as before,
        store.read() as theirs,
    ):
        compared(before, theirs, 10)
        with store.write("test") as writer:
            target = writer.generation("other", "other fingerprint", DIM)
            writer.commit(photos(0, 120, world=1))
            writer.activate(target)
        with device.read() as ours, store.read() as after:
            compared(ours, after, 11)
        compared(before, theirs, 12)


@pytest.mark.parametrize("place", DEVICES)
def test_threads_share_what_is_held(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    failed: list[BaseException] = []
    with indexed(folder, 150) as store, held(folder, place) as device:

        def search(seed: int) -> None:
            try:
                with device.read() as ours, store.read() as theirs:
                    compared(ours, theirs, seed)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failed.append(error)

        threads = [threading.Thread(target=search, args=(20 + number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        with store.write("test") as writer:
            add(writer, 150, 5)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        for thread in threads:
            thread.join()
    assert failed == []


@pytest.mark.parametrize("place", DEVICES)
def test_a_device_that_is_too_small_is_an_error_with_figures(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    folder = tmp_path / "library"
    with indexed(folder, 150), held(folder, place) as device, device.read() as ours:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "empty", empty)
            match = f"the device {called(place)} has not enough memory for the 192,000 bytes of the vectors"
            with pytest.raises(StoreError, match=match):
                ours.search("regions", vectors(1, 1), 5)
        assert len(ours.search("regions", vectors(1, 1), 5).rows) == 5


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    indexed(tmp_path / "library", 20).close()
    for name in ("cuda:99", "nothing", "meta"):
        with pytest.raises(StoreError, match=f"there is no device '{name}' here: use one of cpu"):
            open_store(tmp_path / "library", vectors_device=name)


@pytest.mark.parametrize("place", DEVICES)
def test_a_program_holds_its_library(place: str, demo_library: Path) -> None:
    with Library(demo_library) as plain, Library(demo_library, vectors_device=place) as held:
        for find in ("regions", "photos"):
            theirs = plain.search("a dog", find=find)
            ours = held.search("a dog", find=find)
            assert [(hit.path, hit.box, hit.score) for hit in ours] == [
                (hit.path, hit.box, hit.score) for hit in theirs
            ]


def test_who_holds_nothing_loads_no_torch(tmp_path: Path) -> None:
    indexed(tmp_path / "library", 20).close()
    program = (
        "import sys, numpy; from virtue.store import Store, open_store\n"
        "with open_store(sys.argv[1]) as store, store.read() as snapshot:\n"
        "    snapshot.search('regions', numpy.ones(32), 5)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "library"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
