"""Small random models, saved and loaded through the public names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtue import Embedder

Make = Callable[..., Embedder]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A small model with these settings; equal settings give the same one."""
    from tests.embedder.virtue_model.checkpoints import own_folder

    made: dict[str, Embedder] = {}

    def one(**settings: object) -> Embedder:
        key = repr(sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("models") / "small"
            made[key] = Embedder.from_pretrained(own_folder(folder, **settings), device="cpu", threads=1)
        return made[key]

    return one
