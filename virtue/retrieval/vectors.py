"""A query of several parts -> the vectors that the store scans with."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from virtue.errors import InputError
from virtue.retrieval.query import Part, Query

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.embedder.model import Find

WITHOUT = 0.5
"""How much of what is to be left out is taken away from a query vector.

What is asked for and what is left out mostly share a part ("red mug" without "blue mug": the mug). At 1
the shared part would cancel, and red things of any kind would win; at 0 nothing is left out. At 0.5
half of the shared part stays, and a row that answers both in equal measure falls to half the score,
below whatever answers the query more than half as well and the other not at all."""

NOTHING = 1e-6
"""Length below which a difference of vectors is rounding."""


def query_vectors(embedder: Embedder, query: Query, find: Find) -> np.ndarray:
    """(k, dim) float32, unit rows; a row of the library scores its best dot product with them.

    Parts are added, and the direction of what is left out is taken away `WITHOUT` times. A part that
    its model asks at several sizes keeps them: size i of one is added to size i of the others, and
    what has fewer sizes takes part in the rest with its plainest.

    Raises:
        InputError: nothing is left after taking away.
        PictureError, PromptError: from the query's images and prompts.
    """
    asked = [_embed(embedder, part, find) for part in query.parts]
    if len(asked) == 1 and not query.without:
        return asked[0]
    total = reduce(_add, asked)
    if query.without:
        unwanted = sum(_embed(embedder, part, find)[0] for part in query.without)
        total = _unit(total) - WITHOUT * _unit(np.asarray(unwanted))
    return _unit(total).astype(np.float32)


def _embed(embedder: Embedder, part: Part, find: Find) -> np.ndarray:
    return np.atleast_2d(embedder.query(part.as_input(), find))


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    count = max(len(a), len(b))
    return _padded(a, count) + _padded(b, count)


def _padded(vectors: np.ndarray, count: int) -> np.ndarray:
    missing = count - len(vectors)
    return np.concatenate([vectors, np.repeat(vectors[:1], missing, axis=0)]) if missing else vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if (lengths < NOTHING).any():
        raise InputError("the parts of this query cancel each other out: leave one away")
    return vectors / lengths
