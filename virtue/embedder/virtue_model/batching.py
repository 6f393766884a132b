"""Work in batches that fit: a budget, and half of it when the card's memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from virtue.errors import ModelError

Member = TypeVar("Member")
Result = TypeVar("Result")


class Budget:
    """How much goes into one batch. Halved for good on out-of-memory: one surprise is paid for once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def run(
        self,
        members: Sequence[Member],
        step: Callable[[list[Member]], Sequence[Result]],
        *,
        kind: Callable[[Member], object],
        cost: Callable[[list[Member]], int],
    ) -> list[Result]:
        """`step` over all members, batch by batch; its results in the order of the members.

        Args:
            kind: members of one batch agree in it, and stand next to each other.
            cost: of a batch; one member always makes a batch, whatever it costs.

        Raises:
            ModelError: not even one member fits the card's memory.
        """
        results: list[Result] = []
        while len(results) < len(members):
            batch = self._next(members[len(results) :], kind, cost)
            try:
                results += step(batch)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise ModelError(
                        "one item alone does not fit the card's memory: use a smaller model, or device='cpu'"
                    ) from error
                self.limit = cost(batch) // 2
                torch.cuda.empty_cache()
        return results

    def _next(
        self,
        members: Sequence[Member],
        kind: Callable[[Member], object],
        cost: Callable[[list[Member]], int],
    ) -> list[Member]:
        batch = [members[0]]
        for member in members[1:]:
            if kind(member) != kind(batch[0]) or cost([*batch, member]) > self.limit:
                break
            batch.append(member)
        return batch
