"""A library with its vectors in Milvus is one like any other: what it answers is what a folder answers."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.milvus_server import SECRET, SmallMilvus
from tests.postgres_server import PASSWORD, Server
from tests.store.builders import DIM, file, filled, name, photo, vectors
from tests.store.shots import FILTERS, Shot, shots, stored, written
from tests.store.test_postgres import check_index, records, told_by
from virtue.errors import InputError, StoreError
from virtue.store import CaptionUpdate, Store, open_store
from virtue.store.catalogue.filters import FullImages, RowFilter, parse
from virtue.store.milvus import milvus_vectors
from virtue.store.milvus.milvus_server import MilvusServer
from virtue.store.milvus.milvus_store import MilvusStore
from virtue.store.records import KINDS

FULL_IMAGES: tuple[FullImages, ...] = ("any", "single", "only")


@pytest.fixture(scope="module")
def twins(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server, milvus: SmallMilvus
) -> Iterator[tuple[Store, Store, list[Shot]]]:
    """The same photos in a folder, and in PostgreSQL and Milvus."""
    made = shots(1)
    folder = tmp_path_factory.mktemp("twins") / "library"
    with stored(folder, made) as one, stored(milvus.extend(postgres.make_database()), made) as other:
        yield one, other, made


@settings(max_examples=40)
@given(data=st.data())
def test_random_queries_with_random_filters_find_the_same(
    twins: tuple[Store, Store, list[Shot]], data: st.DataObject
) -> None:
    """Rows, their order, their scores to the last bit, boxes and paths: by reading vectors, by naming
    rows, and by what Milvus itself holds for filters."""
    one, other, _ = twins
    where = written(data.draw(FILTERS), data.draw)
    queries = vectors(data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1000)))
    top = data.draw(st.sampled_from([1, 5, 500]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("virtue.store.vectors.exact.MAX_GATHERED_ROWS", data.draw(st.sampled_from([0, 2000])))
        patch.setattr(milvus_vectors, "MAX_NAMED", data.draw(st.sampled_from([3, 10_000])))
        with one.read() as folder, other.read() as server:
            for kind in KINDS:
                for full_images in FULL_IMAGES:
                    filter = RowFilter(parse(where), full_images)
                    here, there = (each.search(kind, queries, top, filter) for each in (folder, server))
                    assert there.rows.tolist() == here.rows.tolist(), where
                    assert there.scores.tolist() == here.scores.tolist()
                    assert records(server, kind, there.rows) == records(folder, kind, here.rows)


def test_all_that_is_read_is_the_same(twins: tuple[Store, Store, list[Shot]]) -> None:
    one, other, made = twins
    with one.read() as folder, other.read() as server:
        assert told_by(server, made) == told_by(folder, made)
        counts = [dataclasses.replace(each.counts(), bytes=0) for each in (folder, server)]
        assert counts[0] == counts[1]
        for kind in KINDS:
            for here, there in zip(folder.vectors(kind, None, 7), server.vectors(kind, None, 7), strict=True):
                for column in ("ids", "photo_ids", "boxes", "vectors"):
                    assert np.array_equal(getattr(here, column), getattr(there, column), equal_nan=True)


def test_an_index_finds_enough_with_every_filter_and_never_fewer_rows_than_there_are(
    with_milvus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that milvus-lite has is HNSW, and gives no row at all under some filters."""
    monkeypatch.setattr("virtue.store.vectors.exact.MAX_GATHERED_ROWS", 20)
    monkeypatch.setattr(milvus_vectors, "MAX_NAMED", 500)
    check_index(with_milvus, ("not rating = 1", 1200), queries=10)


def test_searches_work_again_after_the_building_of_an_index_was_killed(with_milvus: str) -> None:
    """It had let go of the rows, which are searched again once it is done."""
    with filled(with_milvus, 30) as store:
        server, collection = place_of(store)
        server._client.release_collection(collection)
        with (
            store.read() as snapshot,
            pytest.raises(StoreError, match=r"in Milvus \([^\n]*\): see to its server"),
        ):
            snapshot.search("regions", vectors(1, 1), 99)
        with store.write("test") as writer:
            assert writer.refresh_indexes() == [], "few rows need no index"
        with store.read() as snapshot:
            assert len(snapshot.search("regions", vectors(1, 1), 99).rows) == 60


