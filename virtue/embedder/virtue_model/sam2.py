"""SAM 2.1 (arXiv 2408.00714) as the segmentation model, by transformers' `Sam2Model`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam2Model

from virtue.embedder.virtue_model.protocols import PromptBatch


class _NoPositions(nn.Module):
    """Stands in for the neck's sine positions: only video reads them, and they cost as much as a stage of
    a small trunk."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.empty(0, 0, 0, 0, device=device, dtype=dtype)


class Sam2Segmentation(nn.Module):
    """Implements `SegmentationModel`."""

    def __init__(self, model: Sam2Model) -> None:
        super().__init__()
        self.model = model
        model.vision_encoder.neck.position_encoding = _NoPositions()
        config: Any = model.config
        self.side: int = config.prompt_encoder_config.image_size
        self.grid: int = self.side // config.prompt_encoder_config.patch_size
        self.channels: int = config.prompt_encoder_config.hidden_size
        self.mask_side: int = 4 * self.grid
        self.config: dict[str, Any] = config.to_dict()
        self._levels = self._image_levels

    def enable_compile(self) -> None:
        # As a whole: its blocks differ in their windows, and its input only in the number of pictures.
        compiled = torch.compile(self._image_levels)

        def levels(pixels: Tensor) -> tuple[Tensor, ...]:
            torch._dynamo.maybe_mark_dynamic(pixels, 0)
            return compiled(pixels)

        self._levels = levels

    def encode(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        *fine, coarse = self._levels(pixels)
        coarse = coarse + self.model.no_memory_embedding
        return self._to_grid(coarse), tuple(self._to_grid(level) for level in fine)

    def apply_prompts(self, features: Tensor, drawn: PromptBatch) -> Tensor:
        # VIRTUE takes the image side of the mask decoder's two-way transformer; the decoder's tail
        # (upscaling, masks, scores) would be thrown away.
        sparse, dense = self._encode_prompts(features.dtype, drawn)
        decoder = self.model.mask_decoder
        parts = decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens
        own = torch.cat([part.weight for part in parts]).expand(len(sparse), 1, -1, -1)
        tokens = torch.cat([own, sparse], dim=2)
        _, cells = decoder.transformer(
            point_embeddings=tokens,
            image_embeddings=features + dense,
            image_positional_embeddings=self._positions(features),
            attention_similarity=None,
        )
        return cells[:, 0].transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def masks(self, features: Tensor, fine: Sequence[Tensor], drawn: PromptBatch) -> tuple[Tensor, Tensor]:
        count = len(drawn.points)
        sparse, dense = self._encode_prompts(features.dtype, drawn)
        logits, quality, _, _ = self.model.mask_decoder(
            image_embeddings=features.expand(count, -1, -1, -1),
            image_positional_embeddings=self._positions(features).expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=[level.expand(count, -1, -1, -1) for level in fine],
        )
        return logits[:, 0], quality[:, 0]

    def _image_levels(self, pixels: Tensor) -> tuple[Tensor, ...]:
        # Not get_image_embeddings: that one is closed to gradients, and training comes this way too.
        return tuple(self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states)

    def _encode_prompts(self, dtype: torch.dtype, drawn: PromptBatch) -> tuple[Tensor, Tensor]:
        """One prompt a picture: sparse (n, 1, tokens, channels), dense (n, channels, grid, grid)."""
        masks = None if drawn.masks is None else drawn.masks.to(dtype)
        # A box goes in as two labelled corners, as in SAM 2's own predictor: so a box and points are one
        # list, and every mixture takes the same path.
        sparse, dense = self.model.prompt_encoder(drawn.points[:, None], drawn.labels[:, None], None, masks)
        # Places are worked out in float32, whatever the rest is in.
        return sparse.to(dtype), dense.to(dtype)

    def _positions(self, like: Tensor) -> Tensor:
        positions = self.model.get_image_wide_positional_embeddings().to(like.dtype)
        return positions.expand(len(like), -1, -1, -1)

    @staticmethod
    def _to_grid(level: Tensor) -> Tensor:
        """(cells, n, channels) -> (n, channels, rows, columns)."""
        side = round(level.shape[0] ** 0.5)
        return level.permute(1, 2, 0).unflatten(2, (side, side))
