"""The parts that need no model: sizes, patches, drawings, proposals."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from tests.data.recipe import picture
from tests.embedder.virtue_model.conftest import Make
from tests.embedder.waits import Waits
from virtue.embedder.batching import Budget
from virtue.embedder.virtue_model import image_preprocessing
from virtue.embedder.virtue_model.mask_proposals import _bound_masks, propose
from virtue.embedder.virtue_model.network import Scene
from virtue.embedder.virtue_model.prompt_encoding import encode_prompt, stack_prompts
from virtue.embedder.virtue_model.protocols import PromptBatch
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLVision
from virtue.geometry import Box, Point, Prompt
from virtue.pictures import load
from virtue.resizing import WholeCells

sides = st.integers(28, 3000)


@given(sides, sides, st.integers(1, 40), st.integers(41, 1280))
def test_sizes_are_those_of_the_published_processor(width: int, height: int, least: int, most: int) -> None:
    bounds = least * 28 * 28, most * 28 * 28
    expected = smart_resize(height, width, 28, *bounds)[::-1]
    assert WholeCells(28, *bounds).size(width, height) == expected


@pytest.mark.parametrize("size", [(180, 140), (300, 200), (33, 400), (28, 28), (613, 127)])
def test_patches_are_those_of_the_published_processor(make: Make, size: tuple[int, int]) -> None:
    image = picture(5, *size)
    processor = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=50_000)
    expected = processor(images=[image], return_tensors="pt")
    fitted = WholeCells(28, 3136, 50_000)(np.array(image))
    vision = make().model.network.vision
    assert isinstance(vision, Qwen2VLVision)
    patches = vision.cut_patches(image_preprocessing.normalize(torch.tensor(fitted)[None]))
    assert torch.equal(patches, expected["pixel_values"])


@settings(max_examples=30)
@given(st.integers(4, 300), st.integers(4, 300), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_resizing_on_the_device_is_pillows_but_for_rounding(
    width: int, height: int, columns: int, rows: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = columns * 28, rows * 28
    expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), np.int16)
    made = image_preprocessing.resize(torch.tensor(pixels), size).numpy().astype(np.int16)
    assert made.shape == expected.shape
    assert np.abs(made - expected).mean() <= 0.5  # of noise, the worst there is


@pytest.mark.parametrize("size", [(56, 28), (280, 168), (112, 140)])
def test_a_smooth_picture_resized_on_the_device_is_off_by_one_level_at_most(size: tuple[int, int]) -> None:
    y, x = np.mgrid[0:120, 0:180]
    pixels = np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), np.int16)
    assert np.abs(image_preprocessing.resize(torch.tensor(pixels), size).numpy() - expected).max() <= 1


def test_pictures_that_are_equal_are_told_from_those_that_are_alike() -> None:
    one, same, other = (np.array(picture(seed, 40, 30)) for seed in (1, 1, 1))
    other[7, 7] += 1  # of no row and column that is compared first
    pictures = [load(array) for array in (one, other, same, one[:, :20])]
    assert image_preprocessing.find_duplicates(pictures) == [0, 1, 0, 3]


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_any_picture_fits_its_bounds_or_is_refused(width: int, height: int) -> None:
    columns, rows = WholeCells(28, 3136, 1_003_520).size(max(width, 28), max(height, 28))
    assert columns % 28 == rows % 28 == 0
    assert columns * rows >= 3136
    assert columns * rows <= 1_003_520 or min(columns, rows) == 28


# -- what is drawn ---------------------------------------------------------------------------------------


def test_boxes_and_points_are_scaled_into_the_models_frame() -> None:
    prompt = Prompt(box=Box(10, 20, 110, 220), points=(Point(50, 100), Point(60, 70, positive=False)))
    drawn = encode_prompt(prompt, 500, 400, 1000, "scaled")
    assert drawn.points == ((20, 50, 2), (220, 550, 3), (100, 250, 1), (120, 175, 0))


def test_the_published_evaluation_does_not_scale_boxes() -> None:
    drawn = encode_prompt(Prompt(box=Box(10, 20, 110, 220)), 504, 364, 1024, "unscaled")
    assert drawn.points == ((10, 20, 2), (110, 220, 3))


def test_no_prompt_is_nine_points() -> None:
    drawn = encode_prompt(None, 300, 200, 1024, "scaled")
    places = [170.67, 512, 853.33]
    assert [(round(x, 2), round(y, 2), label) for x, y, label in drawn.points] == [
        (x, y, 1) for y in places for x in places
    ]


def test_a_mask_is_squashed_like_its_picture() -> None:
    mask = np.zeros((200, 300), bool)
    mask[:, 150:] = True
    drawn = encode_prompt(Prompt(mask=mask), 300, 200, 1024, "scaled")
    (logits,) = stack_prompts([drawn], 256, torch.device("cpu")).masks
    assert logits.shape == (1, 256, 256)
    assert (logits[0, :, :127] < 0).all()
    assert (logits[0, :, 129:] > 0).all()


# -- proposals -------------------------------------------------------------------------------------------


def test_boxes_lie_around_masks() -> None:
    masks = torch.zeros(2, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 4:10] = True
    assert _bound_masks(masks).tolist() == pytest.approx(np.array([[0.2, 0.2, 0.5, 0.5], [0, 0, 0, 0]]))


class Discs:
    """A segmentation model for which everything is a disc around the point: small, medium and vast."""

    side, grid, channels, mask_side = 256, 16, 4, 64
    config: ClassVar[dict[str, Any]] = {}

    def encode(self, pixels: Tensor) -> Any:
        raise NotImplementedError

    apply_prompts = encode

    def masks(self, features: Tensor, fine: Any, drawn: PromptBatch) -> tuple[Tensor, Tensor]:
        cells = (torch.arange(64) + 0.5) * 4
        x, y = drawn.points[:, 0, 0, None, None], drawn.points[:, 0, 1, None, None]
        distance = ((cells[None, None, :] - x) ** 2 + (cells[None, :, None] - y) ** 2).sqrt()[:, None]
        logits = torch.tensor([12, 40, 400])[None, :, None, None] - distance
        quality = torch.tensor([0.95, 0.9, 1.0]).expand(len(x), 3) - x[:, 0] / 10_000
        return logits, quality


def propose_discs(scene: Scene, limit: int, min_quality: float = 0.8) -> list[Box]:
    (boxes,) = propose(Discs(), [scene], [limit], Budget(64), min_quality=min_quality, min_stability=0.85)
    return boxes


def test_proposals_lie_in_the_picture_and_apart() -> None:
    scene = Scene(400, 200, torch.zeros(4, 16, 16), (), torch.zeros(1, 8), (1, 1))
    boxes = propose_discs(scene, 500)
    assert len(boxes) > 10
    for number, box in enumerate(boxes):
        assert box == box.within(400, 200)
        assert box.area < 0.9 * 400 * 200
        assert all(box.iou(other) < 0.75 for other in boxes[:number])
    assert propose_discs(scene, 3) == boxes[:3]
    # Small discs move too much with the threshold, poor ones are not believed.
    assert min(box.area for box in boxes) > 60 * 30 / 2
    assert propose_discs(scene, 500, 0.99) == []


def test_the_models_own_proposals_are_on_its_own_encoding(make: Make) -> None:
    embedder = make(proposal_quality=0.0, proposal_stability=0.0)
    (scene,) = embedder.scenes([load(picture(6, 300, 160))])
    for box in embedder.propose(scene, 12):
        assert box == box.within(300, 160)


def test_a_card_is_waited_for_once_for_the_proposals_of_many_photos(make: Make) -> None:
    scenes = [Scene(400 + n, 200, torch.zeros(4, 16, 16), (), torch.zeros(1, 8), (1, 1)) for n in range(3)]
    limits = [12, 0, 5]
    with Waits() as waits:
        together = propose(Discs(), scenes, limits, Budget(64), min_quality=0.8, min_stability=0.85)
    assert waits.count == 1
    assert [len(boxes) for boxes in together] == limits
    assert together == list(map(propose_discs, scenes, limits))
    model = make(proposal_quality=0.0, proposal_stability=0.0).model
    seen = model.scenes([load(picture(seed, 200 + seed, 160)) for seed in range(3)])
    with Waits() as waits:
        model.propose_all(seen, limits)
    assert waits.count == 1


def test_nothing_sure_proposes_nothing(make: Make) -> None:
    embedder = make(proposal_quality=1.1)
    (scene,) = embedder.scenes([load(picture(6, 300, 160))])
    assert embedder.propose(scene, 12) == []
