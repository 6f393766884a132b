"""Sources -> an endless stream of rows: homogeneous blocks of weighted sources, the same for every number of
processes, and known at any place without all that came before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virtue.errors import InputError
from virtue.training.examples import Source

MAX_SUBSTITUTES = 50
"""Rows that are tried in the place of one that is broken."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the stream: a source's number, and the number of a row in it."""

    source: int
    row: int


class ExampleStream:
    """Blocks of rows of one source each, so that in-batch negatives are of a kind. Which source a block is of
    is drawn by weight; rows of a source come in a new order each time it is through.

    Raises:
        InputError: a source has no rows.
    """

    def __init__(self, sources: Sequence[Source], *, block: int, seed: int) -> None:
        for source in sources:
            if not len(source):
                raise InputError(
                    f"the source {source.name} has no rows: {'; '.join(source.faults) or 'leave it out'}"
                )
        if not sources:
            raise InputError("there are no sources: name one or more under `sources`")
        self.sources = sources
        self._block, self._seed = block, seed
        self._drawn: list[tuple[int, int]] = []
        """For each block: its source, and how many blocks of that source came before."""
        self._counts = [0] * len(sources)
        self._random = random.Random(f"blocks of {seed}")
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def place(self, position: int) -> Place:
        """Returns what lies at a position, counted from 0."""
        number, offset = divmod(position, self._block)
        while len(self._drawn) <= number:
            (source,) = self._random.choices(
                range(len(self.sources)), [source.weight for source in self.sources]
            )
            self._drawn.append((source, self._counts[source]))
            self._counts[source] += 1
        source, before = self._drawn[number]
        count = len(self.sources[source])
        epoch, row = divmod(before * self._block + offset, count)
        return Place(source, int(self._order(source, epoch)[row]))

    def substitute(self, position: int, attempt: int) -> Place:
        """Returns another row of the source that lies at a position, for one that is broken.

        Raises:
            InputError: that many in a row are broken.
        """
        source = self.place(position).source
        if attempt > MAX_SUBSTITUTES:
            raise InputError(
                f"{MAX_SUBSTITUTES} rows of the source {self.sources[source].name} were broken in a row: see "
                "to its pictures, or leave it out"
            )
        chosen = random.Random(f"{self._seed} {position} {attempt}").randrange(len(self.sources[source]))
        return Place(source, chosen)

    def choose(self, position: int, count: int, wanted: int) -> list[int]:
        """Chooses some of `count` things for a position, in their order."""
        return sorted(random.Random(f"{self._seed} {position} of {count}").sample(range(count), wanted))

    def _order(self, source: int, epoch: int) -> np.ndarray:
        held = self._orders.get(source)
        if held is None or held[0] != epoch:
            order = np.random.default_rng([self._seed, source, epoch]).permutation(len(self.sources[source]))
            held = self._orders[source] = epoch, order
        return held[1]
