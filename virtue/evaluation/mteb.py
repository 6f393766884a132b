"""Our models in mteb: `mteb.evaluate(MtebEncoder(embedder), tasks)`, with boxes where a task has them.

A task's data set may have a column `box` beside its images: [x, y, w, h] in pixels of the upright image, or
[0, 0, 0, 0] for none. mteb 2.26 brings a wrapper for VIRTUE of its own; it leaves out SAM and the tokens that
VIRTUE makes of it (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from virtue.embedder import Embedder
from virtue.embedder.model import Find
from virtue.geometry import Box

if TYPE_CHECKING:
    from mteb.models import ModelMeta
    from mteb.types import Array

BOX = "box"
BATCH_SIZE = 32


class MtebEncoder:
    """An `Embedder` with the face of mteb's `EncoderProtocol`.

    What mteb encodes as a query becomes one: for captions if the task's answers are texts, else for photos.
    All else becomes a document.

    Args:
        embedder: a model, or the name of one.
        revision: of a model on the hub.
        device: where a named model works.
    """

    def __init__(
        self,
        embedder: Embedder | str,
        revision: str | None = None,
        *,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(embedder, str):
            embedder = Embedder.from_pretrained(embedder, revision=revision, device=device, **kwargs)
        self.embedder = embedder

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What results are filed under: the model's name and its fingerprint as the revision."""
        from mteb.models import ModelMeta

        name = self.embedder.name.strip("/")
        return ModelMeta.create_empty(
            {
                "name": name if name.count("/") == 1 else f"virtue/{name.rpartition('/')[2]}",
                "revision": self.embedder.fingerprint,
                "embed_dim": self.embedder.dim,
                "modalities": ["text", "image"],
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        prompt_type: Any = None,
        **options: Any,
    ) -> Array:
        """Embeds what a task holds: (n, dim) float32.

        Raises:
            InputError: an item cannot be used; says which of its batch, and why.
        """
        find: Find | None = None
        if str(getattr(prompt_type, "value", prompt_type)) == "query":
            find = "captions" if str(task_metadata.category).endswith("2t") else "photos"
        batches = [
            self.embedder.encode(
                list(read_batch(batch)), find=find, batch_size=options.get("batch_size", BATCH_SIZE)
            )
            for batch in inputs
        ]
        return np.concatenate(batches)

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Computes the cosines of all pairs of rows."""
        return self.embedder.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Computes the cosine of each row with the row of its number."""
        return self.embedder.similarity_pairwise(embeddings1, embeddings2)


def read_batch(batch: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Reads a batch of mteb's: columns of texts, images and boxes."""
    texts, images = batch.get("text"), batch.get("image")
    count = len(texts if texts is not None else images or ())
    boxes = batch.get(BOX)
    if boxes is not None:  # torch collates four numbers of each item into four columns
        boxes = np.array([np.asarray(column, float) for column in boxes])
        boxes = boxes.T if boxes.shape[0] == 4 and boxes.shape != (count, 4) else boxes
    for place in range(count):
        value = {
            "text": (texts[place] or None) if texts is not None else None,
            "image": images[place] if images is not None else None,
        }
        if boxes is not None and value["image"] is not None and boxes[place].any():
            value["box"] = Box.from_xywh(*boxes[place])
        yield value
