"""The three parts a VIRTUE model is made of. Another backbone is one more file that offers one of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PromptBatch:
    """Prompts of one shape for n pictures, in pixels of the segmentation model's square input.

    `points` (n, p, 2) float32; `labels` (n, p) int32: 1 on what is meant, 0 on what is not, 2 and 3 the
    top left and bottom right corners of a box, -1 no point; `masks` (n, 1, m, m) float32 logits or None.
    """

    points: Tensor
    labels: Tensor
    masks: Tensor | None = None


class Compilable(Protocol):
    def enable_compile(self) -> None:
        """Makes the costly parts run as compiled graphs from now on: few of them, whatever the shapes."""


class SegmentationModel(Compilable, Protocol):
    side: int
    """Pixels of its square input."""
    grid: int
    """Cells on a side of its feature map."""
    channels: int
    mask_side: int
    """Pixels on a side of the masks that it takes and gives."""
    config: dict[str, Any]
    """What is needed to build it again, as JSON."""

    def encode(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encodes normalised pictures (n, 3, side, side) to the map (n, channels, grid, grid), and the finer
        maps that only `masks` needs."""

    def apply_prompts(self, features: Tensor, drawn: PromptBatch) -> Tensor:
        """Conditions the map (n, channels, grid, grid) on a prompt; the shape stays."""

    def masks(self, features: Tensor, fine: Sequence[Tensor], drawn: PromptBatch) -> tuple[Tensor, Tensor]:
        """Predicts masks for n prompts on one picture ((1, channels, grid, grid)): logits (n, 3, mask_side,
        mask_side) and their predicted quality (n, 3), 0 to 1."""


class VisionTower(Compilable, Protocol):
    patch: int
    """Pixels on a side of a patch."""
    merge: int
    """Patches on a side of what becomes one token."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Encodes normalised pictures (n, 3, h, w), h and w multiples of patch x merge, to (n, tokens,
        hidden)."""


class LanguageModel(Compilable, Protocol):
    hidden: int
    config: dict[str, Any]
    """What is needed to build it and the vision tower again, as JSON."""

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Embeds token ids (n, length) int64: (n, length, hidden)."""

    def encode_prefix(self, embeds: Tensor, positions: Tensor) -> Any:
        """Returns keys and values of n sequences that many others begin with. Arguments as for `encode`."""

    def encode(
        self, embeds: Tensor, positions: Tensor, prefix: Any = None, prefix_index: Tensor | None = None
    ) -> Tensor:
        """Computes the last hidden states, after the final norm: (n, length, hidden).

        Args:
            embeds: (n, length, hidden), padded on the right. Attention is causal, so what lies right
                of a token never reaches it, and no mask is needed.
            positions: (3, n, length) int64: time, row and column.
            prefix: what `encode_prefix` returned: the sequences go on from there.
            prefix_index: (n,) int64: which of the prefix's sequences each row continues.
        """


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def device_of(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device
