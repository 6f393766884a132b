"""MMEB: made sets in the form of `MMEB_Test_Instruct`, with pictures and texts on either side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import EXAMPLES, Run
from tests.embedder.virtue_model.checkpoints import own_folder
from tests.evaluation.scar_folder import FILES, THINGS, write
from virtue import Embedder
from virtue.errors import InputError
from virtue.evaluation.measures import Measured
from virtue.evaluation.mmeb import (
    GROUPS,
    OUT_OF_DOMAIN,
    SETS,
    MmebItem,
    MmebResult,
    evaluate_mmeb,
    mmeb_files,
    summarize,
)

CLASSIFY = "<|image_1|>\nRepresent the given image for classification\n"
SHOW = "<|image_1|>\nRepresent the given image.\n"
FIND = "Find me an everyday image that matches the given caption"


def row(query: tuple[str, str, str], told: str, candidates: list[tuple[str, str]]) -> dict[str, Any]:
    """A row: (instruction, text, picture), the candidates' instruction, and (text, picture) of each."""
    names = ("qry_inst", "qry_text", "qry_img_path")
    texts, pictures = zip(*candidates, strict=True)
    return dict(zip(names, query, strict=True)) | {
        "tgt_inst": told,
        "tgt_text": list(texts),
        "tgt_img_path": list(pictures),
    }


