"""`resize="published"`: pictures as the published evaluation resized them, squashed to a square first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from tests.conftest import Run
from tests.data.recipe import picture
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import own_folder, published_folder
from virtue import Embedder, Library
from virtue.embedder.virtue_model import image_preprocessing
from virtue.embedder.virtue_model.configuration import (
    PUBLISHED_MAX_PIXELS,
    PUBLISHED_MIN_PIXELS,
    PUBLISHED_SQUARE,
    Configuration,
)
from virtue.errors import ModelError
from virtue.resizing import SquashedFirst, WholeCells

EVALUATION = SquashedFirst(1344, WholeCells(28, PUBLISHED_MIN_PIXELS, PUBLISHED_MAX_PIXELS))
PHOTO = np.asarray(picture(5, 200, 120))
"""200 pixels wide, 120 high."""


def squashed(pixels: np.ndarray) -> np.ndarray:
    """What `PIL.Image.resize((1344, 1344))` makes, by its default filter."""
    return np.asarray(Image.fromarray(pixels).resize((1344, 1344)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_folder(REFERENCE, tmp_path_factory.mktemp("reference") / "VIRTUE")


def load(name: object, **options: object) -> Embedder:
    return Embedder.from_pretrained(str(name), device="cpu", threads=1, offline=True, **options)


def test_the_published_evaluation_sees_980_by_980_whatever_the_shape() -> None:
    for size in ((800, 599), (480, 640), (4000, 300), (20, 20)):
        assert EVALUATION.size(*size) == (980, 980)
    assert (980 // 28) ** 2 == 1225  # image tokens, as counted with the published code


def test_pixels_are_those_of_the_published_processor() -> None:
    """The squash by Pillow, then Qwen2-VL's own processor, as transformers has it."""
    processor = Qwen2VLImageProcessorPil(min_pixels=PUBLISHED_MIN_PIXELS, max_pixels=PUBLISHED_MAX_PIXELS)
    wanted = processor(images=Image.fromarray(squashed(PHOTO)), return_tensors="np")["pixel_values"]
    pixels = image_preprocessing.normalize(torch.from_numpy(EVALUATION(PHOTO).copy())[None]).numpy()
    assert wanted.shape == (70 * 70, 3 * 2 * 14 * 14)
    cells = pixels.reshape(3, 35, 2, 14, 35, 2, 14).transpose(1, 4, 2, 5, 0, 3, 6)
    still = np.repeat(cells[:, :, :, :, :, None], 2, axis=5).reshape(wanted.shape)
    np.testing.assert_allclose(still, wanted, atol=2e-6)


def test_vectors_are_those_of_the_squashed_picture_and_its_prompts(folder: Path) -> None:
    """With the reference's checkpoint, whose vectors for pictures as they are the published code made."""
    plain, evaluated = load(folder), load(folder, resize="published")
    x, y = 1344 / 200, 1344 / 120
    square = squashed(PHOTO)
    found = evaluated.encode(
        [
            {"image": PHOTO, "text": "42 7"},
            {"image": PHOTO, "box": (20, 12, 120, 60), "text": "42"},
            {"image": PHOTO, "points": [(50, 60, 1)], "text": "42"},
        ]
    )
    wanted = plain.encode(
        [
            {"image": square, "text": "42 7"},
            {"image": square, "box": (20 * x, 12 * y, 120 * x, 60 * y), "text": "42"},
            {"image": square, "points": [(50 * x, 60 * y, 1)], "text": "42"},
        ]
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (found[0] @ plain.encode({"image": PHOTO, "text": "42 7"})) < 0.9999


def test_words_keep_the_coordinates_of_the_original(folder: Path) -> None:
    from virtue.embedder import Item
    from virtue.geometry import Box, Prompt
    from virtue.pictures import load as read

    model = load(folder, resize="published").model
    said: list[str] = []
    encode = model.tokenizer.encode
    model.tokenizer.encode = lambda text, **options: said.append(text) or encode(text, **options)
    [scene] = model.scenes([read(PHOTO)])
    model.embed([Item(scene, Prompt(box=Box(20, 12, 120, 60)))])
    assert said[0].endswith("Referring object bbox: [20.0, 12.0, 120.0, 60.0]")


def test_it_is_a_model_of_its_own_and_part_of_its_name(folder: Path) -> None:
    plain, by_option, by_name = load(folder), load(folder, resize="published"), load(f"{folder}#published")
    assert by_option.name == by_name.name == f"{folder}#published"
    assert by_option.fingerprint == by_name.fingerprint != plain.fingerprint
    assert load(by_name.name, resize="published").name == by_name.name


def test_a_library_remembers_it_and_workers_resize(virtue: Run, tmp_path: Path) -> None:
    model = own_folder(
        tmp_path / "model", layout="published", double_normalisation=True, resize="pillow", max_pixels=10_000
    )
    (tmp_path / "photos").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "photos" / "a.png")
    place = ["-d", tmp_path / "library"]
    options = ["--model", f"{model}#published", "--regions", "none", "-q"]
    done = virtue("index", tmp_path / "photos", *place, *options)
    assert (done.returncode, done.stderr) == (0, b"")
    with Library(tmp_path / "library") as library:
        assert library.embedder.name == f"{model}#published"
        [hit] = library.search({"image": PHOTO}, find="regions")
        with library.store.read() as snapshot:
            [row] = snapshot.vectors_of("regions", [0])
    np.testing.assert_allclose(row, load(f"{model}#published").encode(PHOTO), atol=2e-3)
    assert row @ load(model).encode(PHOTO) < 0.9999
    assert hit.path.endswith("a.png")


def test_what_is_unknown_is_refused_in_a_sentence(folder: Path) -> None:
    with pytest.raises(
        ModelError, match="resize='squash' is unknown: use resize='published', or leave it out"
    ):
        load(folder, resize="squash")
    with pytest.raises(ModelError, match="#squash is not for this model; use #published, "):
        load(f"{folder}#squash")
    with pytest.raises(ModelError, match="the model 'mini' has no revisions and no variants"):
        load("mini", resize="published")
    with pytest.raises(ModelError, match="resize 'squash' is unknown: use one of device, pillow, published"):
        Configuration(resize="squash")  # type: ignore[arg-type]
    assert PUBLISHED_SQUARE == 1344
