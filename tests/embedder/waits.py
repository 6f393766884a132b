"""How often a card would be waited for, told without one."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode


class Waits(TorchFunctionMode):
    """Counts what a card would be waited for: whatever brings numbers home."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(function, "__name__", "") in ("cpu", "item", "tolist", "nonzero", "__bool__")
        return function(*args, **(kwargs or {}))
