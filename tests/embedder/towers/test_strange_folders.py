"""Folders of models from strangers: nothing in them runs, and one sentence says what is wrong."""

from __future__ import annotations

import ast
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT
from tests.embedder.refusal import refusal
from virtue import Embedder
from virtue.errors import ModelError

CODE = {"AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", None], "AutoImageProcessor": "evil.P"}
HUGE = 3_000_000_000


@pytest.fixture
def clip(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A CLIP of a stranger, with code beside it that leaves a mark."""
    copy = Path(shutil.copytree(folders["clip"], tmp_path / "clip"))
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nModel = T = P = object\n"
    (copy / "evil.py").write_text(code)
    return copy


def settings(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(file.read_text()) if file.exists() else {}
    change(values)
    file.write_text(json.dumps(values))


# -- code ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "auto_map", CODE),
        ("preprocessor_config.json", "auto_map", CODE),
        ("processor_config.json", "auto_map", CODE),
        ("tokenizer_config.json", "auto_map", CODE),
        ("config.json", "custom_pipelines", {"x": {"impl": "evil.Pipe"}}),
        ("config.json", "attn_implementation", "evil/kernel"),
        ("config.json", "anything", "evil.py"),
        ("generation_config.json", "custom_generate", "evil"),
        ("tokenizer_config.json", "vocab_file", "/dev/zero"),
        ("adapter_config.json", "auto_mapping", "evil.py"),
    ],
)
def test_a_folder_that_names_code_is_refused(clip: Path, file: str, key: str, value: object) -> None:
    settings(clip / file, lambda values: values.update({key: value}))
    assert f"{file} names code to run" in refusal(clip)


def test_code_is_found_at_any_depth_and_in_lists(clip: Path) -> None:
    settings(clip / "config.json", lambda values: values["text_config"].update(x=[{"auto_map": CODE}]))
    assert "config.json names code to run (auto_map)" in refusal(clip)


def test_modules_of_others_are_refused(clip: Path) -> None:
    (clip / "modules.json").write_text('[{"idx": 0, "path": "", "type": "evil.Model"}]')
    assert "modules.json names code to run (evil.Model)" in refusal(clip)
    (clip / "modules.json").write_text('[{"idx": 0, "type": "sentence_transformers.models.CLIPModel"}]')
    Embedder.from_pretrained(clip, device="cpu", threads=1)


def test_nobody_is_asked_on_the_terminal(clip: Path, photos: Path) -> None:
    """transformers asks whether to run it, and `y` would."""
    settings(clip / "preprocessor_config.json", lambda values: values.update(auto_map=CODE))
    command = [
        sys.executable,
        "-m",
        "virtue",
        "index",
        photos,
        "--model",
        clip,
        "-d",
        clip.parent / "library",
    ]
    done = subprocess.run(command, input=b"y\ny\ny\n", capture_output=True, check=False)
    assert done.returncode == 2
    (sentence,) = done.stderr.decode().splitlines()
    assert "preprocessor_config.json names code to run (auto_map), and virtue runs none" in sentence
    assert done.stdout == b""
    assert not (clip.parent / "ran").exists()


def test_every_call_that_could_load_code_says_no() -> None:
    calls = [
        call
        for file in (ROOT / "virtue").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("Auto")
    ]
    said = [{word.arg: ast.unparse(word.value) for word in call.keywords} for call in calls]
    assert len(said) == 2
    assert all(words.get("trust_remote_code") == "False" for words in said)
    assert all(words.get("local_files_only") == "True" for words in said)


def test_settings_that_choose_other_classes_or_kernels_are_left_out(clip: Path) -> None:
    expected = Embedder.from_pretrained(clip, device="cpu", threads=1).encode("a red mug")
    odd = {
        "return_dict": False,
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "attn_implementation": "flash_attention_2",
        "torch_dtype": "int8",
        "per_layer_config": {"0": {"hidden_size": 8}},
        "architectures": ["os.system"],
    }
    settings(clip / "config.json", lambda values: values.update(odd))
    settings(clip / "config.json", lambda values: values["text_config"].update(odd, model_type="llama"))
    found = Embedder.from_pretrained(clip, device="cpu", threads=1).encode("a red mug")
    assert np.allclose(found, expected, atol=1e-6)


def test_an_adapter_beside_it_leads_to_no_other_model(clip: Path) -> None:
    adapter = {"base_model_name_or_path": "./elsewhere", "peft_type": "LORA", "r": 4, "target_modules": ["x"]}
    (clip / "adapter_config.json").write_text(json.dumps(adapter))
    assert Embedder.from_pretrained(clip, device="cpu", threads=1).encode("a mug").shape == (24,)


# -- pickles ------------------------------------------------------------------------------------------------


class Payload:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_a_pickle_runs_nothing(clip: Path, tmp_path: Path, is_zip: bool, name: str) -> None:
    weights: dict[str, Any] = dict(load_file(clip / "model.safetensors"))
    (clip / "model.safetensors").unlink()
    weights["logit_scale"] = Payload(os.mkdir, str(tmp_path / "ran"))
    torch.save(weights, clip / name, _use_new_zipfile_serialization=is_zip)
    if name != "pytorch_model.bin":
        (clip / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert f"{name} holds more than tensors, and loading it could run code" in refusal(clip)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_of_tensors_is_read(clip: Path, is_zip: bool) -> None:
    expected = Embedder.from_pretrained(clip, device="cpu", threads=1)
    weights = load_file(clip / "model.safetensors")
    (clip / "model.safetensors").unlink()
    torch.save(weights, clip / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    found = Embedder.from_pretrained(clip, device="cpu", threads=1)
    assert found.fingerprint == expected.fingerprint
    assert np.allclose(found.encode("a cat"), expected.encode("a cat"), atol=1e-6)


def test_a_pickle_gets_no_memory_beyond_its_bytes(clip: Path) -> None:
    (clip / "model.safetensors").unlink()
    file = clip / "pytorch_model.bin"
    torch.save({"a": Payload(bytearray, 10**13)}, file)
    assert "could run code: ask its author for safetensors (__builtin__.bytearray)" in refusal(clip)
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, file)
    assert "a is larger than the file" in refusal(clip)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000_000))
    assert "its parts are compressed" in refusal(clip)


# -- settings and weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"7", b"[]", b"{", b"\xff\xfe{\0}\0", b'{"a": NaN}', b'{"a": 1e999}',
        b'{"a": 1, "a": 2}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" + b"1," * 3_000_000 + b"1]",
    ],
)  # fmt: skip
def test_what_is_no_settings_is_refused(clip: Path, file: str, content: bytes) -> None:
    (clip / file).write_bytes(content)
    refusal(clip)


@pytest.mark.parametrize(
    "make",
    [
        lambda file: os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), HUGE),
        os.mkfifo,
        os.mkdir,
        lambda file: os.symlink("/dev/zero", file),
        lambda file: os.symlink(file.name, file),
    ],
    ids=["gigabytes", "a pipe", "a folder", "a device", "a loop"],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "merges.txt", "chat_template.jinja"])
def test_what_is_no_file_is_never_read(clip: Path, make: Callable[[Path], Any], name: str) -> None:
    (clip / name).unlink(missing_ok=True)
    make(clip / name)
    assert f"{clip / name} is" in refusal(clip)


@pytest.mark.parametrize("value", [None, -1, 0, 7, 10**6, 10**12, 2**63, "32", [], {}, 1.5, True])
@pytest.mark.parametrize(
    "key",
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "patch_size",
        "image_size",
    ],
)
def test_sizes_that_are_none_are_refused(clip: Path, key: str, value: object) -> None:
    settings(clip / "config.json", lambda values: values["vision_config"].update({key: value}))
    refusal(clip)


@pytest.mark.parametrize(
    ("key", "value"),
    [("size", {"shortest_edge": 10**9}), ("size", {"height": 10**6, "width": 10**6}), ("size", "x"),
     ("crop_size", {"height": 47, "width": 48}), ("image_mean", [1, 2]), ("image_mean", ["a", "b", "c"]),
     ("image_std", [0, 0, 0]), ("rescale_factor", "x"), ("rescale_factor", 1e308), ("resample", 77),
     ("image_processor_type", "AutoModel"), ("image_processor_type", "DetrImageProcessor"),
     ("image_processor_type", ["x"])],
)  # fmt: skip
def test_a_processor_that_does_not_fit_is_refused(clip: Path, key: str, value: object) -> None:
    settings(clip / "preprocessor_config.json", lambda values: values.update({key: value}))
    refusal(clip)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(clip: Path, value: float) -> None:
    weights = load_file(clip / "model.safetensors")
    weights["text_model.final_layer_norm.weight"][3] = value
    save_file(weights, clip / "model.safetensors")
    sentence = refusal(clip)
    assert sentence.endswith("not all numbers: text_model.final_layer_norm.weight holds NaN or infinity")


def test_vectors_that_are_no_numbers_are_never_returned(clip: Path) -> None:
    weights = load_file(clip / "model.safetensors")
    weights["text_projection.weight"].fill_(3e38)
    save_file(weights, clip / "model.safetensors")
    embedder = Embedder.from_pretrained(clip, device="cpu", threads=1)
    with pytest.raises(ModelError, match="made vectors that are none: its weights are damaged"):
        embedder.encode("a red mug")


@pytest.mark.parametrize(
    "change",
    [
        lambda header, name: header[name].update(shape=[10**12]),
        lambda header, name: header[name].update(shape=[2**62, 16]),
        lambda header, name: header[name].update(data_offsets=[0, 10**15]),
        lambda header, name: header[name].update(dtype="F4"),
        lambda header, name: header.update(a=7),
        lambda header, name: header.update({"x" * 30_000_000: None}),
    ],
)
def test_a_header_that_lies_is_refused(clip: Path, change: Callable[[Any, str], Any]) -> None:
    file = clip / "model.safetensors"
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header, "logit_scale")
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    assert "model.safetensors cannot be read (" in refusal(clip)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_beyond_what_is_described_are_not_read(clip: Path, name: str) -> None:
    (clip / "model.safetensors").rename(clip / name)
    os.truncate(clip / name, 2 * 10**12)  # sparse: it takes no room
    assert "far more than its configuration describes" in refusal(clip)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/dev/zero", "a/b.safetensors", ""])
def test_shards_lie_in_the_folder(clip: Path, name: str) -> None:
    (clip / "model.safetensors").rename(clip.parent / "outside.safetensors")
    (clip / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert "which is not a file of its folder" in refusal(clip)


def test_words_that_the_text_tower_does_not_know_are_refused(clip: Path) -> None:
    settings(clip / "tokenizer.json", lambda values: values["model"]["vocab"].update(mug=10**6))
    embedder = Embedder.from_pretrained(clip, device="cpu", threads=1)
    with pytest.raises(ModelError, match="the tokenizer knows more words than the text tower"):
        embedder.encode("a red mug")
