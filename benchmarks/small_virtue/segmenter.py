"""The segmentation stream: the mask of what a box or a click means, learnt from exact masks."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.small_virtue.features import FINE, FINE_WIDTH, GRID, SMALL, SceneFeatures
from benchmarks.small_virtue.network import box_shares
from virtue.evaluation.measures import Measured

CLICK = 0.03
"""Standard deviation of the spot that a click makes, in sides of the picture."""
RATE = 2e-3
AT_ONCE = 64
MIN_SHARE = 0.1
"""Share of its fullest cell that a mask has at least."""


def _convolve(given: int, made: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, stride, 1), nn.GroupNorm(8, made), nn.GELU())


class Segmenter(nn.Module):
    """A small U-Net over the picture, its prompt, and what EfficientNet sees in it."""

    def __init__(self) -> None:
        super().__init__()
        self.halve, self.quarter = _convolve(5, 16, 2), _convolve(16, 32, 2)
        self.features = nn.Conv2d(FINE_WIDTH, 32, 1)
        self.middle = nn.Sequential(_convolve(64, 48), _convolve(48, 48))
        self.deep = nn.Sequential(_convolve(48, 64, 2), _convolve(64, 64))
        self.deepest = nn.Sequential(_convolve(64, 96, 2), _convolve(96, 96), _convolve(96, 64))
        self.up = nn.Sequential(_convolve(64, 48))
        self.last = nn.Sequential(_convolve(48, 32))
        self.out = nn.Sequential(_convolve(48, 16), nn.Conv2d(16, 1, 3, 1, 1))

    def forward(self, small: Tensor, fine: Tensor, prompts: Tensor) -> Tensor:
        """Computes logits (batch, SMALL, SMALL).

        Args:
            small: (batch, 3, SMALL, SMALL), -1 to 1.
            fine: (batch, FINE_WIDTH, FINE, FINE).
            prompts: (batch, 2, SMALL, SMALL): the box, and the click.
        """
        half = self.halve(torch.cat([small, prompts], 1))
        quarter = self.quarter(half)
        seen = F.interpolate(self.features(fine), size=quarter.shape[-2:], mode="bilinear")
        middle = self.middle(torch.cat([quarter, seen], 1))
        deep = self.deep(middle)
        deep = deep + _enlarge(self.deepest(deep))
        x = middle + _enlarge(self.up(deep))
        x = self.out(torch.cat([_enlarge(self.last(x)), half], 1))
        return _enlarge(x)[:, 0]


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def paint_boxes(boxes: Tensor) -> Tensor:
    """Paints boxes (batch, 4) as maps (batch, SMALL, SMALL)."""
    line = (torch.arange(SMALL) + 0.5) / SMALL
    left, top, right, bottom = boxes[..., None].unbind(1)
    across, down = (line > left) & (line < right), (line > top) & (line < bottom)
    return (down[:, :, None] & across[:, None, :]).float()


def paint_clicks(points: Tensor) -> Tensor:
    """Paints clicks (batch, 2), x and y, as spots (batch, SMALL, SMALL)."""
    line = (torch.arange(SMALL) + 0.5) / SMALL
    across, down = ((-((line - points[:, n, None]) ** 2) / (2 * CLICK**2)).exp() for n in (0, 1))
    return down[:, :, None] * across[:, None, :]


def read_masks(features: SceneFeatures, scenes: np.ndarray, things: np.ndarray) -> np.ndarray:
    """Reads exact masks: (batch, SMALL, SMALL) bool."""
    packed = np.asarray(features.masks[scenes, things])
    return np.unpackbits(packed, axis=-1).reshape(-1, SMALL, SMALL).astype(bool)


def segment(
    model: Segmenter, features: SceneFeatures, scenes: np.ndarray, boxes: Tensor, clicks: Tensor
) -> Tensor:
    """Computes logits of prompts: maps of boxes and of clicks, each (batch, SMALL, SMALL)."""
    small = torch.from_numpy(features.small[scenes].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    fine = torch.from_numpy(features.fine[scenes].astype(np.float32))
    fine = fine.transpose(1, 2).unflatten(2, (FINE, FINE))
    prompts = torch.stack([boxes, clicks], 3).permute(0, 3, 1, 2)
    logits: Tensor = model(small, fine, prompts)
    return logits


def click_inside(masks: np.ndarray) -> np.ndarray:
    """Chooses of each mask the pixel that is furthest from its edge: (batch, 2), 0 to 1."""
    from scipy.ndimage import distance_transform_edt

    depths = [distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] for mask in masks]
    places = [np.unravel_index(depth.argmax(), depth.shape) for depth in depths]
    return (np.array(places)[:, ::-1] + 0.5) / SMALL


def _click_anywhere(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    places = [rng.choice(np.argwhere(mask)) for mask in masks]
    return (np.array(places)[:, ::-1] + 0.5) / SMALL


def train_segmenter(features: SceneFeatures, *, samples: int, seed: int, batch: int = AT_ONCE) -> Segmenter:
    """Trains from scratch, half of the prompts boxes and half clicks."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Segmenter().to(memory_format=torch.channels_last)
    steps = samples // batch
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    counts = (np.asarray(features.names) >= 0).sum(axis=1)
    began = time.monotonic()
    for step in range(steps):
        scenes = rng.integers(len(counts), size=batch)
        things = rng.integers(counts[scenes])
        masks = read_masks(features, scenes, things)
        is_box = torch.from_numpy(rng.random(batch) < 0.5)[:, None, None]
        boxes = paint_boxes(torch.from_numpy(features.boxes[scenes, things])) * is_box
        clicks = paint_clicks(torch.from_numpy(_click_anywhere(rng, masks)).float()) * ~is_box
        with torch.autocast("cpu", torch.bfloat16):
            logits = segment(model, features, scenes, boxes, clicks).float()
        loss = _mask_loss(logits, torch.from_numpy(masks).float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            said = f"{step}/{steps} {time.monotonic() - began:.0f} s mask {loss.item():.3f}"
            print(said, file=sys.stderr, flush=True)
    return model.eval()


def _mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of pixels, and Dice's coefficient."""
    shares = logits.sigmoid()
    common, both = (shares * masks).sum((1, 2)), shares.sum((1, 2)) + masks.sum((1, 2))
    dice = 1 - (2 * common + 1) / (both + 1)
    return 4 * F.binary_cross_entropy_with_logits(logits, masks) + dice.mean()


def cache_shares(model: Segmenter, features: SceneFeatures, frame: float = 1) -> np.ndarray:
    """Works out how much of each cell belongs to what each box means, (scenes, MAX_OBJECTS, cells) uint8, 255
    all of it; on disk, unless it is there. Where no mask is found, the box stands for it.

    Args:
        frame: by what boxes are multiplied.
    """
    path = features.folder / f"shares-{frame}.npy"
    if path.is_file():
        return np.load(path)
    names = np.asarray(features.names)
    shares = np.zeros((*names.shape, GRID * GRID), np.uint8)
    asked = np.argwhere(names >= 0)
    for start in range(0, len(asked), AT_ONCE):
        scenes, things = asked[start : start + AT_ONCE].T
        corners = torch.from_numpy(features.boxes[scenes, things] * np.float32(frame))
        boxes = paint_boxes(corners)
        found = _find_shares(model, features, scenes, boxes, torch.zeros_like(boxes), box_shares(corners))
        shares[scenes, things] = found
    np.save(path, shares)
    return shares


def cache_grid(model: Segmenter, features: SceneFeatures, side: int) -> np.ndarray:
    """Works out how much of each cell belongs to what side x side clicks mean together, spread evenly over
    the picture: (scenes, cells) uint8; on disk, unless it is there. Where no mask is found, all of it does.
    """
    path = features.folder / f"grid-{side}.npy"
    if path.is_file():
        return np.load(path)
    line = (torch.arange(side) + 0.5) / side
    points = torch.cartesian_prod(line, line)
    clicks = paint_clicks(points).amax(0)
    shares = np.zeros((len(features.boxes), GRID * GRID), np.uint8)
    for start in range(0, len(shares), AT_ONCE):
        scenes = np.arange(start, min(start + AT_ONCE, len(shares)))
        maps = clicks.expand(len(scenes), -1, -1)
        everything = torch.ones(len(scenes), GRID * GRID)
        shares[scenes] = _find_shares(model, features, scenes, torch.zeros_like(maps), maps, everything)
    np.save(path, shares)
    return shares


def _find_shares(
    model: Segmenter, features: SceneFeatures, scenes: np.ndarray, boxes: Tensor, clicks: Tensor, rest: Tensor
) -> np.ndarray:
    """Segments, and returns the shares of cells (batch, cells) uint8: `rest` where no mask is found."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = segment(model, features, scenes, boxes, clicks).float()
    found = F.adaptive_avg_pool2d(logits.sigmoid(), GRID).flatten(1)
    found = torch.where(found.amax(1, keepdim=True) < MIN_SHARE, rest, found)
    shares: np.ndarray = (found * 255).round().to(torch.uint8).numpy()
    return shares


def measure_masks(model: Segmenter, features: SceneFeatures) -> dict[str, Measured]:
    """Measures the overlap (IoU) of predicted masks of the first things with the exact ones: by a box, by a
    click, and of the filled box itself."""
    found: dict[str, list[float]] = {"box": [], "click": [], "filled box": []}
    for start in range(0, len(features.boxes), AT_ONCE):
        scenes = np.arange(start, min(start + AT_ONCE, len(features.boxes)))
        things = np.zeros(len(scenes), int)
        masks = read_masks(features, scenes, things)
        boxes = paint_boxes(torch.from_numpy(features.boxes[scenes, things]))
        clicks = paint_clicks(torch.from_numpy(click_inside(masks)).float())
        none = torch.zeros_like(boxes)
        with torch.inference_mode():
            made = {
                "box": segment(model, features, scenes, boxes, none) > 0,
                "click": segment(model, features, scenes, none, clicks) > 0,
                "filled box": boxes > 0,
            }
        for name, predicted in made.items():
            found[name] += _overlaps(predicted.numpy(), masks)
    return {name: Measured.of(values) for name, values in found.items()}


def _overlaps(predicted: np.ndarray, masks: np.ndarray) -> list[float]:
    common, either = (predicted & masks).sum(axis=(1, 2)), (predicted | masks).sum(axis=(1, 2))
    overlaps: list[float] = (common / np.maximum(either, 1)).tolist()
    return overlaps
