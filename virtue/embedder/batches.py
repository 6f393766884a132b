"""Inputs through a model, batch after batch, where one that cannot be used costs itself alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from virtue.embedder.inputs import Input, LoadedInput, ModelInput, load_input
from virtue.embedder.model import Find, Item, Model, Scene, pools_alpha
from virtue.errors import InputError, ModelError

if TYPE_CHECKING:
    from virtue.pictures import Picture

OnError = Literal["raise", "skip"]

BATCH_SIZE = 32
"""Inputs held in memory at once, unless the caller says otherwise."""
UNIT_TOLERANCE = 0.01
"""What the length of a vector may differ from 1 by; half precision needs a thousandth."""


@dataclass(frozen=True, slots=True)
class Batches:
    """A model, and how it is to take inputs.

    Attributes:
        find: what queries look for; None: the inputs are documents.
        instruction: for models that take one.
        prefix: what is put before every text.
    """

    model: Model
    find: Find | None = None
    instruction: str | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        if self.find is not None:
            check_find(self.find)

    def run(
        self,
        values: Sequence[Input],
        *,
        is_single: bool = False,
        batch_size: int = BATCH_SIZE,
        on_error: OnError = "raise",
        show_progress: bool = False,
    ) -> list[np.ndarray]:
        """Embeds each value: (dim,) for a document, (k, dim) for a query.

        Raises:
            InputError: an input cannot be used; says which, unless it `is_single`.
        """
        results: list[np.ndarray] = []
        starts: Iterable[int] = range(0, len(values), batch_size)
        for start in _show_progress(starts, len(values), batch_size) if show_progress else starts:
            batch, faults = self._run_batch(values[start : start + batch_size])
            for place, error in sorted(faults.items()):
                if on_error == "raise" and is_single:
                    raise error
                if on_error == "raise":
                    raise type(error)(f"input {start + place}: {error}", hint=error.hint) from None
                # Whoever called `encode`, which `encode_query` calls.
                stacklevel = 3 if self.find is None else 4
                warnings.warn(f"input {start + place} is left out: {error}", stacklevel=stacklevel)
            results += batch
        return results

    def to_item(self, value: Input) -> Item:
        """Reads one input, as the model takes it.

        Raises:
            InputError: it cannot be used.
        """
        given = load_input(ModelInput.of(value), self.model.side, as_query=self.find is not None)
        return self._to_items([given])[0]

    def _run_batch(self, values: Sequence[Input]) -> tuple[list[np.ndarray], dict[int, InputError]]:
        """Embeds values; NaN for one that cannot be used, and why it cannot."""
        loaded: dict[int, LoadedInput] = {}
        faults: dict[int, InputError] = {}
        pictures: dict[object, Picture] = {}
        as_query = self.find is not None
        for place, value in enumerate(values):
            try:
                loaded[place] = load_input(
                    ModelInput.of(value),
                    self.model.side,
                    pictures,
                    as_query=as_query,
                    keep_alpha=pools_alpha(self.model),
                )
            except InputError as error:
                faults[place] = error
        try:
            made = dict(zip(loaded, self._embed([*loaded.values()]), strict=True)) if loaded else {}
        except InputError:
            # One of them is beyond the model (a text too long, a picture too slim): each for itself.
            made = {}
            for place, given in loaded.items():
                try:
                    (made[place],) = self._embed([given])
                except InputError as error:
                    faults[place] = error
        nothing = np.full((1, self.model.dim) if as_query else self.model.dim, np.nan, np.float32)
        for vectors in made.values():
            check_units(self.model, vectors)
        return [made.get(place, nothing) for place in range(len(values))], faults

    def _embed(self, inputs: Sequence[LoadedInput]) -> Iterable[np.ndarray]:
        items = self._to_items(inputs)
        if self.find is None:
            return self.model.embed(items)
        return self.model.queries(items, [given.picture for given in inputs], self.find)

    def _to_items(self, inputs: Sequence[LoadedInput]) -> list[Item]:
        """One scene for all inputs that share a picture."""
        pictures = {id(given.picture): given.picture for given in inputs if given.picture is not None}
        scenes = self._prepared_scenes(pictures) if pictures else {}
        others = {key: picture for key, picture in pictures.items() if key not in scenes}
        scenes |= dict(zip(others, self.model.scenes(list(others.values())), strict=True))
        return [
            Item(
                scenes.get(id(given.picture)),
                given.prompt,
                given.text if given.text is None else (self.prefix or "") + given.text,
                self.instruction,
            )
            for given in inputs
        ]

    def _prepared_scenes(self, pictures: Mapping[int, Picture]) -> dict[int, Scene]:
        """Returns the scenes that were made before, by this model."""
        from virtue.embedder.prepared import PreparedPicture  # late: a text needs no Pillow

        return {
            key: picture.scene
            for key, picture in pictures.items()
            if isinstance(picture, PreparedPicture) and picture.fingerprint == self.model.fingerprint
        }


def check_find(find: str) -> None:
    """Raises InputError if nothing of this kind can be looked for."""
    if find not in get_args(Find):
        raise InputError(f"find={find!r} is none of {', '.join(get_args(Find))}")


def check_units(model: Model, vectors: np.ndarray) -> None:
    """Checks what a model made: NaN would be stored, and found by nothing.

    Raises:
        ModelError: one is no unit vector.
    """
    if (np.abs(np.linalg.norm(vectors, axis=-1) - 1) < UNIT_TOLERANCE).all():
        return
    if getattr(model, "dtype", None) == "fp16":
        raise ModelError(
            f"the model {model.name} made numbers that fp16 cannot hold: load it with dtype='fp32'",
            hint="--dtype fp32",
        )
    raise ModelError(
        f"the model {model.name} made vectors that are none: its weights are damaged, get it again"
    )


def _show_progress(starts: Iterable[int], total: int, batch_size: int) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding", total=total)
        for start in starts:
            yield start
            progress.update(task, completed=min(start + batch_size, total))
