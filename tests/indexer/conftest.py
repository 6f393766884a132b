from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexer.shelf import Shelf
from virtue.store import open_store


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with open_store(tmp_path / "library", create=True) as store:
        yield Shelf(tmp_path, store)
        assert store.verify() == []
