"""Gradients of a loss over more rows than fit a device at once (GradCache, arXiv 2101.06983)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def backward_in_chunks(
    embed: Callable[[Sequence[int]], Tensor],
    chunks: Sequence[Sequence[int]],
    loss_of: Callable[[Tensor], Tensor],
    *,
    seed: int = 0,
) -> Tensor:
    """Adds the gradients of a loss to the parameters, with the activations of one chunk in memory at a time.

    All rows are embedded without a graph; the loss then gives the gradient of each vector; last, each chunk
    is embedded again, with a graph through which these gradients go. A single chunk is embedded once.

    Args:
        embed: numbers of rows -> their vectors (len, dim).
        chunks: numbers of rows, 0 to n - 1, each once.
        loss_of: vectors (n, dim), in the order of their numbers -> a scalar. What else it depends on, such as
            a temperature, gets its gradients too.
        seed: of what is random in `embed`, such as dropout: each chunk has the same both times.

    Returns:
        The loss, without a graph.
    """
    order = [row for chunk in chunks for row in chunk]
    made = []
    with torch.set_grad_enabled(len(chunks) == 1):
        for number, chunk in enumerate(chunks):
            with _seeded(seed, number):
                made.append(embed(chunk))
    vectors = torch.empty_like(torch.cat(made), requires_grad=False)
    vectors[order] = torch.cat(made).detach()
    vectors.requires_grad_()
    loss = loss_of(vectors)
    loss.backward()
    assert vectors.grad is not None
    if len(chunks) == 1:
        made[0].backward(vectors.grad[chunks[0]])
        return loss.detach()
    for number, chunk in enumerate(chunks):
        with _seeded(seed, number):
            rows = embed(chunk)
        rows.backward(vectors.grad[chunk])
    return loss.detach()


@contextmanager
def _seeded(seed: int, number: int) -> Iterator[None]:
    """Makes what is random a function of two numbers, and leaves the generators as they were."""
    with torch.random.fork_rng():
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        yield
