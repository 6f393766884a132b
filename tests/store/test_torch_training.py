"""Indexes made by torch, against those made by FAISS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.store.clustered import RECALL, WORTH, add, indexed, no_warnings, vectors
from tests.store.clustered import recall as recall_of
from tests.store.devices import DEVICES
from virtue import torch_device
from virtue.errors import StoreError
from virtue.store import Store
from virtue.store.ann import kmeans, pca, torch_backend, training
from virtue.store.ann.backend import DEVICE_VARIABLE, choose_backend
from virtue.store.ann.faiss_runtime import faiss
from virtue.store.ann.index_files import map_index
from virtue.store.ann.ivf import empty_copy, read_index
from virtue.store.ann.segments import find_index
from virtue.store.records import SearchParams
from virtue.store.vectors.exact import decode

ROUNDING = 1e-4
"""Relative; what is nearer by less may be taken for equally near."""


def train(place: str, rows: np.ndarray, numbers: np.ndarray) -> training.Trained:
    return training.train(choose_backend(0, place), rows, numbers)


def encode(place: str, *args: Any) -> training.Encoded:
    return training.encode(choose_backend(0, place), *args)


def halves(count: int, seed: int, dim: int) -> np.ndarray:
    return vectors(count, seed, dim=dim).astype(np.float16)


def content(index: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers (n,) in ascending order, their lists (n,), and codes (n, sub-quantisers)."""
    _, index = pca.split(index)
    lists = index.invlists
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    ids, codes = [np.empty(0, np.int64)], [np.empty((0, index.code_size), np.uint8)]
    for number, size in enumerate(sizes):
        if size:
            ids.append(faiss.rev_swig_ptr(lists.get_ids(number), size).copy())
            taken = faiss.rev_swig_ptr(lists.get_codes(number), size * index.code_size)
            codes.append(taken.reshape(size, index.code_size).copy())
    order = np.argsort(np.concatenate(ids))
    packed = np.concatenate(codes)[order]
    pairs = np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)
    where = np.repeat(np.arange(index.nlist), sizes)[order]
    return np.concatenate(ids)[order], where, pairs[:, : index.pq.M]


def assert_encoded(index: Any, scale: float, rows: np.ndarray) -> None:
    """Each of these rows lies in the list and has the codes that are nearest, but for rounding."""
    directions, whole = pca.split(index)
    ids, lists, codes = content(index)
    assert ids.tolist() == list(range(len(rows)))
    scaled = pca.reduce(decode(rows), directions).astype(np.float64) * np.float32(scale)
    centroids = whole.quantizer.reconstruct_n(0, whole.nlist).astype(np.float64)
    products = scaled @ centroids.T
    taken = np.take_along_axis(products, lists[:, None], 1)[:, 0]
    assert (taken >= products.max(1) * (1 - ROUNDING)).all()
    pq = whole.pq
    books = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub).astype(np.float64)
    left = (scaled - centroids[lists]).reshape(len(rows), pq.M, 1, pq.dsub)
    far = np.square(left - books).sum(3)
    chosen = np.take_along_axis(far, codes[:, :, None].astype(np.int64), 2)[:, :, 0]
    assert (chosen <= far.min(2) * (1 + ROUNDING) + 1e-9).all()


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize(
    ("dim", "count"),
    [(32, 12_000), (64, 3_000), (6, 2_000), (7, 2_000), (1, 64), (pca.MIN_REDUCED_DIM, 3_000)],
)
def test_torch_encodes_as_faiss_does(place: str, dim: int, count: int) -> None:
    rows = halves(count, 1, dim)
    numbers = np.arange(count)
    new = train("faiss", rows, numbers)
    assert (pca.split(new.index)[0] is None) == (dim < pca.MIN_REDUCED_DIM)
    made = encode("faiss", new.index, new.scale, rows, numbers)
    theirs = content(made.index)
    ours = encode(place, new.index, new.scale, rows, numbers)
    assert ours.count == made.count == count
    assert ours.residual == pytest.approx(made.residual, rel=1e-4, abs=1e-6)
    assert_encoded(ours.index, new.scale, rows)
    ids, lists, codes = content(ours.index)
    same = lists == theirs[1]
    assert ids.tolist() == theirs[0].tolist()
    assert same.mean() >= 0.999
    assert (codes == theirs[2])[same].mean() >= 0.999


