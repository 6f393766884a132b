"""Regions per second of VIRTUE: the work on an image shared by its regions, against one pass for each.

    python -m benchmarks.regions                    # reduced size on a CPU, 2B size where there is CUDA
    python -m benchmarks.regions --layout image-first --regions 1 16 --segmentation-tokens 16
    python -m benchmarks.regions --count-only --size 2B       # operations alone, without weights or a card

Weights are random: speed does not ask what they mean. A full pass per region is the same code on as many
different pictures, one region on each. Prints one JSON object a line. On a CPU one thread works, and its own
time counts, so that what else the machine does matters little. Every work is measured in a process of its
own, whose peak memory is that of this work (and, on a CPU, of the model and the libraries).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
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
from virtue.embedder.torch_runtime import check_compiler, place_weights
from virtue.embedder.virtue_model.configuration import Configuration, Layout
from virtue.embedder.virtue_model.network import InputSequence, Network, Scene
from virtue.embedder.virtue_model.prompt_encoding import encode_prompt
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage, Qwen2VLVision
from virtue.embedder.virtue_model.sam2 import Sam2Segmentation
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.geometry import Box, Prompt
from virtue.pictures import Picture

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 operations a second, by the makers' data sheets."""
LAYOUTS: list[Layout] = ["published", "image-first"]
WORKS = ("shared", "apart", "whole")
"""Regions of one picture; one region on each of as many pictures; as many whole pictures."""
CELL = 28
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

