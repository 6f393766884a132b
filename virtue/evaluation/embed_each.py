"""Inputs embedded together, where one that cannot be used costs itself alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from virtue.errors import InputError


def embed_each(embed: Callable[[Sequence[Any]], Any], values: Sequence[Any]) -> list[np.ndarray | InputError]:
    """Embeds values together, or one by one if one of them cannot be used: then its error stands in its
    place."""
    try:
        return list(embed(values)) if values else []
    except InputError as error:
        if len(values) == 1:
            return [error]
    return [made for value in values for made in embed_each(embed, [value])]
