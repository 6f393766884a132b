"""A wrong value in config.json: one sentence that names it, for every family, in words of ours. And none of
the libraries below says a word while a sound model is loaded and used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.embedder.test_reference import REFERENCE
from tests.embedder.towers.builders import FAMILIES, save
from tests.embedder.virtue_model.checkpoints import own_folder, published_folder
from virtue import Embedder
from virtue.errors import ModelError

GONE = object()
OTHERS_WORDS = (
    "Validation error",
    "TypeError",
    "<class",
    "Traceback",
    "Errors:",
    "argument",
    "operand",
    "KeyError",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {kind: save(kind, place / kind) for kind in FAMILIES} | {
        "own": own_folder(place / "own"),
        "published": published_folder(REFERENCE, place / "published"),
    }


def refusal(folder: Path, place: Path, path: str, value: object) -> str:
    """The sentence about a copy of the folder with this setting."""
    copy = Path(shutil.copytree(folder, place / "copy"))
    settings = json.loads((copy / "config.json").read_text())
    *above, last = path.split("/")
    holder: Any = settings
    for name in above:
        holder = holder[name]
    if value is GONE:
        del holder[last]
    else:
        holder[last] = value
    (copy / "config.json").write_text(json.dumps(settings))
    with warnings.catch_warnings(), pytest.raises(ModelError) as caught:
        warnings.simplefilter("error")
        Embedder.from_pretrained(copy, device="cpu", threads=1, offline=True)
    sentence = str(caught.value).replace(str(copy), "MODEL")
    assert sentence.isprintable()
    assert not any(words in sentence for words in OTHERS_WORDS), sentence
    return sentence


WRONG = [
    ("hidden_size", "32"),
    ("hidden_size", None),
    ("hidden_size", 1.5),
    ("hidden_size", True),
    ("hidden_size", []),
    ("num_attention_heads", "x"),
    ("num_hidden_layers", None),
    ("hidden_act", "wobbly"),
    ("hidden_act", 7),
]
NEGATIVE = ["hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"]


@pytest.mark.parametrize(("name", "value"), WRONG)
@pytest.mark.parametrize("kind", [*FAMILIES, "own"])
def test_a_value_of_the_wrong_type_is_named(
    folders: dict[str, Path], tmp_path: Path, kind: str, name: str, value: object
) -> None:
    part = "language/text_config" if kind == "own" else "text_config"
    sentence = refusal(folders[kind], tmp_path, f"{part}/{name}", value)
    model = "qwen2_vl" if kind == "own" else kind
    says = f"text_config.{name} = {value!r}"
    assert sentence == f"the configuration of a {model} model says {says}, which cannot be: get it again"


@pytest.mark.parametrize("name", NEGATIVE)
@pytest.mark.parametrize("kind", [*FAMILIES, "own"])
def test_a_negative_size_is_named(folders: dict[str, Path], tmp_path: Path, kind: str, name: str) -> None:
    part = "language/text_config" if kind == "own" else "text_config"
    sentence = refusal(folders[kind], tmp_path, f"{part}/{name}", -4)
    assert sentence == f"MODEL/config.json says {name} = -4: that cannot be"


@pytest.mark.parametrize(
    ("kind", "path", "value", "says"),
    [
        ("clip", "projection_dim", 0, "config.json says projection_dim = 0: that cannot be"),
        ("clip", "projection_dim", None, "a clip model says projection_dim = None, which cannot be"),
        ("clip", "text_config/num_attention_heads", 7, "a clip model cannot be ("),
        ("clip", "vision_config/patch_size", {}, "a clip model says vision_config.patch_size = {}, which"),
        ("siglip2", "vision_config/num_patches", -1, "config.json says num_patches = -1: that cannot be"),
        ("siglip", "model_type", GONE, "MODEL is a None model: virtue knows clip, siglip, siglip2, VIRTUE"),
        ("siglip", "vision_config", GONE, "the weights of MODEL do not fit its configuration"),
        ("siglip", "vision_config", 7, "a siglip model says vision_config = 7, which cannot be"),
        ("own", "segmentation/vision_config/fpn_hidden_size", "a", "vision_config.fpn_hidden_size = 'a'"),
        ("own", "segmentation/mask_decoder_config/hidden_act", "a", "mask_decoder_config.hidden_act = 'a'"),
        ("own", "language/vision_config/depth", "2", "vision_config.depth = '2', which cannot be"),
        ("own", "language", GONE, "config.json lacks 'language'"),
        ("published", "hidden_size", "128", "a qwen2_vl model says hidden_size = '128', which cannot be"),
        ("published", "hidden_size", -128, "config.json says hidden_size = -128: that cannot be"),
        ("published", "hidden_act", "wobbly", "a qwen2_vl model says hidden_act = 'wobbly', which cannot be"),
        ("published", "vision_config/depth", [2], "vision_config.depth = [2], which cannot be"),
        ("published", "model_type", "qwen2", "the published VIRTUE stands on 'qwen2_vl'"),
    ],
)  # fmt: skip
def test_so_is_what_else_is_wrong(
    folders: dict[str, Path], tmp_path: Path, kind: str, path: str, value: object, says: str
) -> None:
    assert says in refusal(folders[kind], tmp_path, path, value)


def test_no_library_says_a_word(folders: dict[str, Path]) -> None:
    """In a process of its own, as at every command."""
    code = f"""
from virtue import Embedder
for folder in {[str(folder) for folder in folders.values()]!r}:
    Embedder.from_pretrained(folder, device="cpu", threads=1, offline=True).encode("7")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
