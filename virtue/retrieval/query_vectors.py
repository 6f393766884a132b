"""A query of several parts -> the vectors that the store scans with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from virtue.errors import InputError
from virtue.retrieval.query import Part, Query

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.embedder.model import Find
    from virtue.store import Snapshot
    from virtue.store.records import QueryKind, RegionLocation

WITHOUT = 0.5
"""How much of what is to be left out is taken away from a query vector.

What is asked for and what is left out mostly share a part ("red mug" without "blue mug": the mug). At 1
the shared part would cancel, and red things of any kind would win; at 0 nothing is left out. At 0.5
half of the shared part stays, and a row that answers both in equal measure falls to half the score,
below whatever answers the query more than half as well and the other not at all."""

LIKED = 0.75
"""Weight of hits, all together, beside what was asked in words or pictures at first: J. Rocchio's, as in
"Introduction to Information Retrieval" (Manning, Raghavan, Schütze 2008), section 9.1.1."""

NOTHING = 1e-6
"""Length below which a difference of vectors is rounding."""


class EncodedQuery(NamedTuple):
    """A query as the store takes it: (k, dim) float32 unit rows, and what they were made from. A row of the
    library scores its best dot product with them. `baseline`: what the query scores with pictures by its
    words alone. `unknown`: its texts, if the model knows no word of any, so that its vectors say nothing."""

    vectors: np.ndarray
    kind: QueryKind
    baseline: float = 0.0
    unknown: tuple[str, ...] = ()

    def may_mean(self, caption: str) -> bool:
        """Returns whether vectors tell how near a caption is: texts of unknown words only are all alike to a
        model, so that nothing but the text itself does."""
        return not self.unknown or any(text in caption for text in self.unknown)


def encode_query(embedder: Embedder, query: Query, find: Find, snapshot: Snapshot) -> EncodedQuery:
    """Embeds a query.

    Parts are added, each times its weight, and the direction of what is left out is taken away `WITHOUT`
    times its mean weight. Hits beside other parts together weigh `LIKED`. What is of another kind than the
    rows, as texts are where pictures are looked for, counts as the model says. A part that its model asks at
    several sizes keeps them: size i of one is added to size i of the others, and what has fewer sizes takes
    part in the rest with its plainest.

    Raises:
        InputError: nothing is left after taking away; the library has no such region or photo.
        PictureError, PromptError: from the query's images and prompts.
    """
    vectors = _combine(embedder, query, find, snapshot)
    if not query.is_text:
        return EncodedQuery(vectors, "image")
    texts = tuple(part.text for part in query.wanted if part.text is not None)
    unknown = () if any(map(embedder.knows, texts)) else texts
    return EncodedQuery(vectors, "text", float(embedder.text_baselines(vectors).max()), unknown)


def depends_on_find(embedder: Embedder, query: Query) -> bool:
    """Returns whether the vectors of a query are others for each thing that can be looked for."""
    return any(
        part.text is None or part.image is not None or embedder.depends_on_find(part.text)
        for part in (*query.parts, *query.without)
    )


def _combine(embedder: Embedder, query: Query, find: Find, snapshot: Snapshot) -> np.ndarray:
    wanted, unwanted = query.wanted, query.unwanted
    embedded = [_embed(embedder, part, find, snapshot) for part in wanted]
    if len(embedded) == 1 and not unwanted:
        return embedded[0]
    say = [_say(embedder, part, find) for part in wanted]
    total = reduce(_add, map(operator.mul, map(operator.mul, _weights(wanted), say), embedded))
    if unwanted:
        weights = [part.weight * _say(embedder, part, find) for part in unwanted]
        vectors = [_embed(embedder, part, find, snapshot)[0] for part in unwanted]
        direction = _unit(sum(map(operator.mul, weights, vectors), start=np.zeros_like(vectors[0])))
        total = _unit(total) - WITHOUT * float(np.mean(weights) / np.mean(say)) * direction
    return _unit(total).astype(np.float32)


def _weights(parts: Sequence[Part]) -> list[float]:
    hits = sum(part.weight for part in parts if part.is_stored)
    if not hits or all(part.is_stored for part in parts):
        return [part.weight for part in parts]
    return [LIKED * part.weight / hits if part.is_stored else part.weight for part in parts]


def _say(embedder: Embedder, part: Part, find: Find) -> float:
    """How many times a part counts by its kind: more if it is not of the kind of the rows."""
    is_text = part.image is None and not part.is_stored
    return embedder.cross_modal_weight if is_text != (find == "captions") else 1.0


def _embed(embedder: Embedder, part: Part, find: Find, snapshot: Snapshot) -> np.ndarray:
    if part.is_stored:
        return embedder.rows_as_queries(
            snapshot.vectors_of("regions", [locate_part(part, snapshot).row]), find
        )
    if part.vector is not None:
        return _check_dim(part.vector, embedder)
    return embedder.query(part, find)


def _check_dim(vector: np.ndarray, embedder: Embedder) -> np.ndarray:
    if vector.shape[1] == embedder.dim:
        return vector
    raise InputError(
        f"the vector has {vector.shape[1]:,} numbers, and those of the model {embedder.name} have "
        f"{embedder.dim:,}: make it with that model"
    )


def locate_part(part: Part, snapshot: Snapshot) -> RegionLocation:
    """Finds where the library has the region or photo of this part.

    Raises:
        InputError: nowhere.
    """
    location = snapshot.locate(part.region_id, part.photo_id)
    if location is None:
        kind = "photo" if part.region_id is None else "region"
        id = part.photo_id if part.region_id is None else part.region_id
        raise InputError(
            f"this library has no {kind} {id}: take the {kind}_id of a hit, of this library as it is now",
            hint="virtue search --json",
        )
    return location


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    count = max(len(a), len(b))
    return _padded(a, count) + _padded(b, count)


def _padded(vectors: np.ndarray, count: int) -> np.ndarray:
    missing = count - len(vectors)
    return np.concatenate([vectors, np.repeat(vectors[:1], missing, axis=0)]) if missing else vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if (lengths < NOTHING).any():
        raise InputError("the parts of this query cancel each other out: leave one out")
    return vectors / lengths
