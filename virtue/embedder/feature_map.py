"""What a model sees in a picture, cell by cell: what pooling weighs and proposals are found in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What a model sees in a picture whose upright original is `width` x `height` pixels: `last` is
    (rows, columns, channels) float32, one cell for each patch of the picture."""

    width: int
    height: int
    last: np.ndarray

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finer grid that weights refer to: twice those of `last`."""
        return 2 * self.last.shape[0], 2 * self.last.shape[1]
