"""The bundled model: EfficientNet-Lite0 and all-MiniLM-L6-v2 in one space of 784 dimensions.

A vector is [meaning, look, colours], 384, 384 and 16 numbers, each part of unit length. A region is
[m, l, c / 2] and a caption [m, 0, c / 2], made unit vectors; without a colour word, a text is [m, 0, 0].
Which part a query weighs depends on what it looks for (`queries`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from virtue.cpu import usable_cores
from virtue.embedder import proposals
from virtue.embedder.mini.colour_words import Coloured, read_colours
from virtue.embedder.mini.colours import WIDTH, name_terms
from virtue.embedder.mini.config import read_config
from virtue.embedder.mini.detector import NanoDet, Proposer
from virtue.embedder.mini.image_encoder import FeatureMaps, ImageEncoder
from virtue.embedder.mini.people import names_people
from virtue.embedder.mini.text_encoder import TextEncoder
from virtue.embedder.mini.things import PEOPLE, PERSON, ThingMeanings, Things
from virtue.embedder.model import EarlierModel, Find, Item, Proposal
from virtue.embedder.pooling import box_weights, keep_opaque, prompt_weights
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
MIN_SEEN = 0.1
"""Share of a proposed box that must not be transparent."""
IMAGE_MEANING = 0.02
"""Weight of the meaning, look 1, when an image looks for regions or photos."""
TEXT = 0.6
"""Weight of the text, look 1, when an image and a text look for regions or photos."""
COLOURS = 0.5
"""Weight of colours in what is stored, and where texts look for texts, meaning 1. Where texts look for
pictures it is 1. At 1 in rows, indexes would list pictures by their colours, and texts read five times as
many lists."""
PEOPLE_MEANING = 0.4
"""Weight of the meaning of a person, the text's own meaning 1, in a text that names people."""
MAX_THINGS = 16
"""Things of a picture that are proposed: of many alike, some stand for all."""

BASELINE = 0.6
"""Share of the score of a region that showed the class nearest to a text, and nothing else: what is taken off
to tell whether a thing is there (`virtue evaluate sureness`)."""

TWO_PARTS = frozenset({"e958bb80408746d63f544d3f086752d9"})
"""Fingerprints of earlier versions, whose rows are the meaning and the look of today, [m, l] / sqrt 2."""

MEANING, LOOK = 384, 384
"""Columns of these parts, in this order; the rest are colours."""


class TextParts(NamedTuple):
    """What a text says: the meaning of all but its colour words (384,), centred as the names of the classes
    are, of unit length or, if there is nothing else, 0; and the colours (16,), of unit length or 0."""

    meaning: np.ndarray
    colours: np.ndarray


