"""Two towers behind `Embedder`: whole pictures, regions of them, texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from virtue.embedder.batching import Budget, room_on
from virtue.embedder.feature_map import FeatureMap
from virtue.embedder.model import Find, Item, Proposal
from virtue.embedder.pooling import box_weights, coarsen, prompt_weights
from virtue.embedder.proposals import choose, find_candidates
from virtue.embedder.region_pictures import crop_to_box, draw_circle
from virtue.embedder.towers.preprocessing import Preprocessing
from virtue.embedder.towers.text_tower import TextTower
from virtue.embedder.towers.vision_tower import Tokens, VisionEncoder
from virtue.embedder.uploads import prepare_ahead, stage, upload
from virtue.errors import InputError
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture
from virtue.resizing import Resizing
from virtue.vector_math import unit_rows

Source = TypeVar("Source")
Variant = Literal["attend", "roi", "crop", "circle"]
"""How a region gets its vector: read off the scene's tokens in two ways (see `RegionPooling`), or by the
paper's baselines (VIRTUE, arXiv 2510.00523, table of SCaR): a crop of it, or a red circle around it. Full
pictures are seen as regions are: all of them, but for "crop", where CLIP crops both."""
FIRST_BATCH = {"cpu": 8, "cuda": 64}
"""Pictures that are tried first as one pass."""
MAX_PROPOSALS = 1000
MIN_CELLS = 1.5
TEXT_MATCH = 0.85
"""Two texts of a two-tower model are rarely less than 0.5 alike, whatever they say: all texts lie in one
narrow cone, apart from the pictures (Liang et al., arXiv 2203.02053)."""
CROSS_MODAL_WEIGHT = 4.0
"""How many times the part of a query counts that is of another kind than what is looked for: words beside a
picture, where pictures are looked for. For the same reason: likeness differs far more among pictures than
between words and pictures, and with equal weights the picture decides alone. Published sums of CLIP's vectors
found most with words at .8 and the picture at .2 (WeiMoCIR, arXiv 2409.04918, four sizes of LAION's weights,
on CIRR and FashionIQ). Not measured for SigLIP."""


@dataclass(slots=True, eq=False)
class Scene:
    """A picture and its vector (dim,). Once a region has been asked for: its tokens, and `cells`, which are
    they as (rows, columns, channels) float32 of unit length, in the processor's memory."""

    picture: Picture
    embedding: Tensor
    tokens: Tokens | None
    cells: np.ndarray | None = None


