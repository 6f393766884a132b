"""The loss by hand, and gradients that do not depend on how a batch is divided."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional

from virtue.errors import InputError
from virtue.training.gradient_caching import backward_in_chunks
from virtue.training.losses import Temperature, contrastive_loss, nested_loss


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_loss_is_the_cross_entropy_of_each_query_among_all_candidates() -> None:
    queries, candidates = unit(4, 8), unit(6, 8, seed=1)
    scores = (queries @ candidates.T / 0.02).double()
    by_hand = [-(scores[n, n] - scores[n].logsumexp(0)) for n in range(4)]
    assert contrastive_loss(queries, candidates).item() == pytest.approx(float(sum(by_hand) / 4), rel=1e-5)
    # The other way round hard negatives have no queries.
    back = [-(scores[n, n] - scores[:, n].logsumexp(0)) for n in range(4)]
    both = float(sum(by_hand) + sum(back)) / 8
    assert contrastive_loss(queries, candidates, symmetric=True).item() == pytest.approx(both, rel=1e-5)


def test_what_equals_the_positive_is_no_negative() -> None:
    queries, candidates = unit(3, 8), unit(4, 8, seed=1)
    candidates[3] = candidates[0]
    ids = torch.tensor([7, 8, 9, 7])
    loss = contrastive_loss(queries, candidates, candidate_ids=ids)
    scores = queries @ candidates.T / 0.02
    # The twin is left out for the first query alone.
    first = -(scores[0, 0] - scores[0, :3].logsumexp(0))
    rest = [-(scores[n, n] - scores[n].logsumexp(0)) for n in (1, 2)]
    assert loss.item() == pytest.approx(float(first + sum(rest)) / 3, rel=1e-5)


def test_a_query_needs_its_positive() -> None:
    with pytest.raises(InputError, match="3 queries and 2 candidates"):
        contrastive_loss(unit(3, 8), unit(2, 8))


def test_nested_dimensions_are_compared_each_for_itself() -> None:
    queries, candidates = unit(4, 8), unit(6, 8, seed=1)
    cut = [
        contrastive_loss(*(functional.normalize(rows[:, :dim], dim=1) for rows in (queries, candidates)))
        for dim in (2, 8)
    ]
    torch.testing.assert_close(nested_loss(queries, candidates, (2, 8)), sum(cut) / 2)
    torch.testing.assert_close(nested_loss(queries, candidates), contrastive_loss(queries, candidates))


def test_a_temperature_is_fixed_or_learnt() -> None:
    queries, candidates = unit(4, 8), unit(6, 8, seed=1)
    fixed, learnt = Temperature(), Temperature(is_learnt=True)
    assert fixed().item() == pytest.approx(0.02)
    assert not any(parameter.requires_grad for parameter in fixed.parameters())
    contrastive_loss(queries, candidates, temperature=learnt()).backward()
    assert learnt.logarithm.grad is not None and learnt.logarithm.grad.abs() > 0


@pytest.mark.parametrize("chunks", [[[0, 1, 2, 3, 4, 5]], [[5, 0], [1, 4], [2, 3]], [[3], [0, 1, 2, 4, 5]]])
def test_gradients_are_those_of_the_whole_batch_at_once(chunks: list[list[int]]) -> None:
    layer, inputs = torch.nn.Linear(5, 8).double(), torch.randn(6, 5).double()
    embed = partial(lambda numbers: functional.normalize(layer(inputs[numbers]), dim=1))
    learnt = Temperature(is_learnt=True).double()

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(rows[:2], rows[2:], temperature=learnt())

    parameters = [*layer.parameters(), *learnt.parameters()]
    whole = loss_of(embed(list(range(6))))
    plain = torch.autograd.grad(whole, parameters)
    loss = backward_in_chunks(embed, chunks, loss_of)
    torch.testing.assert_close(loss, whole.detach())
    for parameter, expected in zip(parameters, plain, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-12)


def test_dropout_is_the_same_both_times_and_the_generator_stays_as_it_was() -> None:
    before = torch.random.get_rng_state()
    seen: list[torch.Tensor] = []
    scale = torch.ones(1, requires_grad=True)

    def embed(numbers: object) -> torch.Tensor:
        rows = functional.dropout(torch.ones(2, 50)) * scale
        seen.append(rows.detach())
        return rows

    backward_in_chunks(embed, [[0, 1], [2, 3]], lambda rows: rows.mean(), seed=3)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(torch.random.get_rng_state(), before)
