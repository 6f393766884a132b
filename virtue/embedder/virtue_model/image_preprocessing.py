"""A picture as the two image models want it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from virtue.errors import PictureError
from virtue.pictures import Picture

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_SIDE = 4
"""Pixels on the short side below which there is nothing to look at."""
MAX_ASPECT_RATIO = 200
"""Long side over short side beyond which Qwen2-VL takes no picture."""
SAMPLE_STEP = 16
"""Every which row and column is compared first."""


def check_picture(picture: Picture) -> None:
    """Checks that the vision tower can see the picture.

    Raises:
        PictureError: the picture is too small or too slim for the vision tower.
    """
    width, height = picture.width, picture.height
    short, long = sorted((height, width))
    if short < MIN_SIDE:
        raise PictureError(
            f"{width} x {height} pixels are too few for this model: give a picture of at least "
            f"{MIN_SIDE} x {MIN_SIDE}"
        )
    if long > MAX_ASPECT_RATIO * short:
        raise PictureError(
            f"{width} x {height} pixels are too narrow for this model: crop the picture so that no side is "
            f"more than {MAX_ASPECT_RATIO} times the other"
        )


def find_duplicates(pictures: Sequence[Picture]) -> list[int]:
    """Finds for each picture the first one with the same scene: itself, or an earlier equal picture."""
    numbers: list[int] = []
    known: dict[tuple[object, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        # A few pixels tell pictures apart; hashing all of them takes as long as a card's work on them.
        few = picture.pixels[::SAMPLE_STEP, ::SAMPLE_STEP].tobytes()
        alike = known.setdefault((picture.width, picture.height, picture.pixels.shape, few), [])
        equal = (n for n in alike if np.array_equal(pictures[n].pixels, picture.pixels))
        numbers.append(next(equal, number))
        if numbers[-1] == number:
            alike.append(number)
    return numbers


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (h, w, 3) uint8 to (width, height) by PyTorch's antialiased bicubic filter, on the tensor's
    device. It is Pillow's filter without the rounding between across and down (whose order depends on
    Pillow's version). Not for pictures of one column, of which PyTorch 2.13 makes zeros on a CPU:
    `check_picture` and `WholeCells` leave none."""
    width, height = size
    if pixels.shape[:2] == (height, width):
        return pixels
    values = pixels.permute(2, 0, 1)[None].float()
    values = functional.interpolate(values, (height, width), mode="bicubic", antialias=True)
    return values[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def normalize(pixels: Tensor) -> Tensor:
    """Normalises (n, h, w, 3) uint8 to (n, 3, h, w) float32 with CLIP's mean and deviation, on the tensor's
    device."""
    # Rounded to float32 before the mean goes off, as the published processor does: bit for bit. Made on the
    # processor, since not every device has float64.
    levels = (torch.arange(256, dtype=torch.float64) * (1 / 255)).float().to(pixels.device)
    mean, deviation = _channels(CLIP_MEAN, pixels), _channels(CLIP_STD, pixels)
    table = (levels - mean[:, :, 0]) / deviation[:, :, 0]
    channels = torch.arange(3, device=pixels.device)[:, None, None]
    return table[channels, pixels.permute(0, 3, 1, 2).long()]


def resize_to_square(pixels: Tensor, side: int) -> Tensor:
    """Resizes (n, 3, h, w) to (n, 3, side, side) without keeping the aspect ratio, and normalises with
    ImageNet's mean and deviation, as SAM 2 does."""
    if pixels.shape[2:] != (side, side):
        pixels = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return (pixels - _channels(IMAGENET_MEAN, pixels)) / _channels(IMAGENET_STD, pixels)


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]
