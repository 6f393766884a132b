"""Indexes in PostgreSQL are built and tuned once, whoever else tries at the same time, and whoever was
stopped in the middle of it."""

from __future__ import annotations

import logging
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.postgres_server import running_server
from tests.store.builders import filled, vectors
from virtue.store import Store, open_store
from virtue.store.records import TuningResult

FEW = 100
"""Numbers from which on there is an index here."""


def refresh(store: Store, progress: object = None) -> list[TuningResult]:
    with store.write("test") as writer:
        return writer.refresh_indexes(max_scanned_floats=FEW, progress=progress)  # type: ignore[arg-type]


def indexes(database: str) -> list[tuple[str, bool]]:
    """(name, whether it is sound) of each index of signs."""
    with psycopg.connect(database, autocommit=True) as plain:
        sql = (
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE relname LIKE 'vectors%%signs%%'"
        )
        return plain.execute(sql).fetchall()


def test_whoever_comes_while_another_builds_or_tunes_goes_on_without_an_error(database: str) -> None:
    filled(database, 60).close()
    came, gone = threading.Event(), threading.Event()
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append(what)
        if done == 0:
            gone.clear()
            came.set()
            assert gone.wait(60)

    built: list[list[TuningResult]] = []

    def build() -> None:
        with open_store(database) as store:
            built.append(refresh(store, progress))
        came.set()

    builder = threading.Thread(target=build)
    builder.start()
    others = []
    with open_store(database) as store:
        while came.wait() and builder.is_alive() and not built:
            came.clear()
            others.append(refresh(store))
            gone.set()
        builder.join()
        assert set(told) == {"building the index of regions", "tuning the index of regions"}
        assert [each.query_kind for each in built[0]] == ["image"]
        assert len(others) >= 2 and not any(others)
        assert indexes(database) == [("vectors_1_regions_signs", True)]
        assert refresh(store) == [], "it is there"


class Stopped(Exception):
    pass


def test_an_index_that_was_left_half_built_or_untuned_is_ended_by_the_next(database: str) -> None:
    def stop_tuning(what: str, done: int, total: int) -> None:
        if what.startswith("tuning"):
            raise Stopped

    with filled(database, 60) as store:
        # What PostgreSQL leaves of a build that ends early.
        half = (
            "CREATE UNIQUE INDEX CONCURRENTLY vectors_1_regions_signs ON virtue.vectors_1_regions ((row > 0))"
        )
        with (
            psycopg.connect(database, autocommit=True) as plain,
            pytest.raises(psycopg.errors.UniqueViolation),
        ):
            plain.execute(half)
        assert indexes(database) == [("vectors_1_regions_signs", False)]
        with pytest.raises(Stopped):
            refresh(store, stop_tuning)
        assert indexes(database) == [("vectors_1_regions_signs", True)]
        with store.read() as snapshot:
            assert snapshot.search_params("regions") is None
        (tuned,) = refresh(store)
        assert tuned.kind == "regions"
        with store.read() as snapshot:
            assert snapshot.search_params("regions") == {"image": tuned.chosen}
            assert len(snapshot.search("regions", vectors(1, 1), 1000).rows) == 120
        assert refresh(store) == []


@contextmanager
def small_files() -> Iterator[None]:
    """Lets what is started in this block write no file of more than 32 MB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 * 1024**2, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_processes_of_the_server_share_little_memory_one_builds_the_index(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a container, which has 64 MB of it. Here no file of the server may be larger, and that is one."""
    with ExitStack() as stack:
        with small_files():
            server = stack.enter_context(running_server(min_parallel_table_scan_size="0"))
        database = server.make_database()
        with filled(database, 60) as store:
            assert [each.kind for each in refresh(store)] == ["regions"]
        assert indexes(database) == [("vectors_1_regions_signs", True)]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and "share too little memory" in warned[0]
