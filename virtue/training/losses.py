"""What training makes small: InfoNCE over all candidates of a batch (arXiv 1807.03748)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtue.errors import InputError

PUBLISHED_TEMPERATURE = 0.02
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.005, 1.0
"""Between which a learnt temperature stays."""


def contrastive_loss(
    queries: Tensor,
    candidates: Tensor,
    *,
    temperature: float | Tensor = PUBLISHED_TEMPERATURE,
    symmetric: bool = False,
    query_ids: Tensor | None = None,
    candidate_ids: Tensor | None = None,
) -> Tensor:
    """Computes the mean cross-entropy of queries and their positives among all candidates.

    Args:
        queries: (n, dim), unit rows.
        candidates: (m, dim), m >= n, unit rows. The first n are the positives, in the order of the queries;
            the rest are hard negatives. Each query is compared with all of them.
        symmetric: also asks of each positive which query it belongs to, and takes the mean of the two.
        query_ids, candidate_ids: (n,) and (m,) int64; equal ids mean equal content. What equals the positive
            of a query is no negative of it, and an equal query is no negative of its positive.

    Returns:
        A scalar.

    Raises:
        InputError: there are fewer candidates than queries, or none.
    """
    count = len(queries)
    if not 0 < count <= len(candidates):
        raise InputError(
            f"{count} queries and {len(candidates)} candidates: give one query or more, each with "
            "its positive"
        )
    scores = queries @ candidates.T / temperature
    targets = torch.arange(count, device=scores.device)
    loss = functional.cross_entropy(_mask_twins(scores, candidate_ids), targets)
    if not symmetric:
        return loss
    back = functional.cross_entropy(_mask_twins(scores[:, :count].T, query_ids), targets)
    return (loss + back) / 2


def _mask_twins(scores: Tensor, ids: Tensor | None) -> Tensor:
    """Takes from each row the columns that hold the same as its own: scores (n, m), of which column i is
    that of row i."""
    if ids is None:
        return scores
    count = len(scores)
    twins = ids[:count, None] == ids[None, :]
    twins[:, :count].fill_diagonal_(False)
    return scores.masked_fill(twins, -math.inf)


def nested_loss(queries: Tensor, candidates: Tensor, dims: Sequence[int] = (), **options: object) -> Tensor:
    """Computes the mean of `contrastive_loss` over prefixes of the vectors, each made unit rows again
    (Matryoshka representations, arXiv 2205.13147).

    Args:
        dims: how many numbers of a vector count; none: all.
        options: those of `contrastive_loss`.
    """
    losses = [
        contrastive_loss(
            functional.normalize(queries[:, :dim], dim=-1),
            functional.normalize(candidates[:, :dim], dim=-1),
            **options,  # type: ignore[arg-type]
        )
        for dim in (dims or (queries.shape[1],))
    ]
    return torch.stack(losses).mean()


class Temperature(nn.Module):
    """What scores are divided by: fixed, or learnt in its logarithm."""

    def __init__(self, value: float = PUBLISHED_TEMPERATURE, *, is_learnt: bool = False) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.tensor(math.log(value)), requires_grad=is_learnt)

    def forward(self) -> Tensor:
        return self.logarithm.exp().clamp(MIN_TEMPERATURE, MAX_TEMPERATURE)
