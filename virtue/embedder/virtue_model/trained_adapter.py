"""What training writes: an adapter in the published layout and the connector, naming the model they change.

`config.json` is that of the language model, as in the published layout; its "virtue" holds what that has no
place for: our settings, and the segmentation model that goes with a plain Qwen2-VL.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from virtue.embedder import hub
from virtue.embedder.completeness import SAFE_CONNECTOR
from virtue.embedder.model_folder import check_folder, read_json, shown
from virtue.embedder.virtue_model.adapters import merge_adapter
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.published_layout import ADAPTER, is_adapter
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.embedder.weights import load_into, read_folder, read_weights
from virtue.errors import ModelError

OWN_SETTINGS = "virtue"

LoadBase = Callable[[Path, Mapping[str, Any]], Network]


def is_trained_adapter(folder: Path) -> bool:
    return is_adapter(folder) and isinstance(read_json(folder / "config.json").get(OWN_SETTINGS), dict)


def write_adapter(
    folder: Path,
    network: Network,
    tokenizer: TextTokenizer,
    adapter: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    connector: Mapping[str, Tensor],
    segmenter: str,
) -> None:
    """Writes an adapter and all that goes with it, in safetensors.

    Args:
        adapter: what its adapter_config.json says; names the base model.
        weights: by PEFT's names, of changes to the language model alone.
        connector: by the connector's own names.
        segmenter: a folder or a name on the hub; counts only if the base model is a plain Qwen2-VL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    renamed = {
        name.replace("base_model.model.", "base_model.model.model.", 1): value.contiguous()
        for name, value in weights.items()
    }
    save_file(renamed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    held = {name: value.contiguous() for name, value in connector.items()}
    save_file(held, folder / SAFE_CONNECTOR, metadata={"format": "pt"})
    own = {"configuration": network.configuration.to_dict(), "segmenter": segmenter}
    _write_json(folder / "config.json", {**network.language.config, OWN_SETTINGS: own})
    _write_json(folder / ADAPTER, adapter)
    shutil.copyfile(tokenizer.file, folder / "tokenizer.json")


def load_trained_adapter(folder: Path, offline: bool, load_base: LoadBase) -> Network:
    """Loads the base model in float32 and merges the adapter into it.

    Args:
        load_base: the base model's folder, and our settings -> its network, of any configuration.

    Raises:
        ModelError: the base model cannot be had, or something does not fit it.
    """
    adapter, own = read_json(folder / ADAPTER), read_json(folder / "config.json")[OWN_SETTINGS]
    named = adapter.get("base_model_name_or_path")
    if not named or not isinstance(named, str) or not named.isprintable():
        raise ModelError(
            f"{shown(folder / ADAPTER)} does not name the base model: set base_model_name_or_path"
        )
    beside = folder / named
    base = beside if beside.is_dir() else hub.get_folder(named, offline=offline)
    if base.resolve() == folder.resolve():
        raise ModelError(
            f"{shown(folder / ADAPTER)} names itself as the base model: set base_model_name_or_path"
        )
    check_folder(base)
    if not isinstance(own.get("configuration"), dict):
        raise ModelError(f"{shown(folder / 'config.json')} lacks the settings of the model: train it again")
    configuration = Configuration.from_dict(own["configuration"])
    whole = load_base(base, own)
    network = Network(configuration, whole.segmentation, whole.vision, whole.language)
    language: Any = network.language
    holder: Any = nn.Module()  # with the names that adapters of VIRTUE have
    holder.language_model = language.model
    merge_adapter(holder, adapter, read_folder(folder, ["adapter_model"]), str(folder))
    load_into(network.connector, read_weights(folder / SAFE_CONNECTOR), f"the connector in {folder}")
    return network


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n")
