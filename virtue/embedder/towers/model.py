"""Two towers behind `Embedder`: whole pictures, regions of them, texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from virtue.embedder.model import Find, Item
from virtue.embedder.pooling import FeatureMap, box_weights, coarser, prompt_weights
from virtue.embedder.proposals import propose
from virtue.embedder.towers.pixels import Preprocessing, circled, cropped
from virtue.embedder.towers.vision import Tokens, Vision
from virtue.embedder.towers.words import TextTower
from virtue.errors import InputError
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture

Thing = TypeVar("Thing")
Variant = Literal["attend", "roi", "crop", "circle"]
"""How a region gets its vector: read off the scene's tokens in two ways (see `vision.Reading`), or by the
paper's baselines (VIRTUE, arXiv 2510.00523, table of SCaR): a crop of it, or a red circle around it."""
BATCH = {"cpu": 8, "cuda": 64}
"""Pictures of one pass."""
MANY = 1000
LEAST_CELLS = 1.5
SAME_TEXT = 0.85
"""Two texts of a two-tower model are rarely less than 0.5 alike, whatever they say: all texts lie in one
narrow cone, apart from the pictures (Liang et al., arXiv 2203.02053)."""


@dataclass(slots=True, eq=False)
class Scene:
    """A picture, its vector (dim,), and its tokens once a region has been asked for."""

    picture: Picture
    whole: Tensor
    tokens: Tokens | None


