"""VIRTUE's folders from strangers: nothing in them runs, and one sentence says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.embedder.refusal import refusal
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import own_folder, published_folder, write_all_but_language
from virtue import Embedder
from virtue.embedder import convert
from virtue.errors import ModelError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("sound")
    published, adapter = published_folder(REFERENCE, place / "published"), place / "adapter"
    adapter.mkdir()
    write_all_but_language(REFERENCE, adapter)
    settings = {"base_model_name_or_path": str(published), "r": 2, "lora_alpha": 4}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_{}.weight"
    shapes = {"A": (2, 128), "B": (128, 2)}
    tensors = {name.format(side): torch.full(shape, 0.01) for side, shape in shapes.items()}
    torch.save(tensors, adapter / "adapter_model.bin")
    return {"published": published, "adapter": adapter, "own": own_folder(place / "own")}


@pytest.fixture
def copy_of(sound: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(sound[kind], tmp_path / kind))


def change(file: Path, path: str, value: object) -> None:
    values = json.loads(file.read_text())
    *above, last = path.split("/")
    holder = values
    for key in above:
        holder = holder[key]
    holder[last] = value
    file.write_text(json.dumps(values))


@pytest.mark.parametrize("kind", ["published", "adapter", "own"])
def test_a_folder_that_names_code_is_refused(copy_of: Callable[[str], Path], kind: str) -> None:
    folder = copy_of(kind)
    change(folder / "config.json", "auto_map", {"AutoModel": "evil.Model"})
    assert "config.json names code to run (auto_map)" in refusal(folder)


def test_no_such_folder_is_converted(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("own")
    change(folder / "tokenizer_config.json", "auto_map", {"AutoTokenizer": ["evil.T", None]})
    with pytest.raises(ModelError, match=r"tokenizer_config\.json names code to run"):
        convert(folder, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "sam2.1_small_reference.pt"])
def test_weights_larger_than_memory_are_not_read(copy_of: Callable[[str], Path], file: str) -> None:
    folder = copy_of("published")
    os.truncate(folder / file, 2 * 10**12)  # sparse: it takes no room
    assert f"{file} is larger than the memory of this machine" in refusal(folder)


def test_the_base_of_a_checkpoint_is_checked_too(copy_of: Callable[[str], Path]) -> None:
    base, folder = copy_of("published"), copy_of("adapter")
    change(folder / "adapter_config.json", "base_model_name_or_path", str(base))
    change(base / "config.json", "auto_map", {"AutoModel": "evil.Model"})
    assert f"{base / 'config.json'} names code to run" in refusal(folder)


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("published", "pytorch_model.bin"),
        ("published", "sam2.1_small_reference.pt"),
        ("published", "sam2_reducer_and_vlm_layer.pth"),
        ("adapter", "adapter_model.bin"),
    ],
)
def test_no_pickle_is_run(copy_of: Callable[[str], Path], tmp_path: Path, kind: str, file: str) -> None:
    folder = copy_of(kind)
    torch.save({"model": {"a": Payload(tmp_path / "ran")}}, folder / file)
    assert f"{file} holds more than tensors, and loading it could run code" in refusal(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [[1, 2], 7, "x", None])
@pytest.mark.parametrize("file", ["sam2.1_small_reference.pt", "sam2_reducer_and_vlm_layer.pth"])
def test_pickles_of_anything_else_are_refused(
    copy_of: Callable[[str], Path], file: str, value: object
) -> None:
    folder = copy_of("published")
    torch.save(value, folder / file)
    assert "holds no tensors by name" in refusal(folder)
    torch.save({"model": value}, folder / file)
    refusal(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("configuration/segmentation_tokens", "16"),
        ("configuration/segmentation_tokens", 10**12),
        ("configuration/max_pixels", 10**12),
        ("configuration/max_pixels", -1),
        ("configuration/max_text_tokens", 1.5),
        ("configuration/side", [1]),
        ("configuration/flat_positions", "no"),
        ("configuration/instructions", {"a": 7}),
        ("configuration/defaults", []),
        ("configuration/layout", ["published"]),
        ("configuration", 7),
        ("language", None),
        ("language/text_config", "x"),
        ("language/text_config/hidden_size", 10**12),
        ("language/text_config/num_hidden_layers", 10**9),
        ("language/text_config/vocab_size", -5),
        ("language/vision_config/depth", 0),
        ("segmentation/prompt_encoder_config/image_size", 10**9),
        ("segmentation/prompt_encoder_config/image_size", "256"),
        ("segmentation/mask_decoder_config/num_multimask_outputs", 10**9),
        ("segmentation/vision_config/backbone_config", {"model_type": "timm_backbone", "backbone": "x"}),
        ("segmentation/vision_config/backbone_config/blocks_per_stage", [10**9]),
    ],
)
def test_settings_that_are_none_are_refused(copy_of: Callable[[str], Path], path: str, value: object) -> None:
    folder = copy_of("own")
    change(folder / "config.json", path, value)
    refusal(folder)


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("preprocessor_config.json", "max_pixels", "many"),
        ("preprocessor_config.json", "max_pixels", -5),
        ("preprocessor_config.json", "size", [1]),
        ("config.json", "virtue_sam/checkpoint", "/dev/zero"),
        ("config.json", "virtue_sam/config_path", "../../x.yaml"),
    ],
)
def test_what_a_published_folder_says_stays_in_it(
    copy_of: Callable[[str], Path], file: str, path: str, value: object
) -> None:
    folder = copy_of("published")
    if path.startswith("virtue_sam"):
        (folder / "sam2.1_small_reference.pt").rename(folder.parent / "sam.pt")
        (folder / "sam2.1_small_reference.yaml").rename(folder.parent / "sam.yaml")
    change(folder / file, path, value)
    refusal(folder)


def test_a_yaml_that_names_itself_many_times_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("published")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    lines += ["model: {image_encoder: {trunk: {stages: *a11}}}"]
    (folder / "sam2.1_small_reference.yaml").write_text("\n".join(lines))
    assert "holds more than 500,000 values" in refusal(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [("r", 10**9), ("r", "2"), ("r", 0), ("lora_alpha", "4"), ("rank_pattern", {"(a+)+$": 2}),
     ("rank_pattern", {"o_proj": 10**9}), ("alpha_pattern", [1]), ("base_model_name_or_path", 7),
     ("base_model_name_or_path", "x\0y"), ("base_model_name_or_path", "nowhere/at-all")],
)  # fmt: skip
def test_an_adapter_that_is_none_is_refused(copy_of: Callable[[str], Path], path: str, value: object) -> None:
    folder = copy_of("adapter")
    change(folder / "adapter_config.json", path, value)
    refusal(folder)


def test_words_that_the_model_does_not_know_are_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("own")
    change(folder / "tokenizer.json", "model/vocab/9", 10**6)
    embedder = Embedder.from_pretrained(folder, device="cpu", threads=1)
    with pytest.raises(ModelError, match="knows more words than the model"):
        embedder.encode("9")
