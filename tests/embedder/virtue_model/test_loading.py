"""Checkpoints as they lie about: old and new names, pickles and safetensors, training checkpoints, and all
that can be wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, Qwen2VLModel

from tests.data.recipe import picture, tokens
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import (
    language_config,
    language_weights,
    own_folder,
    published_folder,
    write_all_but_language,
)
from virtue import Embedder
from virtue.embedder.virtue_model import image_preprocessing
from virtue.embedder.virtue_model.converting import convert
from virtue.embedder.virtue_model.load_virtue import load
from virtue.embedder.virtue_model.published_layout import build_qwen, parse_language_config
from virtue.errors import ModelError
from virtue.pictures import load as read_picture
from virtue.resizing import WholeCells

TEXT = " ".join(map(str, tokens(1, 9)))
"""The reference's first case."""
EXPECTED = np.asarray(REFERENCE["cases"][0]["embedding"][0])


def loaded(folder: Path) -> Embedder:
    return Embedder.from_pretrained(folder, device="cpu", threads=1, offline=True)


def new_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace("visual.", "model.visual.", 1)
        if name.startswith("visual.")
        else name.replace("model.", "model.language_model.", 1): value
        for name, value in weights.items()
    }


def as_bin(folder: Path, weights: dict[str, Tensor]) -> None:
    torch.save(weights, folder / "pytorch_model.bin")


def as_safetensors(folder: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def as_shards(folder: Path, weights: dict[str, Tensor]) -> None:
    names = sorted(weights)
    shards = {"one.bin": names[::2], "two.bin": names[1::2]}
    for file, some in shards.items():
        torch.save({name: weights[name] for name in some}, folder / file)
    placed = {name: file for file, some in shards.items() for name in some}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))


@pytest.mark.parametrize("write", [as_bin, as_safetensors, as_shards])
@pytest.mark.parametrize("names", [dict, new_names])
def test_any_names_in_any_container(
    tmp_path: Path, write: Callable[..., None], names: Callable[..., Any]
) -> None:
    weights = names(language_weights(REFERENCE))
    weights["lm_head.weight"] = torch.zeros(3)  # never asked, so its shape is nobody's business
    write_all_but_language(REFERENCE, tmp_path)
    write(tmp_path, weights)
    assert np.abs(loaded(tmp_path).encode(TEXT) - EXPECTED).max() <= 1e-5


