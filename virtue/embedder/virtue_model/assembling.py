"""A Qwen2-VL and a SAM 2.1 -> a VIRTUE network whose connector has learnt nothing yet."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam2Model

from virtue.embedder import hub
from virtue.embedder.model_folder import check_folder, read_json, reading
from virtue.embedder.virtue_model import published_layout
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.instructions import PUBLISHED, PUBLISHED_DEFAULTS
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.weights import build_backbone, read_folder


def is_plain_qwen(folder: Path) -> bool:
    """Returns whether a folder holds a Qwen2-VL that is no VIRTUE."""
    is_virtue = published_layout.is_published(folder) or published_layout.is_adapter(folder)
    return not is_virtue and read_json(folder / "config.json").get("model_type") == "qwen2_vl"


def assemble(folder: Path, segmenter: str, dtype: torch.dtype, offline: bool) -> Network:
    """Builds the network, with the words of the published model.

    Args:
        folder: of the Qwen2-VL.
        segmenter: a folder of SAM 2.1 as transformers saves it, or its name on the hub.

    Raises:
        ModelError: one of them cannot be had, or their tensors do not fit.
    """
    place = Path(segmenter)
    place = place if place.is_dir() else hub.get_folder(segmenter, offline=offline)
    check_folder(place)
    settings = published_layout.parse_language_config(read_json(folder / "config.json"))
    vlm = published_layout.build_qwen(settings, read_folder(folder), dtype, str(folder))
    sam_settings = published_layout.parse_segmentation_config(read_json(place / "config.json"))
    sam = build_backbone(Sam2Model, sam_settings, read_folder(place), torch.float32, segmenter, spare=True)
    configuration = Configuration(instructions=PUBLISHED, defaults=PUBLISHED_DEFAULTS)
    with reading(f"the model {folder}"):
        return Network(configuration, Sam2Segmentation(sam), Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
