"""A folder as transformers saves it -> two towers that are ready to embed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from virtue.embedder.torch_runtime import silence_transformers
from virtue.embedder.towers.fingerprint import compute_fingerprint
from virtue.embedder.towers.preprocessing import Preprocessing
from virtue.embedder.towers.text_tower import TextTower
from virtue.embedder.towers.two_towers import TwoTowerModel, Variant
from virtue.embedder.towers.vision_tower import VISION_ENCODERS, RegionPooling
from virtue.errors import ModelError

SIDE_FACTOR = 4
"""A picture is kept at so many times the tower's own side: what a crop of a quarter of it needs."""
SETTINGS_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json", "merges.txt", "spiece.model",
)  # fmt: skip
"""Files, beside the weights, that vectors depend on."""
MAX_NAMED = 5


def load(folder: Path, name: str, *, variant: str = "attend", device: torch.device) -> TwoTowerModel:
    """Loads a CLIP, SigLIP or SigLIP 2 (fixed resolution or NaFlex).

    Args:
        folder: holds config.json, weights, the tokenizer's files and preprocessor_config.json.
        name: what the model is called from now on.
        variant: how a region gets its vector; see `model.Variant`.

    Raises:
        ModelError: a file is missing or damaged, or its tensors do not fit; names them.
    """
    if variant not in get_args(Variant):
        raise ModelError(
            f"{name}: {variant!r} is not a way to embed regions; choose one of {', '.join(get_args(Variant))}"
        )
    model = _load_model(folder).to(device).eval().requires_grad_(False)
    with _translate_errors(folder, "the image processor (preprocessor_config.json)"):
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    with _translate_errors(folder, "the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pooling: RegionPooling = "roi" if variant == "roi" else "attend"
    vision = VISION_ENCODERS[model.config.model_type](model, pooling)
    side = getattr(model.config.vision_config, "image_size", None) or _naflex_side(processor)
    files = [folder / file for file in SETTINGS_FILES if (folder / file).is_file()]
    text = TextTower(model, tokenizer)
    reading = f"{variant} lower-case" if text.lowercases else variant
    return TwoTowerModel(
        name,
        compute_fingerprint(model, files, reading),
        vision,
        text,
        Preprocessing(processor, side),
        variant=cast(Variant, variant),
        side=SIDE_FACTOR * side,
        device=device,
    )


def _naflex_side(processor: Any) -> int:
    return int(processor.max_num_patches**0.5) * int(processor.patch_size)


def _load_model(folder: Path) -> Any:
    with _translate_errors(folder, "the weights"), silence_transformers():
        model, info = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they come back in `info`, and are an error below
            output_loading_info=True,
        )
    # What is left over in the files does no harm; what is missing would be random.
    missing = sorted([*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])])
    if missing:
        named = ", ".join(missing[:MAX_NAMED]) + (", ..." if len(missing) > MAX_NAMED else "")
        raise ModelError(
            f"the weights in {folder} do not fit its config.json; missing or of another shape: {named}"
        )
    return model


@contextmanager
def _translate_errors(folder: Path, what: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except ImportError as error:
        # transformers says in several lines what is missing, for whom, and how to install it.
        reason = " ".join(str(error).split())
        raise ModelError(f"{what} of {folder} cannot be read: {reason}") from None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{what} of {folder} cannot be read ({reason}): download it again") from None
