"""virtue finds things in pictures: by words, by a picture, or by a box drawn on one.

The public names load on first use, so that `import virtue` costs milliseconds.
"""

import logging
from typing import TYPE_CHECKING, Any

from virtue.escaping import escape_record
from virtue.telemetry import turn_off_telemetry

if TYPE_CHECKING:
    from virtue.client import Client
    from virtue.embedder import Embedder
    from virtue.errors import VirtueError
    from virtue.geometry import Box, Point, Prompt
    from virtue.indexer import Progress, Report
    from virtue.library import Library
    from virtue.retrieval import Hit, Query
    from virtue.retrieval.checks import Goal as Find
    from virtue.retrieval.similar_group import Similar
    from virtue.store.records import Photo, Region, TextLine, VectorBlock
    from virtue.tasks.annotate_photos import Annotation

# A program that wants to know listens to "virtue"; without that nothing is printed.
logging.getLogger("virtue").addHandler(logging.NullHandler())
logging.getLogger("virtue").addFilter(escape_record)

turn_off_telemetry()

__version__ = "0.1.0"

_HOMES = {
    "Annotation": "virtue.tasks.annotate_photos",
    "Box": "virtue.geometry",
    "Client": "virtue.client",
    "Embedder": "virtue.embedder",
    "Find": "virtue.retrieval.checks:Goal",
    "Hit": "virtue.retrieval",
    "Library": "virtue.library",
    "Photo": "virtue.store.records",
    "Point": "virtue.geometry",
    "Progress": "virtue.indexer",
    "Prompt": "virtue.geometry",
    "Query": "virtue.retrieval",
    "Region": "virtue.store.records",
    "Report": "virtue.indexer",
    "Similar": "virtue.retrieval.similar_group",
    "TextLine": "virtue.store.records",
    "VectorBlock": "virtue.store.records",
    "VirtueError": "virtue.errors",
}

__all__ = [
    "Annotation",
    "Box",
    "Client",
    "Embedder",
    "Find",
    "Hit",
    "Library",
    "Photo",
    "Point",
    "Progress",
    "Prompt",
    "Query",
    "Region",
    "Report",
    "Similar",
    "TextLine",
    "VectorBlock",
    "VirtueError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'virtue' has no attribute {name!r}")
    from importlib import import_module

    try:
        home, _, named = _HOMES[name].partition(":")
        return getattr(import_module(home), named or name)
    except ImportError as error:
        from virtue.distribution import explain_import

        explain_import(error)
        raise


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
