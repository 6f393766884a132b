"""Reads take up each other's connections; none may notice."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.store.builders import file, filled, photo
from virtue.store import Store


def photos(store: Store) -> int:
    with store.read() as snapshot:
        return snapshot.counts().photos


def commit(store: Store, number: int) -> None:
    with store.write("test") as writer:
        writer.commit([photo(number)], [file(f"/photos/{number}.jpg", number)])


def test_a_read_that_failed_leaves_the_next_one_sound(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 3) as store:
        with pytest.raises(ZeroDivisionError), store.read():
            raise ZeroDivisionError
        commit(store, 3)
        assert photos(store) == 4


def test_reads_within_one_another_keep_their_versions(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 3) as store:
        with store.read() as before:
            commit(store, 3)
            with store.read() as after:
                assert (before.counts().photos, after.counts().photos) == (3, 4)
            commit(store, 4)
            assert before.counts().photos == 3
            assert photos(store) == 5
        assert photos(store) == 5


def test_threads_read_while_another_writes(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 1) as store:
        seen: list[list[int]] = [[] for _ in range(6)]

        def read(mine: list[int]) -> None:
            while not mine or mine[-1] < 12:
                mine.append(photos(store))

        threads = [threading.Thread(target=read, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for number in range(1, 12):
            commit(store, number)
        for thread in threads:
            thread.join(60)
        for mine in seen:
            assert mine == sorted(mine) and mine[-1] == 12


def test_nothing_is_open_once_the_store_is_closed(tmp_path: Path) -> None:
    """SQLite removes its log with the last connection."""
    store = filled(tmp_path / "library", 3)
    with store.read(), store.read():
        assert (store.folder / "catalogue.db-wal").exists()
    store.close()
    assert not (store.folder / "catalogue.db-wal").exists()
