"""Where each token of an item's sequence lies, in order and in position."""

from __future__ import annotations

import torch
from torch import Tensor

from virtue.embedder.virtue_model.configuration import Configuration, Layout

Grid = tuple[int, int]
"""Rows and columns."""


def token_order(layout: Layout) -> tuple[str, str, str]:
    if layout == "published":
        return "segmentation", "image", "text"
    return "image", "segmentation", "text"


def token_positions(configuration: Configuration, image: Grid | None, words: int) -> Tensor:
    """Computes the time, row and column of each token of one item without padding: (3, length) int64.

    Args:
        image: the grid of the item's image tokens; None: a text alone, which has no segmentation tokens.
        words: number of text tokens.
    """
    if image is None:
        return torch.arange(words).expand(3, -1)
    side = configuration.segmentation_side
    grids = {"segmentation": (side, side), "image": image}
    parts: list[Tensor] = []
    start = configuration.segmentation_tokens if configuration.flat_positions else 0
    for name in token_order(configuration.layout):
        if name == "text":
            parts.append(start + torch.arange(words).expand(3, -1))
        elif not configuration.flat_positions:
            parts.append(start + _grid_positions(grids[name]))
            start += max(grids[name])
        elif name == "segmentation":
            parts.append(torch.zeros(3, side * side, dtype=torch.int64))
        else:
            count = image[0] * image[1]
            parts.append(start + torch.arange(count).expand(3, -1))
            start += count
    return torch.cat(parts, dim=1)


def _grid_positions(grid: Grid) -> Tensor:
    """M-RoPE of a still (Qwen2-VL, section 2.1): one time, rows, columns."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns]).flatten(1)
