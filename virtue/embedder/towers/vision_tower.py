"""Vision towers of transformers behind one small face: a pass over pictures, then pooling regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from virtue.embedder.towers.region_attention import attend_region, scale_to_counts
from virtue.errors import ModelError

RegionPooling = Literal["attend", "roi"]
"""How a region is read off the tokens. "attend": the tower's own query reads the region's tokens. "roi":
their weighted mean goes through the tower's head, as RoIAlign does for convolutional maps."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One picture's patch tokens: `patches` (rows * columns, h); `summary` (h,) is CLIP's class token."""

    patches: Tensor
    grid: tuple[int, int]
    summary: Tensor | None = None


class VisionEncoder(Protocol):
    dim: int

    def encode(self, pixels: Mapping[str, Tensor]) -> tuple[Tensor, list[Tokens]]:
        """Encodes pictures in one pass: their vectors (n, dim), as the model itself gives them, and their
        tokens."""

    def read_regions(self, tokens: Tokens, shares: Tensor) -> Tensor:
        """Pools regions: (k, dim) vectors. `shares` is (k, rows * columns), rows sum to 1."""


class ClipVisionEncoder:
    """CLIP's vision tower (arXiv 2103.00020): in the last block the class token attends to the patches."""

    def __init__(self, model: Any, pooling: RegionPooling) -> None:
        self._model, self._pooling = model, pooling
        self.dim = int(model.config.projection_dim)
        vision = model.config.vision_config
        self._heads = vision.num_attention_heads
        self._side = vision.image_size // vision.patch_size

    def encode(self, pixels: Mapping[str, Tensor]) -> tuple[Tensor, list[Tokens]]:
        seen = self._model.get_image_features(**pixels, output_hidden_states=True)
        # "attend" does the last block itself; the tokens' mean is taken of what comes out of it.
        states = seen.hidden_states[-2 if self._pooling == "attend" else -1]
        grid = self._side, self._side
        return seen.pooler_output, [Tokens(state[1:], grid, state[0]) for state in states]

    def read_regions(self, tokens: Tokens, shares: Tensor) -> Tensor:
        assert tokens.summary is not None
        pooled = self._attend(tokens, shares) if self._pooling == "attend" else _mean(tokens, shares)
        return self._model.visual_projection(self._model.vision_model.post_layernorm(pooled))

    def _attend(self, tokens: Tokens, shares: Tensor) -> Tensor:
        """The last block, for the class token alone."""
        block = self._model.vision_model.encoder.layers[-1]
        states = (
            torch.cat([tokens.summary[None], tokens.patches])
            if tokens.summary is not None
            else tokens.patches
        )
        normed, attention = block.layer_norm1(states), block.self_attn
        weights = F.pad(scale_to_counts(shares), (1, 0), value=1.0)
        attended = attend_region(
            attention.q_proj(normed[0]),
            attention.k_proj(normed),
            attention.v_proj(normed),
            self._heads,
            weights,
        )
        pooled = states[0] + attention.out_proj(attended)
        return pooled + block.mlp(block.layer_norm2(pooled))


class SiglipVisionEncoder:
    """The vision tower of SigLIP (arXiv 2303.15343) and SigLIP 2 (arXiv 2502.14786): a learnt probe attends
    to the patches."""

    def __init__(self, model: Any, pooling: RegionPooling) -> None:
        vision = model.config.vision_config
        if not getattr(vision, "vision_use_head", True):
            raise ModelError("this SigLIP model has no pooling head, so it gives no vector: use another")
        self._model, self._pooling = model, pooling
        self.dim = int(vision.hidden_size)
        self._heads = vision.num_attention_heads
        image_side = getattr(vision, "image_size", None)
        self._side = image_side // vision.patch_size if image_side else 0

    def encode(self, pixels: Mapping[str, Tensor]) -> tuple[Tensor, list[Tokens]]:
        seen = self._model.get_image_features(**pixels)
        grids = self._grids(pixels, len(seen.last_hidden_state))
        states = seen.last_hidden_state
        return seen.pooler_output, [
            Tokens(state[: rows * columns], (rows, columns))
            for state, (rows, columns) in zip(states, grids, strict=True)
        ]

    def _grids(self, pixels: Mapping[str, Tensor], count: int) -> Sequence[tuple[int, int]]:
        """NaFlex models keep a picture's aspect and pad what it leaves of the sequence."""
        if "spatial_shapes" in pixels:
            return [(int(rows), int(columns)) for rows, columns in pixels["spatial_shapes"].tolist()]
        return [(self._side, self._side)] * count

    def read_regions(self, tokens: Tokens, shares: Tensor) -> Tensor:
        head = self._model.vision_model.head
        if self._pooling == "roi":
            return head(_mean(tokens, shares)[:, None])
        attention = head.attention
        wq, wk, wv = attention.in_proj_weight.chunk(3)
        bq, bk, bv = attention.in_proj_bias.chunk(3)
        attended = attend_region(
            F.linear(head.probe[0, 0], wq, bq),
            F.linear(tokens.patches, wk, bk),
            F.linear(tokens.patches, wv, bv),
            self._heads,
            scale_to_counts(shares),
        )
        pooled = attention.out_proj(attended)
        return pooled + head.mlp(head.layernorm(pooled))


def _mean(tokens: Tokens, shares: Tensor) -> Tensor:
    return (shares @ tokens.patches.float()).to(tokens.patches.dtype)


VISION_ENCODERS: Mapping[str, type[ClipVisionEncoder] | type[SiglipVisionEncoder]] = {
    "clip": ClipVisionEncoder,
    "siglip": SiglipVisionEncoder,
    "siglip2": SiglipVisionEncoder,
}
"""`model_type` of a config.json -> its vision tower."""
