"""What the bundled model's config.json holds: its settings and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from virtue.errors import ModelError

FILES = (
    "vision.onnx",
    "text.onnx",
    "tokenizer.json",
    "arrays.npz",
    "colours.npz",
    "things.onnx",
    "things.npz",
)


@dataclass(frozen=True, slots=True)
class Config:
    """Settings on which stored vectors depend. Raise `pooling` when the code that pools changes them."""

    name: str = "mini"
    pooling: int = 4
    side: int = 512
    stride: int = 32
    top_classes: int = 50
    context: float = 0.4
    middle_weight: float = 1.25
    things: float = 2.0
    max_tokens: int = 256


def read_config(folder: Path) -> tuple[Config, str]:
    """Reads the settings and the fingerprint from a model's folder.

    Raises:
        ModelError: there is no config.json.
    """
    try:
        written = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError("the bundled model lacks config.json: install virtue again") from None
    fingerprint = written.pop("fingerprint")
    return Config(**written), fingerprint


def write_config(folder: Path, config: Config) -> None:
    content = {**asdict(config), "fingerprint": fingerprint(folder, config)}
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def fingerprint(folder: Path, config: Config) -> str:
    """Computes SHA-256 over the settings and the content of every file, shortened to 32 hexadecimal
    digits."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for name in FILES:
        digest.update(name.encode())
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:32]