def old_adapter_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As PEFT wrote them around the `Qwen2VLForConditionalGeneration` of transformers 4.4x."""
    return {
        name.replace("base_model.model.language_model.", "base_model.model.model."): value
        for name, value in weights.items()
    }


def newer_adapter_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace("base_model.model.language_model.", "base_model.model.model.language_model."): value
        for name, value in weights.items()
    }


@pytest.mark.parametrize("names", [dict, old_adapter_names, newer_adapter_names])
@pytest.mark.parametrize("container", ["adapter_model.bin", "adapter_model.safetensors"])
def test_a_training_checkpoint_equals_its_merged_model(tmp_path: Path, names: Any, container: str) -> None:
    config = parse_language_config(language_config(REFERENCE))
    changed: Any = get_peft_model(
        build_qwen(config, language_weights(REFERENCE), torch.float32, "the base"),
        LoraConfig(r=4, lora_alpha=32, use_dora=True, target_modules=["q_proj", "o_proj", "down_proj"]),
    )
    torch.manual_seed(0)
    for name, value in changed.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    tensors = {
        name.replace(".default", ""): value.detach().clone()
        for name, value in changed.state_dict().items()
        if "lora_" in name
    }
    tensors = {
        name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector"): v
        for name, v in tensors.items()
    }
    folder, base = tmp_path / "checkpoint", published_folder(REFERENCE, tmp_path / "base")
    folder.mkdir()
    write_all_but_language(REFERENCE, folder)
    config = {"base_model_name_or_path": str(base), "r": 4, "lora_alpha": 32, "use_dora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if container.endswith(".bin"):
        torch.save(names(tensors), folder / container)
    else:
        save_file(names(tensors), folder / container)
    merged: Qwen2VLModel = changed.merge_and_unload()
    (tmp_path / "merged").mkdir()
    write_all_but_language(REFERENCE, tmp_path / "merged")
    as_safetensors(tmp_path / "merged", {k: v.contiguous() for k, v in merged.state_dict().items()})
    vector, expected = loaded(folder).encode(TEXT), loaded(tmp_path / "merged").encode(TEXT)
    assert np.abs(vector - expected).max() <= 1e-5
    assert vector @ EXPECTED < 0.999
    # In half precision, as on a card, it is the same model.
    assert load(folder, dtype=torch.bfloat16).fingerprint == load(folder).fingerprint


def test_an_adapter_that_fits_nowhere_is_an_error(tmp_path: Path) -> None:
    base = published_folder(REFERENCE, tmp_path / "base")
    (tmp_path / "checkpoint").mkdir()
    write_all_but_language(REFERENCE, tmp_path / "checkpoint")
    config = {"base_model_name_or_path": str(base), "r": 1, "lora_alpha": 1}
    (tmp_path / "checkpoint" / "adapter_config.json").write_text(json.dumps(config))
    strange = {"base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight": torch.zeros(1, 128)}
    torch.save(strange, tmp_path / "checkpoint" / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"layers\.99\.self_attn\.q_proj"):
        loaded(tmp_path / "checkpoint")


def test_it_embeds_equally_after_conversion_and_has_the_same_fingerprint(tmp_path: Path) -> None:
    source = published_folder(REFERENCE, tmp_path / "published")
    one, other = loaded(source), loaded(convert(source, tmp_path / "converted", licence="cc-by-nc-4.0"))
    items = ["4 5 6", {"image": picture(11, 180, 140), "box": (10, 20, 90, 100), "text": "7 8"}]
    assert np.abs(one.encode(items) - other.encode(items)).max() <= 1e-6
    assert one.fingerprint == other.fingerprint
    assert one.prompts == other.prompts
    assert sorted(file.name for file in (tmp_path / "converted").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert "license: cc-by-nc-4.0" in (tmp_path / "converted" / "README.md").read_text()


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    one = loaded(own_folder(tmp_path / "one"))
    other = loaded(one.model.save_pretrained(tmp_path / "other"))
    item = {"image": picture(3, 120, 80), "points": [(30, 30)]}
    assert np.array_equal(one.encode(item), other.encode(item))
    assert one.fingerprint == other.fingerprint


def test_transformers_reads_the_processor_of_a_saved_model(tmp_path: Path) -> None:
    model = loaded(own_folder(tmp_path / "one")).model
    folder = model.save_pretrained(tmp_path / "saved")
    image = picture(3, 120, 80)
    theirs = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    vision, settings = model.network.vision, model.configuration
    cell = vision.patch * vision.merge
    fitted = WholeCells(cell, settings.min_pixels, settings.max_pixels)(read_picture(image).pixels)
    ours = vision.cut_patches(image_preprocessing.normalize(torch.from_numpy(fitted.copy())[None]))
    assert torch.allclose(theirs["pixel_values"], ours, atol=1e-6)
    words = "4 5 6"
    assert tuple(AutoTokenizer.from_pretrained(folder)(words)["input_ids"]) == model.tokenizer.encode(words)


def test_half_precision_is_the_same_model_a_little_less_exact(tmp_path: Path) -> None:
    """bfloat16 is what CUDA gets; places and frequencies stay in float32."""
    folder = own_folder(tmp_path / "model")
    one, half = loaded(folder), Embedder(load(folder, device="cpu", dtype=torch.bfloat16))
    assert half.fingerprint == one.fingerprint
    items = ["4 5 6", picture(3, 120, 80), {"image": picture(3, 120, 80), "box": (5, 5, 60, 70), "text": "7"}]
    cosines = (one.encode(items) * half.encode(items)).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.max() < 0.9999999
    assert (
        half.model.network.segmentation.model.shared_image_embedding.positional_embedding.dtype
        == torch.float32
    )
    assert half.model.network.language.model.rotary_emb.inv_freq.dtype == torch.float32


def test_other_weights_or_settings_have_another_fingerprint(tmp_path: Path) -> None:
    plain, other = own_folder(tmp_path / "plain"), own_folder(tmp_path / "other", layout="published")
    prints = {loaded(plain).fingerprint, loaded(other).fingerprint}
    weights = load_file(plain / "model.safetensors")
    weights["connector.sam2_reducer.bias"] += 0.5
    save_file(weights, plain / "model.safetensors")
    prints.add(loaded(plain).fingerprint)
    assert len(prints) == 3


# -- what can be wrong ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return published_folder(REFERENCE, tmp_path / "model")


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    weights = torch.load(file, weights_only=True)
    edit(weights)
    torch.save(weights, file)


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        ("pytorch_model.bin", lambda w: w.pop("model.norm.weight"), r"missing: language_model\.norm\.weight"),
        (
            "pytorch_model.bin",
            lambda w: w.update({"model.extra": torch.zeros(1)}),
            r"not known: language_model\.extra",
        ),
        (
            "pytorch_model.bin",
            lambda w: w.update({"model.norm.weight": torch.zeros(7)}),
            r"language_model\.norm\.weight is 7, not 128",
        ),
        ("sam2.1_small_reference.pt", lambda w: w["model"].pop("no_mem_embed"), "no_mem_embed"),
        (
            "sam2.1_small_reference.pt",
            lambda w: w["model"].pop("sam_mask_decoder.iou_token.weight"),
            r"missing: mask_decoder\.iou_token\.weight",
        ),
        (
            "sam2_reducer_and_vlm_layer.pth",
            lambda w: w["sam2vlm_layer"].pop("0.bias"),
            r"missing: sam2vlm_layer\.0\.bias",
        ),
        (
            "sam2_reducer_and_vlm_layer.pth",
            lambda w: w["sam2_reducer"].update({"bias": torch.zeros(3)}),
            r"sam2_reducer\.bias is 3, not 64",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, file: str, edit: Any, said: str) -> None:
    change(folder / file, edit)
    with pytest.raises(ModelError, match=said):
        loaded(folder)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pytorch_model.bin", "holds no weights"),
        ("sam2.1_small_reference.pt", r"SAM 2\.1 weights are missing: sam2\.1_small_reference\.pt"),
        ("tokenizer.json", "tokenizer.json is missing"),
        ("config.json", "config.json"),
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str, said: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelError, match=said):
        loaded(folder)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "sam2.1_small_reference.pt", "tokenizer.json"])
def test_a_damaged_file_is_named(folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=file.replace(".", r"\.")):
        loaded(folder)


class Payload:
    """What an attacker puts into a pickle."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"sam2_reducer": Payload(tmp_path / "was run")}, folder / "sam2_reducer_and_vlm_layer.pth")
    with pytest.raises(ModelError, match="could run code"):
        loaded(folder)
    assert not (tmp_path / "was run").exists()


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ModelError, match="there is no device 'cuda:99' here: use one of cpu"):
        Embedder.from_pretrained(folder, device="cuda:99")


def test_a_configuration_from_the_future(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["configuration"]["telepathy"] = True
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"telepathy.*update virtue"):
        loaded(folder)
