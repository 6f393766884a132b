"""A library in PostgreSQL is one like any other: what it answers is what a folder answers."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.postgres_server import PASSWORD, Server, running_server
from tests.store.builders import DIM, file, filled, name, photo, vectors
from tests.store.shots import FILTERS, Shot, holds, rows, shots, stored, written
from virtue.errors import InputError, LibraryNotFoundError, SchemaError, StoreError
from virtue.store import Snapshot, Store, open_store
from virtue.store.catalogue.filters import FullImages, RowFilter, parse
from virtue.store.catalogue.listing import Order
from virtue.store.postgres import vector_table
from virtue.store.records import KINDS, Kind

ORDERS: tuple[Order, ...] = ("photo_id", "-photo_id", "path", "-path", "taken", "rating", "-rating", "-size")
FULL_IMAGES: tuple[FullImages, ...] = ("any", "single", "only")


@pytest.fixture(scope="module")
def twins(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server
) -> Iterator[tuple[Store, Store, list[Shot]]]:
    """The same photos in a folder and in PostgreSQL."""
    made = shots(1)
    folder = tmp_path_factory.mktemp("twins") / "library"
    with stored(folder, made) as one, stored(postgres.make_database(), made) as other:
        yield one, other, made


@settings(max_examples=int(os.environ.get("VIRTUE_RANDOM_QUERIES", "60")))
@given(data=st.data())
def test_random_queries_with_random_filters_find_the_same(
    twins: tuple[Store, Store, list[Shot]], data: st.DataObject
) -> None:
    """Rows, their order, their scores to the last bit, boxes and paths; and what plain Python says fits."""
    one, other, made = twins
    node = data.draw(FILTERS)
    where = written(node, data.draw)
    queries = vectors(data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1000)))
    top = data.draw(st.sampled_from([1, 5, 500]))
    with one.read() as folder, other.read() as server:
        for kind in KINDS:
            fits = [bool(row.shot.there) and holds(node, row) for row in rows(made, kind)]
            assert server.count_matching(kind, RowFilter(parse(where))) == sum(fits)
            for full_images in FULL_IMAGES:
                filter = RowFilter(parse(where), full_images)
                here, there = (each.search(kind, queries, top, filter) for each in (folder, server))
                assert there.rows.tolist() == here.rows.tolist(), where
                assert there.scores.tolist() == here.scores.tolist()
                assert records(server, kind, there.rows) == records(folder, kind, here.rows)
                assert folder.holds(kind, filter, range(20)) == server.holds(kind, filter, range(20))
        assert server.photo_ids(parse(where)) == folder.photo_ids(parse(where))


ODD = [
    "path ~ été.jpg", "path = \udce9t\udce9.jpg", "path ~ \udcff\udcfe/", "path ~ '?t?.jpg'",
    "path = 'é\udcff.jpg'", "tag = \udcff", "tag ~ '*\0*'", "not camera = '\ud800'", r"tag = \udcff",
]  # fmt: skip


@pytest.mark.parametrize("where", ODD)
def test_names_and_words_in_no_encoding_match_the_same(
    twins: tuple[Store, Store, list[Shot]], where: str
) -> None:
    with twins[0].read() as folder, twins[1].read() as server:
        here, there = (each.photo_ids(parse(where)) for each in (folder, server))
        assert there == here
        if where.startswith("path") and "é\udcff" not in where:
            assert here


def records(snapshot: Snapshot, kind: Kind, found: np.ndarray) -> list[Any]:
    return [*(snapshot.regions(found) if kind == "regions" else snapshot.captions(found))]


def test_all_that_is_read_is_the_same(twins: tuple[Store, Store, list[Shot]]) -> None:
    one, other, made = twins
    with one.read() as folder, other.read() as server:
        told = [told_by(each, made) for each in (folder, server)]
        assert told[0] == told[1]
        counts = [dataclasses.replace(each.counts(), bytes=0) for each in (folder, server)]
        assert counts[0] == counts[1]
        assert server.counts().bytes > 100_000
        for kind in KINDS:
            for here, there in zip(folder.vectors(kind, None, 7), server.vectors(kind, None, 7), strict=True):
                for column in ("ids", "photo_ids", "boxes", "vectors"):
                    assert np.array_equal(getattr(here, column), getattr(there, column), equal_nan=True)


def told_by(snapshot: Snapshot, made: list[Shot]) -> list[Any]:
    """All that a snapshot tells, but for vectors and sizes."""
    ids = snapshot.photo_ids()
    tokens = ["beach", "sea", "20", "202", "1", "strasse", "ete"]
    hashes = [shot.info.hash for shot in made]
    rare = RowFilter(parse("rating >= 3"))
    found = [
        sorted(snapshot.find_tokens(field, any_of, all_of, filter))
        for field in ("caption", "name")
        for any_of, all_of in ((tokens, []), (["beach"], ["sea", "side"]), ([], ["sea", "side"]))
        for filter in (None, rare)
    ]
    return [
        [snapshot.photo_ids(order=order, offset=2, limit=20) for order in ORDERS],
        [snapshot.browse(kind, rare, every, 1, 9) for kind in KINDS for every in (True, False)],
        [snapshot.count_tokens("caption", tokens), snapshot.count_tokens("name", tokens), found],
        [snapshot.photos(ids), snapshot.facts(ids), snapshot.copies(ids), snapshot.full_images(ids)],
        [
            snapshot.files(),
            snapshot.roots(),
            snapshot.problems(),
            snapshot.missing(),
            [*snapshot.repeated(2)],
        ],
        [snapshot.found_elsewhere(), snapshot.perhaps_renamed(), snapshot.suggestions(), snapshot.faults()],
        [snapshot.known_metadata(hash) for hash in hashes],
        [snapshot.user_annotations(hash) for hash in hashes],
        [snapshot.rows_of(ids[:5]), snapshot.caption_rows_of(range(40)), snapshot.locate(3)],
        [snapshot.near_hashes(0b1111100000, 8), sorted(snapshot.same_pictures(8, -1))],
        [snapshot.generations(), snapshot.version, [*snapshot.unread("a reader")], snapshot.is_large()],
    ]


def test_photos_that_look_alike_are_found_by_their_hashes(place: Path | str) -> None:
    """Hashes of 64 bits, the highest among them, up to eight bits apart."""
    seen = [0xF0F0_F0F0_F0F0_F0F0, 0xF0F0_F0F0_F0F0_F00F, 0xF1F1_F0F0_F0F0_F0FF, 0x0123_4567_89AB_CDEF, 0, 0]
    with open_store(place, create=True) as store:
        with store.write("test") as writer:
            writer.generation("m", "f", DIM)
            for number, phash in enumerate(seen):
                info = dataclasses.replace(photo(number).info, phash=phash)
                writer.commit([photo(number, 7, info=info)], [file(f"/{number}.jpg", number)])
        with store.read() as snapshot:
            near = snapshot.near_hashes(seen[0], 8)
            pairs = {(pair.one, pair.other, pair.distance) for pair in snapshot.same_pictures(8, 0.9)}
            assert snapshot.near_hashes(0, 8) == [], "of one colour"
    assert [image.photo_id for image in near] == [1, 2, 3]
    assert [image.phash for image in near] == seen[:3]
    assert {tuple(sorted(pair[:2])) + pair[2:] for pair in pairs} == {(1, 2, 8), (1, 3, 6), (2, 3, 6)} - {
        pair for pair in [(2, 3, 6)] if (seen[1] ^ seen[2]).bit_count() != 6
    }


def test_all_pairs_of_near_hashes_are_found_whichever_bits_differ(place: Path | str) -> None:
    rng = np.random.default_rng(3)
    seen = rng.integers(0, 2**64, 60, np.uint64).tolist()
    for phash in seen.copy():
        for count in range(1, 11):
            flipped = sum(1 << int(bit) for bit in rng.choice(64, count, replace=False))
            seen.append(phash ^ flipped)
    with open_store(place, create=True) as store:
        with store.write("test") as writer:
            writer.generation("m", "f", DIM)
            some = [
                photo(number, 7, 0, info=dataclasses.replace(photo(number).info, phash=phash))
                for number, phash in enumerate(seen)
            ]
            writer.commit(some, [file(f"/{number}.jpg", number) for number in range(len(seen))])
        with store.read() as snapshot:
            found = {(*sorted(pair[:2]), pair.distance) for pair in snapshot.same_pictures(8, 0.9)}
    hashes = np.array(seen, np.uint64)
    distances = np.bitwise_count(hashes[:, None] ^ hashes)
    ones, others = np.nonzero(np.triu(distances <= 8, 1))
    right = {(one + 1, other + 1, distances[one, other]) for one, other in zip(ones, others, strict=True)}
    assert found == right
    assert len(right) > 500


def test_an_index_finds_enough_with_every_filter_and_never_fewer_rows_than_there_are(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_table, "MAX_SCANNED", 500)
    monkeypatch.setattr("virtue.store.vectors.exact.MAX_GATHERED_ROWS", 20)
    monkeypatch.setattr("virtue.store.postgres.vector_table.ROW_COST", 0)
    check_index(database, ("rating = 1", 300), queries=20)


def test_an_index_is_tuned_by_scores_where_many_rows_have_the_same(database: str) -> None:
    drawn = np.repeat(vectors(20, 6), 20, axis=0)
    with open_store(database, create=True) as store, store.write("test") as writer:
        writer.generation("m", "f", DIM)
        some = [
            dataclasses.replace(photo(n, proposals=0), region_vectors=drawn[n : n + 1]) for n in range(400)
        ]
        writer.commit(some, [file(f"/{n}.jpg", n) for n in range(400)])
        (tuned,) = writer.refresh_indexes(max_scanned_floats=0)
    assert tuned.chosen.refine_factor > 0, "searches read all rows"
    assert (tuned.chosen.recall or 0) >= 0.95


def check_index(location: str, rating: tuple[str, int], queries: int) -> None:
    """Builds an index and searches it under filters, one of them of the ratings, with how many rows it
    allows."""
    count, dim = 1500, 32
    rng = np.random.default_rng(5)
    middles = vectors(40, 3, dim)
    drawn = middles[rng.integers(0, 40, count)] + 0.5 * vectors(count, 4, dim)
    drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    with open_store(location, create=True) as store:
        with store.write("test") as writer:
            writer.generation("m", "f", dim)
            for first in range(0, count, 500):
                some = []
                for number in range(first, first + 500):
                    info = dataclasses.replace(photo(number).info, rating=number % 5, width=100 + number)
                    made = photo(number, proposals=0, dim=dim, info=info)
                    some.append(dataclasses.replace(made, region_vectors=drawn[number : number + 1]))
                writer.commit(some, [file(f"/{n}.jpg", n) for n in range(first, first + 500)])
            tuned = writer.refresh_indexes(max_scanned_floats=count * dim // 2)
            assert [each.query_kind for each in tuned] == ["image"], "there are no texts"
            assert writer.refresh_indexes(max_scanned_floats=count * dim // 2) == [], "it is there"
        with store.read() as snapshot:
            params = snapshot.search_params("regions")
            assert params and params["image"].refine_factor > 0
            for where, allowed in (
                ("width >= 0", count),
                rating,
                ("width > 1499", 100),
                ("width > 1589", 10),
            ):
                filter, hits = RowFilter(parse(where)), 0
                for query in drawn[:queries]:
                    right = snapshot.exact("regions", query[None], 10, filter)
                    found = snapshot.search("regions", query[None], 10, filter)
                    assert len(found.rows) == 10
                    hits += len({*right.rows.tolist()} & {*found.rows.tolist()})
                    scores = dict(zip(right.rows.tolist(), right.scores.tolist(), strict=True))
                    for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True):
                        assert scores.get(row, score) == score
                assert hits >= 0.95 * 10 * queries, where
                assert len(snapshot.search("regions", drawn[:1], 5000, filter).rows) == allowed


def test_many_write_at_once_and_nothing_is_lost_or_doubled(database: str) -> None:
    """Four writers commit the same eight photos in other orders, and eight of their own."""
    open_store(database, create=True).close()
    failed: list[BaseException] = []

    def work(own: int) -> None:
        try:
            with open_store(database) as store, store.write("test") as writer:
                writer.generation("m", "f", DIM)
                mine = [*range(8), *range(100 * own, 100 * own + 8)]
                for number in np.random.default_rng(own).permutation(mine).tolist():
                    writer.commit([photo(number, proposals=2)], [file(f"/{number}.jpg", number)])
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with open_store(database, read_only=True) as store, store.read() as snapshot:
        assert (snapshot.counts().photos, snapshot.counts().regions) == (40, 120)
        assert snapshot.faults() == []
        assert len(snapshot.search("regions", vectors(1, 1), 1000).rows) == 120
        assert len(snapshot.generations()) == 1


COMMITTING = """
import sys
from tests.store.builders import DIM, file, photo
from virtue.store import open_store
with open_store(sys.argv[1], create=True) as store, store.write("test") as writer:
    writer.generation("m", "f", DIM)
    for number in range(100_000):
        writer.commit([photo(number, proposals=3)], [file(f"/{number}.jpg", number)])
        print(number, flush=True)
