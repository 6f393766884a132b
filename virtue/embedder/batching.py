"""Work in batches that fit: a limit found by trial, doubled while there is room, else halved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from virtue.errors import ModelError
from virtue.torch_device import attempt, free_memory

if TYPE_CHECKING:
    import torch

Member = TypeVar("Member")
Result = TypeVar("Result")


class Budget:
    """Finds how much fits into one batch, by trial.

    It starts at a guess. A batch that filled it and left room for twice as much doubles it; one that ran out
    of memory halves it for good, so that one surprise is paid for once.
    """

    def __init__(self, limit: int, room: Callable[[], bool] = lambda: False) -> None:
        """`room` says, after a batch, whether one twice as large would fit too (`room_on`)."""
        self.limit = limit
        self._room = room
        self._may_grow = True

    def run(
        self,
        members: Sequence[Member],
        step: Callable[[list[Member]], Sequence[Result]],
        *,
        kind: Callable[[Member], object] = lambda _: None,
        cost: Callable[[list[Member]], int] = len,
    ) -> list[Result]:
        """Runs `step` over all members, batch by batch, and returns its results in the order of the members.

        Args:
            kind: members of one batch agree in it, and stand next to each other.
            cost: of a batch; one member always makes a batch, whatever it costs.

        Raises:
            ModelError: not even one member fits the card's memory.
        """
        results: list[Result] = []
        while len(results) < len(members):
            batch, is_full = self._next(members[len(results) :], kind, cost)
            made = attempt(partial(step, batch))
            if made is None:
                if len(batch) == 1:
                    raise ModelError(
                        "one item alone does not fit the card's memory: use a smaller model, or device='cpu'"
                    )
                self.limit, self._may_grow = max(1, cost(batch) // 2), False
                continue
            results += made
            if is_full and self._may_grow and self._room():
                self.limit *= 2
        return results

    def _next(
        self,
        members: Sequence[Member],
        kind: Callable[[Member], object],
        cost: Callable[[list[Member]], int],
    ) -> tuple[list[Member], bool]:
        """The next batch, and whether it was the limit that ended it."""
        batch = [members[0]]
        for member in members[1:]:
            if kind(member) != kind(batch[0]):
                return batch, False
            if cost([*batch, member]) > self.limit:
                return batch, True
            batch.append(member)
        return batch, False


def room_on(device: torch.device) -> Callable[[], bool]:
    """Returns a function that says whether a batch twice as large would fit a card, which is certain while
    half of its memory is free. On a CPU it never does: larger batches are not faster there."""

    def room() -> bool:
        memory = free_memory(device)
        return memory is not None and 2 * memory[0] > memory[1]

    return room
