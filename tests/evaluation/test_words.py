import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from virtue.errors import InputError
from virtue.evaluation import words
from virtue.evaluation.front_door import read_labels
from virtue.evaluation.real_photos import PACKAGES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, color in (("a.png", "orange"), ("b.png", "navy"), ("c.png", "white")):
        Image.effect_noise((160, 120), 90).convert("RGB").save(folder / name)
        image = Image.open(folder / name)
        image.paste(color, (30, 30, 120, 90))
        image.save(folder / name)
    return folder


def test_places_pass_over_photos_that_may_be_either():
    found = ["a", "b", "c", "d"]
    assert words.places(found, {"b", "d"}, set()) == [2, 4]
    assert words.places(found, {"b", "d"}, {"a"}) == [1, 3]
    assert words.places(found, {"z"}, {"a"}) == []


def test_average_precision_counts_what_is_not_found():
    assert words.average_precision([1, 2], 2) == 1
    assert words.average_precision([2, 4], 2) == 0.5
    assert words.average_precision([1], 4) == 0.25
    assert words.average_precision([], 3) == 0


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(50):
        right = rng.random(12) < 0.4
        right[rng.integers(12)] = True
        at = (np.flatnonzero(right) + 1).tolist()
        wanted = average_precision_score(right, -np.arange(12))
        assert words.average_precision(at, int(right.sum())) == pytest.approx(wanted)


def test_queries_rank_all_photos(folder, tmp_path, monkeypatch):
    labels = [
        {"words": "an orange", "right": ["a.png", "b.png", "c.png"]},
        {"words": "a zebra", "right": ["b.png"], "either": ["a.png", "c.png"]},
    ]
    found = words.evaluate(folder, "people", labels, each=True, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(words, "indexed", None)  # known: nothing is indexed again
        assert words.evaluate(folder, "people", labels, True, cache=tmp_path).as_json() == found.as_json()
    assert (found.name, found.facts["photos"]) == ("people", 3)
    assert {name: (figure.value, figure.queries) for name, figure in found.figures.items()} == dict.fromkeys(
        ("recall@1", "recall@5", "mean_average_precision"), (1, 2)
    )
    assert [row["first"] for row in found.facts["each"]] == [1, 1]


def test_labels_of_photos_that_are_not_there_are_named(folder):
    with pytest.raises(InputError, match=r"zebra\.png"):
        words.evaluate(folder, "people", [{"words": "a zebra", "right": ["a.png"], "either": ["zebra.png"]}])


@pytest.mark.parametrize(("kind", "least"), [("people", 20), ("colours", 30), ("hypernyms", 30)])
def test_labels_name_photos_of_the_set(kind, least):
    stems = {
        f"{package}-{file.rsplit('/')[-1].rsplit('.')[0]}.jpg"
        for package, (_, files) in PACKAGES.items()
        for file in files.split()
    }
    labels = read_labels(kind)
    assert len({label["words"] for label in labels}) == len(labels) >= least
    for label in labels:
        right, either = label["right"], label.get("either", [])
        assert label["words"].strip() == label["words"] != ""
        assert right and not set(right) & set(either)
        assert {*right, *either} <= stems, label["words"]