def test_what_is_said_of_a_photo_later_counts_in_filters_at_once(
    with_milvus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus holds what was true when its vector was put, until it is told anew."""
    monkeypatch.setattr("virtue.store.vectors.exact.MAX_GATHERED_ROWS", 0)
    monkeypatch.setattr(milvus_vectors, "MAX_NAMED", 1)

    def found(store: Store) -> list[list[int]]:
        with store.read() as snapshot:
            filters = [RowFilter(parse(where)) for where in
                       ("rating >= 4", "not rating >= 4", "tag = beach", "not tag = Beach")]  # fmt: skip
            hits = [snapshot.search("regions", vectors(1, 1), 9, filter) for filter in filters]
            return [sorted(record.photo_id for record in snapshot.regions(hit.rows)) for hit in hits]

    with filled(with_milvus) as store, psycopg.connect(with_milvus.partition("?")[0]) as plain:
        assert found(store) == [[], [1, 1, 2, 2, 3, 3], [], [1, 1, 2, 2, 3, 3]]
        with store.write("test") as writer:
            info = dataclasses.replace(photo(1).info, rating=5, tags=("BEACH", "sea"))
            writer.commit([photo(1, info=info)])
            assert found(store) == [[2, 2], [1, 1, 3, 3], [2, 2], [1, 1, 3, 3]]
            info = dataclasses.replace(info, rating=1, tags=("sea",))
            writer.commit(captions=[CaptionUpdate(info.hash, (), vectors(0, 1), info=info)])
            assert found(store) == [[], [1, 1, 2, 2, 3, 3], [], [1, 1, 2, 2, 3, 3]]
            count = "SELECT count(*) FROM virtue.restated"
            assert plain.execute(count).fetchone() == (1,)
            plain.rollback()
            writer.refresh_indexes()
            assert plain.execute(count).fetchone() == (0,)
            assert found(store) == [[], [1, 1, 2, 2, 3, 3], [], [1, 1, 2, 2, 3, 3]]


KILLED = """
import os, sys
from tests.store.builders import file, photo
from virtue.store import open_store
from virtue.store.milvus.milvus_server import MilvusServer
put = MilvusServer.put
def put_and_die(*arguments):
    put(*arguments)
    os.kill(os.getpid(), 9)
with open_store(sys.argv[1]) as store, store.write("test") as writer:
    MilvusServer.put = put_and_die
    writer.commit([photo(7, proposals=3)], [file("/7.jpg", 7)])
"""


def test_vectors_of_a_writer_that_was_killed_are_never_found_and_are_swept(with_milvus: str) -> None:
    """It had put them, and died before the catalogue knew."""
    with filled(with_milvus) as store:
        assert subprocess.run([sys.executable, "-c", KILLED, with_milvus], check=False).returncode == -9
        server, collection = place_of(store)
        assert server.rows_between(collection, 0, 99).tolist() == [*range(10)], "four of nobody"
        with store.read() as snapshot:
            assert len(snapshot.search("regions", vectors(1, 1), 99).rows) == 6
            assert snapshot.counts().photos == 3
        with store.write("test") as writer:
            assert server.rows_between(collection, 0, 99).tolist() == [*range(6)]
            writer.commit([photo(8)], [file("/8.jpg", 8)])
        assert server.rows_between(collection, 0, 99).tolist() == [*range(6), 10, 11], "no number comes back"
        assert store.verify() == []


def place_of(store: Store) -> tuple[MilvusServer, str]:
    """Where the regions of the first generation lie."""
    assert isinstance(store, MilvusStore)
    return store._server, f"{store._prefix}vectors_1_regions"


def test_what_belongs_to_nothing_is_swept_and_what_was_lost_is_made_again(with_milvus: str) -> None:
    with filled(with_milvus) as store:
        server, collection = place_of(store)
        server.delete(collection, [2])
        (fault,) = store.verify()
        assert (fault.kind, fault.hashes) == ("rows", (name(1),))
        with store.write("test") as writer:
            assert writer.repair() == [fault]
            writer.commit([photo(1)], [file("/photos/1.jpg", 1)])
        assert store.verify() == []
        assert server.rows_between(collection, 0, 99).tolist() == [0, 1, 4, 5, 6, 7]
        # A message of a dead writer that came late, in the place of a row that was dropped.
        with store.read() as snapshot:
            stray = snapshot.vectors_of("regions", [0]).astype(np.float16)
        said = {"photo": 1, "full": True, "width": 1.0, "height": 1.0, "area": 1.0, "rating": 1.0,
                "latitude": 1.0, "longitude": 1.0, "taken": "", "camera": "", "category": "", "object": "",
                "tags": []}  # fmt: skip
        server.put(collection, stray, [{"row": 2, **said}])
        with store.read() as snapshot:
            assert 2 not in snapshot.search("regions", vectors(1, 1), 99).rows
        with store.write("test") as writer:
            assert writer.compact().dead == 1
        assert server.rows_between(collection, 0, 99).tolist() == [0, 1, 4, 5, 6, 7]


def test_what_a_reader_reads_stays_while_it_is_forgotten_and_while_another_model_takes_over(
    with_milvus: str,
) -> None:
    with filled(with_milvus) as store:
        server, collection = place_of(store)
        with store.read() as snapshot:
            before = snapshot.search("regions", vectors(1, 1), 100)
            with store.write("test") as writer:
                assert writer.forget([b"/photos/1.jpg"]) == 1
            again = snapshot.search("regions", vectors(1, 1), 100)
            assert again.rows.tolist() == before.rows.tolist()
            assert snapshot.vectors_of("regions", [2]).shape == (1, DIM)
            with store.read() as newer:
                assert len(newer.search("regions", vectors(1, 1), 100).rows) == 4
        with store.read() as snapshot:
            with store.write("test") as writer:
                assert server.rows_between(collection, 0, 99).tolist() == [0, 1, 4, 5], "nobody read them"
                new = writer.generation("other", "another fingerprint", DIM)
                writer.commit([photo(n, seed=50 + n) for n in (0, 2)])
                writer.activate(new)
            assert len(snapshot.search("regions", vectors(1, 1), 100).rows) == 4
            with store.read() as newer:
                assert len(newer.search("regions", vectors(2, 1), 100).rows) == 4
        assert len(server.collections(collection.partition("vectors")[0])) == 4
        with store.write("test"):
            assert len(server.collections(collection.partition("vectors")[0])) == 2


def test_addresses_say_where_vectors_are(database: str, milvus: SmallMilvus) -> None:
    with pytest.raises(InputError, match=r"no place for the catalogue.*\?vectors=milvus://HOST:PORT"):
        open_store(f"milvus://tester:{SECRET}@127.0.0.1:19530")
    with pytest.raises(InputError, match="in PostgreSQL itself or in Milvus, not in qdrant://host"):
        open_store(f"{database}?vectors=qdrant://host")
    filled(database).close()
    with pytest.raises(StoreError, match="has its vectors in PostgreSQL: leave"):
        open_store(milvus.extend(database))
    with psycopg.connect(database, autocommit=True) as plain:
        plain.execute("DROP SCHEMA virtue CASCADE")
    filled(milvus.extend(database)).close()
    with pytest.raises(StoreError, match=r"has its vectors in Milvus: end its address with \?vectors="):
        open_store(database)


def test_a_milvus_that_is_not_there_is_one_sentence_without_passwords(
    with_milvus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(with_milvus).close()
    monkeypatch.setattr("virtue.store.milvus.milvus_server.CONNECTING", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = with_milvus.rpartition(":")[0] + f":{free.getsockname()[1]}"
        with open_store(address) as store, store.read() as snapshot:
            assert snapshot.counts().photos == 3, "the catalogue is there"
            with pytest.raises(StoreError, match="cannot be reached or used in Milvus") as caught:
                snapshot.search("regions", vectors(1, 1), 3)
    assert PASSWORD not in str(caught.value) and SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "milvus://tester@127.0.0.1" in store.name


def test_settings_of_a_stranger_are_not_taken_from_the_folder_in_which_it_runs(tmp_path: Path) -> None:
    """Milvus's client would read them from a file `.env` when it is imported."""
    (tmp_path / ".env").write_text("STRANGER=there\n")
    script = "import os, virtue.store.milvus.milvus_server; print(os.environ.get('STRANGER'))"
    place = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=place, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None"]


def test_the_milvus_of_the_tests_listens_on_loopback_alone(milvus: SmallMilvus) -> None:
    server = psutil.Process(milvus.process.pid)
    listening = [each for each in server.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.port for each in listening} == {milvus.port}
    assert {each.laddr.ip.removeprefix("::ffff:") for each in listening} == {"127.0.0.1"}
