import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from virtue import Library
from virtue.embedder import Embedder
from virtue.errors import InputError
from virtue.evaluation import cutouts, details, sureness, texts
from virtue.evaluation.rows import Rows, embed_photos, photo_paths, recall


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


def test_a_photo_scores_its_best_region_by_its_best_query():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    rows = Rows(vectors, np.array([0, 0, 1]))
    queries = np.array([[0, 1], [0.6, 0.8]], np.float32)
    np.testing.assert_allclose(rows.scores(queries), [1, 1])
    np.testing.assert_allclose(rows.scores(queries[:1]), [1, 0.8])
    found = recall(rows, [(queries[:1], {1}), (queries[:1], {0})], ranks=(1, 2))
    assert found == {"recall@1": 0.5, "recall@2": 1.0}


def test_details_find_the_photos_they_were_cut_from(folder, embedder):
    found = details.evaluate(embedder, folder, count=18)
    assert found["photos"] == 6
    assert found["details"] == 18
    assert found["recall@1"] > 0.6
    assert found["recall@5"] > 0.9


def test_cutouts_find_the_photos_they_were_cut_from(folder):
    shapes = ("round", "hand")
    found = cutouts.evaluate(folder, count=4, shapes=shapes)
    assert found["photos"] == 6
    for shape in shapes:
        assert found[shape]["recall@1"] >= 0.5, shape
        assert found[shape]["recall@5"] == 1, shape


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
    assert texts.read_texts(tmp_path, own) == {"photo 0": {0}, "photo 1": {1}}
    (tmp_path / "texts.csv").write_text("query,path\nshapes,0.png\nshapes,1.png\n", "utf-8")
    assert texts.read_texts(tmp_path, own) == {"shapes": {0, 1}}
    (tmp_path / "texts.csv").write_text("query,path\nshapes,9.png\n", "utf-8")
    with pytest.raises(InputError, match=r"9\.png"):
        texts.read_texts(tmp_path, own)


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no photos"):
        photo_paths(tmp_path)


def test_rows_hold_the_whole_photo_and_its_regions(folder, embedder):
    rows = embed_photos(embedder, photo_paths(folder)[:2], regions=5)
    assert rows.photos == 2
    assert 2 < len(rows.owners) <= 12
    np.testing.assert_allclose(np.linalg.norm(rows.vectors, axis=1), 1, atol=1e-5)


def test_the_command_prints_json(folder):
    command = [
        sys.executable,
        "-m",
        "virtue.evaluation.details",
        str(folder),
        "--count",
        "4",
        "--regions",
        "4",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["details"] == 4


def test_the_area_under_the_roc_curve_counts_ties_half():
    there, absent = np.array([3.0, 2.0]), np.array([1.0, 2.0])
    assert sureness.area_under_roc(there, absent) == 0.875
    low, high = sureness.bootstrap(np.arange(40.0), np.arange(40.0) - 20)
    assert low < sureness.area_under_roc(np.arange(40.0), np.arange(40.0) - 20) < high


def test_what_is_right_is_left_out_by_a_filter(folder, tmp_path, embedder):
    copy = tmp_path / "it's, a (folder)"
    shutil.copytree(folder, copy)
    (copy / "texts.csv").write_text("query,path\na net,0.png\na net,1.png\n")
    (copy / "absent.txt").write_text("a submarine\na pizza\na horse\n")
    numbered = tmp_path / "the copies' (own) place"
    with Library(tmp_path / "library", embedder=embedder) as library:
        found = sureness.evaluate(library, copy, numbered, 12, 3)
        left = sureness.first_hits(library, ["a net"], [{numbered / f"{n}.png" for n in range(5)}])
        assert [hit.path for hit in left] == [str(numbered / "5.png")]
    assert found["photos"] == 6
    assert (found["texts"]["there"], found["texts"]["absent"]) == (1, 3)
    compared = found["details_left_out"]
    assert sum(compared["called_there"].values()) == sum(compared["called_absent"].values()) == 12
    area, low, high = compared["score"]
    assert 0.5 < area <= 1 and low <= area <= high
