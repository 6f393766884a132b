"""What frozen EfficientNet-Lite0 sees in scenes, worked out once and kept on disk.

A set of scenes is a folder of arrays, one row an image. Images are the scenes themselves, then crops of the
first object of some scenes, then the same scenes with a red circle around it.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from virtue.embedder.mini import FOLDER
from virtue.embedder.region_pictures import crop_to_box, draw_circle
from virtue.onnx_session import open_session
from virtue.pictures import Picture
from virtue.training.scenes import RELATIONS, Query, Scene, Scenes

SIDE, GRID, FINE = 384, 12, 24
"""Pixels of a side of what the network sees; cells of a side of its last map, and of the one before."""
WIDTH, FINE_WIDTH = 512, 64
"""Numbers that are kept of a cell of each map: its principal components."""
SMALL = 128
"""Pixels of a side of the pictures and masks that the segmentation stream learns from."""
MAX_OBJECTS = 5
FITTED = 200
"""Scenes of which the principal components are computed."""


@dataclass(frozen=True)
class SceneFeatures:
    """A set of scenes as a folder holds it, opened without being read.

    Attributes:
        images: (images, GRID * GRID, WIDTH) float16, cells of scenes, of crops and of circled scenes.
        fine: (scenes, FINE * FINE, FINE_WIDTH) float16.
        small: (scenes, SMALL, SMALL, 3) uint8.
        masks: (scenes, MAX_OBJECTS, SMALL * SMALL / 8) uint8, packed bits: what can be seen.
        boxes: (scenes, MAX_OBJECTS, 4) float32, corners, the picture's side 1; 0 where there is no object.
        names: (scenes, MAX_OBJECTS) int16, places in `vocabulary["names"]`; -1 where there is no object.
        captions: (scenes, MAX_OBJECTS, 10, 5) int16: subject, relation, phrase, other, ground.
        twins: (scenes, MAX_OBJECTS) int16: which caption is true of another pair; 0: the query is not bound.
        photo: (scenes,) bool: whether the ground is a photo.
        extra: (scenes, 2) int32: which image is the crop, and which the circled one; -1: none.
    """

    folder: Path

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or not (self.folder / f"{name}.npy").is_file():
            raise AttributeError(name)
        array: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        object.__setattr__(self, name, array)
        return array

    @cached_property
    def vocabulary(self) -> dict[str, list[str]]:
        words: dict[str, list[str]] = json.loads((self.folder / "vocabulary.json").read_text())
        return words


@dataclass(frozen=True)
class Projection:
    """Centres and principal axes of both maps' cells."""

    centre: np.ndarray
    axes: np.ndarray
    fine_centre: np.ndarray
    fine_axes: np.ndarray

    @classmethod
    def fit(cls, scenes: Sequence[Scene]) -> Projection:
        maps = [see(scene.picture) for scene in scenes]
        last = np.concatenate([each[0].reshape(-1, each[0].shape[-1]) for each in maps])
        fine = np.concatenate([each[1].reshape(-1, each[1].shape[-1])[::4] for each in maps])
        return cls(*_axes(last, WIDTH), *_axes(fine, FINE_WIDTH))

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Projection:
        with np.load(path) as arrays:
            return cls(**arrays)

    def cells(self, last: np.ndarray) -> np.ndarray:
        return (last.reshape(-1, last.shape[-1]) - self.centre) @ self.axes

    def fine_cells(self, middle: np.ndarray) -> np.ndarray:
        return (middle.reshape(-1, middle.shape[-1]) - self.fine_centre) @ self.fine_axes


