"""Regions per second of VIRTUE: the work on an image shared by its regions, against one pass for each.

    python -m benchmarks.regions                    # reduced size on a CPU, 2B size where there is CUDA
    python -m benchmarks.regions --layout image-first --regions 1 16 --segmentation-tokens 16

Weights are random: speed does not ask what they mean. A full pass per region is the same code on as many
different pictures, one region on each. Prints one JSON object a line. On a CPU one thread works, and its own
time counts, so that what else the machine does hardly matters.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2VLConfig, Qwen2VLModel, Sam2Config, Sam2Model

from virtue.embedder.model import Item
from virtue.embedder.virtue_model.configuration import Configuration, Layout
from virtue.embedder.virtue_model.loading import placed
from virtue.embedder.virtue_model.model import VirtueModel
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.virtue_model.words import Words
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 operations a second, by the makers' data sheets."""
LAYOUTS: list[Layout] = ["published", "image-first"]
WORDS = " ".join(["7"] * 40)


@dataclass(frozen=True)
class Size:
    """What is built, and the pictures it gets: `side` x `side` pixels."""

    name: str
    side: int
    language: dict[str, Any]
    vision: dict[str, Any]
    segmentation: dict[str, Any]


FULL = Size(
    "2B",
    672,  # 576 image tokens
    {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    },
    {"hidden_size": 1536},
    {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 112,
                "num_attention_heads": 2,
                "window_positional_embedding_background_size": [14, 14],
                "blocks_per_stage": [2, 3, 16, 3],
                "embed_dim_per_stage": [112, 224, 448, 896],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "global_attention_blocks": [12, 16, 20],
            },
            "backbone_channel_list": [896, 448, 224, 112],
        }
    },
)
REDUCED = Size(
    "reduced",
    336,  # 144 image tokens
    {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
    },
    {"hidden_size": 512, "depth": 8, "embed_dim": 384, "num_heads": 6},
    {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 48,
                "image_size": [256, 256],
                "embed_dim_per_stage": [48, 96, 192, 384],
            },
            "backbone_channel_list": [384, 192, 96, 48],
            "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
            "fpn_hidden_size": 128,
        },
        "prompt_encoder_config": {"hidden_size": 128, "image_size": 256},
        "mask_decoder_config": {"hidden_size": 128, "mlp_dim": 512},
    },
)


def model_of(size: Size, layout: Layout, tokens: int, device: torch.device, folder: Path) -> VirtueModel:
    with torch.device(device):
        vlm = Qwen2VLModel(Qwen2VLConfig(text_config=size.language, vision_config=size.vision))
        sam = Sam2Model(Sam2Config(**size.segmentation))
        configuration = Configuration(layout=layout, segmentation_tokens=tokens)
        network = Network(configuration, Sam2Segmentation(sam), Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    tokenizer = Tokenizer(WordLevel({str(number): number for number in range(512)}, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return VirtueModel("random", "", placed(network, device, dtype), Words(folder / "tokenizer.json", 512))


def pictures(size: Size, count: int) -> list[Picture]:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size.side, size.side, 3), dtype=np.uint8)
    return [Picture(picture, size.side, size.side) for picture in pixels]


def boxes(size: Size, count: int) -> Iterator[Prompt]:
    for x0, y0 in np.random.default_rng(1).uniform(0, size.side / 2, (count, 2)):
        yield Prompt(box=Box(x0, y0, x0 + size.side / 3, y0 + size.side / 3))


def shared(model: VirtueModel, size: Size, count: int) -> None:
    (scene,) = model.scenes(pictures(size, 1))
    model.embed([Item(scene, prompt, WORDS) for prompt in boxes(size, count)])


def apart(model: VirtueModel, size: Size, count: int) -> None:
    scenes = model.scenes(pictures(size, count))
    model.embed([Item(*pair, WORDS) for pair in zip(scenes, boxes(size, count), strict=True)])


def whole(model: VirtueModel, size: Size, count: int) -> None:
    model.embed([Item(scene, None, WORDS) for scene in model.scenes(pictures(size, count))])


def seconds(work: Callable[[], None], device: torch.device, repeats: int) -> float:
    """The median of some runs, after one that is not counted."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    taken = []
    for _ in range(repeats + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(clock() - start)
    return statistics.median(taken[1:])


def operations(work: Callable[[], None]) -> int:
    # The plain kernel is made of products that the counter knows; it counts attention in full, masked or not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_of(device: torch.device) -> float | None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def measure(model: VirtueModel, size: Size, count: int, repeats: int) -> dict[str, Any]:
    device = model.network.device
    together, each = partial(shared, model, size, count), partial(apart, model, size, count)
    counts = operations(together), operations(each)
    times = seconds(together, device, repeats), seconds(each, device, repeats)
    peak = peak_of(device)
    return {
        "size": size.name,
        "layout": model.configuration.layout,
        "segmentation_tokens": model.configuration.segmentation_tokens,
        "regions": count,
        "regions_per_second": round(count / times[0], 3),
        "regions_per_second_full_pass": round(count / times[1], 3),
        "ratio": round(times[1] / times[0], 2),
        "ratio_by_operations": round(counts[1] / counts[0], 2),
        "gigaflops": round(counts[0] / times[0] / 1e9, 1),
        "share_of_peak": peak and round(counts[0] / times[0] / peak, 3),
        "peak_memory_bytes": peak_memory(device),
    }


def measure_whole(model: VirtueModel, size: Size, count: int, repeats: int) -> dict[str, Any]:
    device, peak = model.network.device, peak_of(model.network.device)
    work = partial(whole, model, size, count)
    made, taken = operations(work), seconds(work, device, repeats)
    lengths = model.configuration.segmentation_tokens + (size.side // 28) ** 2 + len(WORDS.split())
    return {
        "size": size.name,
        "layout": model.configuration.layout,
        "whole_images": count,
        "images_per_second": round(count / taken, 3),
        "tokens_per_second": round(count * lengths / taken),
        "gigaflops": round(made / taken / 1e9, 1),
        "share_of_peak": peak and round(made / taken / peak, 3),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=["2B", "reduced"])
    parser.add_argument("--layout", nargs="*", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--segmentation-tokens", type=int, help="256 for published, 16 for image-first")
    parser.add_argument("--regions", nargs="*", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--images", type=int, default=8, help="whole images in the last measurement; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    size = FULL if (given.size or ("2B" if device.type == "cuda" else "reduced")) == "2B" else REDUCED
    with tempfile.TemporaryDirectory() as folder:
        for layout in given.layout:
            tokens = given.segmentation_tokens or (256 if layout == "published" else 16)
            model = model_of(size, layout, tokens, device, Path(folder))
            for count in given.regions:
                print(json.dumps(measure(model, size, count, given.repeats)), flush=True)
            if given.images:
                print(json.dumps(measure_whole(model, size, given.images, given.repeats)), flush=True)


if __name__ == "__main__":
    main()
