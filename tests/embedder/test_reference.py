"""The published model against its reference: vectors that the published code returned for a small model
whose parameters are all known (tests/data/README.md).

`VIRTUE_REFERENCE` names another JSON file of the same form.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from tests.data.recipe import picture, tokens  # noqa: E402
from tests.embedder.virtue_model.checkpoints import published_folder  # noqa: E402
from virtue import Embedder  # noqa: E402
from virtue.embedder.virtue_model import image_preprocessing  # noqa: E402
from virtue.embedder.virtue_model.prompt_encoding import encode_prompt  # noqa: E402
from virtue.geometry import Box, Point, Prompt  # noqa: E402
from virtue.pictures import load  # noqa: E402
from virtue.resizing import WholeCells  # noqa: E402

DEFAULT = Path(__file__).parents[1] / "data" / "reference_embeddings.json"
REFERENCE: Mapping[str, Any] = json.loads(Path(os.environ.get("VIRTUE_REFERENCE") or DEFAULT).read_text())
FRAME = 1024
"""Side of the frame in which the published code wants its prompts."""


@dataclass(frozen=True)
class Row:
    """One row of a case: what goes in, and the vector that should come out."""

    case: Mapping[str, Any]
    number: int

    def __str__(self) -> str:
        return f"{self.case['name']} [{self.number}]"

    @cached_property
    def item(self) -> Any:
        text = " ".join(map(str, tokens(*self.case["texts"][self.number])))
        image = self.case["images"][self.number]
        if image is None:
            return text
        x, y = image[1] / FRAME, image[2] / FRAME
        item: dict[str, Any] = {"image": picture(*image), "text": text}
        if "point" in self.case:
            item["points"] = [(self.case["point"][0] * x, self.case["point"][1] * y, 1)]
        if "bboxes" in self.case:
            x0, y0, x1, y1 = self.case["bboxes"][self.number]
            item["box"] = (x0 * x, y0 * y, x1 * x, y1 * y)
        return item

    @property
    def embedding(self) -> np.ndarray:
        return np.asarray(self.case["embedding"][self.number])


ROWS = [Row(case, number) for case in REFERENCE["cases"] for number in range(len(case["texts"]))]
SEEN = [row for row in ROWS if row.case["images"][row.number] is not None]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    folder = tmp_path_factory.mktemp("reference") / "VIRTUE"
    return Embedder.from_pretrained(str(published_folder(REFERENCE, folder)), device="cpu", threads=1)


@pytest.fixture(scope="module")
def scenes(embedder: Embedder) -> Mapping[tuple[int, ...], Any]:
    """(seed, width, height) of a picture -> its scene."""
    keys = sorted({tuple(row.case["images"][row.number]) for row in SEEN})
    return dict(zip(keys, embedder.scenes([load(picture(*key)) for key in keys]), strict=True))


def assert_equal(vector: np.ndarray, row: Row) -> None:
    cosine = float(vector @ row.embedding / np.linalg.norm(vector) / np.linalg.norm(row.embedding))
    assert cosine >= 0.99999, f"{row}: cosine {cosine}"
    assert np.abs(vector - row.embedding).max() <= 1e-4, str(row)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["name"])
def test_every_case_is_equal(embedder: Embedder, case: Mapping[str, Any]) -> None:
    rows = [Row(case, number) for number in range(len(case["texts"]))]
    for vector, row in zip(embedder.encode([row.item for row in rows]), rows, strict=True):
        assert_equal(vector, row)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_is_equal_in_mixed_batches_of_any_order(embedder: Embedder, seed: int) -> None:
    """Text-only rows beside pictures, rows with and without prompts, grids of several sizes."""
    rows = random.Random(seed).sample(ROWS, len(ROWS))
    vectors = embedder.encode([row.item for row in rows], batch_size=(len(rows), 5)[seed])
    for vector, row in zip(vectors, rows, strict=True):
        assert_equal(vector, row)


def test_an_item_has_the_same_vector_alone_and_in_any_company(embedder: Embedder) -> None:
    together = embedder.encode([row.item for row in ROWS])
    for number in range(0, len(ROWS), 3):
        alone = embedder.encode(ROWS[number].item)
        assert np.abs(together[number] - alone).max() <= 1e-5, str(ROWS[number])


@pytest.mark.parametrize("row", [row for row in SEEN if row.number == 0], ids=str)
def test_pixels_are_equal(embedder: Embedder, row: Row) -> None:
    expected, model = row.case["pixel_values"], embedder.model
    settings = model.configuration
    fit = WholeCells(images_cell(), settings.min_pixels, settings.max_pixels)
    fitted = fit(load(row.item["image"]).pixels)
    values = model.network.vision.cut_patches(
        image_preprocessing.normalize(torch.from_numpy(fitted.copy())[None])
    ).numpy()
    assert list(values.shape) == expected["shape"]
    np.testing.assert_allclose(values[0, :8], expected["first"], atol=1e-6)
    assert values.mean() == pytest.approx(expected["mean"], abs=1e-6)
    assert values.std() == pytest.approx(expected["std"], abs=1e-6)


def images_cell() -> int:
    vision = REFERENCE["config"]["language_model"]["vision"]
    return vision["patch_size"] * vision["spatial_merge_size"]


@pytest.mark.parametrize("case", [row.case for row in SEEN if row.number == 0], ids=lambda c: c["name"])
def test_segmentation_tokens_are_equal(
    embedder: Embedder, scenes: Mapping[tuple[int, ...], Any], case: Mapping[str, Any]
) -> None:
    expected, network = case["segmentation_tokens"], embedder.model.network
    rows = [row for row in SEEN if row.case is case]
    seen = [scenes[tuple(case["images"][row.number])] for row in rows]
    drawings = [
        encode_prompt(prompt_of(row), scene.width, scene.height, network.segmentation.side, "scaled")
        for row, scene in zip(rows, seen, strict=True)
    ]
    with torch.inference_mode():
        made = network.segmentation_tokens(seen, drawings).numpy()
    assert list(made.shape) == expected["shape"]
    np.testing.assert_allclose(made[0, 0, :8], expected["first"], atol=1e-4)
    np.testing.assert_allclose(made[0, -1, :8], expected["last"], atol=1e-4)
    assert made.mean() == pytest.approx(expected["mean"], abs=1e-5)
    assert made.std(ddof=1) == pytest.approx(expected["std"], abs=1e-5)


def prompt_of(row: Row) -> Prompt | None:
    if "box" in row.item:
        return Prompt(box=Box(*row.item["box"]))
    if "points" in row.item:
        return Prompt(points=tuple(Point(x, y) for x, y, _ in row.item["points"]))
    return None


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_sequence_holds_the_published_tokens(
    embedder: Embedder, scenes: Mapping[tuple[int, ...], Any], row: Row
) -> None:
    """Image tokens, then the words of the text: none added, none lost."""
    config = REFERENCE["config"]["language_model"]
    expected = [id for id in row.case["input_ids"][row.number] if id != config["pad_token_id"]]
    words = [id for id in expected if id != config["image_token_id"]]
    text = row.item if isinstance(row.item, str) else row.item["text"]
    assert list(embedder.model.tokenizer.encode(text)) == words
    if row in SEEN:
        scene = scenes[tuple(row.case["images"][row.number])]
        assert len(scene.tokens) == len(expected) - len(words)