TINY = Size(
    "tiny",
    84,
    {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
    },
    {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
    {
        "vision_config": {
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
        "prompt_encoder_config": {"hidden_size": 64, "image_size": 256},
        "mask_decoder_config": {"hidden_size": 64, "mlp_dim": 128},
    },
)
SIZES = {size.name: size for size in (FULL, REDUCED, TINY)}


def network_of(size: Size, layout: Layout, tokens: int, device: torch.device) -> Network:
    with torch.device(device):
        vlm = Qwen2VLModel(Qwen2VLConfig(text_config=size.language, vision_config=size.vision))
        sam = Sam2Model(Sam2Config(**size.segmentation))
        configuration = Configuration(layout=layout, segmentation_tokens=tokens)
        network = Network(configuration, Sam2Segmentation(sam), Qwen2VLVision(vlm), Qwen2VLLanguage(vlm))
    place_weights(network, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    return network


def model_of(network: Network, folder: Path) -> VirtueModel:
    tokenizer = Tokenizer(WordLevel({str(number): number for number in range(512)}, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return VirtueModel("random", "", network, TextTokenizer(folder / "tokenizer.json", 512))


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
    """The median of some runs, after some that are not counted: they compile, and find the batch size."""
    on_card = device.type == "cuda"
    clock = time.perf_counter if on_card else time.process_time
    for _ in range(3 if on_card else 1):
        work()
    taken = []
    if on_card:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(repeats):
        start = clock()
        work()
        if on_card:
            torch.cuda.synchronize(device)
        taken.append(clock() - start)
    return statistics.median(taken)


def peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_of(device: torch.device) -> float | None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


@torch.inference_mode()
def operations(network: Network, size: Size, count: int, work: str) -> int:
    """Of one run of a work, by the shapes alone: `network` is on the device "meta". Attention is counted in
    full, masked or not."""
    grid = size.side // CELL, size.side // CELL
    images = 1 if work == "shared" else count
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        tokens, features, fine = network.encode_pictures(
            torch.empty(images, 3, size.side, size.side, device="meta"),
            torch.empty(images, 3, network.segmentation.side, network.segmentation.side, device="meta"),
        )
        scenes = [
            Scene(size.side, size.side, features[n], tuple(part[n] for part in fine), tokens[n], grid)
            for n in range(images)
        ]
        prompts = [None] * count if work == "whole" else list(boxes(size, count))
        side, ids = network.segmentation.side, tuple(int(word) for word in WORDS.split())
        drawings = [encode_prompt(prompt, size.side, size.side, side, "scaled") for prompt in prompts]
        network([InputSequence(ids, scenes[n % images], drawings[n]) for n in range(count)])
    return counter.get_total_flops()


def measure(given: argparse.Namespace, layout: Layout, tokens: int, count: int, work: str) -> dict[str, Any]:
    """Seconds and peak memory of a work, in a process of its own."""
    words = [
        sys.executable, "-m", "benchmarks.regions", "--work", work, "--layout", layout, "--size", given.size,
        "--segmentation-tokens", str(tokens), "--regions", str(count), "--device", given.device,
        "--repeats", str(given.repeats), *(["--compile"] if given.compile else []),
    ]  # fmt: skip
    told: dict[str, Any] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    return told


def run(given: argparse.Namespace, size: Size) -> None:
    """What `measure` starts."""
    device, (layout,), (count,) = torch.device(given.device), given.layout, given.regions
    if device.type == "cpu":
        torch.set_num_threads(1)
    network = network_of(size, layout, given.segmentation_tokens, device)
    if given.compile:
        check_compiler(device)
        network.enable_compile()
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(network, Path(folder))
    work = {"shared": shared, "apart": apart, "whole": whole}[given.work]
    taken = seconds(partial(work, model, size, count), device, given.repeats)
    print(json.dumps({"seconds": taken, "peak_memory_bytes": peak_memory(device)}))


def report(given: argparse.Namespace, size: Size, layout: Layout, tokens: int) -> Iterator[dict[str, Any]]:
    device = torch.device(given.device)
    peak = None if given.count_only else peak_of(device)
    counted = network_of(size, layout, tokens, torch.device("meta"))
    named = {"size": size.name, "layout": layout, "segmentation_tokens": tokens}
    for count in given.regions:
        made = {work: operations(counted, size, count, work) for work in ("shared", "apart")}
        line = named | {
            "regions": count,
            "ratio_by_operations": round(made["apart"] / made["shared"], 2),
            "teraflop": round(made["shared"] / 1e12, 3),
        }
        if not given.count_only:
            together, each = (measure(given, layout, tokens, count, work) for work in ("shared", "apart"))
            line |= {
                "ratio": round(each["seconds"] / together["seconds"], 2),
                "regions_per_second": round(count / together["seconds"], 3),
                "regions_per_second_full_pass": round(count / each["seconds"], 3),
                "gigaflops": round(made["shared"] / together["seconds"] / 1e9, 1),
                "gigaflops_full_pass": round(made["apart"] / each["seconds"] / 1e9, 1),
                "share_of_peak": peak and round(made["shared"] / together["seconds"] / peak, 3),
                "peak_memory_bytes": together["peak_memory_bytes"],
                "peak_memory_bytes_full_pass": each["peak_memory_bytes"],
            }
        yield line
    if given.images:
        count, on_all = given.images, operations(counted, size, given.images, "whole")
        length = tokens + (size.side // CELL) ** 2 + len(WORDS.split())
        line = named | {"whole_images": count, "teraflop": round(on_all / 1e12, 3)}
        if not given.count_only:
            told = measure(given, layout, tokens, count, "whole")
            line |= {
                "images_per_second": round(count / told["seconds"], 3),
                "tokens_per_second": round(count * length / told["seconds"]),
                "gigaflops": round(on_all / told["seconds"] / 1e9, 1),
                "share_of_peak": peak and round(on_all / told["seconds"] / peak, 3),
                "peak_memory_bytes": told["peak_memory_bytes"],
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
                "compiled": given.compile,
            }
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=list(SIZES))
    parser.add_argument("--layout", nargs="*", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--segmentation-tokens", type=int, help="256 for published, 16 for image-first")
    parser.add_argument("--regions", nargs="*", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--images", type=int, default=8, help="whole images in the last measurement; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="as Embedder.from_pretrained(compile=True)")
    parser.add_argument("--count-only", action="store_true", help="count operations, measure nothing")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.size = given.size or ("2B" if torch.device(given.device).type == "cuda" else "reduced")
    size = SIZES[given.size]
    if given.work:
        run(given, size)
        return
    for layout in given.layout:
        tokens = given.segmentation_tokens or (256 if layout == "published" else 16)
        for line in report(given, size, layout, tokens):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