class Mini:
    """Implements `virtue.embedder.model.Model`. Files are opened on first use: a text query never loads
    the vision model. Safe to share between threads."""

    name = "mini"
    concurrent_calls = max(2, usable_cores() // 2)
    """Threads that an indexer may call this model from at once: one picture fills one core."""
    dim = MEANING + LOOK + WIDTH
    length = (2 + COLOURS**2) ** 0.5
    """Of a region's parts, before they are made a unit vector."""
    text_match = 0.5
    same_picture = 0.82
    """Of 208 photos, no other one reaches it. Copies of half the size do in 94 of 100 cases."""
    pools_alpha = True

    def __init__(
        self, folder: Path = FOLDER, *, threads: int | None = None, proposer: Proposer | None = None
    ) -> None:
        """Opens a folder of files; `proposer` finds things in place of the bundled detector."""
        self._folder = folder
        self._threads = threads
        self._opening = threading.RLock()
        self._config, self.fingerprint = read_config(folder)
        self._names = ThingMeanings(folder)
        if proposer is not None:
            self.__dict__["_proposer"] = proposer
            both = f"{self.fingerprint} {proposer.fingerprint}"
            self.fingerprint = hashlib.sha256(both.encode()).hexdigest()[:32]
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
    def _proposer(self) -> Proposer:
        with self._opening:
            return self.__dict__.get("_proposer") or NanoDet(self._folder, self._threads)

    @cached_property
    def _thing_meanings(self) -> np.ndarray:
        """(names of the proposer and `PEOPLE`, 384) float32 unit rows."""
        known, names = dict(self._names.meanings), self._proposer.names
        unknown = [name for name in names if name not in known]
        if unknown:
            known |= dict(zip(unknown, self._mean([f"a photo of a {name}" for name in unknown]), strict=True))
        return np.stack([known[name] for name in (*names, PEOPLE)])

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
        return [
            replace(self._maps(picture, self._config.side), find_things=self._find_things)
            for picture in pictures
        ]

    def _find_things(self, maps: FeatureMaps) -> Things:
        found = self._proposer.detect(maps.pixels)
        return Things.of(found, self._proposer.names, maps.width, maps.height)

    def propose(self, scene: FeatureMaps, limit: int) -> list[Proposal]:
        things = [thing for thing in scene.things.proposals if _is_seen(scene, thing.box)][:MAX_THINGS]
        boxes = proposals.propose(scene, limit, self._vision.look, [thing.box for thing in things])
        grid = [Proposal(box) for box in boxes[len(things) :] if _is_seen(scene, box)]
        return [*things, *grid][:limit]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        rows = np.zeros((len(items), self.dim), np.float32)
        texts = self._read_texts(items)
        for index, text in texts.items():
            rows[index] = self._join_text(text, "captions")[0]
        for scene, indices in _group_by_scene(items):
            prompts = [items[index].prompt for index in indices]
            meanings, looks, colours = self._parts(scene, prompts, with_things=True)
            for place, index in enumerate(indices):
                if index in texts:
                    meanings[place] = unit_rows(meanings[place] + texts[index].meaning)
                    colours[place] = unit_rows(colours[place] + texts[index].colours)
            rows[indices] = self._join(meanings, looks, COLOURS * colours)
        return rows

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        texts = self._read_texts(items)
        if find != "captions":
            texts = {index: self._know_people(text, items[index]) for index, text in texts.items()}
        return [
            self._query(item, texts.get(index), picture, find)
            for index, (item, picture) in enumerate(zip(items, pictures, strict=True))
        ]

    def _query(self, item: Item, text: TextParts | None, picture: Picture | None, find: Find) -> np.ndarray:
        """One item as a query; `text` is what its text says."""
        if item.scene is None:
            assert text is not None, "an item holds a scene, a text or both"
            return self._join_text(text, find)
        # One item at a time: products of matrices of another shape add up in another order.
        meanings, looks, colours = self._parts(item.scene, [item.prompt], with_things=find == "captions")
        if find == "captions":
            if text is None:
                return self._join(meanings, 0 * looks, 0 * colours)
            return self._join_text(TextParts(unit_rows(meanings[0] + text.meaning), text.colours), find)
        if picture is not None and _is_whole(item.prompt, picture):
            looks = self._multi_scale_looks(picture, item.prompt, looks)
        # Colours of a picture find nothing that its look does not find (`virtue.evaluation.details`).
        wanted, shown = IMAGE_MEANING * meanings, 0 * colours
        if text is not None:
            wanted, shown = TEXT * text.meaning[None], TEXT * text.colours[None]
        return self._join(np.repeat(wanted, len(looks), axis=0), looks, np.repeat(shown, len(looks), axis=0))

    def rows_as_queries(self, rows: np.ndarray, find: Find) -> np.ndarray:
        """Weights rows as `queries` weights a picture with a prompt. A row without a look is a text's."""
        parts = np.split(np.asarray(rows, np.float32), [MEANING, MEANING + LOOK], axis=1)
        texts = self._join(parts[0], parts[1], parts[2] * (1 if find == "captions" else 1 / COLOURS))
        meanings, looks, colours = (unit_rows(part) for part in parts)
        if find == "captions":
            asked = self._join(meanings, 0 * looks, 0 * colours)
        else:
            asked = self._join(IMAGE_MEANING * meanings, looks, 0 * colours)
        return np.where(looks.any(axis=1, keepdims=True), asked, texts)

    def weigh_cells(self, scene: FeatureMaps, prompt: Prompt) -> np.ndarray:
        weights: np.ndarray = _weights(scene, [prompt])[0].reshape(scene.grid)
        return weights

    def text_baselines(self, vectors: np.ndarray) -> np.ndarray:
        nearest = (vectors[:, :MEANING] @ self._class_meanings.T).max(axis=1)
        # Something of each colour is in every library too.
        colours = COLOURS * np.linalg.norm(vectors[:, MEANING + LOOK :], axis=1)
        baselines: np.ndarray = np.float32(BASELINE / self.length) * (nearest + colours)
        return baselines

    def knows(self, text: str) -> bool:
        return self._text.knows(text)

    def depends_on_find(self, text: str) -> bool:
        return names_people(text) or bool(self._read(text).terms)

    def earlier(self, fingerprint: str) -> EarlierModel | None:
        return TwoPartMini(self, fingerprint) if fingerprint in TWO_PARTS else None

    # -- the parts ---------------------------------------------------------------------------------------

    def _maps(self, picture: Picture, side: int) -> FeatureMaps:
        return self._vision.maps(picture.pixels, picture.width, picture.height, side, picture.alpha)

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
            maps = self._maps(opaque, self._config.side)
            own = self._vision.look(maps, _weights(maps, [None]))
            looks.append(self._multi_scale_looks(opaque, None, own))
        return np.concatenate(looks)

    def _parts(
        self, maps: FeatureMaps, prompts: Sequence[Prompt | None], with_things: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(meanings, looks, colours) of prompts on one picture, None: the whole; (k, 384), (k, 384) and
        (k, 16) unit rows. Things, which cost as much as all else, count where meanings do."""
        weights, vision = _weights(maps, prompts), self._vision
        things = None
        if with_things:
            boxes = [(prompt or Prompt()).outline(maps.width, maps.height) for prompt in prompts]
            things = maps.things.shown_in(boxes) @ self._thing_meanings
        return (
            vision.meaning(maps, weights, things),
            vision.look(maps, weights),
            vision.colours(maps, weights),
        )

    def _join(self, meanings: np.ndarray, looks: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Joins parts, of which the lengths are weights, to unit rows."""
        rows: np.ndarray = unit_rows(np.concatenate([meanings, looks, colours], axis=1)[:, : self.dim])
        return rows.astype(np.float32)

    def _join_text(self, text: TextParts, find: Find) -> np.ndarray:
        weight = COLOURS if find == "captions" else 1.0
        return self._join(text.meaning[None], np.zeros((1, LOOK)), weight * text.colours[None])

    def _read_texts(self, items: Sequence[Item]) -> dict[int, TextParts]:
        """What each item's text says that has one, by the item's number."""
        texts = {index: self._read(item.text) for index, item in enumerate(items) if item.text is not None}
        if not texts:
            return {}
        vectors = self._mean([text.rest for text in texts.values()])
        return {
            index: TextParts(vector if text.rest or not text.terms else 0 * vector, name_terms(text.terms))
            for (index, text), vector in zip(texts.items(), vectors, strict=True)
        }

    def _mean(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), 384) unit rows: what texts mean, centred as the names of the classes are."""
        return unit_rows(unit_rows(self._text(texts)) - self._text_centre)

    def _know_people(self, text: TextParts, item: Item) -> TextParts:
        """Adds to what a text means that people are meant, if it names any."""
        if not names_people(item.text or ""):
            return text
        return text._replace(meaning=unit_rows(text.meaning + PEOPLE_MEANING * self._names.meanings[PERSON]))

    def _read(self, text: str) -> Coloured:
        return read_colours(text)


class TwoPartMini(Mini):
    """For rows of meaning and look alone: the same networks, which `now` holds, and 768 columns. Colour
    words are words like others."""

    dim = MEANING + LOOK
    length = 2**0.5
    same_picture = 0.8
    pools_alpha = False
    lacks = "colours and boxes that fit things"

    def __init__(self, now: Mini, fingerprint: str) -> None:
        super().__init__(now._folder, threads=now._threads)
        self.fingerprint = fingerprint
        self._now = now

    @property
    def _vision(self) -> ImageEncoder:
        return self._now._vision

    @property
    def _text(self) -> TextEncoder:
        return self._now._text

    @property
    def _proposer(self) -> Proposer:
        return self._now._proposer

    def _read(self, text: str) -> Coloured:
        return Coloured(text, ())


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


def _is_seen(maps: FeatureMaps, box: Box) -> bool:
    """Returns whether enough of a box is not transparent."""
    if maps.opacity is None:
        return True
    (share,) = box_weights([box], maps.width, maps.height, maps.grid) @ maps.opacity
    return bool(share >= MIN_SEEN)


def _weights(maps: FeatureMaps, prompts: Sequence[Prompt | None]) -> np.ndarray:
    """(len(prompts), cells of the finer grid) weights; boxes alone are laid out all at once."""
    whole = Box(0, 0, maps.width, maps.height)
    boxes = [prompt.box if prompt and prompt.box else whole for prompt in prompts]
    weights = box_weights(boxes, maps.width, maps.height, maps.grid)
    if maps.opacity is not None:
        weights = keep_opaque(weights, maps.opacity)
    for index, prompt in enumerate(prompts):
        if prompt and (prompt.points or prompt.mask is not None):
            weights[index] = prompt_weights(prompt, maps.width, maps.height, maps.last, maps.opacity)
    return weights


def _group_by_scene(items: Sequence[Item]) -> list[tuple[FeatureMaps, list[int]]]:
    """Each scene with the indices of the items that share it, for one pooling each."""
    groups: dict[int, tuple[FeatureMaps, list[int]]] = {}
    for index, item in enumerate(items):
        if item.scene is not None:
            groups.setdefault(id(item.scene), (item.scene, []))[1].append(index)
    return list(groups.values())
