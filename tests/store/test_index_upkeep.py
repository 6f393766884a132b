"""An index through the life of its library: grown, trained anew, damaged, interrupted, tuned."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.store.builders import as_of, file, name
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
from tests.store.hardship import POSIX, killed
from virtue.store import Store, open_store
from virtue.store import layout as names
from virtue.store.ann.segments import IndexRecord, find_index


def record(store: Store) -> IndexRecord:
    with store.read() as snapshot:
        found = find_index(snapshot.connection, 1, "regions")
    assert found is not None
    return found


def spans(store: Store) -> list[tuple[int, int]]:
    return [(file.first, file.stop) for file in record(store).segments]


def index_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("index-*")}


def named(store: Store) -> set[str]:
    return {names.index_file(file.id) for file in record(store).segments}


def grow(store: Store, first: int, count: int, world: int = 0) -> None:
    with store.write("test") as writer:
        add(writer, first, count, world=world)
        writer.refresh_indexes(max_scanned_floats=WORTH)


def test_an_index_is_extended_in_its_training(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        before = record(store)
        grow(store, 100, 5)
        assert spans(store) == [(0, 2000), (2000, 2100)]
        assert record(store).training == before.training
        assert record(store).segments[0] == before.segments[0]
        assert index_files(store.folder) == named(store)
        with store.read() as snapshot:
            assert recall(snapshot, vectors(100, 900)) >= RECALL
        assert store.verify() == []


def test_a_few_new_rows_wait(tmp_path: Path) -> None:
    """Less than a hundredth of what is worth an index is read one by one."""
    with indexed(tmp_path / "library", 100) as store, store.write("test") as writer:
        add(writer, 100, 1)
        writer.refresh_indexes(max_scanned_floats=100 * DIM * REGIONS + 1)
        assert spans(store) == [(0, 2000)]
        writer.refresh_indexes(max_scanned_floats=100 * DIM * REGIONS)
        assert spans(store) == [(0, 2000), (2000, 2020)]


def test_there_are_never_more_than_four_ranges(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        for number in range(8):
            grow(store, 100 + 3 * number, 3)
            covered = spans(store)
            assert len(covered) <= 4
            assert [first for first, _ in covered] == [0, *(stop for _, stop in covered[:-1])]
            assert covered[-1][1] == 2000 + 60 * (number + 1)
            assert covered[0] == (0, 2000)
            assert sum(file.encoded for file in record(store).segments) == covered[-1][1]
        with store.read() as snapshot:
            assert recall(snapshot, vectors(100, 901)) >= RECALL
            for number in (0, 100, 112, 123):
                ranked = snapshot.search("regions", vectors(REGIONS, number)[3], 1)
                assert snapshot.regions(ranked.rows)[0].path == b"/photos/%d.jpg" % number
        assert index_files(store.folder) == named(store)
        assert store.verify() == []


def test_four_times_the_rows_are_trained_anew(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 40) as store:
        before = record(store)
        grow(store, 40, 110)
        assert record(store).id == before.id
        grow(store, 150, 30)
        assert record(store).id != before.id
        assert record(store).training.lists > before.training.lists
        assert spans(store) == [(0, 180 * REGIONS)]
        assert index_files(store.folder) == named(store)


def test_other_pictures_are_trained_for_anew(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 100) as store:
        before = record(store)
        grow(store, 100, 5, world=7)
        assert record(store).id == before.id
        grow(store, 105, 60, world=7)
        assert record(store).id != before.id
        with store.read() as snapshot:
            assert recall(snapshot, vectors(50, 902, world=7)) >= RECALL


def test_lists_that_have_become_uneven_are_trained_anew(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 100) as store:
        before = record(store)
        alike = photos(3, 1)[0]
        with store.write("test") as writer:
            copies = [replace(alike, info=replace(alike.info, hash=name(n))) for n in range(500, 600)]
            writer.commit(copies, [file(f"/photos/{n}.jpg", n) for n in range(500, 600)])
            writer.refresh_indexes(max_scanned_floats=WORTH)
        assert record(store).id != before.id
        assert spans(store) == [(0, 4000)]


def test_forgotten_rows_are_not_indexed_again(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 100) as store:
        with store.write("test") as writer:
            add(writer, 100, 20)
            writer.forget([b"/photos/%d.jpg" % number for number in range(100, 110)])
            writer.refresh_indexes(max_scanned_floats=WORTH)
        assert [file.encoded for file in record(store).segments] == [2000, 200]


@pytest.mark.parametrize("harm", ["flipped", "gone", "short", "empty"])
def test_a_damaged_index_is_told_and_passed_by_and_made_anew(tmp_path: Path, harm: str) -> None:
    with indexed(tmp_path / "library", 100) as store:
        grow(store, 100, 10)
    first, second = sorted((tmp_path / "library").glob("index-*.faiss"))
    content = first.read_bytes()
    if harm == "gone":
        first.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        first.write_bytes({"flipped": flipped, "short": content[:middle], "empty": b""}[harm])
    said = "damaged" if harm == "flipped" else "gone"
    with open_store(tmp_path / "library") as store:
        with store.read() as snapshot:
            with pytest.warns(UserWarning, match=f"{first.name} of the library .* is {said}.*--repair"):
                snapshot.search("regions", vectors(1, 1), 10)
            with no_warnings():  # once is enough
                assert recall(snapshot, vectors(50, 903)) >= RECALL
        with store.read() as again, no_warnings():
            assert recall(again, vectors(50, 903)) >= RECALL
        (fault,) = store.verify()
        assert (fault.kind, fault.repairable, fault.hashes, fault.paths) == ("index", True, (), ())
        assert first.name in fault.what
        with store.write("test") as writer:
            assert [f.what for f in writer.repair()] == [fault.what]
        assert store.verify() == []
        assert spans(store) == [(0, 2000), (2000, 2200)]
        assert first.name not in index_files(store.folder)
        assert second.name in index_files(store.folder)
        with store.read() as snapshot, no_warnings():
            assert recall(snapshot, vectors(50, 904)) >= RECALL


def test_an_index_that_is_lost_altogether_is_trained_again(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 100) as store:
        tuned = record(store).tuned
        (file,) = store.folder.glob("index-*.faiss")
        file.write_bytes(b"\0" * file.stat().st_size)
        with store.read() as snapshot, pytest.warns(UserWarning, match="damaged"):
            assert recall(snapshot, vectors(20, 905)) == 1
        with store.write("test") as writer:
            with warnings.catch_warnings(record=True):
                assert writer.tune() == []
            writer.repair()
        assert store.verify() == []
        assert {kind for kind, _ in record(store).tuned} == {kind for kind, _ in tuned}


def test_a_reader_keeps_its_version_while_the_index_is_swapped(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 100) as store, open_store(store.folder) as other:
        query = vectors(1, 906)
        with store.read() as early, other.read() as late:
            expected = early.search("regions", query, 10).rows.tolist()
            with store.write("test") as writer:
                add(writer, 100, 400)
                writer.refresh_indexes(max_scanned_floats=WORTH)
                writer.forget([b"/photos"])
            assert named(store).isdisjoint({"index-1.faiss"})
            assert early.search("regions", query, 10).rows.tolist() == expected
            # This one had not looked into its index before the file was removed.
            assert late.search("regions", query, 10).rows.tolist() == expected
            assert recall(late, vectors(20, 907)) >= RECALL
        with store.read() as snapshot:
            assert len(snapshot.search("regions", query, 10).rows) == 0


def test_threads_share_an_index(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        queries = vectors(40, 908)
        with store.read() as snapshot:
            expected = [snapshot.search("regions", query, 10).rows.tolist() for query in queries]
        wrong: list[int] = []

        def search() -> None:
            with opened.read() as snapshot:
                for number, query in enumerate(queries):
                    if snapshot.search("regions", query, 10).rows.tolist() != expected[number]:
                        wrong.append(number)

        with open_store(store.folder) as opened:
            threads = [threading.Thread(target=search) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []


GROWING = """
import sys
from tests.store.clustered import WORTH, add
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store, store.write("test") as writer:
    number = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        add(writer, number, 20)
        print(number + 20, flush=True)
        number += 20
        writer.refresh_indexes(max_scanned_floats=WORTH)