class TwoTowerModel:
    """Implements `virtue.embedder.model.Model`."""

    text_match = TEXT_MATCH
    cross_modal_weight = CROSS_MODAL_WEIGHT

    def __init__(
        self,
        name: str,
        fingerprint: str,
        vision: VisionEncoder,
        text: TextTower,
        preprocessing: Preprocessing,
        *,
        variant: Variant,
        side: int,
        device: torch.device,
        dtype: str,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.dim = vision.dim
        self.side: int | None = side
        self._vision, self._text, self._preprocessing = vision, text, preprocessing
        self._variant, self.device, self.dtype = variant, device, dtype
        self._pictures = Budget(FIRST_BATCH.get(device.type, FIRST_BATCH["cpu"]), room_on(device))

    @property
    def max_seq_length(self) -> int:
        return self._text.limit

    @property
    def resizing(self) -> Resizing | None:
        """The rule by which pictures may be resized before they come here; None: more of them is needed."""
        return None if self._variant in ("crop", "circle") else self._preprocessing.resizing

    @torch.inference_mode()
    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        seen = self._encode(pictures, self._preprocessing.preprocess)
        return [
            Scene(picture, embedding, tokens if self._preprocessing.shows_all(picture) else None)
            for picture, (embedding, tokens) in zip(pictures, seen, strict=True)
        ]

    def propose(self, scene: Scene, limit: int) -> list[Proposal]:
        return self.propose_all([scene], [limit])[0]

    @torch.inference_mode()
    def propose_all(self, scenes: Sequence[Scene], limits: Sequence[int]) -> list[list[Proposal]]:
        """Proposes boxes for many scenes, each with its limit, as `propose` does for one. The device is
        waited for twice."""
        maps = self._feature_maps(scenes)
        candidates = [find_candidates(each) for each in maps]
        read = [
            self._read_regions(scene, coarsen(weights, each.grid))
            for scene, each, (_, weights) in zip(scenes, maps, candidates, strict=True)
        ]
        looks = _to_unit_rows_each(read)
        return [
            [Proposal(box) for box in _choose_large(maps[n], boxes, looks[n])[: limits[n]]]
            for n, (boxes, _) in enumerate(candidates)
        ]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        """Embeds documents. A text beside an image is its equal.

        Raises:
            InputError: a text is longer than the model reads; names the item's place.
        """
        return self._embed(items)

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        """Embeds queries as documents, but for the weight of a text beside an image."""
        captions = find == "captions"
        text_weight = 1 / CROSS_MODAL_WEIGHT if captions else CROSS_MODAL_WEIGHT
        return list(self._embed(items, text_weight)[:, None])

    def depends_on_find(self, text: str) -> bool:
        return False

    @torch.inference_mode()
    def _embed(self, items: Sequence[Item], text_weight: float = 1.0) -> np.ndarray:
        """(n, dim) unit rows; `text_weight` is that of a text beside an image of weight 1."""
        vectors = np.zeros((len(items), self.dim), np.float32)
        images = [n for n, item in enumerate(items) if item.scene is not None]
        texts = [n for n, item in enumerate(items) if item.text is not None]
        if texts:
            vectors[texts] = self._embed_texts([(n, items[n].text or "") for n in texts], len(items))
        if images:
            seen = self._embed_images([items[n] for n in images])
            # Zero where there is no text.
            vectors[images] = unit_rows(text_weight * vectors[images] + seen)
        return vectors

    # -- texts and pictures ----------------------------------------------------------------------------

    def _embed_texts(self, texts: Sequence[tuple[int, str]], count: int) -> np.ndarray:
        for place, text in texts:
            try:
                self._text.check_length(text)
            except InputError as error:
                raise InputError(f"item {place}: {error}" if count > 1 else str(error)) from None
        return _to_unit_rows(self._text([text for _, text in texts]))

    def _embed_images(self, items: Sequence[Item]) -> np.ndarray:
        """(n, dim) unit rows: items of one scene are read together, drawn pictures pass together."""
        rows = np.zeros((len(items), self.dim), np.float32)
        whole = [n for n, item in enumerate(items) if not item.prompt]
        prompted = [n for n, item in enumerate(items) if item.prompt]
        read = [_scene(items[n]).embedding[None] for n in whole]
        places = list(whole)
        if self._variant in ("crop", "circle"):
            if prompted:
                rows[prompted] = self._embed_drawn([items[n] for n in prompted])
        else:
            by_scene: dict[int, list[int]] = {}
            for n in prompted:
                by_scene.setdefault(id(items[n].scene), []).append(n)
            scenes = [_scene(items[own[0]]) for own in by_scene.values()]
            for scene, maps, own in zip(scenes, self._feature_maps(scenes), by_scene.values(), strict=True):
                weights = np.stack([_fine_weights(maps, items[n].prompt or Prompt()) for n in own])
                read.append(self._read_regions(scene, coarsen(weights, maps.grid)))
                places += own
        if places:
            # All at once: the device is waited for here.
            rows[places] = _to_unit_rows(torch.cat([part.float() for part in read]))
        return rows

    def _embed_drawn(self, items: Sequence[Item]) -> np.ndarray:
        """(n, dim): of pictures made of the items' own. A crop is a picture like any other; a circle must
        not be cut off by the centre crop."""

        def pixels(item: Item) -> Mapping[str, Tensor]:
            picture, prompt = _scene(item).picture, item.prompt or Prompt()
            box = prompt.outline(picture.width, picture.height)
            if self._variant == "crop":
                return self._preprocessing.preprocess(crop_to_box(picture, box))
            return self._preprocessing.preprocess_uncropped(draw_circle(picture, box))

        seen = self._encode(items, pixels, keep_tokens=False)
        return _to_unit_rows(torch.stack([embedding for embedding, _ in seen]))

    def weigh_cells(self, scene: Scene, prompt: Prompt) -> np.ndarray:
        """Returns how much each cell of a picture counts: (rows, columns) float32, which sum to 1."""
        (maps,) = self._feature_maps([scene])
        return _fine_weights(maps, prompt).reshape(maps.grid)

    # -- tokens ----------------------------------------------------------------------------------------

    def _fill_tokens(self, scenes: Iterable[Scene]) -> None:
        """Computes the tokens of scenes that have none yet."""
        blind = [scene for scene in scenes if scene.tokens is None]
        seen = self._encode([scene.picture for scene in blind], self._preprocessing.preprocess_uncropped)
        for scene, (_, tokens) in zip(blind, seen, strict=True):
            scene.tokens = tokens

    def _read_regions(self, scene: Scene, shares: np.ndarray) -> Tensor:
        return self._vision.read_regions(_tokens(scene), upload(torch.from_numpy(shares), self.device))

    def _feature_maps(self, scenes: Sequence[Scene]) -> list[FeatureMap]:
        """The tokens as the maps that points are compared on and proposals are found in. Of unit length:
        a few tokens of a large tower are long without meaning more (arXiv 2309.16588)."""
        self._fill_tokens(scenes)
        unread = [scene for scene in scenes if scene.cells is None]
        patches = [_tokens(scene).patches for scene in unread]
        for scene, rows in zip(unread, _to_unit_rows_each(patches), strict=True):
            scene.cells = rows.reshape(*_tokens(scene).grid, -1)
        return [_feature_map(scene) for scene in scenes]

    # -- passes ----------------------------------------------------------------------------------------

    def _encode(
        self,
        sources: Sequence[Source],
        pixels: Callable[[Source], Mapping[str, Tensor]],
        keep_tokens: bool = True,
    ) -> list[tuple[Tensor, Tokens | None]]:
        """One pass over what `pixels` makes of each thing: its vector, not of unit length, and its tokens.
        Pictures are resized beside the work on those before them."""

        def rows(source: Source) -> dict[str, Tensor]:
            return {name: stage(value, self.device) for name, value in pixels(source).items()}

        with prepare_ahead(rows, sources) as ready:

            def step(batch: list[int]) -> list[tuple[Tensor, Tokens | None]]:
                parts = [ready(n) for n in batch]
                placed = {
                    name: torch.cat([upload(part[name], self.device) for part in parts]) for name in parts[0]
                }
                embeddings, tokens = self._vision.encode(self._preprocessing.normalize(placed))
                return list(zip(embeddings, tokens if keep_tokens else [None] * len(batch), strict=True))

            return self._pictures.run(range(len(sources)), step)


def _scene(item: Item) -> Scene:
    assert isinstance(item.scene, Scene)
    return item.scene


def _fine_weights(maps: FeatureMap, prompt: Prompt) -> np.ndarray:
    if prompt.box is not None and not prompt.points and prompt.mask is None:
        return box_weights([prompt.box], maps.width, maps.height, maps.grid)[0]
    return prompt_weights(prompt, maps.width, maps.height, maps.last)


def _tokens(scene: Scene) -> Tokens:
    assert scene.tokens is not None, "filled before"
    return scene.tokens


def _feature_map(scene: Scene) -> FeatureMap:
    assert scene.cells is not None, "read before"
    return FeatureMap(scene.picture.width, scene.picture.height, scene.cells)


def _choose_large(maps: FeatureMap, boxes: Sequence[Box], looks: np.ndarray) -> list[Box]:
    # One token that stands out is more often the tower's scratch paper than a thing (arXiv 2309.16588).
    least = MIN_CELLS * maps.width * maps.height / (maps.last.shape[0] * maps.last.shape[1])
    return [box for box in choose(boxes, looks, MAX_PROPOSALS) if box.area > least] if boxes else []


def _to_unit_rows_each(parts: Sequence[Tensor]) -> list[np.ndarray]:
    """Unit rows of each, with one wait for the device."""
    if not parts:
        return []
    rows = _to_unit_rows(torch.cat(list(parts)))
    return np.split(rows, np.cumsum([len(part) for part in parts])[:-1])


def _to_unit_rows(vectors: Tensor) -> np.ndarray:
    """Unit rows."""
    return F.normalize(vectors.float(), dim=-1).cpu().numpy()
