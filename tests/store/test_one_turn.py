"""One block of `Store.write` holds all that a command does, and readers see each commit of it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from tests.store.clustered import REGIONS, WORTH, add, texts, vectors
from virtue.errors import LockedError
from virtue.store import open_store
from virtue.store.calibration import SampleQueries
from virtue.store.records import Find, QueryKind


def test_readers_see_every_step_of_one_turn(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with open_store(folder, create=True) as store, open_store(folder, read_only=True) as reader:
        versions: list[int] = []

        def look() -> int:
            """How many regions a reader finds now, in a version of its own."""
            with reader.read() as snapshot:
                versions.append(snapshot.version)
                return snapshot.counts().regions

        def tuning_texts() -> np.ndarray:
            assert look() == 100 * REGIONS
            with open_store(folder) as other, pytest.raises(LockedError), other.write("other"):
                pass
            return texts(60, 1)

        def queries(find: Find, rows: np.ndarray) -> dict[QueryKind, SampleQueries]:
            look()
            return {"image": SampleQueries(rows), "text": SampleQueries(texts(10, 2))}

        with store.write("test") as writer:
            writer.generation("clip", "f", vectors(1, 1).shape[1])
            add(writer, 0, 100)
            assert look() == 100 * REGIONS
            tunings = writer.refresh_indexes(max_scanned_floats=WORTH, texts=tuning_texts)
            assert [each.query_kind for each in tunings] == ["image", "text"]
            assert writer.refresh_calibration(queries)
            add(writer, 100, 20)
            assert writer.refresh_indexes(max_scanned_floats=WORTH, texts=tuning_texts) == []
            writer.forget([b"/photos/%d.jpg" % number for number in range(50)])
            assert look() == 70 * REGIONS
            assert writer.compact().dead == 50 * REGIONS
            assert look() == 70 * REGIONS
            with reader.read() as snapshot:
                assert snapshot.search_params("regions") is None
            writer.refresh_indexes(max_scanned_floats=WORTH)
            with reader.read() as snapshot:
                assert snapshot.search_params("regions") is not None
            (index,) = folder.glob("index-*.faiss")
            index.unlink()
            assert [fault.kind for fault in writer.repair()] == ["index"]
            assert store.verify() == []
        assert versions == sorted(versions) and len(set(versions)) >= 5
        assert store.verify() == []


def test_what_is_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "virtue")
    with open_store(tmp_path / "library", create=True) as store, store.write("test") as writer:
        writer.generation("clip", "f", vectors(1, 1).shape[1])
        add(writer, 0, 100)
        writer.refresh_indexes(max_scanned_floats=WORTH)
        add(writer, 100, 20)
        writer.refresh_indexes(max_scanned_floats=WORTH)
    lines = [record.getMessage() for record in caplog.records if record.name == "virtue"]
    told = [line.removeprefix(f"{store.folder}: ").rpartition(" (")[0] for line in lines]
    assert f"committed 100 photos, {100 * REGIONS} rows" in told
    assert f"index of regions trained, {100 * REGIONS} rows" in told
    assert f"index of regions extended, {120 * REGIONS} rows" in told
