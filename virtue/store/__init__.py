"""Vectors and metadata on disk: a catalogue (SQLite) and row files. Knows no model."""

from typing import TYPE_CHECKING, Any

from virtue.store.records import (
    CaptionRecord,
    CaptionUpdate,
    Counts,
    EmbeddedPhoto,
    Fault,
    FileRecord,
    FileState,
    Generation,
    NewCaption,
    NewRegion,
    PhotoInfo,
    Ranked,
    Ranking,
    RegionRecord,
    Root,
    SearchParams,
    TuningResult,
    UserAnnotations,
)

if TYPE_CHECKING:
    from virtue.store.opening import open_store
    from virtue.store.snapshot import Snapshot
    from virtue.store.store import Store
    from virtue.store.writer import Writer

__all__ = [
    "CaptionRecord",
    "CaptionUpdate",
    "Counts",
    "EmbeddedPhoto",
    "Fault",
    "FileRecord",
    "FileState",
    "Generation",
    "NewCaption",
    "NewRegion",
    "PhotoInfo",
    "Ranked",
    "Ranking",
    "RegionRecord",
    "Root",
    "SearchParams",
    "Snapshot",
    "Store",
    "TuningResult",
    "UserAnnotations",
    "Writer",
    "open_store",
]

_LATE = {"Snapshot": "snapshot", "Store": "store", "Writer": "writer", "open_store": "opening"}


def __getattr__(name: str) -> Any:
    """Loads what needs the database library when first used, since records alone are cheap."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"virtue.store.{_LATE[name]}"), name)
