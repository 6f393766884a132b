"""Qwen2-VL (arXiv 2409.12191): its vision tower and its language model, called apart.

`Qwen2VLModel.forward` is passed by: it would work out positions of its own (and keep some from the
call before), and it cannot share what several sequences have in common.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, DynamicCache, Qwen2VLModel
from transformers.vision_utils import get_vision_position_ids

from virtue.embedder.uploads import upload

_BATCHED = "virtue_flash_batched"


def _batched_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    max_length_q: int = 0,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention within each of n equally long pictures that lie end to end: (1, heads, n x length, d)
    -> (1, n x length, heads, d)."""
    heads, total, width = query.shape[1:]

    def apart(part: Tensor) -> Tensor:
        return part.reshape(heads, total // max_length_q, max_length_q, width).transpose(0, 1)

    mixed = functional.scaled_dot_product_attention(apart(query), apart(key), apart(value), scale=scaling)
    return mixed.transpose(1, 2).reshape(1, total, heads, width), None


# transformers loops over the pictures of a batch unless the attention's name holds "flash"; pictures
# of one size need no loop (equal to it within 5e-7, and nothing in it stops torch.compile).
AttentionInterface.register(_BATCHED, _batched_attention)


class _PatchEmbedding(nn.Module):
    """The tower's first convolution as the product that it is, for its windows do not overlap: kernels for
    convolutions in three dimensions take several times as long."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.proj = convolution

    def forward(self, patches: Tensor) -> Tensor:
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Qwen2VLVision(nn.Module):
    """Implements `VisionTower`."""

    def __init__(self, model: Qwen2VLModel) -> None:
        super().__init__()
        self.model = model.visual
        config: Any = model.visual.config
        self.patch: int = config.patch_size
        self.merge: int = config.spatial_merge_size
        self.frames: int = config.temporal_patch_size
        config._attn_implementation = _BATCHED
        self.model.patch_embed = _PatchEmbedding(model.visual.patch_embed.proj)

    def encode(self, pixels: Tensor) -> Tensor:
        count, _, height, width = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        # On the processor: transformers reads the numbers back, and a card would be waited for.
        grid = torch.tensor([[1, rows, columns]])
        places = upload(get_vision_position_ids(grid, self.merge), pixels.device)
        tokens = self.model(
            self.patches(pixels),
            grid.expand(count, -1),
            position_ids=places.repeat(count, 1),
            cu_seqlens=torch.arange(count + 1, device=pixels.device, dtype=torch.int32) * (rows * columns),
            max_seqlen=rows * columns,
        ).pooler_output
        return tokens.unflatten(0, (count, rows * columns // self.merge**2))

    def patches(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) -> (patches of all pictures, 3 x frames x patch x patch), merged neighbours side
        by side, a still repeated as often as the tower wants frames."""
        count, channels, height, width = pixels.shape
        rows, columns = height // (self.patch * self.merge), width // (self.patch * self.merge)
        cut = pixels.reshape(
            count, channels, rows, self.merge, self.patch, columns, self.merge, self.patch
        ).permute(0, 2, 5, 3, 6, 1, 4, 7)
        still = cut.unsqueeze(6).expand(*cut.shape[:6], self.frames, *cut.shape[6:])
        return still.reshape(-1, channels * self.frames * self.patch**2)


class Qwen2VLLanguage(nn.Module):
    """Implements `LanguageModel`."""

    def __init__(self, model: Qwen2VLModel) -> None:
        super().__init__()
        self.model = model.language_model
        self.hidden: int = model.language_model.config.hidden_size
        self.config: dict[str, Any] = model.config.to_dict()

    def words(self, ids: Tensor) -> Tensor:
        return self.model.embed_tokens(ids)

    def prefix(self, embeds: Tensor, positions: Tensor) -> DynamicCache:
        cache = DynamicCache(config=self.model.config)
        self.model(inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True)
        return cache

    def read(
        self,
        embeds: Tensor,
        positions: Tensor,
        prefix: DynamicCache | None = None,
        of: Tensor | None = None,
    ) -> Tensor:
        cache = None if prefix is None or of is None else self._continued(prefix, of)
        return self.model(
            inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=False
        ).last_hidden_state

    def _continued(self, prefix: DynamicCache, of: Tensor) -> DynamicCache:
        cache = DynamicCache(config=self.model.config)
        layers: list[Any] = prefix.layers
        for number, layer in enumerate(layers):
            cache.update(layer.keys[of], layer.values[of], number)
        return cache
