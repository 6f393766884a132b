"""A name or a folder -> a model that is ready to embed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import Sam2Model

from virtue.embedder.completeness import CONNECTOR
from virtue.embedder.model_folder import read_json, reading, shown
from virtue.embedder.torch_runtime import check_compiler, place_weights
from virtue.embedder.virtue_model import published_layout
from virtue.embedder.virtue_model.assembling import assemble, is_plain_qwen
from virtue.embedder.virtue_model.configuration import MAX_PIXELS, MODEL_TYPE, Configuration, Resize
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.embedder.virtue_model.trained_adapter import is_trained_adapter, load_trained_adapter
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.embedder.weights import build_backbone, load_into, read_folder, select_prefix
from virtue.errors import ModelError
from virtue.torch_device import find_device

PREPROCESSING_VERSION = "1"
"""Goes into the fingerprint: to be raised when the same weights give other vectors than before."""
MAX_BASES = 8
"""Adapters that a model may stand on, one on the other."""
SAMPLES_PER_TENSOR = 64
"""Values of each tensor that its fingerprint looks at."""


def load(
    folder: str | Path,
    *,
    device: str | None = None,
    offline: bool = False,
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    resize: Resize | None = None,
    max_pixels: int | None = None,
    dim: int | None = None,
) -> VirtueModel:
    """Loads a model in the published layouts or in virtue's own.

    Nothing in the files is run: pickles are read as tensors alone.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; None: CUDA where there is one.
        offline: download nothing (SAM 2.1, or the base of a training checkpoint, where they are not there).
        dtype: of the parameters.
        compile: let torch.compile make the three backbones faster, when they are first used.
        resize, max_pixels, dim: as in `Configuration`; None: as the model says.

    Raises:
        ModelError: no such model or device; a file is missing or damaged; tensors that do not fit.
    """
    place = find_device(device, ModelError)
    if compile:
        check_compiler(place)
    folder = Path(folder)
    # float16 comes by way of bfloat16, of which the fingerprint is: it cannot hold all the same numbers.
    read_as = torch.bfloat16 if dtype == torch.float16 else dtype
    network = load_network(folder, read_as, offline)
    if resize:
        network.configuration = replace(network.configuration, resize=resize)
    if max_pixels is not None:
        network.configuration = _with_max_pixels(network.configuration, max_pixels)
    if dim is not None:
        network.configuration = _with_dim(network.configuration, dim)
    vocabulary = network.language.config["text_config"]["vocab_size"]
    tokenizer = TextTokenizer(folder / "tokenizer.json", network.configuration.max_text_tokens, vocabulary)
    fingerprint = _compute_fingerprint(network, tokenizer.file)
    place_weights(network, place, dtype)
    if compile:
        network.enable_compile()
    return VirtueModel(str(folder), fingerprint, network, tokenizer)


def load_network(folder: Path, dtype: torch.dtype, offline: bool, depth: int = 0) -> Network:
    """Loads a network from a folder in any layout.

    Raises:
        ModelError: as `load` does.
    """
    if published_layout.is_published(folder):
        return published_layout.load(folder, dtype, offline)
    if not is_trained_adapter(folder):
        return _load_own(folder, dtype)
    if depth == MAX_BASES:
        raise ModelError(f"{folder} stands on {MAX_BASES} adapters, one on the other: convert one of them")

    def load_base(base: Path, own: Mapping[str, Any]) -> Network:
        if is_plain_qwen(base):
            return assemble(base, str(own.get("segmenter")), torch.float32, offline)
        return load_network(base, torch.float32, offline, depth + 1)

    return load_trained_adapter(folder, offline, load_base)


def _with_max_pixels(configuration: Configuration, pixels: int) -> Configuration:
    least = configuration.min_pixels
    if not least <= pixels <= MAX_PIXELS:
        raise ModelError(
            f"max_pixels={pixels} is out of range: use {least} to {MAX_PIXELS}; this model's own is "
            f"{configuration.max_pixels}",
            hint="--max-pixels N",
        )
    return replace(configuration, max_pixels=pixels)


def _with_dim(configuration: Configuration, dim: int) -> Configuration:
    if dim not in configuration.matryoshka:
        trained = ", ".join(map(str, configuration.matryoshka)) or "none"
        raise ModelError(
            f"vectors of this model cannot be cut to {dim} numbers; it was trained for: {trained}"
        )
    return replace(configuration, dim=dim)


def stored_dtype(folder: Path) -> torch.dtype:
    """Returns the precision of most of a model's weights; float32 of a training checkpoint, to merge in, and
    of float16, which no weights of VIRTUE are published in and `load` would round."""
    if published_layout.is_adapter(folder):
        return torch.float32
    dtype = max(read_folder(folder).values(), key=lambda value: value.numel()).dtype
    return torch.float32 if dtype == torch.float16 else dtype


def is_model_folder(folder: Path) -> bool:
    """Returns whether `load` takes this folder."""
    if published_layout.is_published(folder):
        return True
    try:
        if is_trained_adapter(folder):
            return True
        return read_json(folder / "config.json").get("model_type") == MODEL_TYPE
    except ModelError:
        return False


def _load_own(folder: Path, dtype: torch.dtype) -> Network:
    config = read_json(folder / "config.json")
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError(
            f"{folder} is not a VIRTUE model: its config.json says {config.get('model_type')!r}, and "
            f"{CONNECTOR} is not there"
        )
    try:
        parts = config["configuration"], config["language"], config["segmentation"]
    except KeyError as error:
        raise ModelError(f"{folder / 'config.json'} lacks {error}") from None
    if not all(isinstance(part, dict) for part in parts):
        raise ModelError(f"{shown(folder / 'config.json')} holds settings that are none: download it again")
    configuration = Configuration.from_dict(parts[0])
    weights = read_folder(folder)
    body = {f"visual.{name}": value for name, value in select_prefix("vision.model.", weights).items()}
    body |= {
        f"language_model.{name}": value for name, value in select_prefix("language.model.", weights).items()
    }
    language = published_layout.parse_language_config(parts[1])
    vlm = published_layout.build_qwen(language, body, dtype, str(folder))
    sam = build_backbone(
        Sam2Model,
        published_layout.parse_segmentation_config(parts[2]),
        select_prefix("segmentation.model.", weights),
        torch.float32,
        str(folder),
    )
    with reading(f"the model {shown(folder)}"):
        network = Network(configuration, Sam2Segmentation(sam), Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    load_into(network.connector, select_prefix("connector.", weights), str(folder))
    return network


def _compute_fingerprint(network: Network, tokenizer: Path) -> str:
    """Computes the fingerprint from values spread over every tensor, rounded to bfloat16, so that a copy in
    another format or precision is known for the same model, and gigabytes need not be hashed at every
    start."""
    digest = hashlib.sha256(PREPROCESSING_VERSION.encode())
    digest.update(json.dumps(network.configuration.to_dict(), sort_keys=True).encode())
    digest.update(tokenizer.read_bytes())
    for part in _sample(network):
        digest.update(part)
    return f"virtue-{digest.hexdigest()[:16]}"


def _sample(network: Network) -> Iterator[bytes]:
    for name, value in sorted(network.state_dict().items()):
        flat = value.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLES_PER_TENSOR)]
        yield name.encode()
        yield some.to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes()
