"""The published layouts on disk: a merged model, or a training checkpoint beside its base model."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, Qwen2VLConfig, Qwen2VLModel, Sam2Config, Sam2Model

from virtue.embedder import hub
from virtue.embedder.completeness import CONNECTOR
from virtue.embedder.model_folder import check_folder, find_inside, read_json, reading, shown
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
from virtue.embedder.weights import (
    Weights,
    build_backbone,
    build_config,
    load_into,
    read_folder,
    read_weights,
)
from virtue.errors import ModelError

ADAPTER = "adapter_config.json"
SAM_CONSTANTS = (
    "prompt_encoder_config.patch_size",
    *(f"vision_config.fpn_{name}" for name in ("kernel_size", "stride", "padding")),
    *(
        f"vision_config.backbone_config.{name}"
        for name in (
            "patch_kernel_size",
            "patch_stride",
            "patch_padding",
            "query_stride",
            "num_query_pool_stages",
        )
    ),
)
"""Settings that are the same for all sizes; others would ask for memory that no weights show."""
PUBLISHED_ROTATION = (16, 24, 24)
"""How Qwen2-VL shares a head between time, rows and columns, unless it says another."""
SIZES = ("tiny", "small", "large")
MAX_SIDE = 2048
"""Pixels on the side of the square that a segmentation model sees; the published ones see 1,024."""


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
    segmentation = _load_sam(folder, _sam_settings(settings), offline)
    configuration = Configuration.published(**_pixel_bounds(folder))
    with reading(f"the model {shown(folder)}"):
        network = Network(configuration, segmentation, Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    parts = read_weights(folder / CONNECTOR)
    if not all(isinstance(part, Mapping) for part in parts.values()):
        raise ModelError(f"{folder / CONNECTOR} is not the connector of a VIRTUE model: download it again")
    connector = {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
    load_into(network.connector, connector, f"the connector {folder / CONNECTOR}")
    return network


def parse_language_config(settings: Mapping[str, Any]) -> Qwen2VLConfig:
    """Reads the configuration of the language model.

    Raises:
        ModelError: the values do not describe a Qwen2-VL.
    """
    config = build_config(Qwen2VLConfig, settings)
    text: Any = config.text_config
    with reading("the configuration of a qwen2_vl model"):
        section = text.rope_parameters.get("mrope_section", PUBLISHED_ROTATION)
        width = text.hidden_size // text.num_attention_heads
        if not all(type(part) is int and part > 0 for part in section) or 2 * sum(section) != width:
            raise ModelError(f"a qwen2_vl model whose mrope_section is {section!r:.60}, for heads of {width}")
    return config


def parse_segmentation_config(settings: Mapping[str, Any]) -> Any:
    # Meta's own conversions are of the video model; its image part has the same settings.
    config: Any = build_config(Sam2Config, settings)
    side = config.prompt_encoder_config.image_size
    usual: Any = Sam2Config()
    for name in SAM_CONSTANTS:
        if attrgetter(name)(config) != attrgetter(name)(usual):
            raise ModelError(
                f"a segmentation model of another {name} than all of SAM 2.1 have is not supported"
            )
    if not isinstance(side, int) or side > MAX_SIDE:
        raise ModelError(
            f"a segmentation model that sees {side!r:.60} pixels: at most {MAX_SIDE:,} are possible"
        )
    return config


def _load_qwen(folder: Path, settings: Mapping[str, Any], dtype: torch.dtype, offline: bool) -> Qwen2VLModel:
    config = parse_language_config(settings)
    if not is_adapter(folder):
        return build_qwen(config, read_folder(folder), dtype, str(folder))
    adapter = read_json(folder / ADAPTER)
    base = adapter.get("base_model_name_or_path")
    if not base or not isinstance(base, str) or not base.isprintable():
        raise ModelError(
            f"{shown(folder / ADAPTER)} does not name the base model: set base_model_name_or_path"
        )
    beside = folder / base
    base_folder = beside if beside.is_dir() else hub.get_folder(base, offline=offline)
    check_folder(base_folder)
    base_config = parse_language_config(read_json(base_folder / "config.json"))
    # Merged in float32 everywhere, or each precision would make another model of it.
    model = build_qwen(base_config, read_folder(base_folder), torch.float32, str(base))
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
    beside = next((file for file in sorted(folder.glob("sam2*.pt")) if file.is_file()), None)
    file = find_inside(folder, named) or find_inside(folder, named.name) or beside
    if file:
        return _load_meta_sam(file, folder, settings)
    inside = next((place.parent for place in sorted(folder.glob("sam2*/config.json"))), None)
    hub_name = f"facebook/sam2.1-hiera-{_sam_size(named.name)}"
    try:
        inside = inside or hub.get_folder(hub_name, offline=offline)
    except ModelError as error:
        raise ModelError(
            f"the SAM 2.1 weights are missing: {named} is not in {folder}, and {hub_name} cannot be had "
            f"({error}); put the .pt file there",
            hint=error.hint,
        ) from None
    check_folder(inside)
    config = parse_segmentation_config(read_json(inside / "config.json"))
    return Sam2Segmentation(
        build_backbone(Sam2Model, config, read_folder(inside), torch.float32, str(inside))
    )


def _sam_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    found = settings.get("virtue_sam")
    return found if isinstance(found, Mapping) else {}


def _load_meta_sam(file: Path, folder: Path, settings: Mapping[str, Any]) -> Sam2Segmentation:
    held = read_weights(file)
    weights = held.get("model", held)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{shown(file)} is not a SAM 2.1 checkpoint: download it again")
    beside = find_inside(folder, settings.get("config_path") or "none")
    has_yaml = beside is not None and beside.suffix == ".yaml"
    config = parse_segmentation_config(sam2_weights.infer_config(weights, beside if has_yaml else None))
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
    if not isinstance(size, Mapping):
        raise ModelError(f"{shown(file)} has a size that is none: download it again")
    least = values.get("min_pixels") or size.get("shortest_edge") or PUBLISHED_MIN_PIXELS
    most = values.get("max_pixels") or size.get("longest_edge") or PUBLISHED_MAX_PIXELS
    if not isinstance(least, int) or not isinstance(most, int):
        raise ModelError(
            f"{shown(file)} bounds a picture by {least!r:.60} and {most!r:.60} pixels: use numbers"
        )
    return {
        "min_pixels": max(least, PUBLISHED_MIN_PIXELS),
        "max_pixels": min(most, PUBLISHED_MAX_PIXELS),
    }
