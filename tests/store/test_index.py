"""Searches through an index, against the exact scan of the same rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.store.builders import matching, name
from tests.store.clustered import (
    DIM,
    RECALL,
    REGIONS,
    WORTH,
    add,
    indexed,
    no_warnings,
    photos,
    recall,
    texts,
    vectors,
)
from virtue.store import Store, open_store
from virtue.store.catalogue.filters import RowFilter, parse
from virtue.store.records import SearchParams

PHOTOS = 150


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "library"
    indexed(folder, PHOTOS).close()
    return folder


@pytest.fixture
def store(library: Path) -> Iterator[Store]:
    with no_warnings(), open_store(library, read_only=True) as opened:
        yield opened


def index_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("index-*"))


def test_an_index_finds_what_an_exact_search_finds(store: Store) -> None:
    assert index_files(store.folder) == ["index-1.faiss"]
    with store.read() as snapshot:
        assert recall(snapshot, vectors(100, 999)) >= RECALL
        assert recall(snapshot, vectors(50, 998), top=40) >= RECALL
        assert recall(snapshot, vectors(50, 997), top=1) >= RECALL


def test_it_is_the_index_that_answers(store: Store) -> None:
    """At the least effort it misses rows, which a scan never does."""
    with store.read() as snapshot:
        missed = 0
        for query in vectors(50, 996):
            exact = snapshot.exact("regions", query[None], 10)
            near = snapshot.search("regions", query, 10, params=SearchParams(1, 1))
            missed += len(set(exact.rows.tolist()) - set(near.rows.tolist()))
        assert missed > 0


def test_all_probes_and_many_candidates_miss_nothing(store: Store) -> None:
    with store.read() as snapshot:
        for query in vectors(30, 995):
            exact = snapshot.exact("regions", query[None], 10)
            near = snapshot.search("regions", query, 10, params=SearchParams(10_000, 64))
            assert near.rows.tolist() == exact.rows.tolist()
            assert near.scores.tolist() == exact.scores.tolist()


def test_a_row_scores_as_the_best_of_several_queries(store: Store) -> None:
    with store.read() as snapshot:
        asked = vectors(3, 994)
        exact = snapshot.exact("regions", asked, 10)
        near = snapshot.search("regions", asked, 10, params=SearchParams(10_000, 64))
        assert near.rows.tolist() == exact.rows.tolist()
        assert near.scores.tolist() == exact.scores.tolist()


def test_queries_with_nothing_to_say_in_half_of_the_columns(store: Store) -> None:
    half = vectors(30, 993)
    half[:, DIM // 2 :] = 0
    with store.read() as snapshot:
        for query in half:
            exact = snapshot.exact("regions", query[None], 10)
            near = snapshot.search("regions", query, 10, params=SearchParams(10_000, 64))
            assert near.rows.tolist() == exact.rows.tolist()
        assert len(snapshot.search("regions", np.zeros(DIM), 10).rows) == 10


def test_most_rows_are_all_found(store: Store) -> None:
    with store.read() as snapshot:
        for top in (500, 2_999, 3_000, 10_000):
            ranked = snapshot.search("regions", vectors(1, 992), top)
            assert len(ranked.rows) == min(top, PHOTOS * REGIONS)
            assert len(set(ranked.rows.tolist())) == len(ranked.rows)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("larger") / "library"
    indexed(folder, 400).close()
    return folder


@pytest.mark.parametrize(
    "where",
    ["not path ~ *7.jpg", "path ~ '*[0-3].jpg'", "path ~ *7.jpg", "path ~ *57.jpg", "path = none.jpg"],
)
def test_only_matching_rows_appear(larger: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtue.store.vectors.exact.MAX_GATHERED_ROWS", 50)
    with open_store(larger) as store, store.read() as snapshot:
        filter, allowed = RowFilter(parse(where)), matching(snapshot, "regions", where)
        for query in vectors(20, 991):
            ranked = snapshot.search("regions", query, 10, filter)
            assert allowed[ranked.rows].all()
        if allowed.any():
            assert recall(snapshot, vectors(50, 990), filter=filter) >= RECALL


def test_rows_that_no_list_near_the_query_has_are_found_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allowed is only what is farthest from the query: the search must go on until it gets there."""
    with store.read() as snapshot:
        query = vectors(1, 989)
        order = snapshot.exact("regions", query, PHOTOS * REGIONS).rows
        farthest = order[-2_500:]
        monkeypatch.setattr("virtue.store.catalogue.filters_sql.matching_rows", lambda *_: farthest)
        ranked = snapshot.search("regions", query, 10, RowFilter(), params=SearchParams(1, 64))
        assert len(ranked.rows) == 10
        assert set(ranked.rows.tolist()) <= set(farthest.tolist())


