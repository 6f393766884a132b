"""Photos -> regions and captions -> the embedder -> the store."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtue.indexer.indexing import Progress, Report, index
    from virtue.indexer.reindexing import Estimate, reindex

__all__ = ["Estimate", "Progress", "Report", "index", "reindex"]

_REINDEXING = ("Estimate", "reindex")


def __getattr__(name: str) -> Any:
    """Late, because worker processes live in this package and need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "reindexing" if name in _REINDEXING else "indexing"
    return getattr(import_module(f"virtue.indexer.{module}"), name)
