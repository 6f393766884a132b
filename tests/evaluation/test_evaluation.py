import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score

from virtue import Library
from virtue.embedder import Embedder
from virtue.errors import InputError
from virtue.evaluation import cutouts, details, rows, sureness, texts
from virtue.evaluation.outcomes import Outcomes
from virtue.evaluation.rows import embed_photo, photo_paths, recall, score_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six photos of 320 x 240 pixels, each with its own texture and shapes."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        low, high = 30 + 20 * seed, 90 + 25 * seed
        cells = rng.integers(low, high, (3 + 4 * seed, 4 + 4 * seed, 3), np.uint8)
        image = Image.fromarray(cells).resize((320, 240), Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(image)
        for _ in range(25):
            x, y, size = rng.integers(0, 300), rng.integers(0, 220), rng.integers(8, 50)
            shape = draw.ellipse if seed % 2 else draw.rectangle
            shape((x, y, x + size, y + size), outline=tuple(rng.integers(0, 255, 3).tolist()), width=3)
        image.save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def embedder():
    return Embedder.from_pretrained("mini")


def test_a_photo_scores_its_best_region_by_its_best_query(folder, embedder):
    paths = photo_paths(folder)[:3]
    queries = [embedder.query("a net"), np.eye(3, embedder.dim, dtype=np.float32)]
    scores, mean = score_photos(embedder, paths, lambda: queries, "made", Outcomes(None), regions=5)
    own = [embed_photo(embedder, path, 5) for path in paths]
    assert mean == np.mean([len(each) for each in own]) and 2 < mean <= 6
    for row, query in zip(scores, queries, strict=True):
        np.testing.assert_allclose(row, [(each @ query.T).max() for each in own], atol=1e-6)


def test_recall_counts_ties_by_all_orders():
    scores = np.array([[0.1, 0.9, 0.9], [0.2, 0.5, 0.1], [0.3, 0.3, 0.3]])
    found = recall(scores, [{1}, {0, 2}, {0, 1}], ranks=(1, 2))
    assert {name: figure.value for name, figure in found.items()} == pytest.approx(
        {"recall@1": (0.5 + 0 + 2 / 3) / 3, "recall@2": 1.0}
    )


def test_details_find_the_photos_they_were_cut_from(folder, embedder):
    found = details.evaluate(embedder, folder, count=18)
    assert found.facts["photos"] == 6
    assert found.figures["recall@1"].queries == 18
    assert found.figures["recall@1"].value > 0.6
    assert found.figures["recall@5"].value > 0.9


def test_an_interrupted_evaluation_goes_on_where_it_ended(folder, embedder, tmp_path, monkeypatch):
    told, scored = [], []
    embed = rows.embed_photo
    monkeypatch.setattr(rows, "embed_photo", lambda *some: scored.append(some[1].stem) or embed(*some))

    def interrupt(done, total):
        told.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        details.evaluate(embedder, folder, 6, 3, cache=tmp_path / "cache", tell=interrupt)
    assert told == [(1, 6), (2, 6), (3, 6), (4, 6)]
    found = details.evaluate(embedder, folder, 6, 3, cache=tmp_path / "cache")
    assert scored == ["0", "1", "2", "3", "4", "5"]
    assert details.evaluate(embedder, folder, 6, 3, cache=tmp_path / "cache").as_json() == found.as_json()
    assert len(scored) == 6
    assert details.evaluate(embedder, folder, 6, 3).as_json() == found.as_json() and len(scored) == 12
    details.evaluate(embedder, folder, 6, 2, cache=tmp_path / "cache")  # another setting
    assert len(scored) == 18


def test_photos_that_cannot_be_read_and_twins_cost_nothing_else(folder, embedder, tmp_path):
    for path in photo_paths(folder)[:3]:
        shutil.copy(path, tmp_path)
        (tmp_path / path.name).with_suffix(".txt").write_text(f"picture {path.stem}")
    shutil.copy(tmp_path / "0.png", tmp_path / "twin.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    found = details.evaluate(embedder, tmp_path, 8, 3)
    assert found.facts["photos"] == 4 and [name for name, _ in found.bad] == ["torn.png"]
    assert found.figures["recall@1"].value > 0.6
    said = texts.evaluate(embedder, tmp_path, 3)
    assert said.figures["recall@1"].queries == 3 and [name for name, _ in said.bad] == ["torn.png"]
    (tmp_path / "torn.png").unlink()
    (tmp_path / "0.png").unlink()
    (tmp_path / "texts.csv").write_text("query,path\na net,1.png\na boat,9.png\n")
    said = texts.evaluate(embedder, tmp_path, 3)
    assert said.figures["recall@1"].queries == 1 and said.bad[0][0] == "texts.csv, a boat"


def test_cutouts_find_the_photos_they_were_cut_from(folder, tmp_path, monkeypatch):
    shapes = ("round", "hand")
    found = cutouts.evaluate(folder, count=4, shapes=shapes, cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(cutouts, "indexed", None)  # known: nothing is indexed again
        again = cutouts.evaluate(folder, count=4, shapes=shapes, cache=tmp_path / "cache")
    assert again.as_json() == found.as_json()
    assert found.facts["photos"] == 6
    for shape in shapes:
        assert found.figures[f"{shape}_recall@1"].value >= 0.5, shape
        assert found.figures[f"{shape}_recall@5"].value == 1, shape


def test_details_are_of_the_size_promised_and_the_same_every_time(folder):
    paths = photo_paths(folder)
    first, again = (list(details.cut_details(paths, 12, 3)) for _ in range(2))
    assert [index for index, _ in first] == [index for index, _ in again]
    assert sorted(index for index, _ in first) == sorted([*range(6)] * 2)
    for (_, one), (_, other) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert 72 / 512 * 320 - 1 <= one.width <= 88 / 512 * 320 + 1


def test_texts_come_from_a_table_or_from_files_beside_the_photos(folder, tmp_path):
    paths = photo_paths(folder)
    with pytest.raises(InputError, match="neither"):
        texts.read_texts(folder, paths)
    for path in paths[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / path.name).with_suffix(".txt").write_text(f"photo {path.stem}\n", "utf-8")
    own = photo_paths(tmp_path)
    assert texts.read_texts(tmp_path, own) == ({"photo 0": {0}, "photo 1": {1}}, [])
    (tmp_path / "texts.csv").write_text("query,path\nshapes,0.png\nshapes,1.png\n", "utf-8")
    assert texts.read_texts(tmp_path, own) == ({"shapes": {0, 1}}, [])
    (tmp_path / "texts.csv").write_text("query,path\nshapes,9.png\n", "utf-8")
    with pytest.raises(InputError, match=r"9\.png"):
        texts.read_texts(tmp_path, own)


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no photos"):
        photo_paths(tmp_path)


def test_the_area_under_the_roc_curve_counts_ties_half():
    there, absent = np.array([3.0, 2.0]), np.array([1.0, 2.0])
    assert sureness.area_under_roc(there, absent) == 0.875
    rng = np.random.default_rng(0)
    there, absent = rng.integers(3, 9, 40).astype(float), rng.integers(0, 7, 60).astype(float)
    area = sureness.measure_area(there, absent)
    wanted = roc_auc_score([1] * 40 + [0] * 60, np.concatenate([there, absent]))
    assert area.value == pytest.approx(wanted) and area.low < area.value < area.high and area.queries == 100


def test_what_is_right_is_left_out_by_a_filter(folder, tmp_path, embedder):
    copy = tmp_path / "it's, a (folder)"
    shutil.copytree(folder, copy)
    (copy / "texts.csv").write_text("query,path\na net,0.png\na net,1.png\n")
    (copy / "absent.txt").write_text("a submarine\na pizza\na horse\n")
    numbered = tmp_path / "the copies' (own) place"
    with Library(tmp_path / "library", embedder=embedder) as library:
        found = sureness.evaluate(library, copy, numbered, 12, 3, cache=tmp_path / "cache")
        left = sureness.first_hit(library, "a net", {numbered / f"{n}.png" for n in range(5)})
        assert left.path == str(numbered / "5.png")
    with Library(tmp_path / "empty", embedder=embedder) as library:  # known: nothing is searched for again
        again = sureness.evaluate(library, copy, tmp_path / "again", 12, 3, cache=tmp_path / "cache")
    assert again.as_json() == found.as_json()
    assert found.facts["photos"] == 6
    assert found.figures["texts_score"].queries == 1 + 3
    called = found.facts["details_left_out_called"]
    assert sum(called["there"].values()) == sum(called["absent"].values()) == 12
    area = found.figures["details_left_out_score"]
    assert 0.5 < area.value <= 1 and area.low <= area.value <= area.high