"""


def test_after_a_crash_of_the_server_all_that_was_committed_is_there_and_no_photo_in_part() -> None:
    with running_server() as server:
        database = server.make_database()
        process = subprocess.Popen([sys.executable, "-c", COMMITTING, database], stdout=subprocess.PIPE)
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(20)]
        server.kill()
        done += map(int, process.stdout.read().split())
        assert process.wait() != 0
        server.start()
        with open_store(database) as store, store.read() as snapshot:
            photos = snapshot.counts().photos
            assert done == list(range(len(done)))
            assert photos - len(done) in (0, 1), "one more may be committed than was told"
            assert snapshot.counts().regions == 4 * photos
            assert snapshot.faults() == []


def test_lost_vectors_are_found_and_repaired(database: str) -> None:
    with filled(database) as store:
        with psycopg.connect(database, autocommit=True) as plain:
            plain.execute("DELETE FROM virtue.vectors_1_regions WHERE row = 2")
        (fault,) = store.verify()
        assert (fault.kind, fault.hashes) == ("rows", (name(1),))
        with store.write("test") as writer:
            assert writer.repair() == [fault]
        assert store.verify() == []
        with store.read() as snapshot:
            assert snapshot.known_photos([name(n) for n in range(3)]).keys() == {name(0), name(2)}


def test_an_older_or_newer_schema_and_a_database_without_a_library_say_so(database: str) -> None:
    with pytest.raises(LibraryNotFoundError, match="there is no library in postgresql://tester@127"):
        open_store(database)
    filled(database).close()
    with psycopg.connect(database, autocommit=True) as plain:
        plain.execute("INSERT INTO virtue.schema_version VALUES (999)")
        with pytest.raises(SchemaError, match="newer virtue"):
            open_store(database)
        plain.execute("DELETE FROM virtue.schema_version")
        plain.execute("INSERT INTO virtue.schema_version VALUES (0)")
        with pytest.raises(SchemaError, match="older virtue"):
            open_store(database, read_only=True)


@pytest.mark.parametrize("location", ["mysql://host/photos", "s3://bucket/photos"])
def test_servers_of_other_kinds_are_refused(location: str) -> None:
    with pytest.raises(InputError, match="neither: name postgresql://HOST/DATABASE"):
        open_store(location)


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(postgres: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = (
            f"postgresql://tester:{PASSWORD}@127.0.0.1:{free.getsockname()[1]}/photos?password={PASSWORD}"
        )
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            open_store(address)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_reader_reads_stays_while_another_model_takes_over(database: str) -> None:
    with filled(database) as store, store.read() as snapshot:
        with store.write("test") as writer:
            new = writer.generation("other", "another fingerprint", DIM)
            writer.commit([photo(n, seed=50 + n) for n in range(3)])
            writer.activate(new)
        assert len(snapshot.search("regions", vectors(1, 1), 100).rows) == 6
        assert snapshot.vectors_of("regions", [0]).shape == (1, DIM)
        with store.read() as newer:
            assert newer.generation == dataclasses.replace(new, active=True)
            assert len(newer.search("regions", vectors(1, 1), 100).rows) == 6


def test_the_server_of_the_tests_listens_on_loopback_alone(postgres: Server) -> None:
    server = psutil.Process(postgres.process.pid)
    listening = [each for each in server.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
