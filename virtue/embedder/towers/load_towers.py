"""A folder as transformers saves it -> two towers that are ready to embed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from virtue.embedder.dtypes import dtype_name
from virtue.embedder.model_folder import read_json, reading, shown
from virtue.embedder.torch_runtime import place_weights
from virtue.embedder.towers.fingerprint import compute_fingerprint
from virtue.embedder.towers.preprocessing import Preprocessing
from virtue.embedder.towers.text_tower import TextTower
from virtue.embedder.towers.two_towers import TwoTowerModel, Variant
from virtue.embedder.towers.vision_tower import VISION_ENCODERS, RegionPooling
from virtue.embedder.weights import build_backbone, build_config, count_numbers, read_folder
from virtue.errors import ModelError

SIDE_FACTOR = 4
"""A picture is kept at so many times the tower's own side: what a crop of a quarter of it needs."""
SETTINGS_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json", "merges.txt", "spiece.model",
)  # fmt: skip
"""Files, beside the weights, that vectors depend on."""
MAX_SIDE = 4096
"""Pixels on the side of what a vision tower may see; those that are published see at most 512."""
BYTES_PER_NUMBER, SPARE_BYTES = 16, 100_000_000
"""Room for weights of any precision, and for as many again that are left over."""
MODELS: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel]]] = {
    "clip": (CLIPConfig, CLIPModel),
    "siglip": (SiglipConfig, SiglipModel),
    "siglip2": (Siglip2Config, Siglip2Model),
}
"""`model_type` of a config.json -> its classes. Not an Auto class, which would follow other settings too."""


def load(
    folder: Path, name: str, *, variant: str = "attend", device: torch.device, dtype: torch.dtype
) -> TwoTowerModel:
    """Loads a CLIP, SigLIP or SigLIP 2 (fixed resolution or NaFlex).

    Args:
        folder: holds config.json, weights, the tokenizer's files and preprocessor_config.json.
        name: what the model is called from now on.
        variant: how a region gets its vector; see `two_towers.Variant`.
        dtype: of the parameters.

    Raises:
        ModelError: a file is missing or damaged, or its tensors do not fit; names them.
    """
    model = _load_model(folder).eval()
    with reading(f"the image processor (preprocessor_config.json) of {shown(folder)}"):
        processor = AutoImageProcessor.from_pretrained(
            folder, config=model.config, backend="pil", local_files_only=True, trust_remote_code=False
        )
        side = _find_side(model.config.vision_config, processor)
        preprocessing = Preprocessing(processor, side, crops=variant == "crop")
        preprocessing.check(model.config.vision_config)
    with reading(f"the tokenizer of {shown(folder)}"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=model.config, local_files_only=True, trust_remote_code=False
        )
        text = TextTower(model, tokenizer, device)
        text.check_length("a")
    pooling: RegionPooling = "roi" if variant == "roi" else "attend"
    vision = VISION_ENCODERS[model.config.model_type](model, pooling)
    files = [folder / file for file in SETTINGS_FILES if (folder / file).is_file()]
    way = variant + " lower-case" * text.lowercases + " squeezed" * preprocessing.squeezes
    # Of the weights as they were read, so that it is the same in every dtype.
    fingerprint = compute_fingerprint(model, files, way)
    place_weights(model, device, dtype)
    return TwoTowerModel(
        name,
        fingerprint,
        vision,
        text,
        preprocessing,
        variant=cast(Variant, variant),
        side=SIDE_FACTOR * side,
        device=device,
        dtype=dtype_name(dtype),
    )


def _load_model(folder: Path) -> Any:
    settings = read_json(folder / "config.json")
    config_class, model_class = MODELS[settings["model_type"]]
    config = build_config(config_class, settings)
    weights = read_folder(folder, most=BYTES_PER_NUMBER * count_numbers(model_class, config) + SPARE_BYTES)
    # What is left over in the files does no harm; what is missing would be random.
    return build_backbone(model_class, config, weights, torch.float32, shown(folder), spare=True)


def _find_side(config: Any, processor: Any) -> int:
    """Returns the pixels on a side of what the vision tower sees.

    Raises:
        ModelError: it is no number.
    """
    if hasattr(config, "image_size"):
        side = config.image_size
    else:
        side = int(processor.max_num_patches**0.5) * config.patch_size
    if not isinstance(side, int) or not 0 < side <= MAX_SIDE:
        raise ModelError(f"a vision tower that sees {side!r:.60} pixels: at most {MAX_SIDE:,} are possible")
    return side
