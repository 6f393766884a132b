"""What a model computes with: chosen by the device, or as asked; the same model in every dtype."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Run
from tests.embedder.test_precision import ITEMS
from tests.embedder.towers.builders import FAMILIES, picture, save
from tests.embedder.virtue_model.checkpoints import own_folder
from virtue import Embedder, Library
from virtue.embedder.dtypes import choose_dtype, dtype_name, find_dtype, torch_dtype
from virtue.errors import InputError, ModelError
from virtue.pictures import load

DTYPES = ("fp32", "bf16", "fp16")
WORDS = {"virtue": ["7 8 9", "11"]}
"""The small VIRTUE's words are numbers."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {kind: save(kind, place / kind) for kind in FAMILIES} | {"virtue": own_folder(place / "virtue")}


@pytest.mark.parametrize(
    ("device", "capability", "chosen"),
    [
        ("cuda", 7, "fp16"),  # V100, T4, RTX 20
        ("cuda", 8, "bf16"),  # A100, RTX 30 and 40
        ("cuda", 9, "bf16"),  # H100
        ("cuda", 12, "bf16"),  # RTX 50
        ("cpu", None, "fp32"),
        ("mps", None, "fp32"),
    ],
)
def test_auto_is_what_the_device_is_good_at(device: str, capability: int | None, chosen: str) -> None:
    assert choose_dtype(device, capability) == chosen


def test_names_are_torchs_dtypes() -> None:
    cpu = torch.device("cpu")
    assert [find_dtype(name, cpu) for name in ("auto", *DTYPES)] == ["fp32", *DTYPES]
    assert [torch_dtype(name) for name in DTYPES] == [torch.float32, torch.bfloat16, torch.float16]
    assert [dtype_name(torch_dtype(name)) for name in DTYPES] == list(DTYPES)


@pytest.mark.parametrize("kind", [*FAMILIES, "clip#roi", "siglip#roi", "clip#crop", "virtue"])
def test_a_model_is_the_same_in_every_dtype(kind: str, folders: dict[str, Path]) -> None:
    """Vectors differ by rounding, the fingerprint does not: what a card made is searched on a laptop."""
    family, _, variant = kind.partition("#")
    name = f"{folders[family]}{'#' * bool(variant)}{variant}"
    items = [*ITEMS, *WORDS.get(family, ["a red mug", "a dog"])]
    made = {}
    for dtype in DTYPES:
        embedder = Embedder.from_pretrained(name, device="cpu", threads=1, dtype=dtype)
        assert embedder.dtype == dtype
        made[dtype] = embedder.encode(items), embedder.fingerprint
        [scene] = embedder.scenes([load(picture(96, 64))])
        embedder.propose(scene, 4)
    exact, fingerprint = made["fp32"]
    for dtype, limit in (("bf16", 0.99), ("fp16", 0.999)):
        rows, other = made[dtype]
        assert other == fingerprint
        assert rows.dtype == np.float32
        assert (rows * exact).sum(axis=1).min() > limit
        assert not np.array_equal(rows, exact)


def test_weights_take_half_the_memory_in_16_bits(folders: dict[str, Path]) -> None:
    def size(dtype: str) -> int:
        embedder = Embedder.from_pretrained(folders["virtue"], device="cpu", threads=1, dtype=dtype)
        return sum(value.nbytes for value in embedder.model.network.parameters())

    assert size("bf16") == size("fp16") == size("fp32") / 2


def test_auto_is_the_default_and_a_copy_elsewhere_has_the_dtype(folders: dict[str, Path]) -> None:
    assert Embedder.from_pretrained(folders["clip"], device="cpu", threads=1).dtype == "fp32"
    half = Embedder.from_pretrained(folders["clip"], device="cpu", threads=1, dtype="bf16")
    assert pickle.loads(pickle.dumps(half)).dtype == "bf16"


def test_numbers_that_fp16_cannot_hold_are_said_to_be_so(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folders["clip"] / "model.safetensors")
    weights["text_projection.weight"] *= 1e6
    for file in folders["clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(weights, tmp_path / "model.safetensors")
    assert Embedder.from_pretrained(tmp_path, device="cpu", threads=1).encode("a dog").shape == (24,)
    half = Embedder.from_pretrained(tmp_path, device="cpu", threads=1, dtype="fp16")
    with pytest.raises(ModelError, match="made numbers that fp16 cannot hold: load it with dtype='fp32'"):
        half.encode("a dog")


def test_what_is_no_dtype_is_refused(folders: dict[str, Path]) -> None:
    for name in ("mini", folders["clip"]):
        with pytest.raises(ModelError, match=r"^dtype='int8' is none of auto, fp32, bf16, fp16$"):
            Embedder.from_pretrained(name, dtype="int8")  # type: ignore[arg-type]


def test_mini_has_no_choice() -> None:
    assert Embedder.from_pretrained("mini", dtype="auto").dtype is None
    with pytest.raises(
        ModelError, match=r"^the model 'mini' comes in one precision: leave out dtype='bf16'$"
    ):
        Embedder.from_pretrained("mini", dtype="bf16")


def test_a_library_passes_it_on(folders: dict[str, Path], tmp_path: Path) -> None:
    with Library(tmp_path, embedder=str(folders["clip"]), dtype="bf16") as library:
        assert library.embedder.dtype == "bf16"
    loaded = Embedder.from_pretrained("mini")
    with pytest.raises(InputError, match="dtype='bf16' comes too late for an Embedder"):
        Library(tmp_path, embedder=loaded, dtype="bf16")


def test_commands_take_it(virtue: Run, folders: dict[str, Path], tmp_path: Path) -> None:
    photos, place = tmp_path / "photos", ["-d", tmp_path / "library"]
    photos.mkdir()
    Image.fromarray(picture(96, 64)).save(photos / "a.png")

    def fails(*words: object, **variables: str) -> str:
        done = virtue(*words, env=variables)
        assert done.returncode == 2
        (line,) = done.stderr.decode().splitlines()
        return line

    indexed = virtue("index", photos, *place, "--model", folders["clip"], "--dtype", "bf16", "-q")
    assert (indexed.returncode, indexed.stderr) == (0, b"")
    found = virtue("search", "a red mug", *place, env={"VIRTUE_DTYPE": "fp32"})
    assert (found.returncode, found.stderr) == (0, b"")
    tried = virtue("models", "try", folders["clip"], photos / "a.png", "a dog", "--dtype", "fp16")
    assert tried.returncode == 0
    assert "'half' is not one of 'auto', 'fp32'" in fails("search", "a", *place, "--dtype", "half")
    line = fails("models", "try", "mini", photos / "a.png", "a", VIRTUE_DTYPE="bf16")
    assert line.endswith("comes in one precision: leave out dtype='bf16' (type `--dtype auto`)")
