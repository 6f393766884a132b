"""From the segmentation model's prompted map to tokens of the language model (arXiv 2510.00523, 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from virtue.errors import ModelError


class Connector(nn.Module):
    """A strided convolution that makes the map `side` x `side`, then two linear layers.

    Parameter names are those of the published file, `sam2_reducer` and `sam2vlm_layer`.

    Raises:
        ModelError: `side` does not divide the map's.
    """

    def __init__(self, channels: int, grid: int, side: int, hidden: int) -> None:
        super().__init__()
        if grid % side:
            raise ModelError(
                f"a map of {grid} x {grid} cells cannot become {side} x {side} segmentation tokens: "
                f"choose a side that divides {grid}"
            )
        step = grid // side
        self.sam2_reducer = nn.Conv2d(channels, channels, kernel_size=step, stride=step)
        self.sam2vlm_layer = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, hidden)
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Turns maps (n, channels, grid, grid) into tokens (n, side x side, hidden), row by row."""
        return self.sam2vlm_layer(self.sam2_reducer(cells).flatten(2).transpose(1, 2))
