"""Every kind of item, in any mixture: an item's vector is its own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from tests.data.recipe import picture
from tests.embedder.virtue_model.conftest import Make
from virtue import Embedder
from virtue.embedder.model import Item
from virtue.embedder.virtue_model import qwen2_vl
from virtue.embedder.virtue_model.network import InputSequence, Network
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.errors import ModelError
from virtue.geometry import Box, Point, Prompt
from virtue.pictures import load

WIDE, TALL, SQUARE = picture(1, 180, 120), picture(2, 90, 200), picture(3, 150, 150)
MASK = np.zeros((120, 180), dtype=bool)
MASK[30:80, 40:160] = True

ITEMS = [
    "7 8 9",
    "11",
    WIDE,
    TALL,
    {"image": WIDE, "text": "5 6"},
    {"image": WIDE, "box": (10, 20, 100, 90)},
    {"image": WIDE, "box": (90, 20, 170, 110)},
    {"image": WIDE, "box": (10, 20, 100, 90), "text": "5 6"},
    {"image": WIDE, "points": [(60, 60)]},
    {"image": WIDE, "points": [(60, 60), (20, 20, 0), (100, 90, 1)]},
    {"image": WIDE, "box": (10, 20, 100, 90), "points": [(60, 60, 0)]},
    {"image": WIDE, "mask": MASK},
    {"image": WIDE, "mask": MASK, "points": [(60, 60, 1)]},
    {"image": TALL, "box": (0, 0, 90, 100), "text": "1 2 3 4 5 6 7 8 9 10"},
    {"image": SQUARE, "box": (0, 0, 150, 150)},
    {"text": "300 301 302 303"},
]
LAYOUTS = [
    {"layout": "published"},
    {"layout": "image-first"},
    {"layout": "image-first", "segmentation_tokens": 4, "flat_positions": True},
    {"layout": "published", "double_normalisation": True, "flat_positions": True, "box_frame": "unscaled"},
    {"layout": "image-first", "resize": "pillow"},
]


@pytest.mark.parametrize("settings", LAYOUTS, ids=str)
def test_an_item_has_one_vector_alone_and_in_any_company_and_order(make: Make, settings: dict) -> None:
    embedder = make(**settings)
    alone = np.stack([embedder.encode(item) for item in ITEMS])
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    for seed, batch_size in ((0, 32), (1, 5)):
        order = random.Random(seed).sample(range(len(ITEMS)), len(ITEMS))
        together = embedder.encode([ITEMS[n] for n in order], batch_size=batch_size)
        assert np.abs(together - alone[order]).max() <= 1e-5


def test_where_a_picture_is_resized_hardly_matters(make: Make) -> None:
    """Pixels differ by rounding alone; cosines of the vectors by less than a ten-thousandth."""
    on_device, by_pillow = (
        make(layout="image-first", resize=how).encode(ITEMS) for how in ("device", "pillow")
    )
    assert (on_device * by_pillow).sum(axis=1).min() > 0.9999
    assert np.abs(on_device - by_pillow).max() > 0


@pytest.mark.parametrize("settings", LAYOUTS[:2], ids=str)
def test_every_part_of_an_item_counts(make: Make, settings: dict) -> None:
    vectors = make(**settings).encode(ITEMS)
    cosines = vectors @ vectors.T - np.eye(len(ITEMS))
    assert cosines.max() < 0.9999


@pytest.mark.parametrize("layout", ["published", "image-first"])
@pytest.mark.parametrize("tokens", [4, 16, 64])
def test_the_number_of_segmentation_tokens_is_a_setting(make: Make, layout: str, tokens: int) -> None:
    model = make(layout=layout, segmentation_tokens=tokens).model
    (scene,) = model.scenes([load(WIDE)])
    (drawn,) = [model.to_sequence(Item(scene, Prompt(box=Box(1, 2, 30, 40)), "5")).prompt]
    assert model.network.segmentation_tokens([scene], [drawn]).shape == (1, tokens, model.dim)


def test_regions_that_share_their_image_are_equal_to_a_full_pass_each(make: Make) -> None:
    """The image's part read once (keys and values shared) against one pass per region."""
    model = make(layout="image-first").model
    wide, tall = model.scenes([load(WIDE), load(TALL)])
    rows = [
        model.to_sequence(Item(scene, prompt, text))
        for scene in (wide, tall)
        for prompt, text in (
            (Prompt(box=Box(10, 20, 80, 90)), None),
            (Prompt(points=(Point(20, 20),)), "5 6 7"),
            (None, "4"),
        )
    ]
    for some in (rows[:3], rows[3:]):
        shared, whole = of(model.network, some), np.concatenate([of(model.network, [row]) for row in some])
        assert np.abs(shared - whole).max() <= 1e-6


