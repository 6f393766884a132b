"""What frozen models see in a picture, kept on disk: the segmentation model's map, the vision tower's tokens.
They never change while the rest is trained, so each picture is worked on once."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from virtue.cpu import usable_cores
from virtue.embedder.virtue_model.network import Scene
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.errors import InputError, VirtueError
from virtue.paths import printable
from virtue.pictures import Picture, load

log = logging.getLogger("virtue")

AHEAD = 16
"""Pictures that are decoded, or read from the cache, before they are needed."""

Image = Path | Picture


class SceneCache:
    """Scenes of pictures, in memory as long as they are wanted and on disk for good.

    A file is named by the content of its picture and by what the frozen models make of it, so that another
    model, precision or size finds none of it.

    Args:
        folder: None: nothing is kept on disk.
    """

    def __init__(self, model: VirtueModel, folder: Path | None) -> None:
        self._model = model
        self._folder = folder / _describe_frozen(model) if folder else None
        self._held: dict[Image | int, Scene] = {}

    def load_all(self, images: Iterable[Image]) -> dict[Image | int, InputError]:
        """Holds the scenes of these images from now on, and lets go of all others. Images on disk are decoded
        by threads while the model works on those before them.

        Returns:
            What is wrong with images that cannot be used.
        """
        wanted = {_key(image): image for image in images}
        self._held = {key: scene for key, scene in self._held.items() if key in wanted}
        new = [image for key, image in wanted.items() if key not in self._held]
        faults: dict[Image | int, InputError] = {}
        for image, opening in self._open_ahead(new):
            try:
                self._held[_key(image)] = self._finish(*opening.result())
            except InputError as error:
                faults[_key(image)] = error
        return faults

    def scene(self, image: Image) -> Scene:
        """Returns the scene of an image, on the processor.

        Raises:
            InputError: the image cannot be read, or the model cannot see it.
        """
        key = _key(image)
        if key not in self._held:
            self._held[key] = self._finish(*self._open(image))
        return self._held[key]

    def _open_ahead(
        self, images: list[Image]
    ) -> Iterator[tuple[Image, Future[tuple[Path | None, Scene | Picture]]]]:
        with ThreadPoolExecutor(usable_cores(), thread_name_prefix="virtue-decode") as threads:
            waiting: list[tuple[Image, Future[tuple[Path | None, Scene | Picture]]]] = []
            for image in images:
                waiting.append((image, threads.submit(self._open, image)))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0)
            yield from waiting

    def _open(self, image: Image) -> tuple[Path | None, Scene | Picture]:
        """Reads a scene from the cache, or the picture of which it is to be made. Runs in a thread."""
        place = self._place(image)
        if place is not None and place.is_file():
            try:
                return place, _read(place)
            except (SafetensorError, OSError, KeyError, ValueError) as error:
                log.warning("%s is damaged (%s) and is made again", printable(str(place)), error)
        return place, image if isinstance(image, Picture) else load(image, side=self._model.side)

    def _finish(self, place: Path | None, opened: Scene | Picture) -> Scene:
        if isinstance(opened, Scene):
            return opened
        # One at a time: what is kept must not depend on the company it was made in.
        (made,) = self._model.scenes([opened])
        # Cloned: what was made in inference mode has no place in a graph.
        scene = replace(made, features=made.features.cpu().clone(), tokens=made.tokens.cpu().clone(), fine=())
        if place is not None:
            _write(scene, place)
        return scene

    def _place(self, image: Image) -> Path | None:
        if self._folder is None:
            return None
        if isinstance(image, Picture):
            digest = hashlib.sha256(repr((image.width, image.height, image.pixels.shape)).encode())
            digest.update(image.pixels.tobytes())
        else:
            try:
                digest = hashlib.sha256(image.read_bytes())
            except OSError:
                return None  # `load` says what is wrong
        name = digest.hexdigest()[:40]
        return self._folder / name[:2] / f"{name}.safetensors"


def _key(image: Image) -> Image | int:
    return image if isinstance(image, Path) else id(image)


def _describe_frozen(model: VirtueModel) -> str:
    """Names a model's frozen parts and what they are shown, by samples of their weights."""
    settings = model.configuration
    seen = (
        settings.min_pixels,
        settings.max_pixels,
        settings.resize,
        settings.double_normalisation,
        model.side,
    )
    digest = hashlib.sha256(repr((seen, model.dtype)).encode())
    for part in (model.network.segmentation, model.network.vision):
        assert isinstance(part, nn.Module)
        for name, value in sorted(part.state_dict().items()):
            flat = value.detach().flatten()
            digest.update(name.encode() + flat[:: max(1, len(flat) // 64)].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(place: Path) -> Scene:
    with safe_open(place, "pt") as file:
        width, height, rows, columns = (int(part) for part in file.metadata()["shape"].split(","))
        return Scene(width, height, file.get_tensor("map"), (), file.get_tensor("tokens"), (rows, columns))


def _write(scene: Scene, place: Path) -> None:
    """Writes beside and renames, so that another process finds the whole file or none.

    Raises:
        VirtueError: the folder cannot be written.
    """
    partial = place.with_suffix(f".{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {"map": scene.features.contiguous(), "tokens": scene.tokens.contiguous()},
            partial,
            metadata={"shape": ",".join(map(str, (scene.width, scene.height, *scene.grid)))},
        )
        partial.replace(place)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise VirtueError(
            f"the cache {printable(str(place.parent))} cannot be written: {error.strerror or error}"
        ) from None
