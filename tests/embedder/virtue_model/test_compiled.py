"""`compile=True`: the same vectors from few graphs, or one sentence that says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.recipe import picture
from tests.embedder.virtue_model.checkpoints import own_folder
from virtue import Embedder
from virtue.errors import ModelError

WIDE, TALL, SAME = picture(1, 180, 120), picture(2, 90, 200), picture(3, 180, 120)
ITEMS = [
    {"image": WIDE, "box": (10, 20, 100, 90), "text": "5 6"},
    {"image": WIDE, "box": (90, 20, 170, 110)},
    {"image": WIDE, "points": [(60, 60), (20, 20, 0)], "text": "1 2 3 4 5 6 7"},
    {"image": TALL, "box": (0, 0, 90, 100)},
    SAME,
    "7 8 9",
    "11",
]
GRAPHS = 9
"""Of the language model's layers (one sequence, several, several that share an image, one of a single token),
of the tower's blocks (one picture, several), of the segmentation model (one picture, several), and the trial
whether there is a compiler."""


def test_compiled_vectors_are_the_eager_ones_from_few_graphs(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "model")
    eager = Embedder.from_pretrained(folder, device="cpu", threads=1)
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")):
        with pytest.raises(ModelError, match=r"install a C\+\+ compiler"):
            Embedder.from_pretrained(folder, device="cpu", threads=1, compile=True)
        return
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = Embedder.from_pretrained(folder, device="cpu", threads=1, compile=True)
    assert compiled.fingerprint == eager.fingerprint
    expected = eager.encode(ITEMS)
    assert np.abs(compiled.encode(ITEMS) - expected).max() <= 1e-5
    for batch_size in (1, 3):
        turned = compiled.encode(ITEMS[::-1], batch_size=batch_size)[::-1]
        assert np.abs(turned - expected).max() <= 1e-5
    made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    # Other sizes and lengths, and not one graph more.
    others = [picture(4, 300, 160), {"image": picture(5, 60, 60), "text": "1 2 3 4 5 6 7 8 9"}, "3 " * 50]
    assert np.abs(compiled.encode(others) - eager.encode(others)).max() <= 1e-5
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == made <= GRAPHS
    assert not torch._dynamo.utils.counters["graph_break"]


def test_without_a_compiler_it_says_so(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "model")
    program = f"from virtue import Embedder; Embedder.from_pretrained({str(folder)!r}, compile=True)"
    bare = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **bare},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("virtue.errors.ModelError: compile=True cannot work here ("), done.stderr
    assert "install a C++ compiler" in last


def test_models_that_are_not_compiled_say_so() -> None:
    with pytest.raises(ModelError, match="compile=True is for VIRTUE alone: leave it out for mini"):
        Embedder.from_pretrained("mini", compile=True)
