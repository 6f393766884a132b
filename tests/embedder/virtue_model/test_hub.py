"""SAM 2.1 that is not in the model's folder: from the hub, or from a folder that transformers saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.data.recipe import picture
from tests.embedder.stand_in_hub import Hub, running
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import published_folder
from virtue import Embedder
from virtue.errors import ModelError

NAME, SAM = "someone/virtue", "facebook/sam2.1-hiera-base-plus"
CHECKPOINT = "./sam2_checkpoints/sam2.1_hiera_base_plus.pt"
"""What the released config.json says, and the released folder does not hold."""
PICTURE, BOX = (11, 180, 140), (10, 20, 90, 100)

ENCODE = f"""
import numpy, sys
from tests.data.recipe import picture
from virtue import Embedder
embedder = Embedder.from_pretrained({NAME!r}, device="cpu", threads=1)
numpy.save(sys.argv[1], embedder.encode({{"image": picture(*{PICTURE}), "box": {BOX}, "text": "7 8"}}))
"""
Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model "whole", with SAM 2.1 as Meta's file, and as "virtue" without; "sam" as the hub has it: saved
    by transformers as a model for video, of which the image part is wanted."""
    place = tmp_path_factory.mktemp("hub")
    whole = published_folder(REFERENCE, place / "whole")
    bare = published_folder(REFERENCE, place / "virtue")
    for file in bare.glob("sam2.1*"):
        file.unlink()
    config = json.loads((bare / "config.json").read_text())
    config["virtue_sam"] |= {"checkpoint": CHECKPOINT, "config_path": "./sam2.1/sam2.1_hiera_b+.yaml"}
    (bare / "config.json").write_text(json.dumps(config))
    embedder = Embedder.from_pretrained(whole, device="cpu", threads=1)
    embedder.model.network.segmentation.model.save_pretrained(place / "sam")
    settings = json.loads((place / "sam" / "config.json").read_text())
    video = {"model_type": "sam2_video", "architectures": ["Sam2VideoModel"]}
    (place / "sam" / "config.json").write_text(json.dumps(settings | video))
    weights = load_file(place / "sam" / "model.safetensors")
    weights["memory_encoder.projection.weight"] = torch.zeros(2, 2)
    weights["no_object_pointer"] = torch.zeros(1, 2)
    save_file(weights, place / "sam" / "model.safetensors", metadata={"format": "pt"})
    return {"whole": whole, "virtue": bare, "sam": place / "sam"}


@pytest.fixture
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    with running({NAME: folders["virtue"], SAM: folders["sam"]}) as server:
        yield server


@pytest.fixture
def python(hub: Hub, home: Path) -> Program:
    """Runs a program of a user whose hub is `hub` and whose cache is empty at first."""

    def run(program: str, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        known = {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
            **env,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        command = [sys.executable, "-c", program, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=clean | known)

    return run


def expected(folders: dict[str, Path]) -> np.ndarray:
    embedder = Embedder.from_pretrained(folders["whole"], device="cpu", threads=1)
    return embedder.encode({"image": picture(*PICTURE), "box": BOX, "text": "7 8"})


def test_sam_is_fetched_from_the_hub_once(
    python: Program, hub: Hub, folders: dict[str, Path], tmp_path: Path
) -> None:
    done = python(ENCODE, tmp_path / "first.npy")
    assert done.returncode == 0, done.stderr
    assert any(SAM in line for line in hub.asked)
    np.testing.assert_allclose(np.load(tmp_path / "first.npy"), expected(folders), atol=1e-6)
    hub.asked.clear()
    assert python(ENCODE, tmp_path / "again.npy", HF_HUB_OFFLINE="1").returncode == 0
    assert hub.asked == []
    assert np.array_equal(np.load(tmp_path / "first.npy"), np.load(tmp_path / "again.npy"))


def test_pulling_the_model_pulls_its_sam(python: Program, hub: Hub, tmp_path: Path) -> None:
    done = python(f"from virtue.embedder.families import pull; pull({NAME!r})")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [NAME, SAM], done.stderr
    assert all("licence: cc-by-nc-4.0" in line for line in done.stdout.splitlines())
    assert python(ENCODE, tmp_path / "vector.npy", HF_HUB_OFFLINE="1").returncode == 0


def test_sam_that_is_nowhere_is_one_sentence(python: Program, hub: Hub, tmp_path: Path) -> None:
    del hub.models[SAM]
    done = python(ENCODE, tmp_path / "vector.npy")
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("virtue.errors.ModelError: the SAM 2.1 weights are missing: "), done.stderr
    assert "sam2.1_hiera_base_plus.pt is not in " in said
    assert f"{SAM} cannot be had (there is no model called {SAM!r} on the hub" in said
    assert said.endswith("put the .pt file there")


def test_sam_may_be_a_folder_of_transformers_beside_the_rest(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(folders["virtue"], tmp_path / "model")
    shutil.copytree(folders["sam"], tmp_path / "model" / "sam2.1-hiera-base-plus")
    embedder = Embedder.from_pretrained(tmp_path / "model", device="cpu", threads=1, offline=True)
    vector = embedder.encode({"image": picture(*PICTURE), "box": BOX, "text": "7 8"})
    np.testing.assert_allclose(vector, expected(folders), atol=1e-6)
    weights = load_file(tmp_path / "model" / "sam2.1-hiera-base-plus" / "model.safetensors")
    del weights["no_memory_embedding"]
    save_file(weights, tmp_path / "model" / "sam2.1-hiera-base-plus" / "model.safetensors")
    with pytest.raises(ModelError, match="missing: no_memory_embedding"):
        Embedder.from_pretrained(tmp_path / "model", device="cpu", threads=1, offline=True)
