"""The bundled model: EfficientNet-Lite0 and all-MiniLM-L6-v2 in one space of 768 dimensions.

A vector is [meaning, look], 384 numbers each. A row of a library is [m, l] / sqrt 2; a text, asked or
stored, is [m, 0]. Which part a query weighs depends on what it looks for (`queries`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtue.cpu import usable_cores
from virtue.embedder import proposals
from virtue.embedder.mini.config import read_config
from virtue.embedder.mini.image_encoder import FeatureMaps, ImageEncoder
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.embedder.model import Find, Item, Proposal
from virtue.embedder.pooling import box_weights, prompt_weights
from virtue.geometry import Box, Prompt
from virtue.transparency import find_opaque_rectangle
from virtue.vector_math import unit_rows

if TYPE_CHECKING:
    from virtue.pictures import Picture

FOLDER = Path(__file__).parent

QUERY_SIDES = (96, 128, 224)
"""Long sides at which a query picture without a prompt is seen, beside the library's own."""
MAX_ENLARGEMENT = 2
"""Sides that would enlarge the query picture more are left out: what is blown up looks like nothing."""
MIN_RECTANGLE_SIDE = 16
"""Pixels on the short side of the opaque part of a cut-out that is looked at alone."""
IMAGE_MEANING = 0.02
"""Weight of the meaning, look 1, when an image looks for regions or photos."""
TEXT_MEANING = 0.6
"""Weight of the text's meaning, look 1, when an image and a text look for regions or photos."""

BASELINE = 0.6
"""Share of the score of a region that showed the class nearest to a text, and nothing else: what is taken off
to tell whether a thing is there (`python -m virtue.evaluation.sureness`)."""


