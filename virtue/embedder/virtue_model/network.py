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
from virtue.embedder.virtue_model.prompt_encoding import Drawing, stacked
from virtue.embedder.virtue_model.protocols import (
    LanguageModel,
    SegmentationModel,
    VisionTower,
    device_of,
    dtype_of,
)
from virtue.embedder.virtue_model.sequence import Grid, order, positions

PROMPTS = 16
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
class Row:
    """One sequence: text tokens, and perhaps a scene with what was drawn on it."""

    ids: tuple[int, ...]
    scene: Scene | None = None
    drawing: Drawing | None = None

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

    def make_compiled(self) -> None:
        for part in (self.segmentation, self.vision, self.language):
            part.make_compiled()

    def look(self, pixels: Tensor, square: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The image work of n pictures of one size.

        Args:
            pixels: (n, 3, h, w) float32, CLIP-normalised, for the vision tower.
            square: (n, 3, side, side) float32, for the segmentation model.

        Returns:
            image tokens (n, tokens, hidden); the map (n, channels, grid, grid); the finer maps.
        """
        features, fine = self.segmentation.encode(square.to(self.dtype))
        return self.vision.encode(pixels.to(self.dtype)), features, fine

    def segmentation_tokens(self, scenes: Sequence[Scene], drawings: Sequence[Drawing]) -> Tensor:
        """(n, segmentation tokens, hidden) of n prompts, each on its scene."""
        # Padding with points that are none would change a vector with its company: equal shapes go together.
        order = sorted(range(len(drawings)), key=lambda n: drawings[n].shape)
        tokens: dict[int, Tensor] = {}
        while order:
            same = [n for n in order[:PROMPTS] if drawings[n].shape == drawings[order[0]].shape]
            order = order[len(same) :]
            drawn = stacked([drawings[n] for n in same], self.segmentation.mask_side, self.device)
            cells = self.segmentation.prompted(torch.stack([scenes[n].features for n in same]), drawn)
            tokens.update(zip(same, self.connector(cells), strict=True))
        return torch.stack([tokens[n] for n in range(len(drawings))])

    def forward(self, rows: Sequence[Row]) -> Tensor:
        """(n, hidden) unit rows, float32. Rows are all texts, or all have scenes. Scenes that several
        rows share are read once where the layout allows it; all must then have equally many tokens."""
        scenes = list(dict.fromkeys(row.scene for row in rows if row.scene is not None))
        if self.configuration.layout == "image-first" and len(scenes) < len(rows) and scenes:
            last = self._continued(rows, scenes)
        else:
            last = self._whole(rows)
        return functional.normalize(last.float(), dim=-1)

    def _whole(self, rows: Sequence[Row]) -> Tensor:
        """One full pass for each row."""
        parts = self._parts(rows)
        return self._last(parts, [self._positions(row) for row in rows])

    def _continued(self, rows: Sequence[Row], scenes: Sequence[Scene]) -> Tensor:
        """The scenes once, then each row from where its scene ends."""
        lengths = [len(scene.tokens) for scene in scenes]
        places = [positions(self.configuration, scene.grid, 0)[:, : len(scene.tokens)] for scene in scenes]
        assert len(set(lengths)) == 1, "scenes of one batch have equally many tokens"
        shared = torch.stack([scene.tokens for scene in scenes])
        prefix = self.language.prefix(shared, upload(torch.stack(places, dim=1), self.device))
        number = {id(scene): n for n, scene in enumerate(scenes)}
        of = upload(torch.tensor([number[id(row.scene)] for row in rows]), self.device)
        parts = self._parts(rows, without_image=True)
        return self._last(parts, [self._positions(row)[:, lengths[0] :] for row in rows], prefix, of)

    def _parts(self, rows: Sequence[Row], without_image: bool = False) -> list[Tensor]:
        """The embedded tokens of each row, (length, hidden), in the layout's order."""
        seen = [row for row in rows if row.scene is not None and row.drawing is not None]
        prompted = iter(
            self.segmentation_tokens(
                [row.scene for row in seen if row.scene], [row.drawing for row in seen if row.drawing]
            )
            if seen
            else ()
        )
        ids = torch.tensor([id for row in rows for id in row.ids], dtype=torch.int64)
        texts = self.language.words(upload(ids, self.device)).split([len(row.ids) for row in rows])
        parts = []
        for row, text in zip(rows, texts, strict=True):
            if row.scene is None:
                parts.append(text)
                continue
            named = {"segmentation": next(prompted), "image": row.scene.tokens, "text": text}
            names = [n for n in order(self.configuration.layout) if not (without_image and n == "image")]
            parts.append(torch.cat([named[name].to(self.dtype) for name in names]))
        return parts

    def _positions(self, row: Row) -> Tensor:
        return positions(self.configuration, row.scene.grid if row.scene else None, len(row.ids))

    def _last(
        self, parts: Sequence[Tensor], places: Sequence[Tensor], prefix: Any = None, of: Tensor | None = None
    ) -> Tensor:
        """The hidden state of each row's last token, (n, hidden)."""
        embeds = pad_sequence(list(parts), batch_first=True)
        across = pad_sequence([place.T for place in places], batch_first=True).permute(2, 0, 1)
        hidden = self.language.read(embeds, upload(across, self.device), prefix, of)
        ends = upload(torch.tensor([len(part) - 1 for part in parts]), self.device)
        return hidden[torch.arange(len(parts), device=self.device), ends]
