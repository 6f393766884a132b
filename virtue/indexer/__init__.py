"""Photos -> regions and captions -> the embedder -> the store."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtue.indexer.indexing import Progress, Report, index

__all__ = ["Progress", "Report", "index"]


def __getattr__(name: str) -> Any:
    """Late, because worker processes live in this package and need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("virtue.indexer.indexing"), name)
