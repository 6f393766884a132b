"""Weights on disk, and into modules: nothing missing, nothing left over, nothing unpickled but tensors."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from virtue.embedder.torch_runtime import silence_transformers
from virtue.errors import ModelError

Weights = dict[str, Tensor]
Backbone = TypeVar("Backbone", bound=PreTrainedModel)

MAX_NAMED = 5
"""Keys that an error message lists."""


def read_weights(file: Path) -> Any:
    """Reads the tensors of a .safetensors, .bin, .pt or .pth file.

    Raises:
        ModelError: it is missing, damaged, or holds anything but tensors and plain containers.
    """
    if not file.is_file():
        raise ModelError(f"{file} is missing: the model is not complete, download it again")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=_is_zip(file))
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} holds more than tensors, and loading it could run code: ask its author for safetensors "
            f"({str(error).splitlines()[0]})"
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{file} is damaged ({error}): download it again") from None


def read_folder(folder: Path, stems: Iterable[str] = ("model", "pytorch_model")) -> Weights:
    """Reads all tensors of a folder as transformers saves it: one file, or shards with an index.

    Raises:
        ModelError: there are none, or a file of them is missing or damaged.
    """
    names = [f"{stem}{suffix}" for suffix in (".safetensors", ".bin") for stem in stems]
    for name in names:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return dict(read_weights(folder / name))
        if index.is_file():
            weights: Weights = {}
            for shard in sorted(set(json.loads(index.read_text())["weight_map"].values())):
                weights |= read_weights(folder / shard)
            return weights
    raise ModelError(f"{folder} holds no weights: there should be one of {', '.join(names)}")


def build_backbone(
    kind: type[Backbone], config: PreTrainedConfig, weights: Weights, dtype: torch.dtype, what: str
) -> Backbone:
    """Builds a transformers model with these weights, none of which may be missing or left over.

    Args:
        what: says in an error whose weights they are.

    Raises:
        ModelError: names parameters that are missing, left over, or of another shape.
    """
    with silence_transformers():
        loaded: Any = kind.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # they come back in `info`, and are an error below
            output_loading_info=True,
        )
    model: Backbone
    model, info = loaded
    _check_complete(what, info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"])
    return model


def load_into(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Copies the weights into a module of one's own. Raises as `backbone` does."""
    own = module.state_dict()
    shapes = [
        (name, tuple(weights[name].shape), tuple(own[name].shape))
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    ]
    _check_complete(what, own.keys() - weights.keys(), weights.keys() - own.keys(), shapes)
    module.load_state_dict(weights)


def select_prefix(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    """Returns the tensors whose names begin with the prefix, and removes it from the names."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _check_complete(
    what: str, missing: Iterable[str], unexpected: Iterable[str], shapes: Iterable[tuple[str, Any, Any]]
) -> None:
    faults = []
    if names := sorted(missing):
        faults.append(f"missing: {_list_names(names)}")
    if names := sorted(unexpected):
        faults.append(f"not known: {_list_names(names)}")
    if wrong := sorted(
        f"{name} is {_format_shape(given)}, not {_format_shape(wanted)}" for name, given, wanted in shapes
    ):
        faults.append(f"of another shape: {_list_names(wrong)}")
    if faults:
        raise ModelError(f"the weights of {what} do not fit its configuration; {'; '.join(faults)}")


def _list_names(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _format_shape(shape: Iterable[int]) -> str:
    return " x ".join(str(side) for side in shape)


def _is_zip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"
