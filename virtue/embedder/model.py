"""What a family of models must offer to stand behind `Embedder`: one small protocol.

A model works on a picture once (`scenes`) and then prompts it many times (`embed`), as SAM's
predictor does: image work is dear, the step from a scene to a region's vector is light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from virtue.geometry import Box, Prompt

if TYPE_CHECKING:
    from virtue.pictures import Picture
    from virtue.resizing import Resizing

Find = Literal["regions", "photos", "captions"]
"""What a query looks for. A model may weigh the parts of its vectors by it."""

Scene = Any
"""A picture after its image work, in whatever form the model keeps it. Opaque to everyone else."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to embed: a text, a scene, a prompt on a scene, or a scene (and prompt) with a text.
    The prompt is in pixels of the scene's upright original and has been checked. `instruction` is for
    models that take an instruction in words (`InstructedModel`); None: the model's own for such an item."""

    scene: Scene | None = None
    prompt: Prompt | None = None
    text: str | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A box worth a vector of its own, in pixels of the upright original. `objectness` (0 to 1) says how sure
    a detector is that it holds one thing, and `object` what thing; None: the box is from elsewhere."""

    box: Box
    objectness: float | None = None
    object: str | None = None


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
        """Does the image work, once for each picture, in one or more batches."""

    def propose(self, scene: Scene, limit: int) -> list[Proposal]:
        """Proposes at most `limit` boxes, best first, without near-duplicates and without the full image."""

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        """Embeds documents: (len(items), dim) float32, unit rows. The vector of an item does not depend on
        the other items."""

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        """Embeds items as queries: for each (k, dim) float32, unit rows. The score of a row is its best dot
        product with the k vectors (a model that encodes a query picture at several sizes returns one for
        each, the plainest first). `pictures` are the items' own, None for a text alone. The vectors of an
        item do not depend on the other items."""


@runtime_checkable
class ResizedModel(Model, Protocol):
    """A model that pictures may be resized for where they are decoded. What it makes of them is the same."""

    @property
    def resizing(self) -> Resizing | None:
        """The rule; None: with these settings the model needs the pixels as they are."""


def resizing_of(model: Model) -> Resizing | None:
    """Returns the rule by which pictures may be resized for a model before it gets them."""
    return model.resizing if isinstance(model, ResizedModel) else None


@runtime_checkable
class AlphaModel(Model, Protocol):
    """A model that pools only what can be seen of pictures with transparency (`Picture.alpha`), also as
    documents. They lie on white, as they do for others: an outline tells what a thing is."""

    pools_alpha: bool


def pools_alpha(model: Model) -> bool:
    """Returns whether documents are to be loaded with `keep_alpha` for a model."""
    return isinstance(model, AlphaModel) and model.pools_alpha


@runtime_checkable
class BatchProposer(Protocol):
    """A model that proposes regions for many scenes at once: a card is then waited for once, not once a
    photo."""

    def propose_all(self, scenes: Sequence[Scene], limits: Sequence[int]) -> list[list[Proposal]]:
        """Proposes for each scene at most so many boxes, as `Model.propose` does."""


@runtime_checkable
class SegmentingModel(Model, Protocol):
    """A model that finds the outline of what is drawn."""

    def segment(self, scene: Scene, prompt: Prompt) -> np.ndarray:
        """Returns the mask of what a prompt means: (height, width) bool, of the upright original."""


@runtime_checkable
class CellModel(Model, Protocol):
    """A model that weighs cells of a picture by what is drawn."""

    def weigh_cells(self, scene: Scene, prompt: Prompt) -> np.ndarray:
        """Returns how much each cell of a picture counts: (rows, columns) float32, which sum to 1."""


@runtime_checkable
class AsymmetricModel(Model, Protocol):
    """A model whose queries weight the parts of a vector differently from its documents."""

    def rows_as_queries(self, rows: np.ndarray, find: Find) -> np.ndarray:
        """Turns rows that `embed` made into queries for what is like them: (n, dim) float32, unit rows."""


@runtime_checkable
class NamingModel(Model, Protocol):
    """A model that recognises things by names, and knows how near a text is to one of them."""

    def text_baselines(self, vectors: np.ndarray) -> np.ndarray:
        """Returns for query vectors of texts (n, dim) what each scores with pictures by its words alone, (n,)
        float32: one that is near a name finds higher scores wherever it looks. What a score has above that
        tells more about whether the thing is there."""


@runtime_checkable
class VocabularyModel(Model, Protocol):
    """A model that knows some words, and to which all others are the same."""

    def knows(self, text: str) -> bool:
        """Returns whether the model knows a word of a text; texts without one have nearly the same vector."""


class EarlierModel(Model, Protocol):
    """What an earlier version of a model was, for queries: its vectors are those of that version, nearly."""

    lacks: str
    """What searches of its rows go without, to be said in a sentence."""


@runtime_checkable
class SucceedingModel(Model, Protocol):
    """A model that can search what earlier versions of it made."""

    def earlier(self, fingerprint: str) -> EarlierModel | None:
        """Returns what makes queries for rows of this fingerprint; None: these are not to be searched."""


@runtime_checkable
class InstructedModel(Model, Protocol):
    """A model that reads `Item.instruction`: a template in which `{text}` stands for the item's text (without
    `{text}` it is a prefix)."""

    prompts: Mapping[str, str]
    """Its named instructions: what `prompt_name=` may say."""
