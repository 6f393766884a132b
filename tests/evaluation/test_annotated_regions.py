"""`virtue evaluate library`: boxes and captions of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import EXAMPLES, Run
from virtue import Box, Library
from virtue.errors import InputError
from virtue.evaluation.annotated_regions import evaluate_library
from virtue.store.records import Region

THINGS = {"a dog": "dog", "a cup of coffee": "coffee", "a cat": "cat"}
SIZE = 200
FIGURES = ("text_to_region", "region_to_text", "box_to_box")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of two things each, each thing in two photos, with a box and a caption."""
    place = tmp_path_factory.mktemp("own")
    folder = place / "it's photos"
    folder.mkdir()
    tiles = {
        text: Image.open(EXAMPLES / "photos" / f"{name}.jpg").resize((SIZE, SIZE))
        for text, name in THINGS.items()
    }
    texts = list(THINGS)
    pairs = {}
    for place_of_pair, text in enumerate(texts):
        other = texts[(place_of_pair + 1) % 3]
        pair = Image.new("RGB", (3 * SIZE, SIZE), "gray")
        pair.paste(tiles[text], (0, 0))
        pair.paste(tiles[other].transpose(Image.Transpose.FLIP_LEFT_RIGHT), (2 * SIZE, 0))
        pair.save(folder / f"{place_of_pair}.jpg")
        pairs[f"{place_of_pair}.jpg"] = (text, other)
    with Library(place / "library") as library:
        library.index(folder, ocr=False, regions=6)
        for photo in library.photos():
            left, right = pairs[Path(photo.paths[0]).name]
            regions = [
                Region(Box(0, 0, SIZE, SIZE), captions=(left,)),
                Region(Box(2 * SIZE, 0, 3 * SIZE, SIZE), category=right),
            ]
            library.annotate(photo.photo_id, regions=regions)
    return place


def test_given_boxes_and_captions_find_each_other(made: Path) -> None:
    with Library(made / "library", read_only=True) as library:
        found = evaluate_library(library)
        assert found.facts["photos"] == 3 and found.facts["regions"] == 6 and found.facts["texts"] == 3
        assert not found.bad
        counts = {name: found.figures[f"{name}_recall@1"].queries for name in FIGURES}
        assert counts == {"text_to_region": 3, "region_to_text": 6, "box_to_box": 6}
        for name in FIGURES:
            values = [found.figures[f"{name}_recall@{rank}"].value for rank in (1, 5, 10)]
            assert values == sorted(values) and values[1] > 0.6, name
        # The same by hand: each text's best row, and what was said of a box that covers it half or more.
        blocks = list(library.vectors("regions"))
        vectors = np.concatenate([block.vectors for block in blocks])
        boxes = np.concatenate([block.boxes for block in blocks])
        partial = (boxes != [0, 0, 3 * SIZE, SIZE]).any(axis=1)
        photos = np.concatenate([block.photo_ids for block in blocks])[partial]
        firsts = []
        for text in THINGS:
            best = (vectors[partial] @ library.embedder.query(text).T).max(axis=1).argmax()
            (owner,) = (photo for photo in library.photos() if photo.photo_id == photos[best])
            firsts.append(
                any(
                    text in (region.captions or (region.category,))
                    and region.box.iou(Box(*boxes[partial][best].tolist())) >= 0.5
                    for region in owner.regions
                )
            )
        assert found.figures["text_to_region_recall@1"].value == pytest.approx(np.mean(firsts))


def test_boxes_are_compared_with_those_shown_without_them(made: Path, tmp_path: Path) -> None:
    with Library(made / "library", read_only=True) as library:
        found = evaluate_library(library, cache=tmp_path / "cache")
        iou = found.figures["box_iou"]
        assert iou.queries == 6 and 0.1 < iou.value < 0.999  # with what was given, it would be 1
        again: list[int] = []
        known = evaluate_library(
            library, cache=tmp_path / "cache", tell=lambda done, total: again.append(done)
        )
        assert again == [] and known.as_json() == found.as_json()


def test_photos_that_are_gone_cost_themselves(made: Path, tmp_path: Path) -> None:
    gone = made / "it's photos" / "1.jpg"
    content = gone.read_bytes()
    gone.unlink()
    try:
        with Library(made / "library", read_only=True) as library:
            found = evaluate_library(library)
    finally:
        gone.write_bytes(content)
    assert [(Path(name).name, why) for name, why in found.bad] == [("1.jpg", "its file is not there")]
    assert found.figures["box_iou"].queries == 4 and found.figures["region_to_text_recall@1"].queries == 6


def test_the_command_prints_the_figures_or_what_to_do(virtue: Run, made: Path, demo_library: Path) -> None:
    done = virtue("evaluate", "library", "--database", made / "library", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert (found["name"], found["model"], found["box_to_box_recall@5"]["queries"]) == ("library", "mini", 6)
    assert {"value", "low", "high"} < set(found["text_to_region_recall@1"])
    done = virtue("evaluate", "library", "--database", demo_library)
    assert done.returncode == 2
    assert "virtue index --annotations FILE" in done.stderr.decode()
    with Library(demo_library, read_only=True) as library, pytest.raises(InputError, match="no boxes"):
        evaluate_library(library)