"""


@POSIX
def test_a_killed_upkeep_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    indexed(folder, 40).close()
    chance = random.Random(3)
    count = 40
    for _ in range(6):
        said = killed(GROWING, folder, count, after=chance.random() * 0.6, lines=2)
        with no_warnings(), open_store(folder) as store:
            with store.read() as snapshot:
                photos = snapshot.counts().photos
                assert photos >= max(count + 20, int(said[-1]) if said else 0)
                assert recall(snapshot, vectors(20, 909)) >= 0.9
                count = photos
            assert named(store) <= index_files(folder)
            with store.write("test"):
                assert index_files(folder) == named(store)
            assert store.verify() == []


FILLING = """
import resource, sys
from tests.store.clustered import WORTH, add
from virtue.errors import StoreError
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store, store.write("test") as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        writer.refresh_indexes(max_scanned_floats=WORTH)
    except StoreError as error:
        print(error)
"""


@POSIX
def test_a_disk_too_full_for_an_index_leaves_the_library_as_it_was(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 60) as store:
        before = record(store)
        with store.write("test") as writer:
            add(writer, 60, 60)
        done = subprocess.run(
            [sys.executable, "-c", FILLING, store.folder], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "is full: make room" in done.stdout
        assert record(store) == before
        with store.read() as snapshot:
            assert recall(snapshot, vectors(30, 910)) >= RECALL
        with store.write("test") as writer:
            assert index_files(store.folder) == named(store)
            writer.refresh_indexes(max_scanned_floats=WORTH)
        assert spans(store) == [(0, 1200), (1200, 2400)]


def test_training_is_tuned_by_itself_for_each_kind_of_query(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store:
        with store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            add(writer, 0, 150)
            (images, words) = writer.refresh_indexes(max_scanned_floats=WORTH, texts=lambda: texts(200, 1))
            assert (images.query_kind, words.query_kind) == ("image", "text")
            assert words.queries == 200
            for tuning in (images, words):
                assert tuning.chosen in tuning.curve
                assert tuning.chosen.recall is not None and tuning.chosen.recall >= 0.95
                assert tuning.chosen.microseconds is not None and tuning.chosen.microseconds > 0
                assert [e.nprobe for e in tuning.curve] == sorted({e.nprobe for e in tuning.curve})
        with store.read() as snapshot:
            assert snapshot.search_params("regions") == {"image": images.chosen, "text": words.chosen}
            assert snapshot.search_params("captions") is None
            found = 0
            for query in texts(50, 2):
                exact = set(snapshot.exact("regions", query[None], 10).rows.tolist())
                found += len(
                    exact & set(snapshot.search("regions", query, 10, query_kind="text").rows.tolist())
                )
            assert found >= RECALL * 500


def test_without_texts_to_tune_with_they_get_more_than_images(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 100) as store, store.read() as snapshot:
        search_params = snapshot.search_params("regions")
        assert search_params is not None
        assert search_params["text"].recall is None
        assert search_params["text"].nprobe > search_params["image"].nprobe
        assert search_params["text"].refine_factor > search_params["image"].refine_factor


def test_a_higher_recall_can_be_asked_for(tmp_path: Path) -> None:
    with indexed(tmp_path / "library", 150) as store, store.write("test") as writer:
        (images, _) = writer.tune(target=0.999)
        assert images.chosen.recall is not None and images.chosen.recall >= 0.999
        (given, _) = writer.tune(images=vectors(100, 50))
        assert given.queries == 100
        assert given.chosen.recall is not None and given.chosen.recall >= 0.95


@pytest.mark.parametrize("queries", [np.ones((60, DIM + 1)), np.full((60, DIM), np.nan)])
def test_queries_to_tune_with_must_fit(tmp_path: Path, queries: np.ndarray) -> None:
    store = indexed(tmp_path / "library", 60)
    with store, store.write("test") as writer, pytest.raises(ValueError, match=f"dimension {DIM}"):
        writer.tune(images=queries)


def test_a_library_of_the_first_schema_gets_indexes(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        add(writer, 0, 60, captions=True)
    as_of("0001", tmp_path / "library")
    with open_store(tmp_path / "library") as store:
        with store.read() as snapshot:
            assert snapshot.counts().captions == 60
            before = snapshot.exact("regions", vectors(1, 911), 10).rows.tolist()
        with store.write("test") as writer:
            writer.refresh_indexes(max_scanned_floats=WORTH)
        with store.read() as snapshot:
            assert snapshot.exact("regions", vectors(1, 911), 10).rows.tolist() == before
            assert snapshot.known_photos([name(3)]) == {name(3): "auto"}
            assert recall(snapshot, vectors(50, 911)) >= RECALL
        assert store.verify() == []
    with closing(sqlite3.connect(tmp_path / "library" / names.BACKUP)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert copy.execute("SELECT count(*) FROM regions").fetchone() == (60 * REGIONS,)
