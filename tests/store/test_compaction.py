"""Rows that nothing owns go; what is left is found as before, by whoever reads meanwhile too."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.builders import DIM, SETTINGS, file, filled, found, name, photo, vectors
from tests.store.clustered import WORTH, add, indexed, no_warnings, recall
from tests.store.clustered import vectors as clustered
from tests.store.hardship import POSIX, killed
from virtue.errors import DamagedError, InputError
from virtue.store import CaptionUpdate, NewCaption, NewRegion, Store, open_store
from virtue.store import layout as names

SAID = [NewCaption("a", "sidecar"), NewCaption("b", "file")]


def row_files(store: Store) -> set[str]:
    return {path.name for path in names.row_files_in(store.folder)}


def held(store: Store) -> list[tuple[bytes, float]]:
    with store.read() as snapshot:
        return sorted(found(snapshot)) + sorted(found(snapshot, "captions"))


def store_given(store: Store, number: int) -> tuple[NewRegion, ...]:
    with store.read() as snapshot:
        return snapshot.user_annotations(name(number)).regions


def test_dropped_rows_leave_the_disk_and_the_rest_is_found_as_before(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 20, captions=SAID) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/%d.jpg" % n for n in range(0, 20, 2)])
            writer.commit([photo(1, seed=50, captions=SAID)])
            before = held(store)
            waste = writer.waste()
            assert (waste.dead, waste.total) == (44, 84)
            assert waste.bytes == 44 * DIM * 2
            assert writer.compact().dead == 44
            assert writer.waste().dead == 0
            writer.commit([photo(30)], [file("/photos/30.jpg", 30)])
        assert row_files(store) == {"regions-2.f16", "captions-2.f16"}
        assert (store.folder / "regions-2.f16").stat().st_size == 22 * DIM * 2
        assert [pair for pair in held(store) if pair[0] != b"/photos/30.jpg"] == before
        with store.read() as snapshot:
            assert snapshot.known_photos([name(3), name(4)]) == {name(3): SETTINGS}
            assert [caption.text for caption in snapshot.user_annotations(name(3)).captions] == ["b"]
        assert store.verify() == []


def test_without_dropped_rows_nothing_is_written(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        with store.write("test") as writer:
            assert writer.compact().dead == 0
        assert row_files(store) == {"regions-1.f16"}


def test_a_library_of_which_all_was_dropped_can_be_filled_again(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store, store.write("test") as writer:
        writer.forget([b"/photos"])
        writer.compact()
        assert (held(store), row_files(store)) == ([], set())
        writer.commit([photo(5)], [file("/5.jpg", 5)])
        assert len(held(store)) == 2
        assert store.verify() == []


def test_an_empty_library_has_nothing_to_drop(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        assert (writer.compact().dead, writer.compact().bytes) == (0, 0)


@settings(max_examples=12)
@given(st.lists(st.sampled_from(["add", "again", "forget", "compact", "missing"]), max_size=10), st.randoms())
def test_any_history_holds_the_same_with_and_without_compaction(
    tmp_path_factory: pytest.TempPathFactory, history: list[str], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("history")
    with filled(folder / "one") as plain, filled(folder / "two") as compacted:
        count = 3
        for step in history:
            number = chance.randrange(count)
            seed = chance.randrange(1000)
            for store in (plain, compacted):
                with store.write("test") as writer:
                    if step == "add":
                        path = f"/photos/{count}.jpg"
                        writer.commit([photo(count, captions=SAID)], [file(path, count)])
                    elif step == "again":
                        path = f"/photos/{number}.jpg"
                        writer.commit([photo(number, seed, given=1)], [file(path, number)])
                    elif step == "forget":
                        with suppress(InputError):  # forgotten before
                            writer.forget([b"/photos/%d.jpg" % number])
                    elif step == "missing":
                        writer.commit(missing=[b"/photos/%d.jpg" % number])
                    elif store is compacted:
                        writer.compact()
            count += step == "add"
        with compacted.write("test") as writer:
            writer.compact()
            assert writer.waste().dead == 0
        assert held(compacted) == held(plain)
        assert compacted.verify() == []


def test_photos_that_are_missing_keep_their_rows(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store, store.write("test") as writer:
        before = held(store)
        writer.commit([photo(9)], [file("/9.jpg", 9)], missing=[b"/photos/1.jpg"])
        writer.forget([b"/9.jpg"])
        writer.compact()
        writer.commit(files=[file("/photos/1.jpg", 1)])
        assert held(store) == before


def test_more_rows_than_one_block(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 40, proposals=299) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/%d.jpg" % n for n in range(0, 40, 3)])
            before = held(store)
            writer.compact()
        assert held(store) == before
        assert store.verify() == []


def test_a_generation_that_is_being_built_stays_as_it_is(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 6) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/1.jpg"])
            new = writer.generation("other", "other", DIM)
            writer.commit([photo(n, seed=100 + n) for n in (0, 2)])
            before = held(store)
            writer.compact()
            assert held(store) == before
            writer.commit([photo(n, seed=100 + n) for n in (3, 4, 5)])
            writer.activate(new)
        assert store.verify() == []
        assert row_files(store) == {"regions-2.f16"}
        with store.read() as snapshot:
            assert snapshot.generation is not None and snapshot.generation.fingerprint == "other"
            expected = [
                (b"/photos/%d.jpg" % n, round(float(s), 5))
                for n in (0, 2, 3, 4, 5)
                for s in photo(n, 100 + n).region_vectors.astype(np.float16).astype(np.float32)
                @ vectors(1, 99)[0]
            ]
            assert sorted(found(snapshot)) == sorted(expected)


def test_forgotten_photos_are_gone_from_a_generation_that_is_being_built_too(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 6) as store:
        with store.write("test") as writer:
            new = writer.generation("other", "other", DIM)
            writer.commit([photo(n, seed=100 + n) for n in range(4)])
        secret = photo(1, seed=101).region_vectors.astype(np.float16).tobytes()
        assert secret in (store.folder / "regions-2.f16").read_bytes()
        with store.write("test") as writer:
            writer.forget([b"/photos/1.jpg"])
            assert writer.waste().dead == writer.compact().dead > 0
            assert writer.waste().dead == 0
        contents = [path.read_bytes() for path in store.folder.glob("*.f16")]
        assert len(contents) == 2 and not any(secret in content for content in contents)
        assert store.verify() == []
        with store.write("test") as writer:
            new = writer.generation("other", "other", DIM)
            with store.read() as snapshot:
                assert {*snapshot.known_photos([name(n) for n in range(6)], new)} == {
                    name(n) for n in (0, 2, 3)
                }
            writer.commit([photo(n, seed=100 + n) for n in (4, 5)])
            writer.activate(new)
        assert store.verify() == []
        with store.read() as snapshot:
            paths = {path for path, _ in found(snapshot)}
            assert paths == {b"/photos/%d.jpg" % n for n in (0, 2, 3, 4, 5)}


def test_what_was_given_last_counts_though_its_generation_is_older_than_a_compacted_one(
    tmp_path: Path,
) -> None:
    with filled(tmp_path / "library", 3, given=1) as store, store.write("test") as writer:
        writer.forget([b"/photos/2.jpg"])
        new = writer.generation("other", "other", DIM)
        writer.commit([photo(0, given=2)])
        writer.compact()
        assert [len(store_given(store, number)) for number in (0, 1)] == [2, 1]
        writer.activate(new)
        assert len(store_given(store, 0)) == 2
        assert store.verify() == []


def test_what_was_given_to_the_active_generation_meanwhile_is_not_lost(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 2) as store:
        with store.write("test") as writer:
            writer.generation("other", "other", DIM)
            writer.commit([photo(0), photo(1)])
        with store.write("test") as writer:
            writer.commit([photo(0, given=3)])
            writer.commit(captions=[CaptionUpdate(name(1), (SAID[0],), vectors(1, 5))])
            new = writer.generation("other", "other", DIM)
            with store.read() as snapshot:
                assert snapshot.known_photos([name(0), name(1)], new) == {}
            writer.activate(new)
        assert len(store_given(store, 0)) == 3
        assert store.verify() == []


def test_an_index_is_made_anew_of_what_is_left(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 150) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/%d.jpg" % n for n in range(0, 150, 3)])
            writer.compact()
            with store.read() as snapshot:
                assert snapshot.search_params("regions") is None
                assert recall(snapshot, clustered(20, 901)) == 1
            writer.refresh_indexes(max_scanned_floats=WORTH)
        with store.read() as snapshot:
            assert snapshot.search_params("regions") is not None
            assert recall(snapshot, clustered(50, 902)) >= 0.92
            assert snapshot.row_count("regions") == 2000
        assert store.verify() == []


def test_a_reader_keeps_its_version_while_rows_move_under_it(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 30) as store, open_store(store.folder) as other:
        with store.read() as early, other.read() as late:
            before = sorted(found(early))
            with store.write("test") as writer:
                writer.forget([b"/photos/%d.jpg" % n for n in range(20)])
                writer.compact()
            assert "regions-1.f16" not in row_files(store)
            assert sorted(found(early)) == before
            assert sorted(found(late)) == before
        with other.read() as snapshot:
            assert len(found(snapshot)) == 20


def test_damaged_rows_are_not_taken_for_sound_ones(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 30) as store:
        path = store.folder / "regions-1.f16"
        with store.write("test") as writer:
            writer.forget([b"/photos/3.jpg"])
            content = bytearray(path.read_bytes())
            content[100] ^= 1
            path.write_bytes(content)
            with pytest.raises(DamagedError, match=r"regions-1\.f16 is not what was written.*repair"):
                writer.compact()
            assert row_files(store) == {"regions-1.f16"}
            path.unlink()
            with pytest.raises(DamagedError, match=r"regions-1\.f16 is gone.*repair"):
                writer.compact()
            writer.repair()
            writer.compact()
        assert store.verify() == []


def test_rows_that_are_not_where_the_catalogue_says_are_left_alone(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 5) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/3.jpg"])
        with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain, plain:
            plain.execute("DELETE FROM tombstones WHERE row = 6")
        with (
            store.write("test") as writer,
            pytest.raises(DamagedError, match=r"are not what the catalogue says.*repair"),
        ):
            writer.compact()


def test_the_catalogue_gets_smaller_too(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 400, proposals=20) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/%d.jpg" % n for n in range(380)])
            size = names.bytes_in(store.folder)
            freed = writer.compact()
        assert freed.bytes > freed.dead * DIM * 2
        assert names.bytes_in(store.folder) < size / 3
        assert len(held(store)) == 20 * 21
        assert store.verify() == []


COMPACTING = """
import sys
from tests.store.builders import file, photo
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store, store.write("test") as writer:
    number = int(sys.argv[2])
    print(number, flush=True)
    while True:
        writer.commit([photo(number)], [file("/photos/%d.jpg" % number, number)])
        writer.forget([b"/photos/%d.jpg" % (number - 40)])
        number += 1
        print(number, flush=True)
        writer.compact()
