"""The published layouts on disk: a merged model, or a training checkpoint beside its base model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, Qwen2VLConfig, Qwen2VLModel, Sam2Config, Sam2Model

from virtue.embedder import hub
from virtue.embedder.virtue_model import sam2_weights
from virtue.embedder.virtue_model.adapters import merge_adapter
from virtue.embedder.virtue_model.configuration import (
    PUBLISHED_MAX_PIXELS,
    PUBLISHED_MIN_PIXELS,
    Configuration,
)
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.virtue_model.weights import Weights, build_backbone, load_into, read_folder, read_weights
from virtue.errors import ModelError

CONNECTOR = "sam2_reducer_and_vlm_layer.pth"
ADAPTER = "adapter_config.json"
SIZES = ("tiny", "small", "large")


def is_published(folder: Path) -> bool:
    return (folder / CONNECTOR).is_file()


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def load(folder: Path, dtype: torch.dtype, offline: bool) -> Network:
    """Loads a model in the published layout.

    Raises:
        ModelError: a file is missing or damaged, or its tensors do not fit; names them.
    """
    settings = read_json(folder / "config.json")
    if settings.get("model_type") != "qwen2_vl":
        raise ModelError(
            f"{folder / 'config.json'} describes a {settings.get('model_type')!r} model: the published "
            "VIRTUE stands on 'qwen2_vl'"
        )
    vlm = _load_qwen(folder, settings, dtype, offline)
    segmentation = _load_sam(folder, settings.get("virtue_sam") or {}, offline)
    configuration = Configuration.published(**_pixel_bounds(folder))
    network = Network(configuration, segmentation, Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    parts = read_weights(folder / CONNECTOR)
    if not isinstance(parts, Mapping) or not all(isinstance(part, Mapping) for part in parts.values()):
        raise ModelError(f"{folder / CONNECTOR} is not the connector of a VIRTUE model: download it again")
    connector = {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
    load_into(network.connector, connector, f"the connector {folder / CONNECTOR}")
    return network


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        ModelError: the file is missing or no JSON object.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file} is missing: this is not the folder of a model") from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{file} cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise ModelError(f"{file} holds no configuration")
    return values


def parse_language_config(settings: Mapping[str, Any]) -> Qwen2VLConfig:
    """Reads the configuration of the language model.

    Raises:
        ModelError: the values do not describe a Qwen2-VL.
    """
    ours = ("virtue_sam", "model_type")
    return _config(Qwen2VLConfig, {key: settings[key] for key in settings if key not in ours})


def parse_segmentation_config(settings: Mapping[str, Any]) -> Sam2Config:
    # Meta's own conversions are of the video model; its image part has the same settings.
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    return _config(Sam2Config, {part: settings[part] for part in parts if part in settings})


def _config(kind: type[Any], values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"not the configuration of a {kind.model_type} model ({error})") from None


def _load_qwen(folder: Path, settings: Mapping[str, Any], dtype: torch.dtype, offline: bool) -> Qwen2VLModel:
    config = parse_language_config(settings)
    if not is_adapter(folder):
        return build_qwen(config, read_folder(folder), dtype, str(folder))
    adapter = read_json(folder / ADAPTER)
    base = adapter.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{folder / ADAPTER} does not name the base model: set base_model_name_or_path")
    beside = folder / base
    base_folder = beside if beside.is_dir() else hub.get_folder(base, offline=offline)
    base_config = parse_language_config(read_json(base_folder / "config.json"))
    model = build_qwen(base_config, read_folder(base_folder), dtype, str(base))
    return merge_adapter(model, adapter, read_folder(folder, ["adapter_model"]), str(folder))


def build_qwen(config: PreTrainedConfig, weights: Weights, dtype: torch.dtype, what: str) -> Qwen2VLModel:
    """Builds a Qwen2-VL without its language head, which is not needed. The names of the parameters may be
    those of any version."""
    body = {_body_name(name): value for name, value in weights.items() if name != "lm_head.weight"}
    return build_backbone(Qwen2VLModel, config, body, dtype, what)


def _body_name(name: str) -> str:
    name = name.removeprefix("model.")
    return name if name.startswith(("visual.", "language_model.")) else f"language_model.{name}"


def _load_sam(folder: Path, settings: Mapping[str, Any], offline: bool) -> Sam2Segmentation:
    named = Path(str(settings.get("checkpoint") or "sam2.1_hiera_base_plus.pt"))
    places = [folder / named, folder / named.name, *sorted(folder.glob("sam2*.pt"))]
    file = next((place for place in places if place.is_file()), None)
    if file:
        return _load_meta_sam(file, folder, settings)
    inside = next((place.parent for place in sorted(folder.glob("sam2*/config.json"))), None)
    hub_name = f"facebook/sam2.1-hiera-{_sam_size(named.name)}"
    try:
        inside = inside or hub.get_folder(hub_name, offline=offline)
    except ModelError as error:
        raise ModelError(
            f"the SAM 2.1 weights are missing: {named} is not in {folder}, and {hub_name} cannot be had "
            f"({error}); put the .pt file there"
        ) from None
    config = parse_segmentation_config(read_json(inside / "config.json"))
    return Sam2Segmentation(
        build_backbone(Sam2Model, config, read_folder(inside), torch.float32, str(inside))
    )


def _load_meta_sam(file: Path, folder: Path, settings: Mapping[str, Any]) -> Sam2Segmentation:
    held = read_weights(file)
    weights = held.get("model", held) if isinstance(held, Mapping) else {}
    beside = folder / str(settings.get("config_path") or "none")
    has_yaml = beside.suffix == ".yaml" and beside.is_file()
    config = sam2_weights.infer_config(weights, beside if has_yaml else None)
    named = sam2_weights.rename_weights(weights)
    return Sam2Segmentation(build_backbone(Sam2Model, config, named, torch.float32, str(file)))


def _sam_size(name: str) -> str:
    return next((size for size in SIZES if size in name), "base-plus")


def _pixel_bounds(folder: Path) -> dict[str, int]:
    """As the published code sets them, unless the folder asks for less: its preprocessor_config.json may
    still be the base model's, which allows far more than VIRTUE was trained with."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return {}
    values = read_json(file)
    size = values.get("size") or {}
    least = values.get("min_pixels") or size.get("shortest_edge") or PUBLISHED_MIN_PIXELS
    most = values.get("max_pixels") or size.get("longest_edge") or PUBLISHED_MAX_PIXELS
    return {
        "min_pixels": max(int(least), PUBLISHED_MIN_PIXELS),
        "max_pixels": min(int(most), PUBLISHED_MAX_PIXELS),
    }
