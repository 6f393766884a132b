"""A library (migrated) and an export that the commit 98d2fb1 wrote open, and answer as they did then.

`data/before` holds them: `library` and `export.parquet` of five example photos (indexed below /photos, with
annotations, captions, a photo that is gone, and rows that were dropped), `indexed`, a library of made-up
vectors with an index in two segments and a tail, and what searches answered.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.store import clustered
from virtue import Hit, Library
from virtue.errors import InputError
from virtue.store import open_store

BEFORE = ROOT / "tests" / "data" / "before"
ANSWERS = json.loads((BEFORE / "answers.json").read_text())
NUMBERS = ("score", "percentile")
IDS = ("region_id", "photo_id")
NEW_MEANING = ("percentile",)
"""Keys that mean something else since, and are null until the library is indexed once more."""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE / "library", tmp_path / "library"))


def here(query: Any, photos: Path) -> Any:
    """The query with its photos where they are on this machine."""
    if isinstance(query, dict) and "image" in query:
        return query | {"image": str(photos / Path(query["image"]).name)}
    return query


def ask(library: Library, case: dict[str, Any], photos: Path) -> list[Hit]:
    options = {"find": "regions"} | case["options"]  # as was the default then
    return library.search(here(case["query"], photos), **options)


def same_hits(hits: list[Hit], case: dict[str, Any], *without: str) -> None:
    """Compares hits. Since then, all regions are without those that show the same thing as a better one."""
    if case["options"].get("all_regions"):
        then = {(hit["path"], *hit["box"]): hit for hit in case["hits"]}
        known = [(hit, then[key]) for hit in hits if (key := (hit.path, *hit.as_json()["box"])) in then]
        assert known[0] == (hits[0], case["hits"][0])
        assert len({hit.path for hit, _ in known}) > 1
        for hit, before in known:
            same(hit.as_json(), before, "rank", *without)
        return
    for hit, before in zip(hits, case["hits"], strict=True):
        same(hit.as_json(), before, *without)


def same(found: dict[str, Any], then: dict[str, Any], *without: str) -> None:
    for key in then.keys() - {*NEW_MEANING, *without}:
        # What a network gives differs in its last digits from one processor to another.
        expected = pytest.approx(then[key], abs=0.02) if key in NUMBERS else then[key]
        assert found[key] == expected, key


@pytest.mark.parametrize("case", ANSWERS["searches"], ids=lambda case: json.dumps(case["query"])[:40])
def test_a_library_from_before_answers_as_it_did(
    library: Path, example_photos: Path, case: dict[str, Any]
) -> None:
    with Library(library) as opened:
        if case["options"].get("min_score") == "auto":
            with pytest.raises(InputError, match="index once more"):
                ask(opened, case, example_photos)
            return
        hits = ask(opened, case, example_photos)
    assert {hit.sureness for hit in hits} == {None}, "what they were measured by before is dropped"
    assert len(hits) == len(case["hits"])
    same_hits(hits, case)
    assert (library / "catalogue.db.backup").exists(), "it was migrated, after a copy was made"


def test_it_is_sound_and_knows_its_duplicates(library: Path, example_photos: Path) -> None:
    with Library(library) as opened:
        assert opened.verify() == []
        (group,) = opened.similar(example_photos / "cat.jpg", threshold=0.1)
    (then,) = ANSWERS["similar"]
    then[0]["path"] = str(example_photos / "cat.jpg")  # it was in the library itself
    then.insert(1, {**group[1].as_json(), "path": "/photos/cat.jpg"})
    for file, before in zip(group, then, strict=True):
        same(file.as_json(), before)


def test_an_export_from_before_is_imported_and_answers_as_it_did(
    tmp_path: Path, example_photos: Path
) -> None:
    with Library(tmp_path / "new") as library:
        assert library.import_parquet(BEFORE / "export.parquet").photos == 6
        for case in ANSWERS["searches"]:
            if case["options"].get("min_score") == "auto" or "photo_id" in case["query"]:
                continue  # these go by what an export leaves out: calibration, ids
            hits = ask(library, case, example_photos)
            same_hits(hits, case, *IDS)


def test_an_index_from_before_finds_what_it_found(tmp_path: Path) -> None:
    folder = shutil.copytree(BEFORE / "indexed", tmp_path / "indexed")
    with open_store(folder) as store, store.read() as snapshot:
        for then in json.loads((BEFORE / "rows.json").read_text()):
            queries = clustered.vectors(2, 900 + then["seed"])[: 1 + then["seed"] % 2]
            if then["how"] == "exact":
                ranked = snapshot.exact(then["kind"], queries, 10)
            else:
                kind = "text" if then["how"] == "text" else "image"
                ranked = snapshot.search(then["kind"], queries, 10, query_kind=kind)
            assert ranked.rows.tolist() == then["rows"]
            scores = np.array([float.fromhex(score) for score in then["scores"]])
            np.testing.assert_allclose(ranked.scores, scores, atol=1e-6)
