"""Apple's devices have no float64: none is made on a device, and none is moved to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.embedder.towers.builders import FAMILIES, picture, save
from tests.embedder.virtue_model.checkpoints import own_folder
from virtue import Embedder
from virtue.pictures import load

ITEMS = [
    "a red mug",
    picture(96, 64),
    {"image": picture(96, 64), "box": (10, 10, 60, 40)},
    {"image": picture(96, 64), "points": [(20, 20, 1), (80, 50, 0)]},
    {"image": picture(96, 64), "mask": np.tri(64, 96, dtype=bool), "text": "a dog"},
]


class NoFloat64OnDevices(TorchFunctionMode):
    """Takes every device that is named for a device that is not the processor."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        names_device = "device" in kwargs or any(isinstance(value, torch.device) for value in args)
        if names_device and isinstance(result, torch.Tensor):
            assert result.dtype != torch.float64, f"{function.__name__} makes float64 on a device"
        return result


def test_the_watch_sees_both_ways() -> None:
    values = torch.zeros(3, dtype=torch.float64)
    with NoFloat64OnDevices():
        values.float().to(torch.device("cpu"))
        for wrong in (
            lambda: torch.zeros(3, dtype=torch.float64, device="cpu"),
            lambda: values.to(torch.device("cpu")),
            lambda: torch.tensor(np.ones(2), device="cpu"),
        ):
            with pytest.raises(AssertionError):
                wrong()


@pytest.mark.parametrize("kind", [*FAMILIES, "virtue"])
def test_no_float64_on_devices(kind: str, tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "model") if kind == "virtue" else save(kind, tmp_path / "model")
    with NoFloat64OnDevices():
        embedder = Embedder.from_pretrained(folder, device="cpu", threads=1)
        assert np.isfinite(embedder.encode(ITEMS)).all()
        [scene] = embedder.scenes([load(picture(96, 64))])
        embedder.propose(scene, 4)
