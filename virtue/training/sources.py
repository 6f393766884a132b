"""The kinds of data that a configuration can name."""

from __future__ import annotations

from collections.abc import Iterable

from virtue.training.coco_source import CocoSource
from virtue.training.examples import Source
from virtue.training.parquet_source import read_parquet
from virtue.training.scene_source import SceneSource, compose_scenes
from virtue.training.training_config import SourceSettings

SCENES = 1_000_000
"""Scenes of a source that says no number."""


def open_sources(settings: Iterable[SourceSettings], seed: int) -> list[Source]:
    """Reads what the settings name.

    Args:
        seed: of scenes.

    Raises:
        InputError: a file is missing, damaged or of another form.
    """
    return [source for entry in settings for source in _open(entry, seed)]


def _open(entry: SourceSettings, seed: int) -> list[Source]:
    if entry.kind == "scenes":
        scenes = compose_scenes(entry.path, entry.grounds, seed=seed, length=entry.limit or SCENES)
        return [SceneSource(scenes, prompts=entry.prompts, weight=entry.weight)]
    images = entry.images or (entry.path if entry.path.is_dir() else entry.path.parent)
    if entry.kind == "coco":
        return [CocoSource(entry.path, images, weight=entry.weight, limit=entry.limit)]
    return [*read_parquet(entry.path, images, entry.kind, weight=entry.weight, limit=entry.limit)]
