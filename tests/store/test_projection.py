"""Indexes of wide rows, which hold short forms of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.store.builders import file, name
from tests.store.clustered import BOXES, RECALL, REGIONS, WORTH, no_warnings, recall, vectors
from virtue.store import EmbeddedPhoto, PhotoInfo, Store, Writer, open_store
from virtue.store.ann import pca
from virtue.store.records import SearchParams

DIM = 512
NONE = np.empty((0, DIM), np.float32)


def add(writer: Writer, first: int, count: int) -> None:
    numbers = range(first, first + count)
    photos = [
        EmbeddedPhoto(PhotoInfo(name(n), 100, 80), "auto", BOXES, vectors(REGIONS, n, dim=DIM), (), NONE)
        for n in numbers
    ]
    writer.commit(photos, [file(f"/photos/{n}.jpg", n) for n in numbers])
    writer.refresh_indexes(max_scanned_floats=WORTH)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """3,000 rows, in an index that was extended until two of its files were merged."""
    folder = tmp_path_factory.mktemp("wide") / "library"
    with no_warnings(), open_store(folder, create=True) as opened:
        with opened.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            for first, count in ((0, 130), (130, 5), (135, 5), (140, 5), (145, 5)):
                add(writer, first, count)
        yield opened


def test_wide_rows_are_found_by_their_short_forms(store: Store) -> None:
    assert len(list(store.folder.glob("index-*"))) == 4
    with store.read() as snapshot:
        assert recall(snapshot, vectors(100, 999, dim=DIM)) >= RECALL
        for number in (0, 131, 149):
            ranked = snapshot.search("regions", vectors(REGIONS, number, dim=DIM)[7], 1)
            assert snapshot.regions(ranked.rows)[0].path == b"/photos/%d.jpg" % number


def test_scores_are_those_of_whole_rows(store: Store) -> None:
    with store.read() as snapshot:
        for queries in (vectors(1, 998, dim=DIM), vectors(3, 997, dim=DIM)):
            exact = snapshot.exact("regions", queries, 10)
            near = snapshot.search("regions", queries, 10, params=SearchParams(10_000, 64))
            assert near.rows.tolist() == exact.rows.tolist()
            assert near.scores.tolist() == exact.scores.tolist()


def test_queries_that_ask_for_half_of_the_columns(store: Store) -> None:
    half = vectors(50, 996, dim=DIM)
    half[:, DIM // 2 :] = 0
    with store.read() as snapshot:
        for query in half:
            exact = snapshot.exact("regions", query[None], 10)
            near = snapshot.search("regions", query, 10, params=SearchParams(10_000, 64))
            assert near.rows.tolist() == exact.rows.tolist()


def test_a_short_form_keeps_products_and_most_of_the_variance() -> None:
    rows = vectors(4_000, 1, dim=DIM)
    directions = pca.fit(rows)
    assert directions is not None
    assert directions.shape[0] <= DIM // 2 and directions.shape[1] == DIM
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-5)
    others = vectors(1_000, 2, dim=DIM)
    lost = others - pca.reduce(others, directions) @ directions
    share = (lost - lost.mean(axis=0)).var(axis=0).sum() / others.var(axis=0).sum()
    assert share <= 1.1 * (1 - pca.KEPT_VARIANCE)
    np.testing.assert_allclose(
        pca.reduce_queries(others[:5], directions), pca.reduce(others[:5], directions), atol=1e-5
    )


def test_columns_stay_where_all_of_them_matter() -> None:
    drawn = np.random.default_rng(3).standard_normal((4_000, DIM)).astype(np.float32)
    assert pca.fit(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)) is None
    assert pca.fit(vectors(1_000, 1, dim=pca.MIN_REDUCED_DIM - 1)) is None


def test_what_is_added_later_is_shortened_as_the_rest(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        add(writer, 0, 100)
        before = (store.folder / "index-1.faiss").read_bytes()
        add(writer, 100, 10)
        assert (store.folder / "index-1.faiss").read_bytes() == before
        with store.read() as snapshot:
            new = vectors(REGIONS, 105, dim=DIM)
            found = [snapshot.search("regions", query, 1).rows[0] for query in new]
            assert found == list(range(105 * REGIONS, 106 * REGIONS))
