"""What is said in more than one output."""

from __future__ import annotations

from collections.abc import Sized


def count_copies(copies: Sized) -> str:
    """Returns what is said of a hit that has copies."""
    return f"and {len(copies)} {'copies' if len(copies) > 1 else 'copy'}"
