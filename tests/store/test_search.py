"""The exact scan, against NumPy's plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.builders import DIM, file, filled, photo, vectors
from virtue.store import open_store
from virtue.store.vectors.exact import DecodedRows, decode, scan


def test_every_finite_half_is_decoded_exactly() -> None:
    all_bits = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = all_bits[np.isfinite(all_bits)].reshape(-1, 2)
    assert (decode(halves) == halves.astype(np.float32)).all()
    assert (np.signbit(decode(halves)) == np.signbit(halves)).all()


@settings(max_examples=60)
@given(
    count=st.one_of(st.integers(0, 30), st.sampled_from([4095, 4096, 4097, 9000])),
    k=st.integers(1, 4),
    top=st.integers(1, 12_000),
    seed=st.integers(0, 2**32 - 1),
    zeros=st.integers(0, DIM - 1),
    share=st.sampled_from([None, 0.0, 0.001, 0.5, 1.0]),
    scans=st.integers(1, 3),
)
def test_best_is_what_plain_arithmetic_says(
    count: int, k: int, top: int, seed: int, zeros: int, share: float | None, scans: int
) -> None:
    random = np.random.default_rng(seed)
    # Few values, so that scores tie.
    rows = random.integers(-2, 3, (count, DIM)).astype(np.float16)
    queries = random.integers(-2, 3, (k, DIM)).astype(np.float32)
    queries[:, :zeros] = 0
    dead = np.flatnonzero(random.random(count) < 0.2)
    allowed = None if share is None else random.random(count) < share
    kept = DecodedRows()
    for _ in range(scans):
        ranked = scan(rows, queries, dead, allowed, kept).top(top)
    scores = (rows.astype(np.float32) @ queries.T).max(axis=1)
    usable = np.ones(count, bool) if allowed is None else allowed.copy()
    usable[dead] = False
    numbers = np.flatnonzero(usable)
    expected = numbers[np.lexsort((numbers, -scores[numbers]))][:top]
    assert ranked.rows.tolist() == expected.tolist()
    assert ranked.scores.tolist() == scores[expected].tolist()
    assert ranked.rows.dtype == np.int64
    assert ranked.scores.dtype == np.float32


def test_a_search_sees_what_was_committed_since_the_last(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        query = vectors(1, 77)
        for _ in range(3):
            with store.read() as snapshot:
                assert snapshot.search("regions", query, 1).scores[0] < 0.99
        with store.write("test") as writer:
            new = photo(50, seed=77, proposals=0)
            writer.commit([new])
            with store.read() as snapshot:
                assert snapshot.search("regions", query, 100).rows.tolist().count(6) == 0
            writer.commit(files=[file("/photos/new.jpg", 50)])
        with store.read() as snapshot:
            ranked = snapshot.search("regions", query, 1)
            assert snapshot.regions(ranked.rows)[0].path == b"/photos/new.jpg"
            assert ranked.scores[0] == pytest.approx(1, abs=1e-3)


def test_top_may_exceed_the_rows(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 3) as store, store.read() as snapshot:
        assert len(snapshot.search("regions", vectors(4, 1), 100).rows) == 6
        assert len(snapshot.search("captions", vectors(1, 1), 100).rows) == 0


def test_an_empty_library_has_nothing_to_find(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.read() as snapshot:
        assert snapshot.generation is None
        assert snapshot.search("regions", vectors(1, 1), 5).rows.tolist() == []
        assert snapshot.regions([0, 1]) == []
        assert snapshot.files() == {}


@pytest.mark.parametrize("queries", [np.ones((1, DIM + 1)), np.full((2, DIM), np.nan)])
def test_queries_that_do_not_fit_are_refused(tmp_path: Path, queries: np.ndarray) -> None:
    match = f"dimension {DIM}"
    with (
        filled(tmp_path / "library") as store,
        store.read() as snapshot,
        pytest.raises(ValueError, match=match),
    ):
        snapshot.search("regions", queries, 5)
