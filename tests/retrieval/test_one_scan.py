"""One search scores the rows of a kind once, and embeds each text once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.retrieval.conftest import ColourModel, Fill, Painted
from virtue.embedder import Embedder
from virtue.embedder.model import Find, Item
from virtue.pictures import Picture
from virtue.retrieval import Query, search
from virtue.retrieval.calibration_queries import CalibrationQueries, common_nouns
from virtue.store import Store
from virtue.store.vectors import exact


class CountingModel(ColourModel):
    """Counts what it is asked; `depends` says whether the vectors of texts depend on what is looked for."""

    def __init__(self, depends: bool) -> None:
        self._depends = depends
        self.asked: list[tuple[str | None, Find]] = []

    def depends_on_find(self, text: str) -> bool:
        return self._depends

    def queries(
        self, items: Sequence[Item], pictures: Sequence[Picture | None], find: Find
    ) -> list[np.ndarray]:
        self.asked += [(item.text, find) for item in items]
        return super().queries(items, pictures, find)


@pytest.fixture
def crowded(fill: Fill) -> Store:
    """Photos of many regions each, which searches look deeper for, and a caption each."""
    boxes = [("red", (x, 0, x + 4, 10)) for x in range(0, 36, 4)]
    photos = [Painted(f"{n}.png", "blue", boxes, [f"caption {n}"]) for n in range(12)]
    store = fill(*photos)
    with store.write("test") as writer:
        writer.refresh_calibration(CalibrationQueries(Embedder(ColourModel())))
    return store


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each scoring of rows had."""
    found: list[int] = []
    scan: Callable[..., exact.ScoredRows] = exact.scan

    def count(rows: np.ndarray, *rest: Any) -> exact.ScoredRows:
        found.append(len(rows))
        return scan(rows, *rest)

    monkeypatch.setattr(exact, "scan", count)
    return found


@pytest.mark.parametrize("min_score", [None, 0.1, "auto"])
@pytest.mark.parametrize(("find", "scans"), [("regions", [120]), ("photos", [120, 12]), ("captions", [12])])
def test_rows_are_scored_once(
    crowded: Store, scored: list[int], find: Find, scans: list[int], min_score: Any
) -> None:
    model = CountingModel(depends=False)
    hits = search(crowded, Embedder(model), "red", find=find, top=10, min_score=min_score)
    assert len(hits) == 10 or min_score or find == "captions"
    assert scored == scans
    assert len(model.asked) == 1


def test_a_picture_is_scored_once_among_the_regions(crowded: Store, scored: list[int]) -> None:
    picture = np.full((20, 20, 3), (255, 0, 0), np.uint8)
    search(crowded, Embedder(CountingModel(False)), picture, find="photos", top=12, min_score="auto")
    assert scored == [120]


def test_a_text_is_embedded_again_where_what_is_looked_for_matters(crowded: Store) -> None:
    model = CountingModel(depends=True)
    search(crowded, Embedder(model), "red", find="photos")
    assert model.asked == [("red", "photos"), ("red", "captions")]


def test_what_is_left_out_may_be_a_picture_that_is_embedded_for_both(crowded: Store) -> None:
    model = CountingModel(depends=False)
    picture = np.full((20, 20, 3), (0, 255, 0), np.uint8)
    search(crowded, Embedder(model), Query.of("red", without=picture), find="photos")
    assert [find for _, find in model.asked] == ["photos", "photos", "captions", "captions"]


def test_scores_of_rows_are_those_of_a_scan(crowded: Store) -> None:
    random = np.random.default_rng(3)
    for k in (1, 3):
        queries = random.standard_normal((k, ColourModel.dim)).astype(np.float32)
        queries[:, :5] = 0
        with crowded.read() as snapshot:
            ranked = snapshot.rank("regions", queries).top(1000)
            assert len(ranked.rows) == 120
            assert (snapshot.scores("regions", ranked.rows, queries) == ranked.scores).all()
            assert (snapshot.scores("regions", ranked.rows[:1], queries) == ranked.scores[:1]).all()


def test_the_calibration_embeds_texts_once_where_what_is_looked_for_does_not_matter() -> None:
    rows = np.eye(2, ColourModel.dim, dtype=np.float32)
    for depends, times in ((False, 1), (True, 3)):
        model = CountingModel(depends)
        queries = CalibrationQueries(Embedder(model))
        for find in ("regions", "photos", "captions"):
            queries(find, rows)  # type: ignore[arg-type]
        assert len(model.asked) == times * len(common_nouns())
