"""A model -> one folder: safetensors, a configuration, the processor (for words and images) and a card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from virtue import __version__
from virtue.embedder.virtue_model.configuration import MODEL_TYPE
from virtue.embedder.virtue_model.image_preprocessing import CLIP_MEAN, CLIP_STD
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.errors import ModelError

TOKENIZER = {"tokenizer_class": "PreTrainedTokenizerFast"}
"""Texts are split by tokenizer.json alone; so other programs read it too."""

CARD = """---
library_name: virtue
pipeline_tag: feature-extraction
tags: [image-text-retrieval, region-retrieval]
{licence}---
# {name}

A VIRTUE model (arXiv 2510.00523): texts, images, and boxes, points or masks on images become unit vectors of
{dim} numbers. Written by virtue {version}.

```python
from virtue import Embedder

embedder = Embedder.from_pretrained("{name}")
vectors = embedder.encode(["a cat", {{"image": "photo.jpg", "box": (40, 30, 200, 180)}}])
```

| setting | value |
|---|---|
{settings}
"""


def save(network: Network, tokenizer: TextTokenizer, folder: str | Path, *, licence: str = "") -> Path:
    """Writes everything that `Embedder.from_pretrained(folder)` needs. An older model there is replaced.

    Args:
        licence: of the weights, as the hub writes it ("cc-by-nc-4.0"), for the card.

    Raises:
        ModelError: the folder cannot be written.
    """
    folder = Path(folder)
    # Cloned: safetensors takes no two names for one piece of memory.
    weights = {name: value.cpu().contiguous().clone() for name, value in network.state_dict().items()}
    config = {
        "model_type": MODEL_TYPE,
        "virtue_version": __version__,
        "configuration": network.configuration.to_dict(),
        "language": network.language.config,
        "segmentation": network.segmentation.config,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        if tokenizer.file.resolve() != (folder / "tokenizer.json").resolve():
            shutil.copyfile(tokenizer.file, folder / "tokenizer.json")
        (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER, indent=2) + "\n")
        (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessing(network), indent=2) + "\n")
        (folder / "README.md").write_text(_card(network, folder.name, licence))
    except OSError as error:
        raise ModelError(f"the model cannot be written to {folder}: {error}") from None
    return folder


def _preprocessing(network: Network) -> dict[str, Any]:
    """What the vision tower is shown, as transformers' own image processor reads it."""
    vision, settings = network.vision, network.configuration
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "patch_size": vision.patch,
        "merge_size": vision.merge,
        "temporal_patch_size": network.language.config["vision_config"]["temporal_patch_size"],
        "min_pixels": settings.min_pixels,
        "max_pixels": settings.max_pixels,
    }


def _card(network: Network, name: str, licence: str) -> str:
    settings = network.configuration.to_dict()
    shown = {key: settings[key] for key in settings if key not in ("instructions", "defaults")}
    rows = "\n".join(f"| `{key}` | {value} |" for key, value in shown.items())
    line = f"license: {licence}\n" if licence else ""
    return CARD.format(name=name, dim=network.dim, version=__version__, settings=rows, licence=line)
