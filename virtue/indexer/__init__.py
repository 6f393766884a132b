"""Photos -> regions and captions -> the embedder -> the store."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtue.indexer.indexing import index
    from virtue.indexer.joining import join
    from virtue.indexer.reindexing import Estimate, reindex
    from virtue.indexer.report import Progress, Report

__all__ = ["Estimate", "Progress", "Report", "index", "join", "reindex"]

_HOMES = {
    "Estimate": "reindexing",
    "Progress": "report",
    "Report": "report",
    "index": "indexing",
    "join": "joining",
    "reindex": "reindexing",
}


def __getattr__(name: str) -> Any:
    """Loads a name late, because worker processes live in this package and need none of these."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"virtue.indexer.{_HOMES[name]}"), name)