@pytest.mark.parametrize("place", DEVICES)
def test_rows_are_numbered_as_they_are_told(place: str) -> None:
    rows = halves(3_000, 2, 32)
    numbers = np.arange(1, 3_000, 3)
    told: list[tuple[int, int]] = []
    new = train(place, rows, numbers)
    made = training.encode(
        choose_backend(0, place), new.index, new.scale, rows, numbers, lambda *step: told.append(step)
    )
    assert content(made.index)[0].tolist() == numbers.tolist()
    assert made.index.ntotal == made.count == 1_000
    assert told == [(1_000, 1_000)]


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize(("dim", "count"), [(32, 12_000), (7, 2_000), (pca.MIN_REDUCED_DIM, 3_000)])
def test_torch_trains_as_well_as_faiss(place: str, dim: int, count: int) -> None:
    """Rows lie as near to their centroids, and what codes say of rows is as near to them."""
    rows = halves(count, 3, dim)
    numbers = np.arange(count)
    lost = {}
    residual = {}
    for where in ("faiss", place):
        new = train(where, rows, numbers)
        made = encode("faiss", new.index, new.scale, rows, numbers)
        directions, codes = pca.split(made.index)
        scaled = pca.reduce(decode(rows), directions) * np.float32(new.scale)
        said = codes.sa_decode(codes.sa_encode(scaled))
        lost[where] = float(np.linalg.norm(said - scaled, axis=1).mean()) / new.scale
        residual[where] = new.residual
        centroids = codes.quantizer.reconstruct_n(0, codes.nlist)
        assert (centroids == np.rint(centroids)).all()
        assert np.abs(centroids).max() == 127
    assert residual[place] == pytest.approx(residual["faiss"], rel=0.02)
    assert lost[place] <= 1.05 * lost["faiss"]


