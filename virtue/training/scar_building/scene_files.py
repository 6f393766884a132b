"""Scenes as SCaR files: pictures, and what is asked about them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from virtue.errors import InputError
from virtue.paths import printable
from virtue.training.scar_building.scar_rows import ScarRow, write_scar
from virtue.training.scenes import Scenes

BOUND, USUAL = "bound", "usual"
QUALITY = 95
"""Of the JPEG files."""


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """What was written: how many pictures, and rows of each file."""

    pictures: int
    rows: dict[str, int]


def write_scenes(
    scenes: Scenes,
    folder: str | os.PathLike[str],
    *,
    force: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> SceneFiles:
    """Writes scenes as pictures and SCaR files: `bound.parquet` holds the bound queries, `usual.parquet` all
    others, `images` the pictures.

    Args:
        folder: made if it is not there.
        force: write though the folder holds something.
        tell: called with how many scenes are done, and of how many.

    Raises:
        InputError: the folder holds something, or cannot be written to; pyarrow is not installed.
    """
    place = Path(folder)
    images = place / "images"
    shown = printable(os.fspath(place))
    rows: dict[str, list[ScarRow]] = {BOUND: [], USUAL: []}
    try:
        if place.exists() and not force and any(place.iterdir()):
            raise InputError(f"{shown} holds files: name another folder, or force it", hint="--force")
        images.mkdir(parents=True, exist_ok=True)
        for scene in scenes:
            name = f"{scene.index:06}.jpg"
            Image.fromarray(scene.picture).save(images / name, quality=QUALITY, subsampling=0)
            for query in scene.queries:
                thing = scene.objects[query.object]
                captions = tuple(caption.text for caption in query.captions)
                rows[BOUND if query.bound else USUAL].append(
                    ScarRow(name, thing.box, captions, query.swaps, thing.name, query.twin, thing.mask)
                )
            if tell:
                tell(scene.index + 1, len(scenes))
    except OSError as error:
        raise InputError(
            f"{shown} cannot be written to ({error.strerror or error}): name another folder"
        ) from error
    maker = f"scenes, seed {scenes.seed}"
    return SceneFiles(
        len(scenes),
        {name: write_scar(place / f"{name}.parquet", some, maker) for name, some in rows.items() if some},
    )
