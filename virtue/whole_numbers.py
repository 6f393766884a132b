"""Whole numbers that callers give: ids, and how many of what."""

from __future__ import annotations

import operator
from typing import Any

from virtue.errors import InputError

MAX_WHOLE = 2**63 - 1
"""The largest number that SQLite takes."""


def read_whole(name: str, value: Any, least: int = -MAX_WHOLE) -> int:
    """Returns a whole number of any type, NumPy's too, as an int.

    Raises:
        InputError: it is none, or too small or large; calls it by its name.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, not {value!r}")
    if number < least:
        raise InputError(f"{name} must be at least {least}, not {number}")
    if number > MAX_WHOLE:
        raise InputError(f"{name} must be at most {MAX_WHOLE}, not {number}")
    return number
