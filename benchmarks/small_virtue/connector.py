"""From the segmentation stream's map, with a mask laid on it, to tokens of the image tower."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.small_virtue.features import FINE, FINE_WIDTH, GRID
from benchmarks.small_virtue.network import MODEL, Prompted

Kind = Literal["linear", "mlp", "conv"]
SIDE = 32
"""Cells of a side of the map that tokens are made of."""
CHANNELS = 2 * FINE_WIDTH + 1
"""The map, the same under the mask, and the mask."""


class Connector(nn.Module):
    """Makes a square number of tokens.

    Args:
        tokens: 256, 64, 16 or 4.
        kind: "conv": a strided convolution, then two linear layers, as published; "mlp": means of cells,
            then two linear layers; "linear": means of cells, then one.
    """

    def __init__(self, tokens: int, kind: Kind) -> None:
        super().__init__()
        self.step = SIDE // math.isqrt(tokens)
        self.position = nn.Parameter(torch.randn(tokens, MODEL) * 0.02)
        # A convolution whose kernel is as wide as its stride, as a product: processors do that faster.
        self.reduce = nn.Linear(CHANNELS * self.step**2, CHANNELS) if kind == "conv" else None
        self.read = (
            nn.Linear(CHANNELS, MODEL)
            if kind == "linear"
            else nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.GELU(), nn.Linear(CHANNELS, MODEL))
        )

    def forward(self, given: Prompted) -> Tensor:
        """Computes (batch, tokens, MODEL). Where nothing is prompted, they say nothing of the picture."""
        seen = given.seen[:, None, None, None].to(given.fine.dtype)
        fine = given.fine.transpose(1, 2).unflatten(2, (FINE, FINE))
        share = given.shares.unflatten(1, (GRID, GRID))[:, None].to(fine.dtype)
        share = F.interpolate(share, size=FINE, mode="bilinear")
        cells = F.interpolate(torch.cat([fine, fine * share, share], 1) * seen, size=SIDE, mode="bilinear")
        if self.reduce is None:
            pooled = F.avg_pool2d(cells, self.step).flatten(2).transpose(1, 2)
        else:
            pooled = self.reduce(F.pixel_unshuffle(cells, self.step).flatten(2).transpose(1, 2))
        tokens: Tensor = self.read(pooled)
        return tokens + self.position
