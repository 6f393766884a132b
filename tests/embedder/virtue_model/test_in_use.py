"""Where people work: sentence-transformers' evaluators, a library of photos, the published example."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from torch import Tensor

from tests.conftest import Run
from tests.data.recipe import picture
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import own_folder, published_folder
from tests.embedder.virtue_model.conftest import Make
from virtue import Embedder, Library
from virtue.embedder.virtue_model import network
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.instructions import PUBLISHED
from virtue.embedder.virtue_model.sequence import Grid, token_positions


def test_sentence_transformers_evaluator_takes_it(make: Make) -> None:
    texts = {str(number): f"{number} {number + 1} {number + 2}" for number in range(20)}
    evaluator = InformationRetrievalEvaluator(texts, texts, {name: {name} for name in texts}, name="self")
    measured = evaluator(make())
    assert measured["self_cosine_accuracy@1"] == 1.0


def test_a_library_is_indexed_and_searched_with_it(tmp_path: Path) -> None:
    """The whole pipeline: decode, propose, embed, store, and a region asked for finds itself."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        picture(seed, 200 + 10 * seed, 150).save(photos / f"{seed}.png")
    (photos / "2.txt").write_text("7 8 9")
    # A random segmentation model is sure of nothing; so nothing is asked of its masks.
    model = own_folder(tmp_path / "model", proposal_quality=0.0, proposal_stability=0.0)
    with Library(tmp_path / "library", embedder=str(model)) as library:
        report = library.index(photos, ocr=False)
        assert (report.indexed, report.problems) == (4, [])
        assert library.index(photos, ocr=False).indexed == 0
        by_image = library.search(photos / "3.png", find="photos", top=4)
        assert Path(os.fsdecode(by_image[0].path)).name == "3.png"
        assert by_image[0].score == pytest.approx(1, abs=2e-3)
        (caption, *_) = library.search("7 8 9", find="captions", top=1)
        assert caption.caption == "7 8 9"
        assert caption.score == pytest.approx(1, abs=2e-3)


def test_a_published_folder_is_converted_indexed_and_searched_by_command(virtue: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(3):
        picture(seed, 200 + 10 * seed, 150).save(photos / f"{seed}.png")
    published = published_folder(REFERENCE, tmp_path / "published")
    converted = virtue("convert", published, "small", "--offline")
    assert converted.returncode == 0, converted.stderr.decode()
    indexed = virtue("index", photos, "--model", "small", "--regions", 2, "--offline", "-d", "lib")
    assert indexed.returncode == 0, indexed.stderr.decode()
    found = virtue(
        "search", "--box", "20,20,100,100", photos / "1.png", "--find", "photos", "-f", "-d", "lib"
    )
    assert found.returncode == 0, found.stderr.decode()
    assert len(found.stdout.splitlines()) == 3


if "VIRTUE_WEIGHTS" in os.environ:  # a folder with VIRTUE-2B-SCaR

    def test_the_published_example_has_its_published_figures(monkeypatch: pytest.MonkeyPatch) -> None:
        """All that the published code's virtue-example.py prints for VIRTUE-2B-SCaR: cosines with texts.
        The folder also holds the example's picture, example.jpg (800 x 599).

        Two oddities of that program are part of its figures: boxes do not reach its segmentation model, which
        sees the nine points of no prompt, but stand in the words; and its first pass counts positions from 0.
        """
        folder = Path(os.environ["VIRTUE_WEIGHTS"])
        embedder = Embedder.from_pretrained(folder)
        pets = embedder.encode(["A cat", "A dog", "A tiger"])
        image = folder / "example.jpg"

        def assert_cosines(vectors: np.ndarray, printed: list[list[float]]) -> None:
            # Printed from bfloat16, whose cosines move in the second place after the point.
            np.testing.assert_allclose(vectors @ pets.T, printed, atol=0.02)

        clicks = [{"image": image, "points": [(x * 800, 0.5 * 599)]} for x in (0.25, 0.75)]
        assert_cosines(
            embedder.encode(clicks, prompt=PUBLISHED["point"]),
            [[0.1793, 0.1339, 0.1314], [0.2232, 0.1742, 0.1692]],
        )
        boxed = [
            embedder.encode(image, prompt=PUBLISHED["box"].replace("{corners}", corners))
            for corners in ("(40, 119, 360, 479)", "(440, 119, 760, 479)")
        ]
        assert_cosines(np.stack(boxed), [[0.2100, 0.1512, 0.1719], [0.1583, 0.1953, 0.1225]])

        def from_zero(configuration: Configuration, grid: Grid | None, words: int) -> Tensor:
            places = token_positions(configuration, grid, words)
            return places if grid is None else (places - configuration.segmentation_tokens).clamp(min=0)

        monkeypatch.setattr(network, "positions", from_zero)
        question = PUBLISHED["question"].replace("{text}", "What is in the image").removesuffix("\n")
        assert_cosines(embedder.encode([image], prompt=question), [[0.3030, 0.2453, 0.1714]])