"""


@POSIX
def test_a_killed_compaction_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    filled(folder, 40).close()
    chance = random.Random(7)
    number = 40
    for _ in range(8):
        said = killed(COMPACTING, folder, number, after=chance.random() * 0.3)
        number = max([number, *map(int, said)])
        with open_store(folder) as store:
            with store.write("test"):
                pass
            assert store.verify() == []
            assert len(row_files(store)) == 1
            with store.read() as snapshot:
                there = {int(Path(os.fsdecode(path)).stem) for path in snapshot.files()}
                assert len(found(snapshot)) == 2 * len(there)
            number = max(there) + 1
            assert there in ({*range(number - 40, number)}, {*range(number - 41, number)})
            with store.write("test") as writer:
                writer.forget([b"/photos/%d.jpg" % old for old in there if old < number - 40])


FILLING = """
import resource, sys
from virtue.errors import StoreError
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store, store.write("test") as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        writer.compact()
    except StoreError as error:
        print(error)
"""


@POSIX
@pytest.mark.parametrize("limit", [20_000, 150_000], ids=["rows", "catalogue"])
def test_a_full_disk_leaves_the_library_as_it_was(tmp_path: Path, limit: int) -> None:
    with filled(tmp_path / "library", 300, proposals=19) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/%d.jpg" % n for n in range(10)])
        before = held(store)
        done = subprocess.run(
            [sys.executable, "-c", FILLING, store.folder, str(limit)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "committed is safe" in done.stdout
        assert held(store) == before
        assert row_files(store) == {"regions-1.f16"}
        assert store.verify() == []


READING = """
import sys, time
from tests.store.builders import found
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store:
    with store.read() as snapshot:
        first = sorted(found(snapshot))
    print("reading", flush=True)
    answers = 0
    while not (store.folder / "stop").exists():
        with store.read() as snapshot:
            if sorted(found(snapshot)) != first:
                print("wrong", flush=True)
        answers += 1
    print(answers, flush=True)