def _axes(cells: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes the centre and the first principal axes, scaled so that numbers are about 1."""
    centre = cells.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(cells - centre, rowvar=False))
    scale = np.sqrt(values[::-1][:width].mean())
    return centre, (vectors[:, ::-1][:, :width] / scale).astype(np.float32)


_sessions: list[Any] = []


def see(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs the network: the last map (rows, columns, 1280), and the one before, twice as fine, (..., 672)."""
    if not _sessions:
        _sessions.append(open_session(FOLDER / "vision.onnx", 1))
    last, middle = _sessions[0].run(None, {"pixels": _fit_square(picture)[None]})
    return last[0], middle[0]


def _fit_square(picture: np.ndarray) -> np.ndarray:
    """Enlarges a picture to the square that the network sees; what is not square gets grey margins."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    square = np.full((SIDE, SIDE, 3), 127, np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = Image.fromarray(picture).resize(
        size, Image.Resampling.BICUBIC
    )
    return square


def cache_scenes(
    folder: Path, scenes: Scenes, projection: Projection, every: int, processes: int = 1
) -> SceneFeatures:
    """Works out a set of scenes, unless the folder holds it; if it was cut, what is missing.

    Args:
        every: of each how manieth scene the crop and the circled picture are seen too.
    """
    found = SceneFeatures(folder)
    if (folder / "done").is_file():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    count = len(scenes)
    names = sorted({cutout.name for cutout in scenes.cutouts})
    grounds = sorted({ground.name for family in scenes.families for ground in family})
    (folder / "vocabulary.json").write_text(json.dumps({"names": names, "grounds": grounds}))
    extra = np.full((count, 2), -1, np.int32)
    some = np.arange(0, count, every)
    extra[some, 0] = count + np.arange(len(some))
    extra[some, 1] = count + len(some) + np.arange(len(some))
    np.save(folder / "extra.npy", extra)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "images": ((count + 2 * len(some), GRID * GRID, WIDTH), np.float16),
        "fine": ((count, FINE * FINE, FINE_WIDTH), np.float16),
        "small": ((count, SMALL, SMALL, 3), np.uint8),
        "masks": ((count, MAX_OBJECTS, SMALL * SMALL // 8), np.uint8),
        "boxes": ((count, MAX_OBJECTS, 4), np.float32),
        "names": ((count, MAX_OBJECTS), np.int16),
        "captions": ((count, MAX_OBJECTS, 10, 5), np.int16),
        "twins": ((count, MAX_OBJECTS), np.int16),
        "photo": ((count,), np.bool_),
    }
    for name, (shape, dtype) in shapes.items():
        path = folder / f"{name}.npy"
        if not path.is_file() or np.load(path, mmap_mode="r").shape != shape:
            np.lib.format.open_memmap(path, "w+", dtype, shape)
    if processes == 1:
        _fill(folder, scenes, projection, range(count))
    else:
        _fill_together(folder, scenes, projection, processes)
    (folder / "done").touch()
    return found


def _fill_together(folder: Path, scenes: Scenes, projection: Projection, processes: int) -> None:
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_fill, args=(folder, scenes, projection, range(start, len(scenes), processes)))
        for start in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit(f"the scenes in {folder} could not be made")


def _fill(folder: Path, scenes: Scenes, projection: Projection, numbers: Sequence[int]) -> None:
    arrays = {path.stem: np.load(path, mmap_mode="r+") for path in folder.glob("*.npy")}
    words = SceneFeatures(folder).vocabulary
    name_of = {name: place for place, name in enumerate(words["names"])}
    ground_of = {name: place for place, name in enumerate(words["grounds"])}
    photos = {ground.name for family in scenes.families for ground in family if ground.family == "photo"}
    for number in numbers:
        if arrays["boxes"][number].any():
            continue
        scene = scenes[number]
        last, middle = see(scene.picture)
        arrays["images"][number] = projection.cells(last)
        arrays["fine"][number] = projection.fine_cells(middle)
        size = scene.picture.shape[0]
        arrays["small"][number] = np.asarray(Image.fromarray(scene.picture).resize((SMALL, SMALL)))
        arrays["photo"][number] = scene.ground in photos
        arrays["names"][number] = -1
        for place, (thing, query) in enumerate(zip(scene.objects, scene.queries, strict=True)):
            block = size // SMALL
            shares = thing.mask.reshape(SMALL, block, SMALL, block).mean(axis=(1, 3))
            arrays["masks"][number, place] = np.packbits(shares >= 0.5)
            arrays["names"][number, place] = name_of[thing.name]
            arrays["captions"][number, place] = number_captions(query, name_of, ground_of)
            arrays["twins"][number, place] = query.twin or 0
        if arrays["extra"][number, 0] >= 0:
            picture = Picture(scene.picture, size, size)
            for place, show in enumerate((crop_to_box, draw_circle)):
                shown = show(picture, scene.objects[0].box).pixels
                arrays["images"][arrays["extra"][number, place]] = projection.cells(see(shown)[0])
        for place, thing in enumerate(scene.objects):  # last: a scene with boxes is complete
            arrays["boxes"][number, place] = np.array(thing.box.corners) / size


def number_captions(query: Query, name_of: dict[str, int], ground_of: dict[str, int]) -> list[list[int]]:
    """Writes captions as numbers: subject, relation, phrase, other, ground."""
    relations = list(RELATIONS)
    return [
        [
            name_of[caption.subject],
            relations.index(caption.relation),
            RELATIONS[caption.relation].phrases.index(caption.phrase),
            name_of[caption.other],
            ground_of[caption.scene],
        ]
        for caption in query.captions
    ]
