"""Data as it is published, and what is wrong with some of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.training.conftest import COLOURS, Configure, draw, write_parquet
from virtue.errors import InputError, PromptError
from virtue.geometry import Box, Prompt
from virtue.training.coco_source import CocoSource
from virtue.training.example_stream import ExampleStream
from virtue.training.examples import Example, Side
from virtue.training.item_loading import fit_prompt
from virtue.training.parquet_source import read_parquet
from virtue.training.scene_source import SceneSource, compose_scenes
from virtue.training.trainer import Trainer, train

MMEB = {
    "qry": "<|image_1|>\nRepresent the given image for classification\n", "qry_image_path": "VOC/1.jpg",
    "pos_text": "a {box}", "pos_image_path": "", "neg_text": "", "neg_image_path": "",
}  # fmt: skip
SCAR = {
    "qry": "<|image_1|>\nFind the caption.\n", "qry_image_path": "coco/1.jpg", "pos_text": "a cup on a table",
    "pos_image_path": "", "neg_text": [f"wrong {n}" for n in range(9)], "neg_image_path": [""] * 9,
    "bbox": [10.1, 20.0, 0.2, 40.5],
}  # fmt: skip


def test_mmeb_rows_become_what_the_published_code_makes_of_them(tmp_path: Path) -> None:
    write_parquet(tmp_path / "VOC2007" / "original-00000-of-00001.parquet", [MMEB])
    write_parquet(tmp_path / "VOC2007" / "diverse_instruction-00000-of-00001.parquet", [MMEB, MMEB])
    candidate = {"pos_text": "<|image_1|> \nRepresent it.\n", "pos_image_path": "a/2.jpg"}
    row = {**MMEB, "qry": "Find it: a dog\n", "qry_image_path": "", **candidate}
    write_parquet(tmp_path / "MSCOCO_t2i" / "original-00000-of-00001.parquet", [row])
    t2i, voc = read_parquet(tmp_path, Path("images"), "mmeb", weight=2)
    assert (voc.name, voc.weight, len(voc)) == ("mmeb VOC2007", 2, 1)
    assert voc.example(0) == Example(
        Side(MMEB["qry"].removeprefix("<|image_1|>"), Path("images/VOC/1.jpg"), instruction=""),
        Side("a {box}", instruction=""),
    )
    assert t2i.example(0) == Example(
        Side("Find it: a dog\n", instruction=""),
        Side("\nRepresent it.\n", Path("images/a/2.jpg"), instruction=""),
    )


def test_scar_rows_have_their_box_in_words_and_nine_negatives(tmp_path: Path) -> None:
    (source,) = read_parquet(write_parquet(tmp_path / "SCAR_x.parquet", [SCAR]), Path("i"), "scar")
    example = source.example(0)
    box = Box(10.1, 20.0, 10.299999999999999, 60.5)
    words = "\nFind the caption.\nReferring object bbox: [10.1, 20.0, 10.299999999999999, 60.5]"
    assert (example.query.text, example.query.image) == (words, Path("i/coco/1.jpg"))
    assert example.query.prompt is not None and example.query.prompt.box == box
    assert example.query.instruction == ""
    assert [side.text for side in example.negatives] == [f"wrong {n}" for n in range(9)]
    evaluation = {
        "qry_text": SCAR["qry"], "qry_image_path": SCAR["qry_image_path"], "bbox": SCAR["bbox"],
        "tgt_text": [SCAR["pos_text"], *SCAR["neg_text"]],
    }  # fmt: skip
    (other,) = read_parquet(write_parquet(tmp_path / "eval.parquet", [evaluation]), Path("i"), "scar")
    assert [side.content_id for side in other.example(0).sides] == [side.content_id for side in example.sides]


def test_broken_rows_are_named(tmp_path: Path) -> None:
    faults: list[tuple[dict[str, Any], str]] = [
        ({"bbox": [1.0, 2.0, 0.0, 4.0]}, "has no size"), ({"bbox": [1.0, 2.0]}, "not x, y, w, h"),
        ({"pos_text": " "}, "no positive"), ({"qry_image_path": ""}, "a box and no image"),
    ]  # fmt: skip
    file = write_parquet(tmp_path / "SCAR_x.parquet", [{**SCAR, **change} for change, _ in faults])
    (source,) = read_parquet(file, Path("i"), "scar")
    for row, (_, said) in enumerate(faults):
        with pytest.raises(InputError, match=f"^scar SCAR_x, row {row}: .*{said}"):
            source.example(row)
    with pytest.raises(InputError, match="lacks the column bbox"):
        read_parquet(write_parquet(tmp_path / "m.parquet", [MMEB]), Path("i"), "scar")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="is no Parquet file, or damaged"):
        read_parquet(tmp_path / "no.parquet", Path("i"), "scar")


def test_coco_annotations_find_their_captions_at_the_size_of_the_picture(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 50}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [10, 10, 20, 30], "category_id": 3},
            {"id": 2, "image_id": 1, "bbox": [10, 10, 20, 30], "category_id": 3, "caption": "a cat asleep"},
            {"id": 3, "image_id": 1, "caption": "a room"},
            {"id": 4, "image_id": 1, "bbox": [90, 10, 200, 30], "caption": "outside"},
            {"id": 5, "image_id": 1, "bbox": [1, 1, 2, 3]},
        ],
    }
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    source = CocoSource(file, Path("photos"))
    assert len(source) == 4  # the last says nothing
    examples = [source.example(row) for row in range(3)]
    assert [example.positive.text for example in examples] == ["cat", "a cat asleep", "a room"]
    assert examples[2].query.prompt is None
    fitted = fit_prompt(examples[1].query, 200, 100)
    assert fitted is not None and fitted.box == Box(20, 20, 60, 80)
    with pytest.raises(InputError, match="drawn on 100 x 50 pixels, and the picture has 100 x 100"):
        fit_prompt(examples[1].query, 100, 100)
    with pytest.raises(InputError, match="annotation 4 of"):
        source.example(3)


def test_scenes_ask_for_the_caption_of_a_thing(tmp_path: Path) -> None:
    for colour in ("red", "blue", "green", "gold", "pink", "brown", "gray", "black", "teal", "navy", "plum"):
        picture = Image.new("RGBA", (48, 48))
        ImageDraw.Draw(picture).ellipse((2, 2, 46, 46), fill=colour)
        picture.save(tmp_path / f"{colour}.png")
        (tmp_path / f"{colour}.txt").write_text(f"a {colour} ball")
    scenes = compose_scenes(tmp_path, None, seed=3, length=20)
    source = SceneSource(scenes, prompts=("box", "point", "mask", "none"))
    first, again = SceneSource(scenes).example(4), SceneSource(scenes).example(4)
    asked = next(query for query in scenes[4].queries if query.captions[0].text == first.positive.text)
    assert first.positive.text == asked.captions[0].text
    assert [side.text for side in first.negatives] == [caption.text for caption in asked.captions[1:]]
    assert first.query.prompt is not None
    assert first.query.prompt.box == scenes[4].objects[asked.object].box
    drawn = [source.example(row).query.prompt for row in range(20)]
    kinds = {prompt and (bool(prompt.box), len(prompt.points), prompt.mask is not None) for prompt in drawn}
    assert kinds == {None, (True, 0, False), (False, 1, False), (False, 0, True)}
    for row, prompt in enumerate(drawn):
        if prompt is not None and prompt.points:
            x, y = int(prompt.points[0].x), int(prompt.points[0].y)
            named = source.example(row).positive.text
            things = [
                scenes[row].objects[query.object]
                for query in scenes[row].queries
                if query.captions[0].text == named
            ]
            assert any(thing.mask[y, x] for thing in things)
    assert np.array_equal(first.query.image.pixels, again.query.image.pixels)  # type: ignore[union-attr]


class Numbers:
    """Rows that are their own numbers."""

    is_cheap = True

    def __init__(self, name: str, count: int, weight: float = 1.0) -> None:
        self.name, self.weight, self.faults, self._count = name, weight, [], count

    def __len__(self) -> int:
        return self._count

    def example(self, row: int) -> Example:
        return Example(Side(text=f"{self.name} {row}"), Side(text="x"))


def test_blocks_are_of_one_source_by_weight_and_rows_come_once_an_epoch() -> None:
    sources = [Numbers("few", 10, 1), Numbers("many", 100, 3)]
    stream = ExampleStream(sources, block=8, seed=5)
    places = [stream.place(position) for position in range(8 * 200)]
    blocks = [{place.source for place in places[start : start + 8]} for start in range(0, len(places), 8)]
    assert all(len(block) == 1 for block in blocks)
    assert 120 < sum(block == {1} for block in blocks) < 180
    few = [place.row for place in places if place.source == 0]
    assert all(sorted(few[start : start + 10]) == list(range(10)) for start in range(0, len(few) - 10, 10))
    assert few[:10] != few[10:20]
    # Known at any place at once, and of another seed another.
    assert ExampleStream(sources, block=8, seed=5).place(1500) == places[1500]
    assert [ExampleStream(sources, block=8, seed=6).place(n) for n in range(80)] != places[:80]
    with pytest.raises(InputError, match="the source none has no rows"):
        ExampleStream([Numbers("none", 0)], block=8, seed=0)


def test_rows_that_cannot_be_used_cost_themselves_and_are_named(configure: Configure, tmp_path: Path) -> None:
    draw([*COLOURS][:4]).save(tmp_path / "whole.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    good = {
        "qry": "a square",
        "qry_image_path": "whole.png",
        "pos_text": "red",
        "bbox": [10.0, 10.0, 60.0, 60.0],
    }
    changes: list[dict[str, Any]] = [
        {}, {"pos_text": "green"}, {"qry_image_path": "gone.png"}, {"qry_image_path": "torn.png"},
        {"bbox": [150.0, 10.0, 60.0, 60.0]}, {"pos_text": None},
    ]  # fmt: skip
    file = write_parquet(tmp_path / "rows.parquet", [{**good, **change} for change in changes])
    config = configure(sources=[{"kind": "scar", "path": file, "images": tmp_path}], steps=2, batch=6)
    report = train(config, device="cpu")
    named = [
        json.loads(line)["row"] for line in (config.output / "broken_rows.jsonl").read_text().splitlines()
    ]
    assert report.broken_rows == len(named) == 4
    said = Counter(
        word
        for word in ("gone.png", "torn.png", "leaves the picture", "no positive")
        for s in named
        if word in s
    )
    assert set(said.values()) == {1} and len(said) == 4
    only_broken = write_parquet(tmp_path / "none.parquet", [{**good, **changes[2]}])
    config = configure(sources=[{"kind": "scar", "path": only_broken, "images": tmp_path}])
    with pytest.raises(InputError, match="50 rows of the source scar none were broken"):
        Trainer(config, device="cpu").load_batch(0)


def test_a_box_outside_is_an_error_of_its_row() -> None:
    with pytest.raises(PromptError, match="leaves the picture"):
        fit_prompt(Side(image=Path("x"), prompt=Prompt(box=Box(1, 1, 50, 50))), 40, 40)