class Towers:
    """Implements `virtue.embedder.model.Model`. float32 on every device, so that they agree."""

    text_match = SAME_TEXT

    def __init__(
        self,
        name: str,
        fingerprint: str,
        vision: Vision,
        text: TextTower,
        preprocessing: Preprocessing,
        *,
        variant: Variant,
        side: int,
        device: torch.device,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.dim = vision.dim
        self.side: int | None = side
        self._vision, self._text, self._preprocessing = vision, text, preprocessing
        self._variant, self._device = variant, device
        self._batch = BATCH.get(device.type, BATCH["cpu"])

    @torch.inference_mode()
    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        scenes = []
        for some in _batches(pictures, self._batch):
            wholes, tokens = self._vision.look(self._placed(self._preprocessing.own(some)))
            for picture, whole, own in zip(some, wholes, tokens, strict=True):
                scenes.append(Scene(picture, whole, own if self._preprocessing.covers(picture) else None))
        return scenes

    @torch.inference_mode()
    def propose(self, scene: Scene, limit: int) -> list[Box]:
        def look(maps: FeatureMap, weights: np.ndarray) -> np.ndarray:
            return _numpy(self._read(scene, coarser(weights, maps.grid)))

        maps = self._maps(scene)
        cell = maps.width * maps.height / (maps.last.shape[0] * maps.last.shape[1])
        # One token that stands out is more often the tower's scratch paper than a thing (arXiv 2309.16588).
        boxes = [box for box in propose(maps, MANY, look) if box.area > LEAST_CELLS * cell]
        return boxes[:limit]

    @torch.inference_mode()
    def embed(self, items: Sequence[Item]) -> np.ndarray:
        """Raises:
        InputError: a text is longer than the model reads; names the item's place."""
        vectors = np.zeros((len(items), self.dim), np.float32)
        images = [n for n, item in enumerate(items) if item.scene is not None]
        texts = [n for n, item in enumerate(items) if item.text is not None]
        if texts:
            vectors[texts] = self._texts([(n, items[n].text or "") for n in texts], len(items))
        if images:
            seen = self._images([items[n] for n in images])
            # A text beside an image is its equal; alone, `vectors` is still zero there.
            vectors[images] = _unit(vectors[images] + seen)
        return vectors

    def query(self, item: Item, picture: Picture | None, find: Find) -> np.ndarray:
        return self.embed([item])

    # -- texts and pictures ----------------------------------------------------------------------------

    def _texts(self, texts: Sequence[tuple[int, str]], count: int) -> np.ndarray:
        for place, text in texts:
            try:
                self._text.check(text)
            except InputError as error:
                raise InputError(f"item {place}: {error}" if count > 1 else str(error)) from None
        return _numpy(self._text([text for _, text in texts]))

    def _images(self, items: Sequence[Item]) -> np.ndarray:
        """(n, dim) unit rows: items of one scene are read together, drawn pictures pass together."""
        rows = np.zeros((len(items), self.dim), np.float32)
        prompted = [n for n, item in enumerate(items) if item.prompt]
        for n, item in enumerate(items):
            if not item.prompt:
                rows[n] = _numpy(_scene(item).whole[None])[0]
        if self._variant in ("crop", "circle"):
            drawn = [self._drawn(items[n]) for n in prompted]
            for n, vector in zip(prompted, self._wholes(drawn), strict=True):
                rows[n] = vector
            return rows
        by_scene: dict[int, list[int]] = {}
        for n in prompted:
            by_scene.setdefault(id(items[n].scene), []).append(n)
        self._see([_scene(items[places[0]]) for places in by_scene.values()])
        for places in by_scene.values():
            scene = _scene(items[places[0]])
            rows[places] = _numpy(self._read(scene, self._weights(scene, [items[n].prompt for n in places])))
        return rows

    def _drawn(self, item: Item) -> Picture:
        picture, prompt = _scene(item).picture, item.prompt or Prompt()
        box = prompt.outline(picture.width, picture.height)
        return cropped(picture, box) if self._variant == "crop" else circled(picture, box)

    def _wholes(self, pictures: Sequence[Picture]) -> list[np.ndarray]:
        """A crop is a picture like any other; a circle must not be cut off by the centre crop."""
        view = self._preprocessing.own if self._variant == "crop" else self._preprocessing.entire
        return [
            vector
            for some in _batches(pictures, self._batch)
            for vector in _numpy(self._vision.look(self._placed(view(some)))[0])
        ]

    # -- tokens ----------------------------------------------------------------------------------------

    def _see(self, scenes: Iterable[Scene]) -> None:
        """Gives tokens to the scenes that have none."""
        blind = [scene for scene in scenes if scene.tokens is None]
        for some in _batches(blind, self._batch):
            pixels = self._preprocessing.entire([scene.picture for scene in some])
            for scene, tokens in zip(some, self._vision.look(self._placed(pixels))[1], strict=True):
                scene.tokens = tokens

    def _tokens(self, scene: Scene) -> Tokens:
        self._see([scene])
        assert scene.tokens is not None
        return scene.tokens

    def _read(self, scene: Scene, shares: np.ndarray) -> Tensor:
        return self._vision.read(self._tokens(scene), torch.from_numpy(shares).to(self._device))

    def _maps(self, scene: Scene) -> FeatureMap:
        """The tokens as the map that points are compared on and proposals are found in. Of unit length:
        a few tokens of a large tower are long without meaning more (arXiv 2309.16588)."""
        tokens = self._tokens(scene)
        last = _numpy(tokens.patches).reshape(*tokens.grid, -1)
        return FeatureMap(scene.picture.width, scene.picture.height, last)

    def _weights(self, scene: Scene, prompts: Sequence[Prompt | None]) -> np.ndarray:
        """(len(prompts), rows * columns) float32, rows sum to 1: the share of each cell in each region."""
        maps = self._maps(scene)
        return coarser(np.stack([_fine_weights(maps, prompt or Prompt()) for prompt in prompts]), maps.grid)

    def _placed(self, pixels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self._device) for name, value in pixels.items()}


def _scene(item: Item) -> Scene:
    assert isinstance(item.scene, Scene)
    return item.scene


def _fine_weights(maps: FeatureMap, prompt: Prompt) -> np.ndarray:
    if prompt.box is not None and not prompt.points and prompt.mask is None:
        return box_weights([prompt.box], maps.width, maps.height, maps.grid)[0]
    return prompt_weights(prompt, maps.width, maps.height, maps.last)


def _numpy(vectors: Tensor) -> np.ndarray:
    """Unit rows."""
    return F.normalize(vectors.float(), dim=-1).cpu().numpy()


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _batches(things: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
