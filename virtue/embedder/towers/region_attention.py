"""One query reads a picture's tokens, each counted as often as a region's weights say.

This is how a tower gets a region's vector without a crop: the query that sums up the whole picture (CLIP's
class token, SigLIP's probe) reads again, with the region's tokens in place of all of them. In effect it is
the mask class token of Ding et al. (MaskCLIP, arXiv 2208.08984), with shares of cells for the mask's zeros
and ones. Weights that are equal everywhere give the tower's own vector of the whole picture, exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attend_region(query: Tensor, keys: Tensor, values: Tensor, heads: int, weights: Tensor) -> Tensor:
    """Computes the attention of one query over n tokens, once for each row of weights.

    Args:
        query: (h,), projected, not yet scaled.
        keys, values: (n, h), projected.
        heads: h is split into so many.
        weights: (k, n), not negative, none of the rows all zero: a token of weight 2 counts as two.

    Returns:
        (k, h): the heads' outputs side by side, not yet projected; worked out in float32.
    """
    split = keys.shape[1] // heads
    q = query.float().view(heads, split)
    k, v = (tokens.float().view(-1, heads, split).transpose(0, 1) for tokens in (keys, values))
    scores = torch.einsum("hd,hnd->hn", q, k) * split**-0.5
    shares = torch.softmax(scores[None] + weights.log()[:, None], dim=-1)
    return torch.einsum("khn,hnd->khd", shares, v).flatten(1).to(query.dtype)


def scale_to_counts(shares: Tensor) -> Tensor:
    """Scales weights that sum to 1 to a mean of 1: the tokens of a region stand for all tokens, so that a
    token beside them (CLIP's class token) keeps its share of the attention."""
    return shares * shares.shape[1]
