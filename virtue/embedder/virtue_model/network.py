"""The network: pictures and prompted, worded sequences -> vectors. No files, no words, no batching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from virtue.embedder.uploads import upload
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.connector import Connector
from virtue.embedder.virtue_model.prompt_encoding import EncodedPrompt, stack_prompts
from virtue.embedder.virtue_model.protocols import (
    LanguageModel,
    SegmentationModel,
    VisionTower,
    device_of,
    dtype_of,
)
from virtue.embedder.virtue_model.sequence import Grid, token_order, token_positions

MAX_PROMPTS = 16
"""Prompts that the segmentation model works on at once: each takes some copies of its map (SAM 2.1: 4 MB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture after its image work.

    `width` and `height` are those of the upright original. `features` (channels, grid, grid) and `fine`
    are the segmentation model's, `tokens` (rows x columns, hidden) the vision tower's; `grid` is their
    rows and columns.
    """

    width: int
    height: int
    features: Tensor
    fine: tuple[Tensor, ...]
    tokens: Tensor
    grid: Grid


@dataclass(frozen=True, slots=True, eq=False)
class InputSequence:
    """One sequence: text tokens, and perhaps a scene with what was drawn on it."""

    ids: tuple[int, ...]
    scene: Scene | None = None
    prompt: EncodedPrompt | None = None

    @property
    def image_length(self) -> int:
        return 0 if self.scene is None else len(self.scene.tokens)


class Network(nn.Module):
    """The three backbones (each also an `nn.Module`) and the connector between them.

    Raises:
        ModelError: the number of segmentation tokens does not fit the segmentation model's map.
    """

    def __init__(
        self,
        configuration: Configuration,
        segmentation: SegmentationModel,
        vision: VisionTower,
        language: LanguageModel,
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self.segmentation = segmentation
        self.vision = vision
        self.language = language
        self.connector = Connector(
            segmentation.channels, segmentation.grid, configuration.segmentation_side, language.hidden
        )

    @property
    def device(self) -> torch.device:
        return device_of(self.connector)

    @property
    def dtype(self) -> torch.dtype:
        return dtype_of(self.connector)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.configuration.dim or self.language.hidden

    def enable_compile(self) -> None:
        for part in (self.segmentation, self.vision, self.language):
            part.enable_compile()

    def encode_pictures(self, pixels: Tensor, square: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Does the image work of n pictures of one size.

        Args:
            pixels: (n, 3, h, w) float32, CLIP-normalised, for the vision tower.
            square: (n, 3, side, side) float32, for the segmentation model.

        Returns:
            image tokens (n, tokens, hidden); the map (n, channels, grid, grid); the finer maps.
        """
        features, fine = self.segmentation.encode(square.to(self.dtype))
        return self.vision.encode(pixels.to(self.dtype)), features, fine

    def segmentation_tokens(self, scenes: Sequence[Scene], drawings: Sequence[EncodedPrompt]) -> Tensor:
        """Computes the segmentation tokens (n, tokens, hidden) of n prompts, each on its scene."""
        # Padding with points that are none would change a vector with its company: equal shapes go together.
        order = sorted(range(len(drawings)), key=lambda n: drawings[n].shape)
        tokens: dict[int, Tensor] = {}
        while order:
            same = [n for n in order[:MAX_PROMPTS] if drawings[n].shape == drawings[order[0]].shape]
            order = order[len(same) :]
            drawn = stack_prompts([drawings[n] for n in same], self.segmentation.mask_side, self.device)
            cells = self.segmentation.apply_prompts(torch.stack([scenes[n].features for n in same]), drawn)
            tokens.update(zip(same, self.connector(cells), strict=True))
        return torch.stack([tokens[n] for n in range(len(drawings))])

    def forward(self, rows: Sequence[InputSequence]) -> Tensor:
        """Computes embeddings: (n, dim) float32, unit rows. Rows are all texts, or all have scenes. Scenes
        that several rows share are read once where the layout allows it; all must then have equally many
        tokens."""
        scenes = list(dict.fromkeys(row.scene for row in rows if row.scene is not None))
        if self.configuration.layout == "image-first" and len(scenes) < len(rows) and scenes:
            last = self._run_continued(rows, scenes)
        else:
            last = self._run_full(rows)
        return functional.normalize(last.float()[:, : self.dim], dim=-1)

    def _run_full(self, rows: Sequence[InputSequence]) -> Tensor:
        """One full pass for each row."""
        parts = self._embed_parts(rows)
        return self._pool_last(parts, [self._positions(row) for row in rows])

    def _run_continued(self, rows: Sequence[InputSequence], scenes: Sequence[Scene]) -> Tensor:
        """The scenes once, then each row from where its scene ends."""
        lengths = [len(scene.tokens) for scene in scenes]
        places = [
            token_positions(self.configuration, scene.grid, 0)[:, : len(scene.tokens)] for scene in scenes
        ]
        assert len(set(lengths)) == 1, "scenes of one batch have equally many tokens"
        shared = torch.stack([scene.tokens for scene in scenes])
        prefix = self.language.encode_prefix(shared, upload(torch.stack(places, dim=1), self.device))
        number = {id(scene): n for n, scene in enumerate(scenes)}
        prefix_index = upload(torch.tensor([number[id(row.scene)] for row in rows]), self.device)
        parts = self._embed_parts(rows, without_image=True)
        rest = [self._positions(row)[:, lengths[0] :] for row in rows]
        return self._pool_last(parts, rest, prefix, prefix_index)

    def _embed_parts(self, rows: Sequence[InputSequence], without_image: bool = False) -> list[Tensor]:
        """The embedded tokens of each row, (length, hidden), in the layout's order."""
        seen = [row for row in rows if row.scene is not None and row.prompt is not None]
        prompted = iter(
            self.segmentation_tokens(
                [row.scene for row in seen if row.scene], [row.prompt for row in seen if row.prompt]
            )
            if seen
            else ()
        )
        ids = torch.tensor([id for row in rows for id in row.ids], dtype=torch.int64)
        texts = self.language.embed_tokens(upload(ids, self.device)).split([len(row.ids) for row in rows])
        parts = []
        for row, text in zip(rows, texts, strict=True):
            if row.scene is None:
                parts.append(text)
                continue
            named = {"segmentation": next(prompted), "image": row.scene.tokens, "text": text}
            names = [
                n for n in token_order(self.configuration.layout) if not (without_image and n == "image")
            ]
            parts.append(torch.cat([named[name].to(self.dtype) for name in names]))
        return parts

    def _positions(self, row: InputSequence) -> Tensor:
        return token_positions(self.configuration, row.scene.grid if row.scene else None, len(row.ids))

    def _pool_last(
        self,
        parts: Sequence[Tensor],
        places: Sequence[Tensor],
        prefix: Any = None,
        prefix_index: Tensor | None = None,
    ) -> Tensor:
        """The hidden state of each row's last token, (n, hidden)."""
        embeds = pad_sequence(list(parts), batch_first=True)
        across = pad_sequence([place.T for place in places], batch_first=True).permute(2, 0, 1)
        hidden = self.language.encode(embeds, upload(across, self.device), prefix, prefix_index)
        ends = upload(torch.tensor([len(part) - 1 for part in parts]), self.device)
        return hidden[torch.arange(len(parts), device=self.device), ends]
