"""`Embedder`: a model that was loaded by name, for programs, searches and indexers alike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from virtue.embedder import families
from virtue.embedder.batches import Batches, check_find, check_units
from virtue.embedder.dtypes import Dtype
from virtue.embedder.encoder import Encoder
from virtue.embedder.inputs import Input
from virtue.embedder.model import (
    AsymmetricModel,
    CellModel,
    Find,
    Item,
    Model,
    NamingModel,
    Scene,
    SegmentingModel,
    SucceedingModel,
    VocabularyModel,
)
from virtue.errors import InputError, ModelError
from virtue.geometry import Box, Prompt
from virtue.torch_device import split_devices
from virtue.vector_math import unit_rows

if TYPE_CHECKING:
    from virtue.embedder.prepared import PreparedPicture
    from virtue.pictures import Picture


class Embedder(Encoder):
    """Turns texts, images and prompts on images into unit vectors of one space.

    The vector of an input never depends on what else is in its batch.
    """

    def __init__(self, model: Model, devices: Sequence[str] = ()) -> None:
        super().__init__(model)
        self.devices = tuple(devices)
        """Where an indexer works, if on several devices at once; the model itself is on the first."""
        self._options: dict[str, Any] | None = None
        self._earlier: dict[str, Embedder] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "mini",
        *,
        device: str | None = None,
        offline: bool = False,
        revision: str | None = None,
        threads: int | None = None,
        compile: bool = False,
        dtype: Dtype = "auto",
        resize: Literal["published"] | None = None,
        max_pixels: int | None = None,
        truncate_dim: int | None = None,
    ) -> Embedder:
        """Loads a model by name.

        Args:
            name: "mini", a folder, or "owner/model" of the Hugging Face hub (VIRTUE, CLIP, SigLIP,
                SigLIP 2), perhaps with "@revision"; see `virtue.embedder.model_names`.
            device: "cpu", "cuda", "cuda:1"; None: CUDA where there is one. "mini" knows the CPU alone.
                "cuda:0,cuda:1": indexing works on both, in a process for each; all else on the first.
            offline: download nothing. A model whose files are there asks no network anyway.
            revision: a branch, tag or commit on the hub.
            threads: CPU threads that a forward pass may use; None: as suits the model (`mini`: one).
            compile: let torch.compile make VIRTUE faster: minutes when it is first used, less time for
                every picture and text from then on.
            dtype: what a model of torch computes with: "fp32", "bf16", "fp16"; "auto": bf16 on cards that
                have it, fp16 on older ones, fp32 on a CPU. The fingerprint is the same in all of them.
            resize: "published": VIRTUE gets pictures as in its published evaluation, squashed to a square. A
                model of its own, whose name ends in "#published".
            max_pixels: pixels of a picture as VIRTUE sees it; half as many halve the cost of regions, about.
                A model of its own, whose name ends in "#max-pixels=N". None: as the model says.
            truncate_dim: numbers that the vectors of a VIRTUE are cut to, if it was trained for that
                (Matryoshka). A model of its own, whose name ends in "#dim=N": libraries hold such vectors.

        Raises:
            ModelError: there is no such model, it cannot be had, or it cannot run on that device.
        """
        device, devices = split_devices(device, ModelError)
        options: dict[str, Any] = {
            "device": device, "offline": offline, "threads": threads, "compile": compile, "dtype": dtype
        }  # fmt: skip
        variant: dict[str, Any] = {"resize": resize, "max_pixels": max_pixels, "truncate_dim": truncate_dim}
        model = families.load_model(name, revision=revision, **variant, **options)
        embedder = cls(model, devices)
        embedder._options = options
        return embedder

    def _loader(self) -> Callable[[str | None], Embedder]:
        if self._options is None:
            raise ModelError("this Embedder was not made by from_pretrained, so no other process can load it")
        return partial(_load, type(self), self.name, self._options)

    @property
    def process_settings(self) -> dict[str, Any]:
        """What `from_pretrained` needs, beside a device, to load the same model in another process."""
        given = self._options or {}
        kept: dict[str, Any] = {name: given[name] for name in ("threads", "compile") if name in given}
        return {"name": self.name, "offline": True, "dtype": self.dtype or "auto", **kept}

    def __reduce__(self) -> Any:
        return self._loader(), (None,)

    def queries(self, values: Iterable[Input], find: Find = "regions") -> list[np.ndarray]:
        """Embeds queries with all their vectors: for each (k, dim) float32, unit rows. The score of a row of
        a library is its highest dot product with them.

        Raises:
            InputError: an input cannot be used; says which (counted from 0) and why.
        """
        return Batches(self.model, find).run(list(values))

    def query(self, value: Input, find: Find = "regions") -> np.ndarray:
        """Embeds one query: `queries` of one value."""
        (rows,) = Batches(self.model, find).run([value], is_single=True)
        return rows

    def prepare(self, image: Any) -> PreparedPicture:
        """Does the work on a query picture once: with what this returns in its place, each prompt on it is a
        light step. Boxes, points and masks stay those of the upright original.

        Args:
            image: whatever an image may be. Of a cut-out, what is transparent is not meant.

        Raises:
            PictureError: it cannot be read.
        """
        from virtue.embedder.prepared import PreparedPicture
        from virtue.pictures import load_cutout

        source = Path(image) if isinstance(image, str) else image
        picture = load_cutout(source, side=self.model.side, crop=False)
        (scene,) = self.model.scenes([picture])
        size = picture.width, picture.height
        return PreparedPicture(picture.pixels, *size, picture.resized, picture.alpha, scene, self.fingerprint)

    @property
    def can_segment(self) -> bool:
        """Whether the model finds the outline of what is drawn (`segment`)."""
        return isinstance(self.model, SegmentingModel)

    def segment(self, value: Input) -> np.ndarray:
        """Returns the mask of what is drawn on a picture, (height, width) bool of the upright original.

        Raises:
            ModelError: the model does not segment.
            InputError: the picture or what is drawn on it cannot be used.
        """
        if not isinstance(self.model, SegmentingModel):
            raise ModelError(f"the model {self.name} does not segment: VIRTUE does")
        return self.model.segment(*self._drawn(value))

    def weigh_cells(self, value: Input) -> np.ndarray:
        """Returns how much each cell of a picture counts for what is drawn on it: (rows, columns) float32,
        which sum to 1.

        Raises:
            ModelError: the model weighs no cells.
            InputError: the picture or what is drawn on it cannot be used.
        """
        if not isinstance(self.model, CellModel):
            raise ModelError(f"the model {self.name} weighs no cells")
        return self.model.weigh_cells(*self._drawn(value))

    def _drawn(self, value: Input) -> tuple[Scene, Prompt]:
        """Returns a picture as the model sees it, and what is drawn on it."""
        item = Batches(self.model, "regions").to_item(value)
        if item.scene is None:
            raise InputError("give an image with a box, points or a mask drawn on it")
        return item.scene, item.prompt or Prompt()

    def depends_on_find(self, text: str) -> bool:
        """Returns whether a text alone has other query vectors for each thing that can be looked for. A model
        that knows has a method of this name."""
        ask = getattr(self.model, "depends_on_find", None)
        return True if ask is None else bool(ask(text))

    @property
    def cross_modal_weight(self) -> float:
        """How many times the part of a query counts that is of another kind than what is looked for (a text
        beside a picture, where pictures are looked for). A model in which the two kinds do not compare has an
        attribute of this name; else 1."""
        return float(getattr(self.model, "cross_modal_weight", 1.0))

    @property
    def same_picture(self) -> float:
        """Dot product of two pictures as documents from which on they show the same. An asymmetric model has
        an attribute of this name, by what other photos and copies reach."""
        return float(getattr(self.model, "same_picture", 0.8))

    @property
    def is_asymmetric(self) -> bool:
        """Whether a picture as a query has another vector than as a document."""
        return isinstance(self.model, AsymmetricModel)

    def rows_as_queries(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Turns rows of a library (n, dim) into queries for what is like them, (n, dim) float32 unit rows,
        without their pictures. For a model that is not asymmetric these are the rows themselves."""
        check_find(find)
        rows = unit_rows(np.atleast_2d(rows).astype(np.float32))
        return self.model.rows_as_queries(rows, find) if isinstance(self.model, AsymmetricModel) else rows

    def text_baselines(self, vectors: np.ndarray) -> np.ndarray:
        """Returns what texts score with pictures by their words alone: (n,) float32 for their query vectors
        (n, dim). 0 for a model that does not know."""
        if isinstance(self.model, NamingModel):
            return self.model.text_baselines(vectors)
        return np.zeros(len(vectors), np.float32)

    def knows(self, text: str) -> bool:
        """Returns whether the model knows a word of a text; True for a model that does not tell. Texts of
        which it knows none are all alike to it, whatever they say."""
        return not isinstance(self.model, VocabularyModel) or self.model.knows(text)

    def for_rows(self, fingerprint: str) -> Embedder | None:
        """Returns what makes queries for rows of this fingerprint: itself, or what its model has for rows of
        an earlier version; a warning then says once what such searches go without. None: the rows are of
        another model."""
        if fingerprint == self.fingerprint:
            return self
        if fingerprint not in self._earlier and isinstance(self.model, SucceedingModel):
            earlier = self.model.earlier(fingerprint)
            if earlier is not None:
                warnings.warn(
                    f"a library of an earlier version of the model {self.name} is searched without "
                    f"{earlier.lacks} until it is reindexed: virtue reindex",
                    stacklevel=4,
                )
                self._earlier[fingerprint] = Embedder(earlier)
        return self._earlier.get(fingerprint)

    def requery(self, rows: np.ndarray, find: Find = "regions") -> np.ndarray:
        """Calls `rows_as_queries`, by its old name."""
        warnings.warn("Embedder.requery is now called rows_as_queries", DeprecationWarning, stacklevel=2)
        return self.rows_as_queries(rows, find)

    # -- image work once, many prompts: what an indexer uses ------------------------------------------

    def scenes(self, pictures: Sequence[Picture]) -> list[Scene]:
        return self.model.scenes(pictures)

    def propose(self, scene: Scene, limit: int) -> list[Box]:
        return [proposal.box for proposal in self.model.propose(scene, limit)]

    def embed(self, items: Sequence[Item]) -> np.ndarray:
        vectors = self.model.embed(items)
        check_units(self.model, vectors)
        return vectors


def _load(kind: type[Embedder], name: str, options: dict[str, Any], device: str | None) -> Embedder:
    return kind.from_pretrained(name, **{**options, "device": device or options["device"]})
