"""A small model that can read words, pictures of coloured squares, and files as they are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from tests.embedder.virtue_model.checkpoints import own_folder
from virtue.training.training_config import TrainingConfig

COLOURS = {
    "red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220), "yellow": (230, 210, 40),
    "black": (10, 10, 10), "white": (245, 245, 245),
}  # fmt: skip
WORDS = ["?", *COLOURS, "a", "square", "picture", "of"]
PLACES = ((10, 10), (90, 10), (10, 90), (90, 90))
SIDE = 60

Configure = Callable[..., TrainingConfig]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_words(file: Path) -> None:
    """Writes a tokenizer of whole words."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = Split(" ", "removed")
    tokenizer.save(str(file))


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model that knows the words of the captions."""
    folder = own_folder(tmp_path_factory.mktemp("start") / "small", min_pixels=3136, max_pixels=30_000)
    write_words(folder / "tokenizer.json")
    return folder


def draw(colours: list[str]) -> Image.Image:
    """Four squares on grey, each in one colour."""
    picture = np.full((160, 160, 3), 128, np.uint8)
    for (x, y), colour in zip(PLACES, colours, strict=True):
        picture[y : y + SIDE, x : x + SIDE] = COLOURS[colour]
    return Image.fromarray(picture)


def scar_rows(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of SCaR-train: a box around one of four squares, whose colour is to be found among all."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        colours = [str(name) for name in random.permutation([*COLOURS])[: len(PLACES)]]
        name = f"{seed}-{number}.png"
        draw(colours).save(folder / name)
        place = int(random.integers(len(PLACES)))
        rows.append(
            {
                "qry": "<|image_1|>\na square",
                "qry_image_path": name,
                "pos_text": colours[place],
                "pos_image_path": "",
                "neg_text": [colour for colour in COLOURS if colour != colours[place]],
                "neg_image_path": [""] * (len(COLOURS) - 1),
                "bbox": [float(PLACES[place][0]), float(PLACES[place][1]), float(SIDE), float(SIDE)],
            }
        )
    return rows


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


@pytest.fixture(scope="session")
def scar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SCaR-train file with its pictures beside it."""
    folder = tmp_path_factory.mktemp("scar")
    return write_parquet(folder / "SCAR_squares.parquet", scar_rows(folder, 96, 0))


@pytest.fixture
def configure(start: Path, scar: Path, tmp_path: Path) -> Configure:
    """A configuration with these settings beside those of a small run."""

    def make(**settings: Any) -> TrainingConfig:
        values: dict[str, Any] = {
            "output": tmp_path / "run", "model": str(start), "steps": 4, "batch": 8, "block": 4, "chunk": 3,
            "text_chunk": 5, "warmup": 1, "learning_rate": 1e-3, "dtype": "fp32", "save_every": 100,
            "sources": [{"kind": "scar", "path": scar, "images": scar.parent}],
        }  # fmt: skip
        return TrainingConfig.model_validate(values | settings)

    return make


def losses(output: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (output / "steps.jsonl").read_text().splitlines()]