@pytest.mark.parametrize(("length", "before"), [(5, 9), (1, 7), (8, 1)])
def test_a_card_masks_what_comes_later_as_the_processor_does(length: int, before: int) -> None:
    """On a card it is torch's causal bias for the lower right, in whose place a processor gets a mask."""
    query, key = torch.randn(2, 6, length, 8), torch.randn(2, 2, before + length, 8)
    ours = qwen2_vl._attend_causally(query, key, key, None)
    bias = causal_lower_right(length, before + length)
    theirs = functional.scaled_dot_product_attention(query, key, key, attn_mask=bias, enable_gqa=True)
    assert (ours - theirs).abs().max() <= 1e-6
    alone = qwen2_vl._attend_causally(query[:, :, :1], key[:, :, : before + 1], key[:, :, : before + 1], None)
    assert (ours[:, :, :1] - alone).abs().max() <= 1e-6


def test_two_pictures_of_one_size_share_a_batch(make: Make) -> None:
    model = make(layout="image-first").model
    scenes = model.scenes([load(picture(seed, 180, 120)) for seed in (1, 2)])
    rows = [
        model.to_sequence(Item(scene, Prompt(box=Box(x, 20, x + 50, 90)), "5"))
        for scene in scenes
        for x in (5, 70)
    ]
    together, alone = of(model.network, rows), np.concatenate([of(model.network, [row]) for row in rows])
    assert np.abs(together - alone).max() <= 1e-6


def of(network: Network, rows: list[InputSequence]) -> np.ndarray:
    with torch.inference_mode():
        return network(rows).numpy()


def test_a_card_that_is_too_small_costs_time_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for two rows and one picture: batches are halved, vectors stay."""
    model = make(layout="image-first").model
    expected = make(layout="image-first").encode(ITEMS)
    forward, look = Network.forward, Network.encode_pictures
    refused = []

    def small(network: Network, rows: list[InputSequence]) -> torch.Tensor:
        if len(rows) > 2:
            refused.append(len(rows))
            raise torch.OutOfMemoryError
        return forward(network, rows)

    def smaller(network: Network, pixels: torch.Tensor, square: torch.Tensor) -> object:
        if len(pixels) > 1:
            refused.append(len(pixels))
            raise torch.OutOfMemoryError
        return look(network, pixels, square)

    monkeypatch.setattr(Network, "forward", small)
    monkeypatch.setattr(Network, "encode_pictures", smaller)
    fresh = Embedder(VirtueModel("small", "", model.network, model.tokenizer))
    assert np.abs(fresh.encode([*ITEMS, picture(7, 180, 120)])[:-1] - expected).max() <= 1e-5
    assert refused
    monkeypatch.setattr(
        Network, "encode_pictures", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError())
    )
    with pytest.raises(ModelError, match="one item alone does not fit the card's memory"):
        fresh.encode(WIDE)


def test_equal_pictures_are_worked_on_once(make: Make) -> None:
    model = make(layout="published").model
    first, other, again = model.scenes([load(WIDE), load(TALL), load(WIDE)])
    assert first is again
    assert first is not other


def test_a_region_sees_its_scene(make: Make) -> None:
    """The same patch of pixels in two scenes has two vectors; a crop would have one."""
    embedder = make(layout="image-first")
    scene, other = np.array(WIDE), np.array(picture(9, 180, 120))
    other[20:90, 10:100] = scene[20:90, 10:100]
    one, two = embedder.encode([{"image": image, "box": (10, 20, 100, 90)} for image in (scene, other)])
    assert one @ two < 0.9999


def test_a_scaled_copy_has_its_boxes_scaled(make: Make) -> None:
    """Boxes are in pixels of the original, also where a picture is shrunk while it is read."""
    embedder = make(layout="image-first", side=100)
    large = picture(4, 400, 300)
    boxed = {"image": large, "box": (100, 60, 300, 240)}
    small = {"image": load(large, side=100), "box": (100, 60, 300, 240)}
    assert np.abs(embedder.encode(boxed) - embedder.encode(small)).max() <= 1e-6
