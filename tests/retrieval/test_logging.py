"""What a back end's operator finds in the log."""

from __future__ import annotations

import logging
import sys

import pytest

from tests.retrieval.conftest import Fill, Painted
from virtue.embedder import Embedder
from virtue.retrieval import search
from virtue.store import Store, open_store


@pytest.fixture
def store(fill: Fill) -> Store:
    return fill(Painted("plain.png", "white", [("red", (1, 2, 30, 40))]))


def test_a_library_that_is_opened_is_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "virtue"):
        open_store(store.folder, read_only=True).close()
    assert [record.getMessage() for record in caplog.records] == [
        f"opened the library {store.folder} to read only"
    ]


def test_only_a_slow_search_is_logged(
    store: Store, embedder: Embedder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO, "virtue"):
        module = sys.modules[search.__module__]  # the package has a function of the same name
        monkeypatch.setattr(module, "SLOW_SECONDS", 1e9)
        search(store, embedder, "red")
        assert not caplog.records
        monkeypatch.setattr(module, "SLOW_SECONDS", -1.0)
        search(store, embedder, "red")
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "virtue")
    assert record.getMessage().startswith(f"a search for auto by text in {store.folder} took ")
