"""A small model that sees colours and reads words, and libraries of painted photos."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from virtue.embedder import Embedder
from virtue.embedder.model import Find, Item, Proposal
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture, load
from virtue.store import (
    EmbeddedPhoto,
    FileRecord,
    NewCaption,
    NewRegion,
    PhotoInfo,
    Store,
    open_store,
)

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "white": (255, 255, 255),
}
WORDS = 61


class ColourModel:
    """Three dimensions of mean colour, the rest for words that name no colour. A picture without a
    prompt is asked twice, whole and by its middle."""

    name = "colours"
    fingerprint = "colours-1"
    dim = 3 + WORDS
    side: int | None = None
    text_match = 0.6

    def scenes(self, pictures: Sequence[Picture]) -> list[Picture]:
        return list(pictures)

    def propose(self, scene: Picture, limit: int) -> list[Proposal]:
        return []

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        return np.stack([_unit(_colour(item) + _words(item.text)) for item in items])

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        return [self.query(item, picture) for item, picture in zip(items, pictures, strict=True)]

    def query(self, item: Item, picture: Picture | None) -> np.ndarray:
        plain = self.embed([item])
        if picture is None or item.prompt or item.text:
            return plain
        height, width = picture.pixels.shape[:2]
        middle = picture.pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
        return np.concatenate([plain, [_unit(_padded(middle.mean(axis=(0, 1))))]])


def _colour(item: Item) -> np.ndarray:
    if item.scene is None:
        return np.zeros(ColourModel.dim, np.float32)
    picture: Picture = item.scene
    pixels = picture.pixels
    if item.prompt and item.prompt.mask is not None:
        return _padded(pixels[item.prompt.mask].mean(axis=0))
    if item.prompt:
        x0, y0, x1, y1 = (round(v) for v in item.prompt.outline(picture.width, picture.height).corners)
        pixels = pixels[y0:y1, x0:x1]
    return _padded(pixels.mean(axis=(0, 1)))


def _words(text: str | None) -> np.ndarray:
    vector = np.zeros(ColourModel.dim, np.float32)
    for word in (text or "").lower().split():
        if word in COLOURS:
            vector[:3] += _unit(np.array(COLOURS[word], np.float32))
        else:
            vector[3 + zlib.crc32(word.encode()) % WORDS] += 1
    return vector


def _padded(colour: np.ndarray) -> np.ndarray:
    return np.concatenate([_unit(colour.astype(np.float32)), np.zeros(WORDS, np.float32)])


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)


@dataclass
class Painted:
    """A photo to paint: a background and rectangles, each of which is a region; `objectness` of some, by
    their places from 1."""

    name: str | bytes
    background: str = "white"
    boxes: list[tuple[str, tuple[int, int, int, int]]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    region_captions: dict[int, str] = field(default_factory=dict)
    size: tuple[int, int] = (80, 60)
    tags: tuple[str, ...] = ()
    objectness: dict[int, float] = field(default_factory=dict)

    def image(self) -> Image.Image:
        image = Image.new("RGB", self.size, COLOURS[self.background])
        for colour, box in self.boxes:
            image.paste(COLOURS[colour], box)
        return image


Fill = Callable[..., Store]


@pytest.fixture
def embedder() -> Embedder:
    return Embedder(ColourModel())


@pytest.fixture
def fill(tmp_path: Path, embedder: Embedder) -> Iterator[Fill]:
    """Paints photos into files and stores them with their regions and captions."""
    with open_store(tmp_path / "library", create=True) as store:

        def run(*photos: Painted) -> Store:
            with store.write("test") as writer:
                writer.generation(embedder.name, embedder.fingerprint, embedder.dim)
                for photo in photos:
                    writer.commit(*_stored(photo, tmp_path, embedder))
            return store

        yield run


def _stored(photo: Painted, folder: Path, embedder: Embedder) -> tuple[list[EmbeddedPhoto], list[FileRecord]]:
    name = photo.name if isinstance(photo.name, bytes) else photo.name.encode()
    path = bytes(folder) + b"/" + name
    with open(path, "wb") as stream:
        photo.image().save(stream, "PNG")
    picture = load(photo.image())
    boxes = [Box(0, 0, *photo.size), *(Box(*box) for _, box in photo.boxes)]
    regions = tuple(
        NewRegion(
            box,
            "annotation" if place else "whole",
            objectness=photo.objectness.get(place),
            object="thing" if place in photo.objectness else None,
        )
        for place, box in enumerate(boxes)
    )
    captions = [NewCaption(text, "sidecar") for text in photo.captions]
    captions += [NewCaption(text, "annotation", place) for place, text in photo.region_captions.items()]
    digest = hashlib.sha256(path).digest()
    texts = [caption.text for caption in captions]
    embedded = EmbeddedPhoto(
        PhotoInfo(digest, *photo.size, tags=photo.tags),
        "settings",
        regions,
        np.stack([embedder.embed([Item(picture, Prompt(box))])[0] for box in boxes]),
        tuple(captions),
        embedder.embed([Item(text=text) for text in texts])
        if texts
        else np.empty((0, embedder.dim), np.float32),
    )
    return [embedded], [FileRecord(path, 1, 1, None, hash=digest)]
