"""Qwen2-VL (arXiv 2409.12191): its vision tower and its language model, called apart.

`Qwen2VLModel.forward` is passed by: it would work out positions of its own (and keep some from the
call before), and it cannot share what several sequences have in common.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, Qwen2VLModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.vision_utils import get_vision_position_ids

from virtue.embedder.uploads import upload
from virtue.errors import ModelError

_BATCHED = "virtue_flash_batched"
_CONTINUED = "virtue_continued"

Pair = tuple[Tensor, Tensor]
Prefix = list[Pair]
"""For each layer keys and values, (n, heads, length, width) each."""


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


def _continued_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    past: Pair | None = None,
    kept: list[Pair] | None = None,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention that goes on from keys and values that came before: as with a cache of transformers, but with
    nothing in it that depends on which layer this is, so that all layers share one compiled graph."""
    if kept is not None:
        kept.append((key, value))
    if past is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **settings)
    key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
    attend = _attend_in_graph if torch.compiler.is_compiling() else _attend_causally
    return attend(query, key, value, scaling).transpose(1, 2).contiguous(), None


def _attend_causally(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Attention of the last tokens of a sequence to all of it: (n, heads, length, d), of keys and values
    that fewer heads may share."""
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=_mask_causally(query, key), scale=scaling, enable_gqa=True
    )


def _mask_causally(query: Tensor, key: Tensor) -> Tensor:
    length, whole = query.shape[2], key.shape[2]
    if query.is_cuda:  # no mask in memory, so that a card can use its flash kernel
        return causal_lower_right(length, whole)
    return torch.ones(length, whole, dtype=torch.bool, device=query.device).tril(whole - length)


# What a graph cannot look into: the bias is no plain tensor, and a mask in its place would rule out flash.
_attend_in_graph = torch.library.custom_op(
    "virtue::attend_causally",
    lambda query, key, value, scaling: _attend_causally(query, key, value, scaling).contiguous(),
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, float? scaling) -> Tensor",
)
_attend_in_graph.register_fake(lambda query, key, value, scaling: query.new_empty(query.shape))


# transformers loops over the pictures of a batch unless the attention's name holds "flash"; pictures
# of one size need no loop (equal to it within 5e-7, and nothing in it stops torch.compile).
AttentionInterface.register(_BATCHED, _batched_attention)
AttentionInterface.register(_CONTINUED, _continued_attention)


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

    def enable_compile(self) -> None:
        for block in self.model.blocks:  # equal but for their weights, so they share what is compiled
            block.compile(dynamic=True)

    def encode(self, pixels: Tensor) -> Tensor:
        count, _, height, width = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        # On the processor: transformers reads the numbers back, and a card would be waited for.
        grid = torch.tensor([[1, rows, columns]])
        places = upload(get_vision_position_ids(grid, self.merge), pixels.device)
        tokens = self.model(
            self.cut_patches(pixels),
            grid.expand(count, -1),
            position_ids=places.repeat(count, 1),
            cu_seqlens=torch.arange(count + 1, device=pixels.device, dtype=torch.int32) * (rows * columns),
            max_seqlen=rows * columns,
        ).pooler_output
        return tokens.unflatten(0, (count, rows * columns // self.merge**2))

    def cut_patches(self, pixels: Tensor) -> Tensor:
        """Cuts pictures (n, 3, h, w) into (patches of all pictures, 3 x frames x patch x patch), merged
        neighbours side by side; a still is repeated for each frame that the tower expects."""
        count, channels, height, width = pixels.shape
        rows, columns = height // (self.patch * self.merge), width // (self.patch * self.merge)
        cut = pixels.reshape(
            count, channels, rows, self.merge, self.patch, columns, self.merge, self.patch
        ).permute(0, 2, 5, 3, 6, 1, 4, 7)
        still = cut.unsqueeze(6).expand(*cut.shape[:6], self.frames, *cut.shape[6:])
        return still.reshape(-1, channels * self.frames * self.patch**2)


class Qwen2VLLanguage(nn.Module):
    """Implements `LanguageModel`.

    Raises:
        ModelError: its attention slides over the sequence (no published Qwen2-VL's does).
    """

    def __init__(self, model: Qwen2VLModel) -> None:
        super().__init__()
        self.model = model.language_model
        settings: Any = self.model.config
        if any(kind != "full_attention" for kind in settings.layer_types):
            raise ModelError("a Qwen2-VL with sliding attention is not supported: set use_sliding_window off")
        self.hidden: int = settings.hidden_size
        self.config: dict[str, Any] = model.config.to_dict()
        settings._attn_implementation = _CONTINUED
        self._run_layer = _run_layer

    def enable_compile(self) -> None:
        # One layer stands for all: seconds instead of minutes, and no graph for each length of a sequence.
        self._run_layer = torch.compile(_run_layer, dynamic=True)

    def enable_checkpointing(self) -> None:
        """Makes training keep one layer's activations in memory instead of all: the others are worked out
        again on the way back."""
        self._run_layer = partial(checkpoint, _run_layer, use_reentrant=False)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.model.embed_tokens(ids)

    def encode_prefix(self, embeds: Tensor, positions: Tensor) -> Prefix:
        kept: Prefix = []
        self._run_layers(embeds, positions, kept=kept)
        return kept

    def encode(
        self,
        embeds: Tensor,
        positions: Tensor,
        prefix: Prefix | None = None,
        prefix_index: Tensor | None = None,
    ) -> Tensor:
        return self.model.norm(self._run_layers(embeds, positions, prefix, prefix_index))

    def _run_layers(
        self,
        embeds: Tensor,
        positions: Tensor,
        prefix: Prefix | None = None,
        prefix_index: Tensor | None = None,
        kept: Prefix | None = None,
    ) -> Tensor:
        """All layers: hidden states, before the last norm. Keys and values of each layer go into `kept`."""
        rotary = self.model.rotary_emb(embeds, positions)
        hidden = embeds
        for number, layer in enumerate(self.model.layers):
            past = None
            if prefix is not None:  # copied for one layer at a time: for all at once they would fill a card
                past = prefix[number][0][prefix_index], prefix[number][1][prefix_index]
            hidden, own = self._run_layer(layer, hidden, rotary, past)
            if kept is not None:
                kept.append(own)
        return hidden


def _run_layer(layer: nn.Module, hidden: Tensor, rotary: Pair, past: Pair | None) -> tuple[Tensor, Pair]:
    kept: list[Pair] = []
    hidden = layer(hidden, attention_mask=None, position_embeddings=rotary, past=past, kept=kept)
    return hidden, kept[0]
