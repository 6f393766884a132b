"""Batches that fit: what is kept, what grows, what is halved; and work that runs beside other work."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from virtue.embedder.batching import Budget, room_on
from virtue.embedder.uploads import prepare_ahead, stage, upload
from virtue.errors import ModelError


@given(st.lists(st.integers(1, 30)), st.integers(1, 100))
def test_batches_keep_the_order_and_the_limit(members: list[int], limit: int) -> None:
    batches: list[list[int]] = []

    def step(batch: list[int]) -> list[int]:
        batches.append(batch)
        return [member * 10 for member in batch]

    made = Budget(limit).run(members, step, kind=lambda member: member > 15, cost=sum)
    assert made == [member * 10 for member in members]
    for batch in batches:
        assert len(batch) == 1 or sum(batch) <= limit
        assert len({member > 15 for member in batch}) == 1


def test_a_batch_too_large_for_the_card_is_halved_for_good() -> None:
    budget, tried = Budget(64), []

    def step(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > 10:
            raise torch.OutOfMemoryError
        return batch

    members = list(range(40))
    assert budget.run(members, step, kind=lambda _: 0, cost=len) == members
    assert tried == [40, 20, 10, 10, 10, 10]
    assert budget.limit == 10


def test_an_item_that_never_fits_is_said_plainly() -> None:
    def step(batch: list[int]) -> list[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(ModelError, match="one item alone does not fit"):
        Budget(8).run([1, 2, 3], step, kind=lambda _: 0, cost=len)


class Card:
    """Memory for so many members at once, which says whether twice the last batch would fit."""

    def __init__(self, memory: int) -> None:
        self.memory, self.used = memory, 0
        self.tried: list[int] = []

    def step(self, batch: list[int]) -> Sequence[int]:
        self.tried.append(len(batch))
        if len(batch) > self.memory:
            raise torch.OutOfMemoryError
        self.used = len(batch)
        return batch

    def room(self) -> bool:
        return 2 * self.used <= self.memory


def test_the_limit_is_doubled_while_there_is_room() -> None:
    card = Card(100)
    budget = Budget(8, card.room)
    assert budget.run(range(300), card.step) == list(range(300))
    assert card.tried == [8, 16, 32, 64, 64, 64, 52]
    assert budget.limit == 64


def test_a_batch_that_the_limit_did_not_end_teaches_nothing() -> None:
    budget = Budget(8, lambda: True)
    for _ in range(5):
        budget.run(range(8), list)
        budget.run(range(12), list, kind=lambda number: number < 6)
    assert budget.limit == 8


def test_what_has_failed_is_not_tried_again() -> None:
    """A card that says it has room and has none: another program took it."""
    card = Card(20)
    budget = Budget(8, lambda: True)
    assert budget.run(range(100), card.step) == list(range(100))
    assert card.tried == [8, 16, 32, 16, 16, 16, 16, 12]


@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 200))
def test_nothing_is_lost_however_little_fits(memory: int, limit: int, count: int) -> None:
    card = Card(memory)
    assert Budget(limit, card.room).run(range(count), card.step) == list(range(count))


def test_a_processor_keeps_its_guess() -> None:
    assert room_on(torch.device("cpu"))() is False


# -- beside other work -----------------------------------------------------------------------------------


def test_things_are_prepared_in_another_thread_while_the_first_is_worked_on() -> None:
    second = threading.Event()

    def prepare(number: int) -> tuple[int, str]:
        if number == 1:
            second.set()
        return number * 10, threading.current_thread().name

    with prepare_ahead(prepare, [0, 1, 2]) as ready:
        assert ready(0)[0] == 0
        assert second.wait(10)  # prepared though nobody has asked for it
        assert [ready(number)[0] for number in (1, 2, 1)] == [10, 20, 10]
        assert ready(2)[1] != threading.current_thread().name


def test_an_error_of_the_preparation_comes_to_who_asks() -> None:
    def prepare(number: int) -> int:
        if number == 1:
            raise ModelError("the second")
        return number

    with pytest.raises(ModelError, match="the second"), prepare_ahead(prepare, [0, 1, 2]) as ready:
        assert ready(0) == 0
        ready(1)


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_what_arrives_is_what_was_sent(device: str) -> None:
    place = torch.device(device)
    values = torch.arange(12).reshape(3, 4)
    for sent in (stage(values.numpy(), place), values, values.T):
        arrived = upload(sent, place)
        assert arrived.device.type == device
        assert torch.equal(arrived.cpu(), sent)