class Mini:
    """Implements `virtue.embedder.model.Model`. Files are opened on first use: a text query never loads
    the vision model. Safe to share between threads."""

    name = "mini"
    concurrent_calls = max(2, usable_cores() // 2)
    """Threads that an indexer may call this model from at once: one picture fills one core."""
    dim = 768
    text_match = 0.5
    texts_ignore_find = True

    def __init__(self, folder: Path = FOLDER, *, threads: int | None = None) -> None:
        self._folder = folder
        self._threads = threads
        self._opening = threading.RLock()
        self._config, self.fingerprint = read_config(folder)
        self.side: int | None = self._config.side
        self.max_seq_length = self._config.max_tokens

    @cached_property
    def _vision(self) -> ImageEncoder:
        with self._opening:
            return self.__dict__.get("_vision") or ImageEncoder(self._folder, self._config, self._threads)

    @cached_property
    def _text(self) -> TextEncoder:
        with self._opening:
            return self.__dict__.get("_text") or TextEncoder(
                self._folder, self._config.max_tokens, self._threads
            )

    @cached_property
    def _text_centre(self) -> np.ndarray:
        with np.load(self._folder / "arrays.npz") as arrays:
            return arrays["text_centre"].astype(np.float32)

    @cached_property
    def _class_meanings(self) -> np.ndarray:
        """(1000, 384) float32 unit rows, of the names of the classes."""
        with np.load(self._folder / "arrays.npz") as arrays:
            return unit_rows(arrays["meanings"].astype(np.float32))

    def scenes(self, pictures: Sequence[Picture]) -> list[FeatureMaps]:
        # One picture at a time: on a CPU a batch is no faster, and a vector must not depend on it.
        return [self._maps(picture, self._config.side) for picture in pictures]

    def propose(self, scene: FeatureMaps, limit: int) -> list[Proposal]:
        return [Proposal(box) for box in proposals.propose(scene, limit, self._vision.look)]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        rows = np.zeros((len(items), self.dim), np.float32)
        meanings = self._text_meanings(items)
        for index, meaning in meanings.items():
            rows[index, : self.dim // 2] = meaning
        for scene, indices in _group_by_scene(items):
            parts = self._parts(scene, [items[index].prompt for index in indices])
            for index, meaning, look in zip(indices, *parts, strict=True):
                both = unit_rows(meaning + meanings[index]) if index in meanings else meaning
                rows[index] = np.concatenate([both, look]) / np.sqrt(2)
        return rows

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        texts = self._text_meanings(items)
        return [
            self._query(item, texts.get(index), picture, find)
            for index, (item, picture) in enumerate(zip(items, pictures, strict=True))
        ]

    def _query(self, item: Item, text: np.ndarray | None, picture: Picture | None, find: Find) -> np.ndarray:
        """One item as a query; `text` (384,) is the meaning of its text."""
        if item.scene is None:
            assert text is not None, "an item holds a scene, a text or both"
            return _join(text[None], np.zeros_like(text[None]))
        # One item at a time: products of matrices of another shape add up in another order.
        meanings, looks = self._parts(item.scene, [item.prompt])
        if find == "captions":
            meanings = meanings if text is None else unit_rows(meanings + text)
            return _join(meanings, np.zeros_like(meanings))
        if picture is not None and _is_whole(item.prompt, picture):
            looks = self._multi_scale_looks(picture, item.prompt, looks)
        wanted = IMAGE_MEANING * meanings if text is None else TEXT_MEANING * text[None]
        return _join(np.repeat(wanted, len(looks), axis=0), looks)

    def rows_as_queries(self, rows: np.ndarray, find: Find) -> np.ndarray:
        """Weights rows as `queries` weights a picture with a prompt. A row without a look is a text's."""
        meanings, looks = (unit_rows(part) for part in np.split(np.asarray(rows, np.float32), 2, axis=1))
        seen = looks.any(axis=1, keepdims=True)
        if find == "captions":
            return _join(meanings, np.zeros_like(looks))
        return _join(np.where(seen, IMAGE_MEANING, 1) * meanings, looks)

    def text_baselines(self, vectors: np.ndarray) -> np.ndarray:
        nearest = (vectors[:, : self.dim // 2] @ self._class_meanings.T).max(axis=1)
        baselines: np.ndarray = np.float32(BASELINE / np.sqrt(2)) * nearest
        return baselines

    def knows(self, text: str) -> bool:
        return self._text.knows(text)

    # -- the parts ---------------------------------------------------------------------------------------

    def _maps(self, picture: Picture, side: int) -> FeatureMaps:
        return self._vision.maps(picture.pixels, picture.width, picture.height, side)

    def _multi_scale_looks(self, picture: Picture, prompt: Prompt | None, own: np.ndarray) -> np.ndarray:
        """(k, 384) looks of a whole picture or cut-out, the library's own size first unless the picture is
        smaller. Like is found best at like scale, and a query may be a whole photo or a detail of one. Of a
        cut-out, the largest opaque rectangle is seen alone too: nothing in it was made up."""
        reach = MAX_ENLARGEMENT * max(picture.pixels.shape[:2])
        sides = [side for side in QUERY_SIDES if side <= reach] or [QUERY_SIDES[0]]
        looks = [own] if self._config.side <= reach else []
        for side in sides:
            maps = self._maps(picture, side)
            looks.append(self._vision.look(maps, _weights(maps, [prompt])))
        opaque = None if picture.alpha is None else _opaque_part(picture)
        if opaque is not None:
            _, own = self._parts(self._maps(opaque, self._config.side), [None])
            looks.append(self._multi_scale_looks(opaque, None, own))
        return np.concatenate(looks)

    def _parts(self, maps: FeatureMaps, prompts: Sequence[Prompt | None]) -> tuple[np.ndarray, np.ndarray]:
        """(meanings, looks) of prompts on one picture, None: the whole; (k, 384) unit rows each."""
        weights = _weights(maps, prompts)
        return self._vision.meaning(maps, weights), self._vision.look(maps, weights)

    def _text_meanings(self, items: Sequence[Item]) -> dict[int, np.ndarray]:
        """The meaning of each item's text that has one, by the item's number: (384,), unit length, centred as
        the class names are."""
        texts = {index: item.text for index, item in enumerate(items) if item.text is not None}
        if not texts:
            return {}
        meanings = unit_rows(unit_rows(self._text(list(texts.values()))) - self._text_centre)
        return dict(zip(texts, meanings, strict=True))


def _is_whole(prompt: Prompt | None, picture: Picture) -> bool:
    """Whether nothing is drawn on the picture; the mask of a cut-out says only what there is of it."""
    if prompt is None:
        return True
    return picture.alpha is not None and prompt.box is None and not prompt.points


def _opaque_part(picture: Picture) -> Picture | None:
    """The largest opaque rectangle of a cut-out, if it is large enough to look like anything."""
    assert picture.alpha is not None
    x0, y0, x1, y1 = find_opaque_rectangle(picture.alpha)
    if min(x1 - x0, y1 - y0) < MIN_RECTANGLE_SIDE:
        return None
    pixels = np.ascontiguousarray(picture.pixels[y0:y1, x0:x1])
    return replace(picture, pixels=pixels, width=x1 - x0, height=y1 - y0, alpha=None)


def _weights(maps: FeatureMaps, prompts: Sequence[Prompt | None]) -> np.ndarray:
    """(len(prompts), cells of the finer grid) weights; boxes alone are laid out all at once."""
    whole = Box(0, 0, maps.width, maps.height)
    boxes = [prompt.box if prompt and prompt.box else whole for prompt in prompts]
    weights = box_weights(boxes, maps.width, maps.height, maps.grid)
    for index, prompt in enumerate(prompts):
        if prompt and (prompt.points or prompt.mask is not None):
            weights[index] = prompt_weights(prompt, maps.width, maps.height, maps.last)
    return weights


def _join(meanings: np.ndarray, looks: np.ndarray) -> np.ndarray:
    return unit_rows(np.concatenate([meanings, looks], axis=1)).astype(np.float32)


def _group_by_scene(items: Sequence[Item]) -> list[tuple[FeatureMaps, list[int]]]:
    """Each scene with the indices of the items that share it, for one pooling each."""
    groups: dict[int, tuple[FeatureMaps, list[int]]] = {}
    for index, item in enumerate(items):
        if item.scene is not None:
            groups.setdefault(id(item.scene), (item.scene, []))[1].append(index)
    return list(groups.values())
