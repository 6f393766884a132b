"""What a user drew, in the frame of the segmentation model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from virtue.embedder.uploads import upload
from virtue.embedder.virtue_model.configuration import BoxFrame
from virtue.embedder.virtue_model.protocols import PromptBatch
from virtue.geometry import Prompt

POSITIVE, NEGATIVE, TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 1, 0, 2, 3, -1
"""SAM's labels."""
MASK_LOGIT = 10.0
"""Logit of a pixel that a drawn mask is sure of; SAM 2 feeds masks back at this scale."""
DEFAULT_GRID = (1 / 6, 1 / 2, 5 / 6)
"""No prompt is nine positive points, as in the paper: one prompt, not nine objects."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPrompt:
    """One prompt: (x, y, label) in pixels of the model's square input, and a mask in the picture's."""

    points: tuple[tuple[float, float, int], ...]
    mask: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, bool]:
        """Prompts of one shape can be worked on together."""
        return len(self.points), self.mask is not None


def encode_prompt(
    prompt: Prompt | None, width: int, height: int, side: int, frame: BoxFrame
) -> EncodedPrompt:
    """Scales a prompt in pixels of a `width` x `height` picture to a model whose input is `side` x `side`."""
    if not prompt:
        return EncodedPrompt(
            tuple((x * side, y * side, POSITIVE) for y in DEFAULT_GRID for x in DEFAULT_GRID)
        )
    sx, sy = side / width, side / height
    points: list[tuple[float, float, int]] = []
    if prompt.box:
        box = prompt.box if frame == "unscaled" else prompt.box.scaled(sx, sy)
        points += [(box.x0, box.y0, TOP_LEFT), (box.x1, box.y1, BOTTOM_RIGHT)]
    points += [(p.x * sx, p.y * sy, POSITIVE if p.positive else NEGATIVE) for p in prompt.points]
    return EncodedPrompt(tuple(points) or ((0.0, 0.0, NO_POINT),), prompt.mask)


def stack_prompts(drawings: Sequence[EncodedPrompt], mask_side: int, device: torch.device) -> PromptBatch:
    """Stacks drawings of one shape."""
    values = torch.tensor([drawing.points for drawing in drawings], dtype=torch.float64)
    masks = [_mask_logits(drawing.mask, mask_side) for drawing in drawings if drawing.mask is not None]
    return PromptBatch(
        points=upload(values[:, :, :2].float(), device),
        labels=upload(values[:, :, 2].int(), device),
        masks=upload(torch.stack(masks), device) if masks else None,
    )


def _mask_logits(mask: np.ndarray, side: int) -> Tensor:
    """(h, w) bool -> (1, side, side), between -MASK_LOGIT and MASK_LOGIT."""
    inside = torch.from_numpy(mask.astype(np.float32))[None, None]
    inside = functional.interpolate(inside, (side, side), mode="bilinear", antialias=True)
    return (inside[0] * 2 - 1) * MASK_LOGIT
