"""How high the best hits of sample queries score."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.builders import DIM, every_vector, file, filled, photo, vectors
from virtue.store import NewCaption, Store, open_store
from virtue.store import layout as names
from virtue.store.calibration import QUANTILE_LEVELS, SampleQueries, ScoreDistribution
from virtue.store.records import Find, QueryKind

TEXTS = vectors(50, 7)
BASELINES = np.linspace(-0.5, 0.5, 50, dtype=np.float32)


def ask(find: Find, rows: np.ndarray) -> Mapping[QueryKind, SampleQueries]:
    asked = -rows if find == "captions" else rows
    return {"image": SampleQueries(asked), "text": SampleQueries(TEXTS, BASELINES)}


def refreshed(store: Store) -> bool:
    with store.write("test") as writer:
        return writer.refresh_calibration(ask)


def test_they_are_the_quantiles_of_the_best_scores_among_other_photos(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 5, captions=[NewCaption("a", "sidecar")]) as store:
        assert refreshed(store)
        with store.read() as snapshot:
            regions, captions = (every_vector(snapshot, kind) for kind in ("regions", "captions"))
            found = {
                (find, kind): snapshot.score_distribution(find, kind)
                for find in ("regions", "photos", "captions")
                for kind in ("image", "text")
            }
            shifted = snapshot.score_distribution("regions", "text", 0.25)
    photos = np.repeat(np.arange(5), 2)
    among = np.where(photos[:, None] != photos, regions @ regions.T, -1).max(axis=1)
    told = np.where(photos[:, None] != np.arange(5), -(regions @ captions.T), -1).max(axis=1)
    expected = {
        ("regions", "image"): among,
        ("photos", "image"): among,
        ("captions", "image"): told,
        ("regions", "text"): (TEXTS @ regions.T).max(axis=1) - BASELINES,
        ("photos", "text"): (TEXTS @ regions.T).max(axis=1) - BASELINES,
        ("captions", "text"): (TEXTS @ captions.T).max(axis=1) - BASELINES,
    }
    for key, scores in expected.items():
        distribution = found[key]
        assert distribution is not None
        np.testing.assert_allclose(
            distribution.quantiles, np.quantile(scores, QUANTILE_LEVELS), atol=1e-6, err_msg=str(key)
        )
    plain = found["regions", "text"]
    assert plain is not None and shifted is not None
    for score in (0.1, 0.3, 0.5):
        assert shifted.share_below(score + 0.25) == pytest.approx(plain.share_below(score), abs=1e-5)


def test_the_same_picture_in_another_file_is_no_other_photo(tmp_path: Path) -> None:
    """Two photos differ in a few bits of their hashes: their regions are not asked for in each other."""
    with filled(tmp_path / "library", 4) as store:
        assert refreshed(store)
        with store.read() as snapshot:
            regions = every_vector(snapshot, "regions")
            before = snapshot.score_distribution("regions", "image")
        with closing(sqlite3.connect(tmp_path / "library" / names.CATALOGUE)) as plain, plain:
            for number, hash in enumerate((0x0F0F, 0x0F0E, 0xFFFF0000, 0xF0F0F0F0), 1):
                plain.execute("UPDATE photos SET phash = ? WHERE id = ?", (hash, number))
            plain.execute("DELETE FROM distributions")
        assert refreshed(store)
        with store.read() as snapshot:
            after = snapshot.score_distribution("regions", "image")
    own = np.repeat([0, 0, 1, 2], 2)
    best = np.where(own[:, None] != own, regions @ regions.T, -1).max(axis=1)
    assert before is not None and after is not None
    np.testing.assert_allclose(after.quantiles, np.quantile(best, QUANTILE_LEVELS), atol=1e-6)
    assert (before.quantiles != after.quantiles).any()


def test_they_are_measured_again_when_the_library_has_changed_by_a_fifth(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 10) as store:
        with store.read() as snapshot:
            assert snapshot.is_calibration_due()
            assert snapshot.score_distribution("regions", "text") is None
        assert refreshed(store) and not refreshed(store)
        for number, due in ((10, False), (11, False), (12, True)):
            with store.write("test") as writer:
                writer.commit([photo(number)], [file(f"/photos/{number}.jpg", number)])
            with store.read() as snapshot:
                before = snapshot.score_distribution("regions", "text")
                assert snapshot.is_calibration_due() == due
            assert refreshed(store) == due
        with store.read() as snapshot:
            after = snapshot.score_distribution("regions", "text")
    assert before is not None and after is not None
    assert (before.quantiles != after.quantiles).any()


def test_rows_of_photos_that_are_gone_do_not_count(tmp_path: Path) -> None:
    with filled(tmp_path / "few", 3) as few, filled(tmp_path / "more", 4) as more:
        with more.write("test") as writer:
            writer.commit(missing=[b"/photos/3.jpg"])
        assert refreshed(few) and refreshed(more)
        with few.read() as one, more.read() as other:
            for kind in ("image", "text"):
                a, b = (snapshot.score_distribution("regions", kind) for snapshot in (one, other))
                assert a is not None and b is not None
                np.testing.assert_array_equal(a.quantiles, b.quantiles)


def test_one_photo_has_nothing_to_be_alike_to(tmp_path: Path) -> None:
    with filled(tmp_path / "library", 1) as store:
        assert refreshed(store)
        with store.read() as snapshot:
            assert snapshot.score_distribution("regions", "image") is None
            assert snapshot.score_distribution("regions", "text") is not None
            assert not snapshot.is_calibration_due()


def test_an_empty_library_has_nothing_to_measure(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store:
        assert not refreshed(store)
        with store.read() as snapshot:
            assert not snapshot.is_calibration_due()
            assert snapshot.score_distribution("regions", "text") is None


def test_they_go_with_their_generation(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        refreshed(store)
        with store.write("test") as writer:
            new = writer.generation("other", "other fingerprint", DIM)
            writer.commit([photo(0)])
            writer.activate(new)
        with store.read() as snapshot:
            assert snapshot.score_distribution("regions", "text") is None
            assert snapshot.is_calibration_due()
    with closing(sqlite3.connect(tmp_path / "library" / names.CATALOGUE)) as plain:
        assert plain.execute("SELECT count(*) FROM distributions").fetchone() == (0,)


SCORES = st.lists(st.floats(-1, 1, width=32, allow_subnormal=False), min_size=1, max_size=300)


@given(SCORES, st.floats(-1.2, 1.2), st.floats(-1.2, 1.2), st.integers(1, 5))
def test_a_higher_score_is_never_below_less(
    scores: list[float], one: float, other: float, vectors: int
) -> None:
    distribution = ScoreDistribution(
        np.quantile(np.array(scores, np.float32), QUANTILE_LEVELS, method="nearest")
    )
    low, high = (distribution.share_below(score, vectors) for score in sorted((one, other)))
    assert 0 <= low <= high <= 1
    assert distribution.share_below(min(scores), vectors) == 0
    assert distribution.share_below(max(scores) + 0.1, vectors) == 1
    assert distribution.share_below(one, vectors + 1) <= distribution.share_below(one, vectors)


@given(SCORES, st.integers(0, 100))
def test_no_smaller_share_lies_below_the_score_at_it(scores: list[float], hundredths: int) -> None:
    distribution = ScoreDistribution(
        np.quantile(np.array(scores, np.float32), QUANTILE_LEVELS, method="nearest")
    )
    score = distribution.quantile(hundredths / 100)
    assert min(scores) <= score <= np.nextafter(np.float32(max(scores)), np.float32(2))
    assert distribution.share_below(score) >= hundredths / 100 - 1e-6


@given(st.integers(0, 2**32), st.integers(1, 4), st.floats(0, 1))
def test_of_several_vectors_it_tells_no_more_than_is_so(seed: int, vectors: int, score: float) -> None:
    """However alike they are: here from the same to as different as can be."""
    drawn = np.random.default_rng(seed)
    one = drawn.uniform(-1, 1, (vectors, 400))
    alike = drawn.random() * one + (1 - drawn.random()) * one[0]
    pooled = ScoreDistribution(np.quantile(alike.astype(np.float32), QUANTILE_LEVELS, method="nearest"))
    truth = (alike.max(axis=0) < score).mean()
    assert pooled.share_below(score, vectors) <= truth + 0.02 * vectors
