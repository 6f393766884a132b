"""`max_pixels`: VIRTUE sees pictures smaller, as a model of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.data.recipe import picture
from tests.embedder.towers.builders import save
from tests.embedder.virtue_model.checkpoints import own_folder
from virtue import Embedder, Library
from virtue.errors import ModelError
from virtue.pictures import load as read_picture

OWN, FEWER = 40_000, 20_000
PHOTO = picture(1, 280, 280)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_folder(tmp_path_factory.mktemp("models") / "small", max_pixels=OWN)


def load(name: object, **options: object) -> Embedder:
    return Embedder.from_pretrained(str(name), device="cpu", threads=1, offline=True, **options)


def test_fewer_pixels_are_fewer_tokens_and_another_model(folder: Path) -> None:
    whole, fewer, by_name = load(folder), load(folder, max_pixels=FEWER), load(f"{folder}#max-pixels={FEWER}")
    tokens = [len(one.scenes([read_picture(PHOTO)])[0].tokens) for one in (whole, fewer)]
    assert tokens == [7 * 7, 5 * 5]  # of 28 x 28 pixels
    assert fewer.name == by_name.name == f"{folder.resolve()}#max-pixels={FEWER}"
    assert fewer.fingerprint == by_name.fingerprint != whole.fingerprint
    np.testing.assert_array_equal(fewer.encode(PHOTO), by_name.encode(PHOTO))
    assert np.abs(fewer.encode(PHOTO) - whole.encode(PHOTO)).max() > 1e-3
    # What was small enough is the same, and so is a text.
    small = picture(2, 56, 84)
    np.testing.assert_allclose(fewer.encode([small, "7 8"]), whole.encode([small, "7 8"]), atol=1e-6)


def test_a_saved_copy_keeps_the_setting(folder: Path, tmp_path: Path) -> None:
    fewer = load(folder, max_pixels=FEWER)
    fewer.model.save_pretrained(tmp_path / "saved")
    assert load(tmp_path / "saved").fingerprint == fewer.fingerprint


def test_a_library_remembers_it(folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    PHOTO.save(photos / "1.png")
    with Library(tmp_path / "library", embedder=load(folder, max_pixels=FEWER)) as library:
        library.index(photos, ocr=False, regions="none")
    with Library(tmp_path / "library") as library:
        assert library.embedder.fingerprint == load(folder, max_pixels=FEWER).fingerprint
        (hit,) = library.search(photos / "1.png", find="photos")
        assert hit.score == pytest.approx(1, abs=2e-3)


def test_the_command_line_has_it(virtue: Run, folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    PHOTO.save(photos / "1.png")
    words = ["--regions", "none", "--max-pixels", FEWER, "-d", "lib"]
    done = virtue("index", photos, "--model", folder, *words)
    assert done.returncode == 0, done.stderr.decode()
    status = virtue("status", "-d", "lib", "--json")
    assert json.loads(status.stdout)["model"] == f"{folder.resolve()}#max-pixels={FEWER}"
    assert virtue("search", photos / "1.png", "-d", "lib", "-f").returncode == 0
    alone = virtue("index", photos, *words)
    assert alone.returncode == 2
    assert b"--max-pixels makes another model of one: name that too" in alone.stderr
    tried = virtue("models", "try", folder, photos / "1.png", "7 8", "--max-pixels", "99999999999")
    assert tried.returncode == 2
    assert b"max_pixels=99999999999 is out of range" in tried.stderr


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    for pixels in (-5, 0, 3_135, 16 * 1_003_520 + 1, 10**12):
        with pytest.raises(ModelError, match=f"^max_pixels={pixels} is out of range: use 3136 to 16056320; "):
            load(folder, max_pixels=pixels)
    with pytest.raises(ModelError, match="names #published, and max_pixels=20000 another: give one"):
        load(f"{folder}#published", max_pixels=FEWER)
    with pytest.raises(ModelError, match="#max-pixels=20000 is not for this model"):
        load(save("clip", tmp_path / "clip"), max_pixels=FEWER)
    with pytest.raises(ModelError, match="no variants"):
        Embedder.from_pretrained("mini", max_pixels=FEWER)
