"""Small models of the real classes with random weights, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

SIDE, PATCH, HIDDEN = 48, 8, 32
WORDS = (
    "<pad>", "<unk>", "<s>", "</s>", "a", "red", "blue", "mug", "dog", "cat", "on", "the", "desk",
    "A", "Red", "Mug",
)  # fmt: skip
VISION = {
    "image_size": SIDE, "patch_size": PATCH, "hidden_size": HIDDEN, "intermediate_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 4,
}  # fmt: skip
TEXT = {
    "vocab_size": len(WORDS), "hidden_size": HIDDEN, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 12,
    "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0,
}  # fmt: skip
FAMILIES = ("clip", "siglip", "siglip2")


def save(kind: str, folder: Path) -> Path:
    torch.manual_seed(7)
    model, processor = {"clip": _clip, "siglip": _siglip, "siglip2": _siglip2}[kind]()
    for parameter in model.parameters():  # fresh weights are so small that all pictures look alike
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _clip():
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24)
    size, crop = {"shortest_edge": SIDE}, {"height": SIDE, "width": SIDE}
    return transformers.CLIPModel(config), transformers.CLIPImageProcessorPil(size=size, crop_size=crop)


def _siglip():
    config = transformers.SiglipConfig(vision_config=VISION, text_config={**TEXT, "projection_size": HIDDEN})
    processor = transformers.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return transformers.SiglipModel(config), processor


def _siglip2():
    vision = {key: value for key, value in VISION.items() if key != "image_size"} | {"num_patches": 36}
    config = transformers.Siglip2Config(vision_config=vision, text_config={**TEXT, "projection_size": HIDDEN})
    return transformers.Siglip2Model(config), transformers.Siglip2ImageProcessorPil(
        patch_size=PATCH, max_num_patches=40
    )


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colours: (height, width, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x * a / width * 9 + y * b / height * 9 + c) for a, b, c in random.uniform(-1, 1, (3, 3)) * 3
    ]
    return ((np.stack(waves, axis=2) + 1) * 127).astype(np.uint8)
