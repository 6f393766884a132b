"""Pictures that are resized where they are decoded: the model gets the same bytes as when it resizes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.recipe import picture
from tests.embedder.test_reference import REFERENCE
from tests.embedder.towers.builders import save
from tests.embedder.virtue_model.checkpoints import own_folder, published_folder
from virtue import Embedder, Library
from virtue.embedder.model import Item, resizing_of
from virtue.embedder.towers.two_towers import TwoTowerModel
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.indexer.walk import walk
from virtue.indexer.workers import Pool
from virtue.pictures import Picture
from virtue.resizing import FixedSize, PatchGrid, Resizing, WholeCells

SIZES = [(400, 300), (90, 200), (64, 64), (300, 11), (7, 9), (613, 127), (1, 40)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    folder = published_folder(REFERENCE, tmp_path_factory.mktemp("models") / "published")
    return Embedder.from_pretrained(folder, device="cpu", threads=1, offline=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Every size as PNG and as JPEG, one of them lying on its side."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        picture(number, *size).save(folder / f"{number}.png")
        picture(number + 50, *size).save(folder / f"{number}.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(99, 320, 200).save(folder / "turned.jpg", exif=turned)
    return folder


def decoded(folder: Path, side: int | None, resizing: Resizing | None) -> dict[str, tuple[Picture, int]]:
    """The pictures of a folder as workers send them, and their perceptual hashes."""
    files = list(walk(os.fsencode(folder)).files.values())
    with Pool(files, side, lambda found, hashed: True, 2, resizing=resizing) as outcomes:
        done = [outcome for outcome in outcomes if outcome]
    assert all(outcome.decoded for outcome in done), [outcome.problem for outcome in done]
    return {
        os.fsdecode(outcome.found.path): (outcome.decoded.picture, outcome.decoded.phash)
        for outcome in done
        if outcome.decoded
    }


def seen_by(model: Any, picture: Picture) -> torch.Tensor:
    """All bytes of a picture that go to the model's device."""
    if isinstance(model, VirtueModel):
        staged = model._stage(picture)
        assert staged.original is None
        assert staged.fitted is not None
        return staged.fitted
    assert isinstance(model, TwoTowerModel)
    return model._preprocessing.preprocess(picture)["pixel_values"]


def assert_same_bytes(model: Any, photos: Path) -> None:
    rule = resizing_of(model)
    assert rule
    before, after = decoded(photos, model.side, None), decoded(photos, model.side, rule)
    assert before.keys() == after.keys()
    for name, (plain, phash) in before.items():
        resized, same_phash = after[name]
        assert (resized.width, resized.height, same_phash) == (plain.width, plain.height, phash)
        assert resized.resized == rule
        assert resized.pixels.shape[1::-1] == rule.size(*plain.pixels.shape[1::-1])
        assert torch.equal(seen_by(model, resized), seen_by(model, plain)), name


def test_virtue_gets_the_bytes_that_it_would_make(published: Embedder, photos: Path) -> None:
    assert isinstance(resizing_of(published.model), WholeCells)
    assert_same_bytes(published.model, photos)


@pytest.mark.parametrize(
    ("kind", "rule"), [("siglip", FixedSize), ("clip", FixedSize), ("siglip2", PatchGrid)]
)
def test_a_tower_gets_the_bytes_that_its_processor_would_make(
    kind: str, rule: type, photos: Path, tmp_path: Path
) -> None:
    model = Embedder.from_pretrained(save(kind, tmp_path / kind), device="cpu", threads=1).model
    assert isinstance(resizing_of(model), rule)
    assert_same_bytes(model, photos)


def test_models_that_need_more_of_a_picture_get_it_as_it_is(tmp_path: Path) -> None:
    """The segmentation model of today's kind sees the original, and so do crops and circles."""
    own = own_folder(tmp_path / "own", resize="pillow")
    tower, clip = (save(kind, tmp_path / kind) for kind in ("siglip", "clip"))
    for name in ("mini", own, f"{tower}#crop", f"{tower}#circle", f"{clip}#crop"):
        assert resizing_of(Embedder.from_pretrained(name).model) is None


def test_vectors_are_those_of_pictures_that_the_model_resizes(published: Embedder) -> None:
    plain = [Picture(np.array(picture(n, *size)), *size) for n, size in enumerate(SIZES[:3])]
    ready = [one.resize_by(resizing_of(published.model)) for one in plain]
    one, other = (
        published.embed([Item(scene) for scene in published.scenes(some)]) for some in (plain, ready)
    )
    assert np.array_equal(one, other)


def test_a_library_finds_photos_that_its_workers_resized(photos: Path, tmp_path: Path) -> None:
    embedder = Embedder.from_pretrained(save("siglip", tmp_path / "siglip"), device="cpu", threads=1)
    with Library(tmp_path / "library", embedder=embedder) as library:
        report = library.index(photos, regions=2, ocr=False)
        assert (report.indexed, report.problems) == (2 * len(SIZES) + 1, [])
        for file in photos.iterdir():
            (hit, *_) = library.search(file, find="photos", top=1)
            assert hit.score == pytest.approx(1, abs=2e-3)
