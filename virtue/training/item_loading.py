"""Examples -> sequences that the network reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from virtue.embedder.model import Item
from virtue.embedder.uploads import upload
from virtue.embedder.virtue_model.network import InputSequence, Scene
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.errors import InputError
from virtue.geometry import Prompt
from virtue.training.example_stream import ExampleStream
from virtue.training.examples import Example, Side
from virtue.training.scene_cache import SceneCache

MAX_DISTORTION = 0.01
"""By how much the shape of a picture may differ from that of the copy on which a prompt was drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One process's share of a step. The rows are all queries, then all positives, then all negatives.

    Attributes:
        count: queries, and as many positives.
        ids: (rows,) int64, equal where the content is.
    """

    rows: tuple[InputSequence, ...]
    count: int
    ids: torch.Tensor


class BatchLoader:
    """Takes rows from a stream. One that is broken is told to `on_broken`, and another takes its place."""

    def __init__(
        self,
        model: VirtueModel,
        stream: ExampleStream,
        cache: SceneCache,
        *,
        negatives: int,
        on_broken: Callable[[str], None],
    ) -> None:
        self._model, self._stream, self._cache = model, stream, cache
        self._negatives, self._on_broken = negatives, on_broken

    def load(self, positions: Sequence[int]) -> Batch:
        """Loads what lies at these positions of the stream.

        Raises:
            InputError: a source has hardly any sound rows.
        """
        examples = [self._read(position) for position in positions]
        self._cache.load_all(
            side.image for example in examples if example for side in example.sides if side.image is not None
        )
        loaded = [
            self._load(position, example) for position, example in zip(positions, examples, strict=True)
        ]
        groups = ([one[:1] for one in loaded], [one[1:2] for one in loaded], [one[2:] for one in loaded])
        pairs = [pair for group in groups for one in group for pair in one]
        return Batch(
            tuple(row for _, row in pairs),
            len(positions),
            torch.tensor([side.content_id for side, _ in pairs], dtype=torch.int64),
        )

    def _read(self, position: int, attempt: int = 0) -> Example | None:
        """Reads an example, of whose negatives some are drawn if there are too many. None: it is broken."""
        place = self._stream.substitute(position, attempt) if attempt else self._stream.place(position)
        try:
            example = self._stream.sources[place.source].example(place.row)
        except InputError as error:
            self._on_broken(str(error))
            return None
        if len(example.negatives) > self._negatives:
            chosen = self._stream.choose(position, len(example.negatives), self._negatives)
            example = replace(example, negatives=tuple(example.negatives[number] for number in chosen))
        return example

    def _load(self, position: int, example: Example | None) -> list[tuple[Side, InputSequence]]:
        for attempt in range(1, 10**9):  # `substitute` ends it
            if example is not None:
                try:
                    return [(side, self._to_sequence(side)) for side in example.sides]
                except InputError as error:
                    place = (
                        self._stream.place(position)
                        if attempt == 1
                        else self._stream.substitute(position, attempt - 1)
                    )
                    self._on_broken(f"{self._stream.sources[place.source].name}, row {place.row}: {error}")
            example = self._read(position, attempt)
        raise AssertionError

    def _to_sequence(self, side: Side) -> InputSequence:
        if side.image is None:
            return self._model.to_sequence(Item(text=side.text, instruction=side.instruction))
        scene = self._cache.scene(side.image)
        prompt = fit_prompt(side, scene.width, scene.height)
        return self._model.to_sequence(Item(scene, prompt, side.text, side.instruction))


def fit_prompt(side: Side, width: int, height: int) -> Prompt | None:
    """Returns the prompt in pixels of the picture, which is of that size.

    Raises:
        InputError: it leaves the picture, or was drawn on a copy of another shape.
    """
    prompt = side.prompt
    if prompt is None:
        return None
    if side.drawn_at and side.drawn_at != (width, height):
        sx, sy = width / side.drawn_at[0], height / side.drawn_at[1]
        if abs(sx / sy - 1) > MAX_DISTORTION or prompt.box is None:
            drawn = " x ".join(map(str, side.drawn_at))
            raise InputError(f"it is drawn on {drawn} pixels, and the picture has {width} x {height}")
        prompt = Prompt(box=prompt.box.scaled(sx, sy))
    return prompt.within(width, height)


def chunk_rows(rows: Sequence[InputSequence], *, pictures: int, texts: int) -> list[list[int]]:
    """Divides rows into chunks that the network can read at once: texts alone, or pictures of one number of
    tokens, those that share a scene together."""
    scenes: dict[int, int] = {}
    for row in rows:
        scenes.setdefault(id(row.scene), len(scenes))
    order = sorted(
        range(len(rows)),
        key=lambda n: (
            rows[n].scene is None,
            rows[n].image_length,
            scenes[id(rows[n].scene)],
            len(rows[n].ids),
        ),
    )
    chunks: list[list[int]] = []
    for number in order:
        row = rows[number]
        last = rows[chunks[-1][0]] if chunks else None
        most = texts if row.scene is None else pictures
        fits = last is not None and (last.scene is None) == (row.scene is None)
        if last is not None and fits and last.image_length == row.image_length and len(chunks[-1]) < most:
            chunks[-1].append(number)
        else:
            chunks.append([number])
    return chunks


def place_rows(rows: Sequence[InputSequence], device: torch.device) -> list[InputSequence]:
    """Returns rows whose scenes are on the device; rows that shared one still do."""
    moved: dict[int, Scene] = {}
    for row in rows:
        if row.scene is not None and id(row.scene) not in moved:
            moved[id(row.scene)] = replace(
                row.scene,
                features=upload(row.scene.features, device),
                tokens=upload(row.scene.tokens, device),
            )
    return [row if row.scene is None else replace(row, scene=moved[id(row.scene)]) for row in rows]
