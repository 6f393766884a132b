"""What a family of models must offer to stand behind `Embedder`: one small protocol.

A model works on a picture once (`scenes`) and then prompts it many times (`embed`), as SAM's
predictor does: image work is dear, the step from a scene to a region's vector is light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from virtue.geometry import Box, Prompt
from virtue.pictures import Picture

Find = Literal["regions", "photos", "captions"]
"""What a query looks for. A model may weigh the parts of its vectors by it."""

Scene = Any
"""A picture after its image work, in whatever form the model keeps it. Opaque to everyone else."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to embed: a text, a scene, a prompt on a scene, or a scene (and prompt) with a text.
    The prompt is in pixels of the scene's upright original and has been checked. `instruction` is for
    models that are told in words what to do (`InstructedModel`); None: the model's own for such an item."""

    scene: Scene | None = None
    prompt: Prompt | None = None
    text: str | None = None
    instruction: str | None = None


class Model(Protocol):
    name: str
    fingerprint: str
    """Of the files, the preprocessing and the pooling: equal fingerprints give equal vectors."""
    dim: int
    """Length of a vector."""
    side: int | None
    """Pixels on the long side beyond which a picture holds nothing this model uses; None: no limit."""
    text_match: float
    """Dot product of a text query and a caption from which on the two speak of one thing."""

    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        """The image work, once a picture, in one or more batches."""

    def propose(self, scene: Scene, limit: int) -> list[Box]:
        """At most `limit` boxes worth a vector of their own, best first, in pixels of the upright
        original, near-duplicates pruned, the whole picture not among them."""

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        """Documents: (len(items), dim) float32, unit rows. An item's vector does not depend on
        what else is in `items`."""

    def query(self, item: Item, picture: Picture | None, find: Find) -> np.ndarray:
        """The same item asked as a question: (k, dim) float32, unit rows. A row of the library
        scores its best dot product with the k vectors (a model that looks at the query picture at
        several sizes returns one for each, its plainest first). `picture` is the query's picture,
        None for a text alone."""


@runtime_checkable
class AsymmetricModel(Model, Protocol):
    """A model whose questions weigh the parts of a vector otherwise than its documents do."""

    def rows_as_queries(self, rows: np.ndarray, find: Find) -> np.ndarray:
        """(n, dim) float32, unit rows: what `embed` made, each asked as a question for its like."""


@runtime_checkable
class InstructedModel(Model, Protocol):
    """A model that reads `Item.instruction`: words around the item's text, in which `{text}` stands for it
    (without `{text}` they come before it)."""

    prompts: Mapping[str, str]
    """Its named instructions: what `prompt_name=` may say."""