def test_new_rows_are_found_before_the_index_has_them(tmp_path: Path) -> None:
    with indexed(tmp_path / "library") as store:
        with store.read() as snapshot:
            snapshot.search("regions", vectors(1, 1), 5)
        with store.write("test") as writer:
            add(writer, 1000, 3)
        with store.read() as snapshot:
            assert recall(snapshot, vectors(50, 988)) >= RECALL
            for number in (1000, 1002):
                ranked = snapshot.search("regions", vectors(REGIONS, number)[7], 1)
                assert snapshot.regions(ranked.rows)[0].path == b"/photos/%d.jpg" % number


def test_rows_that_are_gone_never_appear(tmp_path: Path) -> None:
    with indexed(tmp_path / "library") as store:
        gone = [b"/photos/%d.jpg" % n for n in range(0, PHOTOS, 2)]
        with store.read() as before:
            with store.write("test") as writer:
                writer.commit(missing=gone[:40])
                writer.forget(gone[40:])
            assert recall(before, vectors(20, 987)) >= RECALL
        with store.read() as snapshot:
            assert recall(snapshot, vectors(100, 987)) >= RECALL
            for query in vectors(30, 986):
                rows = snapshot.search("regions", query, 20).rows
                assert {r.path for r in snapshot.regions(rows)}.isdisjoint(gone)
                assert len(rows) == 20


def test_small_libraries_have_no_index_and_do_not_load_faiss(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        add(writer, 0, 20)
        assert writer.refresh_indexes() == []
        assert writer.tune() == []
    program = (
        "import sys, numpy; from virtue.store import Store, open_store\n"
        "with open_store(sys.argv[1]) as store:\n"
        "    with store.write('x') as writer: writer.refresh_indexes()\n"
        "    with store.read() as s: assert len(s.search('regions', numpy.ones(32), 5).rows) == 5\n"
        "    assert store.verify() == []\n"
        "print('faiss' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "library"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert index_files(tmp_path / "library") == []


def test_captions_have_an_index_of_their_own(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            add(writer, 0, 650, captions=True)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        assert index_files(store.folder) == ["index-1.faiss", "index-2.faiss"]
        with store.read() as snapshot:
            found = 0
            for query in texts(50, 985):
                exact = set(snapshot.exact("captions", query[None], 10).rows.tolist())
                found += len(
                    exact & set(snapshot.search("captions", query, 10, query_kind="text").rows.tolist())
                )
            assert found >= RECALL * 500
            search_params = snapshot.search_params("captions")
            assert search_params is not None
            assert search_params["text"].recall is not None


def test_nothing_is_printed_while_training(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with no_warnings():
        indexed(tmp_path / "library", 20).close()
    assert capfd.readouterr() == ("", "")


def test_many_centroids_are_found_through_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtue.store.ann.kmeans.MIN_GRAPH_CENTROIDS", 64)
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        with store.write("test") as writer:
            add(writer, 100, 10)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        assert len(index_files(store.folder)) == 2
        with store.read() as snapshot:
            assert recall(snapshot, vectors(100, 983)) >= RECALL


def test_odd_dimensions_can_be_indexed(tmp_path: Path) -> None:
    from virtue.store.ann import training
    from virtue.store.ann.backend import choose_backend
    from virtue.store.ann.index_files import map_index, write_index
    from virtue.store.ann.ivf import Index, OpenSegment
    from virtue.store.ann.segments import IndexSegment

    rows = vectors(2000, 3, dim=7).astype(np.float16)
    backend = choose_backend(0)
    new = training.train(backend, rows, np.arange(2000))
    made = training.encode(backend, new.index, new.scale, rows, np.arange(2000))
    size, crc = write_index(tmp_path, 1, made.index)
    record = IndexSegment(1, 0, 2000, made.count, made.residual, size, crc)
    content = map_index(tmp_path, record)
    assert content is not None
    opened = Index([record], [OpenSegment(content)])
    queries = vectors(20, 4, dim=7)
    best = np.argsort(-(queries @ rows.astype(np.float32).T), axis=1)[:, :5]
    near = opened.candidates(queries, 1000, 200)
    assert all(set(a) <= set(b) for a, b in zip(best.tolist(), near.tolist(), strict=True))


def test_a_new_model_takes_over_with_an_index_of_its_own(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 60) as store, store.write("test") as writer:
        target = writer.generation("other", "other fingerprint", DIM)
        writer.commit(photos(0, 60, world=1))
        writer.refresh_indexes(max_scanned_floats=WORTH)
        assert len(index_files(store.folder)) == 2
        writer.activate(target)
        assert index_files(store.folder) == ["index-2.faiss"]
        with store.read() as snapshot:
            assert snapshot.generation is not None and snapshot.generation.model == "other"
            assert recall(snapshot, vectors(50, 984, world=1)) >= RECALL
            assert snapshot.known_photos([name(0)]) == {name(0): "auto"}
        assert store.verify() == []
