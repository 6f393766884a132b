"""A query -> the model -> the store -> ranked hits, and ways to look at them."""

from typing import TYPE_CHECKING, Any

from virtue.retrieval.arguments import parse_arguments, parse_min_score
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query
from virtue.retrieval.search import search

if TYPE_CHECKING:
    from virtue.retrieval.report import write_report
    from virtue.retrieval.terminal import preview

__all__ = ["Hit", "Part", "Query", "parse_arguments", "parse_min_score", "preview", "search", "write_report"]

_LATE = {"preview": "terminal", "write_report": "report"}


def __getattr__(name: str) -> Any:
    """What needs Pillow loads when first named: a search by text draws nothing."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"virtue.retrieval.{_LATE[name]}"), name)
