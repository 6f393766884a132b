"""`--device cpu,cpu`: a model in several processes, with the results of one; one that ends loses nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.indexer.test_workers import command
from virtue import Embedder, Library
from virtue.errors import InputError, ModelError
from virtue.indexer import Progress, model_processes, model_threads


def processes() -> list[int]:
    """Those of this program that hold a model."""
    found: list[int] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        found += map(int, listed.read_text().split())
    return [child for child in found if b"virtue.indexer.model_process" in command(child)]


def rows(folder: Path) -> dict[bytes, list[list[float]]]:
    """The vectors of each photo's regions, by its path."""
    found: dict[bytes, list[list[float]]] = {}
    with Library(folder) as library, library.store.read() as snapshot:
        numbers = range(snapshot.row_count("regions"))
        vectors = snapshot.vectors_of("regions", numbers)
        for region, vector in zip(snapshot.regions(numbers), vectors, strict=True):
            found.setdefault(region.path, []).append(vector.tolist())
    return found


def test_two_processes_make_what_one_makes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(tmp_path / "one", device="cpu") as library:
        one = library.index(photos, ocr=False, regions=4)
    monkeypatch.setattr(model_threads, "MAX_BATCH", 3)
    asked = []
    ask = model_processes._ModelProcess.embed

    def noted(process: Any, jobs: Any, warn: Any) -> Any:
        asked.append(len(jobs))
        return ask(process, jobs, warn)

    monkeypatch.setattr(model_processes._ModelProcess, "embed", noted)
    seen: set[int] = set()
    with Library(tmp_path / "two", device="cpu,cpu") as library:
        two = library.index(photos, ocr=False, regions=4, progress=lambda event: seen.update(processes()))
        assert library.embedder.devices == ("cpu", "cpu")
        assert library.verify() == []
    assert (two.indexed, two.problems) == (one.indexed, [])
    assert len(seen) == 1  # beside this one
    assert asked
    assert processes() == []
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_a_process_that_is_killed_costs_one_sentence_and_loses_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_threads, "MAX_BATCH", 1)
    count = len(list(photos.glob("*.jpg")))

    def kill(event: Progress) -> None:
        if event.stage == "indexing" and event.done == count // 2:
            for process in processes():
                os.kill(process, signal.SIGKILL)

    with Library(tmp_path / "library", device="cpu,cpu") as library:
        wanted = r"^the process with the model on cpu ended \(SIGKILL\): what was done is kept, index again "
        with pytest.raises(ModelError, match=wanted):
            library.index(photos, ocr=False, regions=2, progress=kill)
        assert processes() == []
        assert library.verify() == []
        kept = library.index(photos, ocr=False, regions=2, progress=None)
        assert 0 < kept.indexed < count
        assert kept.indexed + kept.unchanged == count
        assert library.verify() == []


def test_the_command_line_takes_several_devices(virtue: Run, photos: Path) -> None:
    done = virtue("index", photos, "--device", "cpu,cpu", "--regions", "none", "--json", "-d", "lib")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["indexed"] == len(list(photos.glob("*.jpg")))
    for wrong, said in (("cpu,", "names a device without a name"), ("cpu,cuda:77", "runs on the CPU alone")):
        (photos / "one.jpg").write_bytes((next(photos.glob("*.jpg"))).read_bytes())
        refused = virtue("index", photos, "--device", wrong, "--rehash", "-d", f"lib{said[:3]}")
        assert refused.returncode == 2
        assert said in refused.stderr.decode()
        assert len(refused.stderr.splitlines()) == 1


def test_an_embedder_that_is_loaded_has_its_device(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device='cpu' comes too late for an Embedder"):
        Library(tmp_path, embedder=Embedder.from_pretrained("mini"), device="cpu")
