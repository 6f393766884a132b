"""Regions worth a vector of their own, by SAM 2.1 itself: a grid of points, filtered and pruned
(the "segment everything" of arXiv 2304.02643, section 5, on the encoding that embedding uses)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from virtue.embedder.batching import Budget
from virtue.embedder.uploads import upload
from virtue.embedder.virtue_model.network import Scene
from virtue.embedder.virtue_model.prompt_encoding import POSITIVE
from virtue.embedder.virtue_model.protocols import PromptBatch, SegmentationModel
from virtue.geometry import Box, compute_ious, suppress_non_maxima

POINTS_PER_SIDE = 16
"""Points on a side of the grid."""
THRESHOLD_SHIFT = 1.0
"""How far the threshold of a mask is moved, up and down, to see whether the mask stays itself."""
MAX_IOU = 0.7
"""Intersection over union from which on two boxes are one region."""
MAX_AREA_SHARE = 0.9
"""Share of the picture from which on a box says no more than the picture."""
MIN_AREA_SHARE = 0.001
"""Share of the picture below which a box is noise."""


def propose(
    segmentation: SegmentationModel,
    scenes: Sequence[Scene],
    limits: Sequence[int],
    budget: Budget,
    *,
    min_quality: float,
    min_stability: float,
) -> list[list[Box]]:
    """Proposes for each scene at most so many boxes in pixels of the upright original, best first, without
    near-duplicates. A card is waited for once for all scenes.

    Args:
        budget: of points that are worked on at once.
        min_quality: what the model itself must think of a mask, 0 to 1.
        min_stability: intersection over union of the mask with the threshold moved up and down.
    """
    if not scenes:
        return []
    found = [_score_masks(segmentation, scene, budget, min_quality, min_stability) for scene in scenes]
    scored = torch.stack(found).cpu().numpy()
    return [_choose(*one) for one in zip(scenes, limits, scored, strict=True)]


def _score_masks(
    segmentation: SegmentationModel, scene: Scene, budget: Budget, min_quality: float, min_stability: float
) -> Tensor:
    """Finds boxes of masks in shares of the sides, with scores: (masks, 5), below zero: not good enough. It
    stays on the device, which may still be at work."""
    device = scene.features.device
    centres = (torch.arange(POINTS_PER_SIDE) + 0.5) * segmentation.side / POINTS_PER_SIDE
    points = torch.cartesian_prod(centres, centres).flip(1)
    fine = [level[None] for level in scene.fine]

    def find_boxes(some: list[Tensor]) -> list[Tensor]:
        """Finds for each point (3, 5): boxes around its masks, with scores; below zero: not good enough."""
        labels = torch.full((len(some), 1), POSITIVE, dtype=torch.int32)
        drawn = PromptBatch(upload(torch.stack(some)[:, None], device), upload(labels, device))
        logits, quality = segmentation.masks(scene.features[None], fine, drawn)
        logits, quality = logits.flatten(0, 1), quality.flatten().float()
        inner, outer = ((logits > offset).flatten(1).sum(1) for offset in (THRESHOLD_SHIFT, -THRESHOLD_SHIFT))
        stability = inner / outer.clamp(min=1)
        good = (quality >= min_quality) & (stability >= min_stability)
        score = torch.where(good, quality * stability, -1.0)
        return list(torch.cat([_bound_masks(logits > 0), score[:, None]], dim=1).chunk(len(some)))

    return torch.cat(budget.run(list(points), find_boxes))


def _choose(scene: Scene, limit: int, scored: np.ndarray) -> list[Box]:
    scored = scored[scored[:, 4] >= 0]
    area = (scored[:, 2:4] - scored[:, :2]).prod(axis=1)
    scored = scored[(area > MIN_AREA_SHARE) & (area < MAX_AREA_SHARE)]
    corners = scored[np.argsort(-scored[:, 4], kind="stable"), :4]
    kept = suppress_non_maxima(
        len(corners), lambda n: compute_ious(corners[n, None], corners)[0] >= MAX_IOU, limit
    )
    scale = np.array([scene.width, scene.height] * 2)
    return [Box(*row).within(scene.width, scene.height) for row in (corners[kept] * scale).tolist()]


def _bound_masks(masks: Tensor) -> Tensor:
    """(n, m, m) bool -> (n, 4) boxes in shares of the sides; of an empty mask one without size."""
    _, rows, columns = masks.shape
    across, down = masks.any(1).float(), masks.any(2).float()
    x0, y0 = across.argmax(1) / columns, down.argmax(1) / rows
    x1 = 1 - across.flip(1).argmax(1) / columns
    y1 = 1 - down.flip(1).argmax(1) / rows
    filled = (across.amax(1) > 0).float()
    return torch.stack([x0, y0, x1, y1], dim=1) * filled[:, None]