"""


def test_readers_in_other_processes_are_right_while_rows_move(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 50) as store:
        readers = [
            subprocess.Popen([sys.executable, "-c", READING, store.folder], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for reader in readers:
            assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
        with store.write("test") as writer:
            for step in range(12):
                writer.generation("mini", "fingerprint" if step % 4 else f"fingerprint {step}", DIM)
                assert writer.target is not None
                # The same vectors again, in new rows: what readers find stays the same.
                writer.commit([photo(n) for n in range(50)])
                writer.compact()
                if not writer.target.active:
                    writer.activate(writer.target)
        (store.folder / "stop").touch()
        for reader in readers:
            assert reader.stdout is not None
            said = reader.stdout.read().split()
            assert reader.wait() == 0
            reader.stdout.close()
            assert "wrong" not in said and int(said[-1]) > 0
        assert store.verify() == []


def test_compaction_of_a_growing_library_keeps_its_index_extendable(tmp_path: Path) -> None:
    with no_warnings(), indexed(tmp_path / "library", 100) as store:
        with store.write("test") as writer:
            for round in range(3):
                writer.forget([b"/photos/%d.jpg" % n for n in range(round * 10, round * 10 + 10)])
                add(writer, 100 + round * 20, 20)
                writer.compact()
                writer.refresh_indexes(max_scanned_floats=WORTH)
        with store.read() as snapshot:
            assert recall(snapshot, clustered(50, 903)) >= 0.92
        assert store.verify() == []
