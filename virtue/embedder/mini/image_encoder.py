"""Picture -> feature maps -> meaning, look and colours of any part of it.

Meaning: ConSE (Norouzi et al. 2013, arXiv 1312.5650): the classes that EfficientNet-Lite0 sees in the
mean of the last map, as a mean of their names' sentence vectors. Look: the last map and the expansion of
the last block at stride 16, each pooled by a generalised mean, p = 3 (Radenovic et al. 2018, arXiv
1711.02512), joined, centred and projected. Colours: what people call them, in shares of the area.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from virtue.embedder.feature_map import FeatureMap
from virtue.embedder.mini.colours import ColourTable, pool_shares
from virtue.embedder.mini.config import Config
from virtue.embedder.mini.things import ThingMeanings, Things
from virtue.embedder.pooling import coarsen, cover, keep_opaque
from virtue.onnx_session import open_session
from virtue.vector_math import unit_rows


@dataclass(frozen=True, eq=False)
class FeatureMaps(FeatureMap):
    """The feature maps of a picture: `last` has 1280 channels at stride 32 of the model's input, `middle` is
    (2 rows, 2 columns, 672) at stride 16; both float32, never negative (ReLU6). `shares` is (cells of the
    finer grid, 11) float32: of each cell, the shares of the colour terms. `pixels` are what the network saw,
    and `find_things` finds the things in them. `opacity` is (cells of the finer grid,): the share of each
    that can be seen; None: all of it."""

    middle: np.ndarray
    shares: np.ndarray
    pixels: np.ndarray
    opacity: np.ndarray | None = None
    find_things: Callable[[FeatureMaps], Things] | None = None

    @cached_property
    def things(self) -> Things:
        """The things in the picture, looked for when first asked for."""
        assert self.find_things is not None, "only for pictures as a library has them"
        return self.find_things(self)

    @property
    def everything(self) -> np.ndarray:
        """(1, cells of the finer grid) weights of all that can be seen."""
        cells = self.grid[0] * self.grid[1]
        alike = np.full((1, cells), 1 / cells, np.float32)
        return alike if self.opacity is None else keep_opaque(alike, self.opacity)

    @cached_property
    def cubed(self) -> tuple[np.ndarray, np.ndarray]:
        """Both maps as (cells, channels), cubed, for generalised means of p = 3: asked for by the proposals,
        and again by the regions that came of them."""
        return _cube(self.last), _cube(self.middle)


def _cube(cells: np.ndarray) -> np.ndarray:
    # `**` takes 20 times longer.
    flat = cells.reshape(-1, cells.shape[2])
    return flat * flat * flat


class ImageEncoder:
    def __init__(self, folder: Path, config: Config, threads: int | None) -> None:
        self._config = config
        self._session = open_session(folder / "vision.onnx", threads)
        self._table = ColourTable(folder)
        with np.load(folder / "arrays.npz") as arrays:
            self._classifier = arrays["classifier"].astype(np.float32)
            self._bias = arrays["bias"].astype(np.float32)
            self._meanings = arrays["meanings"].astype(np.float32) + ThingMeanings(folder).hypernyms
            self._centre = arrays["look_centre"].astype(np.float32)
            self._projection = arrays["look_projection"].astype(np.float32)

    def maps(
        self, pixels: np.ndarray, width: int, height: int, side: int, alpha: np.ndarray | None = None
    ) -> FeatureMaps:
        """Runs one forward pass with `side` pixels on the long side, the other a multiple of 32 near the
        aspect.

        `pixels` is (h, w, 3) uint8 RGB; `width` and `height` are the original's; `alpha` is (h, w) uint8.
        """
        step = self._config.stride
        scale = side / max(pixels.shape[:2])
        h, w = (max(1, round(length * scale / step)) * step for length in pixels.shape[:2])
        if pixels.shape[:2] != (h, w):
            from PIL import Image  # a search by words needs none

            pixels = np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BICUBIC))
        last, middle = self._session.run(None, {"pixels": np.ascontiguousarray(pixels[None])})
        grid = middle.shape[1:3]
        opacity = None if alpha is None else cover(2 * alpha.astype(np.uint16) >= alpha.max(), grid)
        shares = self._table.cells(pixels, grid)
        return FeatureMaps(width, height, last[0], middle[0], shares, pixels, opacity)

    def meaning(self, maps: FeatureMaps, weights: np.ndarray, things: np.ndarray | None = None) -> np.ndarray:
        """Returns the meanings of regions: (k, 384) unit rows. `weights` is (k, cells of the finer grid), and
        `things` (k, 384) what the things in them mean. The meaning of the full image is mixed in with a
        smaller weight, since it decides what a small window leaves open."""
        own = self._conse(maps, np.concatenate([weights, maps.everything]))
        meanings = own[:-1] + self._config.context * own[-1:]
        return unit_rows(meanings if things is None else meanings + self._config.things * things)

    def _conse(self, maps: FeatureMaps, weights: np.ndarray) -> np.ndarray:
        cells = maps.last.reshape(-1, maps.last.shape[2])
        logits = coarsen(weights, maps.grid) @ cells @ self._classifier.T + self._bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        least = np.partition(odds, -self._config.top_classes, axis=1)[:, -self._config.top_classes, None]
        return unit_rows(np.where(odds >= least, odds, 0) @ self._meanings)

    def raw_look(self, maps: FeatureMaps, weights: np.ndarray) -> np.ndarray:
        """Returns looks before they are centred and projected: (k, 1280 + 672) float32."""
        cubed_last, cubed_middle = maps.cubed
        last = coarsen(weights, maps.grid) @ cubed_last
        middle = weights @ cubed_middle
        parts = [unit_rows(np.cbrt(last)), self._config.middle_weight * unit_rows(np.cbrt(middle))]
        return np.concatenate(parts, axis=1)

    def look(self, maps: FeatureMaps, weights: np.ndarray) -> np.ndarray:
        """Returns the looks of regions: (k, 384) unit rows."""
        return unit_rows((self.raw_look(maps, weights) - self._centre) @ self._projection)

    def colours(self, maps: FeatureMaps, weights: np.ndarray) -> np.ndarray:
        """Returns the colours of regions: (k, 16) unit rows, the last five columns zero."""
        return pool_shares(maps.shares, weights)