@pytest.mark.parametrize("place", DEVICES)
def test_centroids_are_those_of_numpy(place: str) -> None:
    sample = vectors(2_000, 4, dim=32)
    ours = choose_backend(0, place).cluster(sample, 50)
    theirs = kmeans.cluster(sample, 50)
    assert np.vecdot(ours, theirs).mean() >= 0.99
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("place", DEVICES)
def test_centroids_that_lose_their_rows_start_again(place: str) -> None:
    """Ten places, at first all centroids in one of them: each place has a centroid in the end."""
    places = vectors(10, 5, dim=32)
    sample = np.concatenate([np.repeat(places[:1], 40, axis=0), np.repeat(places, 10, axis=0)])
    centroids = choose_backend(0, place).cluster(sample, 20)
    assert np.isfinite(centroids).all()
    assert (places @ centroids.T).max(1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("place", DEVICES)
def test_columns_that_are_all_alike_have_codes(place: str) -> None:
    rows = halves(2_000, 6, 32)
    rows[:, 8:16] = 0
    numbers = np.arange(2_000)
    new = train(place, rows, numbers)
    made = encode(place, new.index, new.scale, rows, numbers)
    assert np.isfinite(faiss.vector_to_array(new.index.pq.centroids)).all()
    assert_encoded(made.index, new.scale, rows)


@pytest.mark.parametrize("place", DEVICES)
def test_searches_find_as_much(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for where in ("faiss", place):
        monkeypatch.setenv(DEVICE_VARIABLE, where)
        with no_warnings(), indexed(tmp_path / where, 150) as store, store.read() as snapshot:
            asked = vectors(300, 7)
            assert recall_of(snapshot, asked[:100]) >= RECALL
            hits = 0
            for query in asked:
                exact = snapshot.exact("regions", query[None], 10)
                near = snapshot.search("regions", query, 10, params=SearchParams(8, 4))
                hits += len(set(exact.rows.tolist()) & set(near.rows.tolist()))
            found[where] = hits / (10 * len(asked))
    assert found[place] >= found["faiss"] - 0.01


def segments(store: Store) -> list[Any]:
    with store.read() as snapshot:
        record = find_index(snapshot.connection, 1, "regions")
    assert record is not None
    return [(file, map_index(store.folder, file)) for file in record.segments]


@pytest.mark.parametrize("place", DEVICES)
def test_what_torch_adds_to_an_index_is_what_faiss_adds(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "faiss")
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        monkeypatch.setenv(DEVICE_VARIABLE, place)
        with store.write("test") as writer:
            add(writer, 100, 20)
            writer.refresh_indexes(max_scanned_floats=WORTH)
            writer.forget([b"/photos/3.jpg"])
        (_, before), (new, added) = segments(store)
        assert (new.first, new.stop, new.encoded) == (2_000, 2_400, 400)
        with store.read() as snapshot:
            rows = np.array(snapshot.mapped_rows("regions"))
            assert recall_of(snapshot, vectors(100, 8)) >= RECALL
            scale = find_index(snapshot.connection, 1, "regions").training.scale
        again = training.encode(
            choose_backend(0, "faiss"), empty_copy(before), scale, rows, np.arange(2_000, 2_400)
        )
        theirs = content(again.index)
        ids, lists, codes = content(read_index(added))
        assert ids.tolist() == theirs[0].tolist()
        assert (lists == theirs[1]).mean() >= 0.995
        assert (codes == theirs[2])[lists == theirs[1]].mean() >= 0.995
        assert new.residual == pytest.approx(again.residual, rel=1e-4)
        assert store.verify() == []


def test_blocks_get_smaller_when_memory_runs_out() -> None:
    tried: list[tuple[int, int]] = []
    done: list[int] = []

    def work(first: int, stop: int) -> None:
        tried.append((first, stop))
        if stop - first > 3 or (first >= 9 and stop - first > 1):
            raise torch.OutOfMemoryError
        done.extend(range(first, stop))

    torch_device.run_in_blocks(12, 12, work)
    assert done == list(range(12))
    assert tried == [(0, 12), (0, 6), (0, 3), (3, 6), (6, 9), (9, 12), (9, 10), (10, 11), (11, 12)]
    with pytest.raises(torch.OutOfMemoryError):
        torch_device.run_in_blocks(5, 4, lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))


def test_faiss_takes_over_where_the_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = halves(2_000, 9, 32)
    numbers = np.arange(2_000)
    full = r"the device cpu has not enough memory for making an index: FAISS trains the index on the CPU"
    codes = torch_backend._nearest_codes

    def small(left: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
        if len(left) > 300:
            raise torch.OutOfMemoryError
        return codes(left, books)

    theirs = train("faiss", rows, numbers)
    expected = content(encode("cpu", theirs.index, theirs.scale, rows, numbers).index)
    monkeypatch.setattr(torch_backend, "_nearest_codes", small)
    with no_warnings():
        made = encode("cpu", theirs.index, theirs.scale, rows, numbers)
    assert all((a == b).all() for a, b in zip(content(made.index), expected, strict=True))

    seen: list[int] = []

    def smaller_and_smaller(left: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
        seen.append(len(left))
        if len(seen) > 1:
            raise torch.OutOfMemoryError
        return codes(left, books)

    monkeypatch.setattr(torch_backend, "_nearest_codes", smaller_and_smaller)
    monkeypatch.setattr(training, "CHUNK_ROWS", 1_000)
    with pytest.warns(UserWarning, match=full):
        made = encode("cpu", theirs.index, theirs.scale, rows, numbers)
    assert seen[:3] == [1_000, 1_000, 500]
    assert made.index.ntotal == made.count == 2_000
    assert all((a == b).all() for a, b in zip(content(made.index), expected, strict=True))

    monkeypatch.setattr(torch_backend, "_train_codebooks", smaller_and_smaller)
    with pytest.warns(UserWarning, match=full):
        new = train("cpu", rows, numbers)
    assert new.residual == theirs.residual


def test_a_device_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda:99")
    with pytest.raises(StoreError, match="there is no device 'cuda:99' here: use one of cpu"):
        indexed(tmp_path / "library", 50)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from virtue.errors import StoreError\n"
        "from virtue.torch_device import find_device, has_cuda\n"
        "print(has_cuda())\n"
        "try: find_device('cuda', StoreError)\n"
        "except StoreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False",
        "the device 'cuda' needs torch: pip install 'virtue-search[torch]'",
    ]


def test_torch_is_not_loaded_where_there_is_no_gpu() -> None:
    program = (
        "import sys, numpy as np\n"
        "from virtue.store.ann import backend, training\n"
        "from tests.store.clustered import vectors\n"
        "backend.MAX_SCANNED_FLOATS = 0\n"
        "chosen = backend.choose_backend(1)\n"
        "training.train(chosen, vectors(300, 1).astype(np.float16), np.arange(300))\n"
        "print('torch' in sys.modules)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != DEVICE_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == f"{torch.cuda.is_available()}\n"
