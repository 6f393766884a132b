"""A small real model: the mean colour of what is pointed at, and the colours that a text names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from virtue.embedder.model import Find, Item, Proposal
from virtue.geometry import Box
from virtue.pictures import Picture

NAMES = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


class ColourModel:
    """Vectors of eight numbers; counts what it is asked to do."""

    name = "colours"
    dim = 8
    side: int | None = 64
    text_match = 0.9

    def __init__(self, fingerprint: str = "colours-1") -> None:
        self.fingerprint = fingerprint
        self.pictures = 0
        self.texts: list[str] = []

    @property
    def model(self) -> ColourModel:
        return self

    def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
        self.pictures += len(pictures)
        return list(pictures)

    def propose(self, scene: Picture, limit: int) -> list[Proposal]:
        w, h = scene.width / 2, scene.height / 2
        corners = [Box(x, y, x + w, y + h) for y in (0, h) for x in (0, w)]
        return [Proposal(box, 0.5, "quarter") for box in corners[:limit]]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        return np.array([self._vector(item) for item in items], np.float32).reshape(-1, self.dim)

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        return [self.embed([item]) for item in items]

    def _vector(self, item: Item) -> np.ndarray:
        if item.scene is None:
            self.texts.append(item.text or "")
            named = [NAMES[word] for word in (item.text or "").split() if word in NAMES]
            colour = np.mean(named, axis=0) if named else np.full(3, 10.0)
        else:
            colour = self._pixels(item).mean(axis=0)
        vector = np.zeros(self.dim, np.float32)
        vector[:3], vector[3] = colour, 25
        return vector / np.linalg.norm(vector)

    def _pixels(self, item: Item) -> np.ndarray:
        scene, prompt = item.scene, item.prompt
        pixels = scene.pixels
        if prompt is not None and prompt.mask is not None:
            rows = np.arange(pixels.shape[0]) * scene.height // pixels.shape[0]
            columns = np.arange(pixels.shape[1]) * scene.width // pixels.shape[1]
            return pixels[prompt.mask[np.ix_(rows, columns)]]
        if prompt is not None and prompt.box is not None:
            box = prompt.box.scaled(pixels.shape[1] / scene.width, pixels.shape[0] / scene.height)
            pixels = pixels[int(box.y0) : max(int(box.y1), int(box.y0) + 1)]
            pixels = pixels[:, int(box.x0) : max(int(box.x1), int(box.x0) + 1)]
        return pixels.reshape(-1, 3)
