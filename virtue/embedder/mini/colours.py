"""Pixels -> the eleven basic colour terms (Berlin and Kay 1969), cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TERMS = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown",
)  # fmt: skip
WIDTH = 16
"""Columns of the colour part: the terms, then zeros."""
STEP = 2
"""Every so manyth pixel each way is looked at."""
LEVELS = 32
"""Steps of each channel of RGB that the table tells apart."""


class ColourTable:
    """What people call a colour: for each of 32 x 32 x 32 colours of RGB, the shares of the terms."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "colours.npz") as arrays:
            shares = arrays["table"].reshape(LEVELS**3, len(TERMS)).astype(np.float32)
        self._shares = shares / shares.sum(axis=1, keepdims=True)

    def cells(self, pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        """Returns the shares of the terms in each cell: (rows x columns, 11) float32, rows sum to 1.

        `pixels` is (h, w, 3) uint8 RGB, its sides multiples of `grid`'s.
        """
        rows, columns = grid
        some = pixels[STEP // 2 :: STEP, STEP // 2 :: STEP].astype(np.int32) * LEVELS // 256
        codes = (some[..., 0] * LEVELS + some[..., 1]) * LEVELS + some[..., 2]
        by_cell = codes.reshape(rows, codes.shape[0] // rows, columns, -1).swapaxes(1, 2)
        shares: np.ndarray = self._shares[by_cell.reshape(rows * columns, -1)].mean(axis=1)
        return shares


def pool_shares(cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the colour part of regions: (k, 16) float32 unit rows, roots of the shares of the terms.

    `cells` as `ColourTable.cells` makes them, `weights` is (k, cells), of which rows sum to 1.
    """
    made = np.zeros((len(weights), WIDTH), np.float32)
    made[:, : len(TERMS)] = np.sqrt(weights @ cells)
    return made


def name_terms(terms: tuple[int, ...]) -> np.ndarray:
    """Returns the colour part of terms that are named: (16,) float32 of unit length; of none, zeros."""
    made = np.zeros(WIDTH, np.float32)
    if terms:
        made[list(terms)] = len(terms) ** -0.5
    return made
