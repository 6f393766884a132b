"""One small model of each family, on disk once."""

from pathlib import Path

import pytest
import torch

from tests.embedder.towers.builders import FAMILIES, save
from virtue.embedder import Embedder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small only wait for each other's threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("towers")
    return {kind: save(kind, place / kind) for kind in FAMILIES}


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def embedder(folder: Path) -> Embedder:
    return Embedder.from_pretrained(folder)
