"""Which files a model's folder lacks, after a download that broke off, say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from virtue.embedder.model_folder import read_json
from virtue.errors import ModelError

CONNECTOR = "sam2_reducer_and_vlm_layer.pth"
SAFE_CONNECTOR = "sam2_reducer_and_vlm_layer.safetensors"
"""What VIRTUE's published layout has beside a Qwen2-VL, and the same as virtue itself writes it."""
WEIGHTS = ("model", "pytorch_model", "adapter_model")
TOKENIZERS = (("tokenizer.json",), ("spiece.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
PROCESSORS = (("preprocessor_config.json",), ("processor_config.json",))


def find_missing(folder: Path) -> list[str]:
    """Finds the files that the model in this folder needs, and that are not there. Of files that stand for
    each other, the usual one is named."""
    names = {file.name for file in folder.iterdir() if file.is_file()}
    if "config.json" not in names:
        return ["config.json"]
    try:
        config = read_json(folder / "config.json")
        missing = _find_missing_weights(folder, names)
    except ModelError:
        return []  # it is there, and the message of whoever loads it says what is wrong
    kind = config.get("model_type")
    if kind in ("clip", "siglip", "siglip2"):
        missing += _lacking(names, PROCESSORS) + _lacking(names, TOKENIZERS)
    if "virtue_sam" in config:
        missing += _lacking(names, [(CONNECTOR,), (SAFE_CONNECTOR,)])
    if "virtue_sam" in config or kind == "virtue":
        missing += _lacking(names, TOKENIZERS[:1])
    return missing


def _lacking(names: set[str], choices: Iterable[tuple[str, ...]]) -> list[str]:
    """The first choice, if none of them is complete."""
    choices = list(choices)
    if any(names.issuperset(choice) for choice in choices):
        return []
    return [name for name in choices[0] if name not in names]


def _find_missing_weights(folder: Path, names: set[str]) -> list[str]:
    for suffix in (".safetensors", ".bin"):
        for stem in WEIGHTS:
            if f"{stem}{suffix}" in names:
                return []
            index = f"{stem}{suffix}.index.json"
            if index in names:
                places: Any = read_json(folder / index).get("weight_map")
                shards = set(places.values()) if isinstance(places, dict) else set()
                return sorted(str(shard) for shard in shards - names)
    return [f"{WEIGHTS[0]}.safetensors"]
