"""Small models on disk: the reference's, in the published layouts, and one of today's own kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import Qwen2VLConfig, Qwen2VLModel, Sam2Config, Sam2Model

from tests.data.recipe import parameter
from virtue.embedder.virtue_model.configuration import Configuration
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.virtue_model.saving import save
from virtue.embedder.virtue_model.tokenizer import TextTokenizer

Reference = Mapping[str, Any]
SAM = "sam.sam_model."


def published_folder(reference: Reference, folder: Path) -> Path:
    """The reference's checkpoint in the layout in which VIRTUE is released."""
    folder.mkdir(parents=True)
    torch.save(language_weights(reference), folder / "pytorch_model.bin")
    write_all_but_language(reference, folder)
    return folder


def write_all_but_language(reference: Reference, folder: Path) -> None:
    settings = reference["config"]["segmentation_model"]
    (folder / "config.json").write_text(json.dumps(language_config(reference)))
    (folder / "preprocessor_config.json").write_text(json.dumps(reference["config"]["image_processor"]))
    torch.save({"model": weights(reference, SAM)}, folder / "sam2.1_small_reference.pt")
    hydra = {"model": {"image_encoder": {"trunk": settings["trunk"]}, "image_size": settings["image_size"]}}
    (folder / "sam2.1_small_reference.yaml").write_text(yaml.safe_dump(hydra))
    connector = {part: weights(reference, f"sam.{part}.") for part in ("sam2_reducer", "sam2vlm_layer")}
    torch.save(connector, folder / "sam2_reducer_and_vlm_layer.pth")
    write_tokenizer(folder, reference["config"]["language_model"]["vocab_size"])


def language_weights(reference: Reference) -> dict[str, Tensor]:
    return weights(reference, "vlm.")


def weights(reference: Reference, prefix: str) -> dict[str, Tensor]:
    """The reference's parameters under a prefix, without it."""
    return {
        key.removeprefix(prefix): torch.from_numpy(parameter(key, shape))
        for key, shape in reference["parameters"].items()
        if key.startswith(prefix)
    }


def language_config(reference: Reference) -> dict[str, Any]:
    """The flat config.json that transformers 4.4x wrote."""
    settings = dict(reference["config"]["language_model"])
    family, section = settings.pop("family"), settings.pop("mrope_section")
    assert family == "Qwen2-VL"
    return {
        **settings,
        "model_type": "qwen2_vl",
        "rope_scaling": {"type": "mrope", "mrope_section": section},
        "vision_config": settings.pop("vision"),
        "virtue_sam": {
            "enabled": True,
            "config_path": "./sam2.1_small_reference.yaml",
            "checkpoint": "./sam2.1_small_reference.pt",
            "points_per_side": reference["config"]["segmentation_model"]["points_per_side"],
            "feature_levels": 2,
        },
    }


def write_tokenizer(folder: Path, words: int) -> None:
    """TextTokenizer are ids: the text "42 7" becomes the tokens 42 and 7."""
    tokenizer = Tokenizer(WordLevel({str(number): number for number in range(words)}, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def own_folder(folder: Path, **settings: Any) -> Path:
    """A small random model of today's own kind, saved by virtue itself. SAM looks at 256 pixels."""
    torch.manual_seed(0)
    sam = Sam2Model(
        Sam2Config(
            vision_config={
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": 16,
                    "image_size": [256, 256],
                    "blocks_per_stage": [1, 1, 2, 1],
                    "embed_dim_per_stage": [16, 32, 64, 128],
                    "window_size_per_stage": [8, 4, 8, 4],
                    "global_attention_blocks": [3],
                },
                "backbone_channel_list": [128, 64, 32, 16],
                "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
                "fpn_hidden_size": 64,
            },
            prompt_encoder_config={"hidden_size": 64, "image_size": 256},
            mask_decoder_config={"hidden_size": 64, "mlp_dim": 128},
        )
    )
    vlm = Qwen2VLModel(
        Qwen2VLConfig(
            text_config={
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "vocab_size": 512,
                "bos_token_id": 500,
                "eos_token_id": 501,
                "rope_parameters": {
                    "rope_type": "default",
                    "mrope_section": [2, 3, 3],
                    "rope_theta": 10000.0,
                },
            },
            vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        )
    )
    configuration = Configuration(**{"segmentation_tokens": 16, "max_pixels": 40_000} | settings)
    network = Network(configuration, Sam2Segmentation(sam), Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    for name, value in network.named_parameters():  # transformers starts some at zero, which hides faults
        value.data = torch.from_numpy(parameter(name, list(value.shape)))
    folder.mkdir(parents=True)
    write_tokenizer(folder, 512)
    save(network, TextTokenizer(folder / "tokenizer.json", 100), folder)
    return folder
