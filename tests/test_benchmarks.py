"""The short forms of what looks for faults; the full ones are commands in benchmarks/."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT


def measured(module: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_killed_runs_lose_and_double_nothing() -> None:
    figures = measured("kill", "--rounds", 10)
    assert figures["faults"] == 0, figures["what"]
    assert figures["killed_while_running"] > 0


def test_killed_writers_lose_nothing_and_readers_beside_one_are_right() -> None:
    figures = measured("store_faults", "--rounds", 2, "--seconds", 4, "--readers", 3)
    assert figures["faults"] == 0, figures["what"]
    works = ("append", "extend", "retrain", "delete", "compact", "migrate")
    assert sum(figures[work]["killed_while_running"] for work in works) > 0
    assert figures["readers"]["answers"] > 0
    assert figures["readers"]["wrong"] == 0


def test_bad_files_are_indexed_or_named() -> None:
    figures = measured("bad_files", "--files", 200)
    assert (figures["crashes"], figures["neither"]) == (0, 0), figures["what"]
    assert figures["indexed"] + figures["named_with_a_reason"] + figures["tables"] == 200
    assert figures["odd"] > 90 and figures["tables"] == 5
    assert figures["peak_mb"] < 1500


def test_hostile_inputs_are_refused_in_a_sentence_and_change_nothing() -> None:
    words = ["--inputs", 30, "--kinds", "parquet,coco,captions,libraries"]
    figures = measured("hostile", *words)
    assert figures["faults"] == {}, figures["what"]
    assert figures["inputs"] == 30
    assert sum(statuses.get("2", 0) for statuses in figures["statuses"].values()) > 10
    figures = measured("hostile", "--inputs", 12, "--kinds", "pictures")
    assert figures["faults"] == {}, figures["what"]
    assert figures["peak_mb"] < 1500


def test_a_run_over_unchanged_files_opens_none() -> None:
    assert measured("unchanged", "--files", 600, "--repetitions", 1)["files"] == 600


def test_what_regions_share_is_counted_by_shapes_alone() -> None:
    """One region shares nothing; four share the picture's work, and more where the image comes first."""
    words = ["--count-only", "--size", "reduced", "--regions", "1", "4", "--images", "0"]
    command = [sys.executable, "-m", "benchmarks.regions", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ratios = {(line["layout"], line["regions"]): line["ratio_by_operations"] for line in lines}
    assert ratios["published", 1] == ratios["image-first", 1] == 1
    assert 1.5 < ratios["published", 4] < ratios["image-first", 4] < 4


def test_regions_are_measured() -> None:
    words = ["--size", "reduced", "--device", "cpu", "--regions", 1, "--images", 0, "--repeats", 1]
    figures = measured("regions", *words, "--layout", "image-first")
    assert figures["regions_per_second"] > 0
    assert figures["peak_memory_bytes"] > 1e8


def test_feeding_is_measured() -> None:
    figures = measured("feeding", "--photos", 4, "--megapixels", 0.1)
    assert [run["whole_s"] > 0 for run in figures["runs"]] == [True] * 3


def test_what_measures_a_card_works() -> None:
    """Every part but the tests themselves, and compiling, which takes minutes."""
    words = ["--device", "cpu", "--tiny", "--parts", "reference,model,index,search"]
    figures = measured("cuda", *words)
    parts = {name: figures[name] for name in ("reference", "model", "index", "search")}
    assert "failed" not in json.dumps(parts), parts
    assert parts["reference"]["fp32"]["greatest_difference"] <= 1e-4
    assert parts["reference"]["bf16"]["least_cosine"] >= 0.99
    measures = [line for line in parts["model"] if line["teraflop_per_second"] >= 0]
    assert [line.get("regions") for line in measures] == [1, 4, None] * 2
    assert parts["search"]["same_hits"] is True
    assert parts["index"]["cpu"]["distance"] > 0


def test_without_a_card_nothing_is_measured_and_one_sentence_says_so() -> None:
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "benchmarks.cuda"]
    done = subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("there is no card of CUDA here: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_service_bears_many_clients_while_decoders_die_and_an_index_runs():
    soak = measured("service", "--only", "soak", "--soak-seconds", 4, "--soak-clients", 12)["soak"]
    assert (soak["server_errors"], soak["wrong"]) == (0, 0), soak["what"]
    assert soak["decoders_killed"] > 0 and soak["index_runs"] > 0
    assert sum(soak["descriptors_left"].values()) <= 32, "connections of SQLite: one a thread"


def test_a_service_keeps_to_its_openapi_document():
    words = ["--only", "contract", "--contract-seconds", 15, "--contract-phases", "fuzzing"]
    contract = measured("service", *words)["contract"]
    assert (contract["faults"], contract["errors"]) == ([], []), contract
    assert contract["cases"] > 50


def test_stores_find_the_same_and_more_processes_do_more() -> None:
    """Few rows are read one by one in both."""
    figures = measured("machines", "--regions", 3000, "--queries", 5)
    assert figures["unequal_scores"] == 0
    searches = figures["folder"]["searches"] + figures["postgresql"]["searches"]
    assert [(each["recall"], each["rows"]) for each in searches if each["allowed"] != "0.1 %"] == [
        (1, 10)
    ] * 16
    words = ["--photos", 5000, "--ms-a-photo", 50, "--processes", 1, 10]
    alone, ten = measured("lease_queue", *words)["runs"]
    assert 5 * alone["photos_a_second"] < ten["photos_a_second"] <= 200