def turned(values: tuple[Any, ...], place: int) -> list[Any]:
    return [*values[place:], *values[:place]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("MMEB")
    (folder / "images").mkdir()
    for name in FILES:
        Image.open(EXAMPLES / "photos" / f"{name}.jpg").resize((120, 120)).save(
            folder / "images" / f"{name}.png"
        )
    classes = [
        row((CLASSIFY, "", f"{name}.png"), "", [(text, "") for text in turned(THINGS, place)])
        for place, name in enumerate(FILES)
    ]
    pictures = [
        row((FIND, f"{text}\n", ""), SHOW, [("", f"{name}.png") for name in turned(FILES, place)])
        for place, text in enumerate(THINGS)
    ]
    write(folder / "ImageNet-1K" / "test-00000-of-00001.parquet", classes)
    write(folder / "MSCOCO_t2i.parquet", pictures)
    return folder


def test_the_sets_are_those_of_the_benchmark() -> None:
    assert {group: list(SETS.values()).count(group) for group in GROUPS} == dict(
        zip(GROUPS, (10, 10, 12, 4), strict=True)
    )
    assert len(OUT_OF_DOMAIN) == 16 and set(SETS) >= OUT_OF_DOMAIN


def test_a_model_finds_pictures_by_texts_and_texts_by_pictures(folder: Path) -> None:
    mini = Embedder.from_pretrained("mini")
    files = mmeb_files(folder)
    assert list(files) == ["ImageNet-1K", "MSCOCO_t2i"]
    for name, some in files.items():
        result = evaluate_mmeb(mini, name, some, folder / "images")
        assert result.hit_at_1 and result.hit_at_1.value >= 0.75 and result.hit_at_1.queries == 4
        assert result.as_json()["bad"] == 0


def test_instructions_reach_a_model_that_takes_them(tmp_path: Path, folder: Path) -> None:
    """The strings of the published code: one line break, and no space before it."""
    published = "\nRepresent the given image with the following question: Why?\n"
    instruction = "<|image_1|>\nRepresent the given image with the following question:"
    assert MmebItem(Path("a.jpg"), "Why?\n", instruction).words == published
    assert MmebItem(Path("a.jpg"), "", CLASSIFY).words == CLASSIFY.removeprefix("<|image_1|>")
    assert MmebItem(None, "a dog\n", FIND).words == f"{FIND} a dog\n"
    embedder = Embedder.from_pretrained(own_folder(tmp_path / "model"), device="cpu", threads=1)
    rng = np.random.default_rng(0)
    values, hits = [], []
    for name in FILES * 2:
        texts = [" ".join(map(str, rng.integers(1, 500, 4))) for _ in range(4)]
        told = (f"<|image_1|>\n7 8 {rng.integers(500)}", "9\n", f"{name}.png")
        values.append(row(told, "", [(text, "") for text in texts]))
        words = told[0].removeprefix("<|image_1|>")
        query = embedder.encode({"image": folder / "images" / told[2]}, prompt=f"{words} 9\n")
        hits.append((embedder.encode(texts) @ query).argmax() == 0)
    file = write(tmp_path / "OK-VQA.parquet", values)
    result = evaluate_mmeb(embedder, "OK-VQA", [file], folder / "images")
    assert result.hit_at_1 and result.hit_at_1.value == pytest.approx(np.mean(hits))


def test_bad_rows_are_named_and_known_ones_are_not_embedded_again(folder: Path, tmp_path: Path) -> None:
    mini = Embedder.from_pretrained("mini")
    good = row(("", "a dog", ""), "", [("", "dog.png"), ("", "cat.png"), ("", "cat.png")])
    values = [
        good,
        {**good, "qry_text": ""},
        {**good, "tgt_img_path": ["dog.png", "gone.png", "cat.png"]},
        {**good, "tgt_text": ["", ""]},
        {**good, "tgt_img_path": ["dog.png"] * 3},
        {**good, "qry_img_path": "gone.png"},
    ]
    file = write(tmp_path / "odd.parquet", values)
    told: list[tuple[int, int]] = []
    options: dict[str, Any] = {"cache": tmp_path / "cache", "tell": lambda *done: told.append(done)}
    result = evaluate_mmeb(mini, "odd", [file], folder / "images", **options)
    assert [place for place, _ in result.bad] == [1, 2, 3, 4, 5] and "gone.png" in dict(result.bad)[2]
    assert result.hit_at_1 and (result.hit_at_1.value, result.hit_at_1.queries) == (1, 1)
    assert told[-1] == (3, 3)
    told.clear()
    again = evaluate_mmeb(mini, "odd", [file], folder / "images", **options)
    assert not told and again.as_json() == result.as_json()
    with pytest.raises(InputError, match="holds no Parquet"):
        mmeb_files(tmp_path / "cache")


def test_means_are_of_complete_groups_each_set_alike() -> None:
    grounding = [name for name in SETS if SETS[name] == "Ground"]
    results = [
        MmebResult(name, Measured.of([1.0] * (place + 1)), [], 1) for place, name in enumerate(grounding)
    ]
    results[0] = MmebResult(grounding[0], Measured.of([0.0] * 50), [], 50)
    means = summarize(results)
    assert means["Ground"] and means["Ground"].value == 0.75
    assert {name for name, mean in means.items() if mean is None} == {
        "Cls",
        "VQA",
        "Ret",
        "IND",
        "OOD",
        "all",
    }


def test_the_command_writes_a_report(virtue: Run, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "report"
    done = virtue("evaluate", "mmeb", folder, "--report", place, "--cache", tmp_path / "cache", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["name"] for each in found] == ["ImageNet-1K", "MSCOCO_t2i", "MMEB"]
    assert (found[0]["group"], found[0]["domain"], found[2]["all"]) == ("Cls", "IND", None)
    assert (place / "mmeb.jsonl").read_bytes() == done.stdout
    text = (place / "mmeb.md").read_text()
    assert "| VIRTUE-2B | 64.1 | 55.7 | 68.4 | 78.7 | 69.7 | 58.8 | 64.8 |" in text
    assert found[0]["fingerprint"] in text and f"`{found[0]['command']}`" in text
    plot = (place / "mmeb.svg").read_text()
    assert plot.startswith("<?xml") and plot.count("<path") > 20
    (tmp_path / "file").touch()
    done = virtue("evaluate", "mmeb", folder, "--report", tmp_path / "file")
    assert done.returncode == 2 and "is a file" in done.stderr.decode()
