"""SAM 2.1 as Meta publishes it (one .pt file, perhaps with a .yaml) -> transformers' names and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from virtue.embedder.model_folder import MAX_SETTINGS, check_size, check_values, reason, shown
from virtue.embedder.weights import Weights
from virtue.errors import ModelError

TRUNKS: dict[tuple[int, int], dict[str, Any]] = {
    (96, 12): {"num_heads": 1, "stages": [1, 2, 7, 2], "global_att_blocks": [5, 7, 9]},
    (96, 16): {"num_heads": 1, "stages": [1, 2, 11, 2], "global_att_blocks": [7, 10, 13]},
    (112, 24): {"num_heads": 2, "stages": [2, 3, 16, 3], "global_att_blocks": [12, 16, 20]},
    (144, 48): {
        "num_heads": 2,
        "stages": [2, 6, 36, 4],
        "global_att_blocks": [23, 33, 43],
        "window_spec": [8, 4, 16, 8],
    },
}
"""The four published sizes, by their width and number of blocks: tiny, small, base plus, large."""

MAX_NUMBER = 100_000
"""No side and no count of a segmentation model is larger."""

_HEAD = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
_MLP = {"0": "proj_in", "1": "proj_out"}
_MASK = {"0": "conv1", "1": "layer_norm1", "3": "conv2", "4": "layer_norm2", "6": "conv3"}
_UPSCALING = {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"}

_VIDEO_ONLY = re.compile(
    r"memory_attention|memory_encoder|maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial|"
    r"obj_ptr_proj|obj_ptr_tpos_proj|mask_downsample\."
)
_RULES: list[tuple[str, Any]] = [
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^image_encoder\.neck\.", "vision_encoder.neck."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"(blocks\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"(blocks\.\d+\.mlp)\.layers\.([01])\.", lambda found: f"{found[1]}.{_MLP[found[2]]}."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"pe_layer\.positional_encoding_gaussian_matrix$", "shared_embedding.positional_embedding"),
    (r"mask_downscaling\.(\d)\.", lambda found: f"mask_embed.{_MASK[found[1]]}."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"output_upscaling\.(\d)\.", lambda found: f"{_UPSCALING[found[1]]}."),
    (r"(transformer\.layers\.\d+)\.norm([1-4])\.", r"\1.layer_norm\2."),
    (r"norm_final_attn\.", "layer_norm_final_attn."),
    (r"\.out_proj\.", ".o_proj."),
    (r"(transformer\.layers\.\d+\.mlp)\.layers\.([01])\.", lambda found: f"{found[1]}.{_MLP[found[2]]}."),
    (
        r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.([0-2])\.",
        lambda found: f"{found[1]}.{_HEAD[found[2]]}.",
    ),
    (r"^no_mem_embed$", "no_memory_embedding"),
]


def rename_weights(weights: Mapping[str, Tensor]) -> Weights:
    """Renames Meta's parameters to those of transformers' `Sam2Model`; what only video needs is left out."""
    import torch

    made: Weights = {}
    corners = {}
    for name, value in weights.items():
        if _VIDEO_ONLY.match(name):
            continue
        if found := re.search(r"point_embeddings\.(\d)\.weight$", name):
            corners[found[1]] = value
            continue
        for pattern, put in _RULES:
            name = re.sub(pattern, put, name)
        made[name] = value
    if corners:
        made["prompt_encoder.point_embed.weight"] = torch.cat([corners[key] for key in sorted(corners)])
    shared = "prompt_encoder.shared_embedding.positional_embedding"
    if shared in made:
        made["shared_image_embedding.positional_embedding"] = made[shared].clone()
    return made


def infer_config(weights: Mapping[str, Tensor], yaml_file: Path | None) -> dict[str, Any]:
    """Finds the sizes of a Meta checkpoint: from its tensors, and the others from Meta's .yaml or, without
    one, from the published size with these tensors.

    Returns:
        The settings of a `Sam2Config`.

    Raises:
        ModelError: the tensors are of no published size, and no .yaml tells of another.
    """
    try:
        width = weights["image_encoder.trunk.patch_embed.proj.weight"].shape[0]
        channels = weights["no_mem_embed"].shape[-1]
        upper = {name.split(".")[3] for name in weights if name.startswith("image_encoder.trunk.blocks.")}
        background = list(weights["image_encoder.trunk.pos_embed"].shape[-2:])
        mlp = weights["sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight"].shape[0]
        iou = weights["sam_mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
        mask = weights["sam_prompt_encoder.mask_downscaling.3.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"not a SAM 2.1 checkpoint: {error} is missing") from None
    except IndexError:
        raise ModelError("not a SAM 2.1 checkpoint: its tensors are of another shape") from None
    settings = _read_yaml(yaml_file) if yaml_file else {}
    trunk = settings.get("trunk") or TRUNKS.get((width, len(upper)))
    if trunk is None:
        raise ModelError(
            f"a SAM 2.1 of width {width} with {len(upper)} blocks is none of the published sizes: put its "
            ".yaml beside it"
        )
    side, heads = settings.get("image_size", 1024), trunk.get("num_heads", 1)
    cell = side // 16
    widths = [width * 2**stage for stage in range(4)]
    hiera = {
        "hidden_size": width,
        "num_attention_heads": heads,
        "image_size": [side, side],
        "window_positional_embedding_background_size": background,
        "blocks_per_stage": list(trunk.get("stages", [2, 3, 16, 3])),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)],
        "window_size_per_stage": list(trunk.get("window_spec", [8, 4, 14, 7])),
        "global_attention_blocks": list(trunk.get("global_att_blocks", [12, 16, 20])),
    }
    return {
        "vision_config": {
            "backbone_config": hiera,
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[4 * cell, 4 * cell], [2 * cell, 2 * cell], [cell, cell]],
            "fpn_hidden_size": channels,
        },
        "prompt_encoder_config": {"hidden_size": channels, "image_size": side, "mask_input_channels": mask},
        "mask_decoder_config": {"hidden_size": channels, "mlp_dim": mlp, "iou_head_hidden_dim": iou},
    }


def _read_yaml(file: Path) -> dict[str, Any]:
    """The trunk's settings and the input size of Meta's (Hydra's) configuration."""
    import yaml

    check_size(file, MAX_SETTINGS)
    try:
        model = yaml.safe_load(file.read_text())["model"]
        trunk, side = model["image_encoder"]["trunk"], model.get("image_size", 1024)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ModelError(f"{shown(file)} is not a SAM 2.1 configuration ({reason(error)})") from None
    check_values(file, trunk)
    numbers = (side, trunk.get("num_heads", 1)) if isinstance(trunk, dict) else (None,)
    if not all(isinstance(number, int) and 0 < number <= MAX_NUMBER for number in numbers):
        raise ModelError(f"{shown(file)} is not a SAM 2.1 configuration (sizes that are no numbers)")
    lists = (trunk.get(name, []) for name in ("stages", "window_spec", "global_att_blocks"))
    if not all(isinstance(numbers, list) for numbers in lists):
        raise ModelError(f"{shown(file)} is not a SAM 2.1 configuration (stages that are no lists)")
    return {"trunk": trunk, "image_size": side}
