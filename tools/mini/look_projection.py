"""The projection of the look part: learnt whitening (Mikolajczyk & Matas 2007; Radenovic et al. 2018,
arXiv 1711.02512, section 3.4), which keeps what tells things apart and flattens what differs between a
detail seen inside its photo and the same detail cut out and seen alone, at another scale."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from virtue.embedder.mini.image_encoder import ImageEncoder
from virtue.embedder.pooling import box_weights
from virtue.geometry import Box
from virtue.vector_math import unit_rows

RAW = 1280 + 672
WINDOWS = 13
DETAILS = 5
SMALLEST, LARGEST = 60 / 512, 320 / 512
"""Sides of windows, in fractions of the long side."""
QUERY_SIDES = (96, 96, 128, 224)
SHRINKAGE = 0.05
"""Share of the mean added to every direction's spread, so that rarely seen directions are not blown up."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Raw looks of one picture: windows (n, RAW), details cut out of it (m, RAW), and rows near those
    details, as a library would hold them (m, RAW)."""

    windows: np.ndarray
    details: np.ndarray
    near: np.ndarray


def look_at(vision: ImageEncoder, picture: Image.Image, side: int, rng: random.Random) -> Sample:
    """Raw looks of random windows of a picture, and of details cut out and seen alone."""
    width, height = picture.size
    windows = [Box(0, 0, width, height), *(_window(width, height, rng) for _ in range(WINDOWS))]
    cut = windows[1 : 1 + DETAILS]
    near = [_moved(box, width, height, rng) for box in cut]
    maps = vision.maps(np.asarray(picture), width, height, side)
    rows = vision.raw_look(maps, box_weights([*windows, *near], width, height, maps.grid))
    details = []
    for box in cut:
        x0, y0, x1, y1 = (round(corner) for corner in box.corners)
        pixels = np.asarray(picture.crop((x0, y0, x1, y1)))
        alone = vision.maps(pixels, pixels.shape[1], pixels.shape[0], rng.choice(QUERY_SIDES))
        cells = alone.grid[0] * alone.grid[1]
        details.append(vision.raw_look(alone, np.full((1, cells), 1 / cells, np.float32)))
    return Sample(rows[: len(windows)], np.concatenate(details), rows[len(windows) :])


def learn_projection(samples: Sequence[Sample], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(centre (RAW,), projection (RAW, dim)), float32: look = unit_rows((raw - centre) @ projection)."""
    everything = np.concatenate([part for sample in samples for part in (sample.windows, sample.details)])
    centre = everything.mean(axis=0)
    spread = _second_moment(unit_rows(everything - centre))
    details = unit_rows(np.concatenate([sample.details for sample in samples]) - centre)
    exact = unit_rows(np.concatenate([sample.windows[1 : 1 + DETAILS] for sample in samples]) - centre)
    near = unit_rows(np.concatenate([sample.near for sample in samples]) - centre)
    noise = _second_moment(np.concatenate([details - exact, details - near]))
    values, directions = np.linalg.eigh(noise)
    flatten = directions * (values + SHRINKAGE * values.mean()) ** -0.5
    _, kept = np.linalg.eigh(flatten.T @ spread @ flatten)
    projection = flatten @ kept[:, ::-1][:, :dim]
    return centre.astype(np.float32), (projection / np.abs(projection).max()).astype(np.float32)


def details_recall(samples: Sequence[Sample], centre: np.ndarray, projection: np.ndarray) -> float:
    """Share of the details whose own picture holds the best window."""
    rows = unit_rows((np.concatenate([sample.windows for sample in samples]) - centre) @ projection)
    owners = np.repeat(np.arange(len(samples)), [len(sample.windows) for sample in samples])
    details = unit_rows((np.concatenate([sample.details for sample in samples]) - centre) @ projection)
    truth = np.repeat(np.arange(len(samples)), [len(sample.details) for sample in samples])
    return round(float((owners[(details @ rows.T).argmax(axis=1)] == truth).mean()), 3)


def _second_moment(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows.T @ rows / len(rows)


def _window(width: float, height: float, rng: random.Random) -> Box:
    side = math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST))) * max(width, height)
    w, h = min(side * math.exp(rng.uniform(-0.4, 0.4)), width), min(side, height)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return Box(left, top, left + w, top + h)


def _moved(box: Box, width: float, height: float, rng: random.Random) -> Box:
    """A window that shares most of the box but is larger and beside it, as a grid's would be."""
    x, y, w, h = box.xywh
    grow = rng.uniform(1, 1.6)
    new_w, new_h = min(w * grow, width), min(h * grow, height)
    left = x + w / 2 - new_w / 2 + rng.uniform(-0.25, 0.25) * w
    top = y + h / 2 - new_h / 2 + rng.uniform(-0.25, 0.25) * h
    left, top = min(max(left, 0), width - new_w), min(max(top, 0), height - new_h)
    return Box(left, top, left + new_w, top + new_h)
