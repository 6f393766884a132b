"""What the small VIRTUE is compared with: runs that differ in one choice, each from scratch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.small_virtue.batches import MODES


@dataclass(frozen=True)
class Variant:
    """One choice.

    Attributes:
        plan: what of the `Plan` differs.
        masks: whether prompts mean what the segmentation stream finds, and not filled boxes.
        grid: points along a side that take the place of a prompt where there is none; 0: nothing does.
        modes: the prompts that are measured.
        is_repeated: whether it runs with all seeds, and not with the first alone.
    """

    name: str
    plan: dict[str, Any] = field(default_factory=dict)
    masks: bool = True
    grid: int = 0
    modes: tuple[str, ...] = ("box", "none")
    is_repeated: bool = False

    @property
    def slug(self) -> str:
        return self.name.replace(" ", "-")


VARIANTS = (
    Variant("as it is", modes=tuple(MODES), is_repeated=True),
    Variant("published layout", {"prefix": False}, is_repeated=True),
    Variant("no hard negatives", {"negatives": False}, is_repeated=True),
    Variant("filled boxes", masks=False),
    *(Variant(f"{side**2} grid points", grid=side) for side in (1, 2, 3, 4)),
    *(Variant(f"{tokens} segmentation tokens", {"tokens": tokens}) for tokens in (4, 16, 64, 256)),
    *(
        Variant(f"{name} connector", {"tokens": 16, "connector": kind})
        for name, kind in {"linear": "linear", "MLP": "mlp"}.items()
    ),
)
"""In the order in which they run; the connector is published's convolution unless it says otherwise."""
