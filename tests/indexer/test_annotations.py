"""COCO JSON: boxes, polygons and run-lengths become regions in the right place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from tests.indexer.shelf import Shelf
from virtue.errors import InputError
from virtue.indexer import index, masks
from virtue.indexer.annotations import read_annotations

MASKS = arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))


@given(MASKS)
def test_run_lengths_are_those_of_cocos_own_tools(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = masks.encode(mask)
    assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert (masks.decode(ours) == mask).all()
    assert (masks.decode(theirs) == mask).all()


@given(MASKS)
def test_run_lengths_as_lists_are_read(mask: np.ndarray) -> None:
    flat, counts, value = mask.T.ravel(), [], False
    while flat.size:
        run = int(np.argmax(flat != value)) if (flat != value).any() else flat.size
        counts.append(run)
        flat, value = flat[run:], not value
    assert (masks.decode({"size": list(mask.shape), "counts": counts}) == mask).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"size": [4, 4], "counts": [3, 3]},
        {"size": [4, 4], "counts": [-1, 17]},
        {"size": [4, 4], "counts": "\x01"},
        {"size": [4, 4], "counts": "a"},
        {"size": [4], "counts": [16]},
        {"size": [0, 4], "counts": []},
        {"counts": [16]},
        {"size": [4, 4], "counts": [[16]]},
    ],
)
def test_run_lengths_that_do_not_fit_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        masks.decode(bad)


@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 20)), min_size=3, max_size=7),
    st.tuples(st.integers(24, 30), st.integers(20, 25)),
)
def test_a_polygon_covers_the_pixels_whose_middles_lie_in_it(
    corners: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    mask = np.zeros(size[::-1], bool)
    masks.fill(mask, np.array(corners, float))
    for y, x in np.ndindex(mask.shape):
        assert mask[y, x] == inside(x + 0.5, y + 0.5, corners)


def inside(x: float, y: float, corners: list[tuple[int, int]]) -> bool:
    """The even-odd rule, one ray to the right."""
    within = False
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            within = not within
    return within


def written(path: Path, annotations: list[dict[str, Any]], size: tuple[int, int] = (80, 60)) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 3, "name": "mug"}],
        "annotations": [{"id": n, "image_id": 7, **entry} for n, entry in enumerate(annotations)],
    }
    path.write_text(json.dumps(content))
    return path


def given_regions(shelf: Shelf) -> list[tuple[Any, ...]]:
    return [(r.box.xywh, r.category) for r in shelf.regions("a.png") if r.origin == "annotation"]


def test_boxes_become_regions_with_categories(shelf: Shelf) -> None:
    photo = shelf.photo("a.png", "red")
    image = Image.open(photo).convert("RGB")
    image.paste("blue", (10, 20, 40, 40))
    image.save(photo)
    file = written(shelf.photos / "coco.json", [{"bbox": [10, 20, 30, 20], "category_id": 3}])
    report = shelf.index(annotations=file, regions="none")
    assert report.warnings == []
    assert given_regions(shelf) == [((10, 20, 30, 20), "mug")]
    with shelf.store.read() as snapshot:
        (best,) = snapshot.search("regions", shelf.model.embed([text_item("blue")]), 1).rows
        assert snapshot.regions([best])[0].category == "mug"
    assert shelf.index(annotations=file).unchanged == 1


def text_item(text: str) -> Any:
    from virtue.embedder.model import Item

    return Item(text=text)


@pytest.mark.parametrize("kind", ["polygon", "list", "text"])
def test_masks_are_embedded_and_kept(shelf: Shelf, kind: str) -> None:
    photo = shelf.photo("a.png", "red")
    mask = np.zeros((60, 80), bool)
    mask[20:40, 10:40] = True
    pixels = np.array(Image.open(photo).convert("RGB"))
    pixels[mask] = (0, 0, 255)
    Image.fromarray(pixels).save(photo)
    segmentation = {
        "polygon": [[10, 20, 40, 20, 40, 40, 10, 40]],
        "list": {"size": [60, 80], "counts": [620, *[20, 40] * 29, 20, 2420]},
        "text": masks.encode(mask),
    }[kind]
    file = written(shelf.photos / "coco.json", [{"segmentation": segmentation, "category_id": 3}])
    assert shelf.index(annotations=file, regions="none").warnings == []
    assert given_regions(shelf) == [((10, 20, 30, 20), "mug")]
    with shelf.store.read() as snapshot:
        ranked = snapshot.search("regions", shelf.model.embed([text_item("blue")]), 1)
        kept = snapshot.user_annotations(next(iter(snapshot.files().values())).hash).regions[0].mask
    assert ranked.scores[0] > 0.99
    assert (masks.decode(json.loads(kept)) == mask).all()


def test_an_annotation_that_leaves_its_picture_costs_itself_alone(shelf: Shelf) -> None:
    shelf.photo("a.png")
    file = written(
        shelf.photos / "coco.json",
        [
            {"bbox": [60, 10, 20.6, 20]},
            {"bbox": [60, 10, 40, 20]},
            {"bbox": [1, 1, 0, 5]},
            {"bbox": [1, 2, 3]},
            {"segmentation": [[0, 0, 500, 0, 500, 500]]},
            {"segmentation": {"size": [5, 5], "counts": [25]}},
            {"segmentation": {"size": [60, 80], "counts": [4800]}},
            {"segmentation": [[1, 2]]},
            {},
            {"segmentation": [[5, 5, 5.2, 5, 5.2, 5.2]], "bbox": [5, 5, 0.2, 0.2]},
            {"bbox": [0, 0, 10, 10], "category_id": 3},
        ],
    )
    report = shelf.index(annotations=file, regions="none")
    boxes = [box for box, _ in given_regions(shelf)]
    assert boxes[0] == (60, 10, 20, 20)
    assert boxes[1] == pytest.approx((5, 5, 0.2, 0.2))  # its mask holds no pixel, its box is sound
    assert boxes[2:] == [(0, 0, 10, 10)]
    assert len(report.warnings) == 8
    assert "annotation 1 of a.png: box x,y,w,h = 60,10,40,20 leaves the picture" in report.warnings[0]


def test_halves_of_characters_and_impossible_names_do_no_harm(shelf: Shelf) -> None:
    shelf.photo("a.png")
    file = shelf.photos / "coco.json"
    file.write_text(
        r'{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "\ud800.png"}],'
        r'"categories": [{"id": 1, "name": "m\ud800g"}], "annotations": ['
        r'{"image_id": 1, "bbox": [1, 1, 5, 5], "category_id": 1, "caption": "x\udfffy"},'
        r'{"image_id": 2, "bbox": [1, 1, 5, 5]}]}'
    )
    (warning,) = shelf.index(annotations=file, regions="none").warnings
    assert r"such as \ud800.png" in warning
    assert given_regions(shelf) == [((1, 1, 5, 5), "m?g")]


def test_captions_of_an_annotation_file(shelf: Shelf) -> None:
    shelf.photo("a.png")
    file = written(
        shelf.photos / "coco.json",
        [
            {"caption": "a wall"},
            {"caption": "a brick", "bbox": [1, 2, 3, 4]},
            {"caption": "x", "bbox": [0] * 4},
        ],
    )
    shelf.index(annotations=file, regions="none")
    found = {(c.text, c.source, c.box.xywh if c.box else None) for c in shelf.all_captions()}
    assert found == {
        ("a wall", "annotation", None),
        ("a brick", "annotation", (1, 2, 3, 4)),
        ("x", "annotation", None),
    }


def test_annotations_of_a_smaller_copy_are_scaled(shelf: Shelf) -> None:
    shelf.photo("a.png", size=(800, 600))
    entries = [{"bbox": [10, 20, 30, 20]}, {"segmentation": [[10, 20, 40, 20, 40, 40, 10, 40]]}]
    file = written(shelf.photos / "coco.json", entries)
    assert shelf.index(annotations=file, regions="none").warnings == []
    assert [box for box, _ in given_regions(shelf)] == [(100, 200, 300, 200)] * 2


def test_annotations_of_another_shape_are_refused(shelf: Shelf) -> None:
    shelf.photo("a.png", size=(60, 80))
    file = written(shelf.photos / "coco.json", [{"bbox": [10, 20, 30, 20]}])
    (warning,) = shelf.index(annotations=file, regions="none").warnings
    assert "a.png is annotated at 80 x 60 pixels and is 60 x 80 (upright); it was annotated lying" in warning


def test_proposals_fill_up_what_annotations_leave(shelf: Shelf) -> None:
    shelf.photo("a.png")
    file = written(shelf.photos / "coco.json", [{"bbox": [0, 0, 40, 30]}, {"bbox": [5, 5, 4, 4]}])
    shelf.index(annotations=file, regions=4)
    found = [(region.box.xywh, region.origin, region.object) for region in shelf.regions("a.png")]
    assert found == [
        ((0, 0, 80, 60), "whole", None),
        ((0, 0, 40, 30), "annotation", "quarter"),  # as the proposal there says
        ((5, 5, 4, 4), "annotation", None),
        ((40, 0, 40, 30), "proposal", "quarter"),
        ((0, 30, 40, 30), "proposal", "quarter"),
    ]


def test_changed_annotations_replace_the_old_ones_and_nothing_else(shelf: Shelf) -> None:
    shelf.photo("a.png")
    captions = shelf.photos / "captions.csv"
    captions.write_text("a.png,a spot,1,1,5,5\n")
    file = written(shelf.photos / "coco.json", [{"bbox": [0, 0, 10, 10], "category_id": 3}])
    shelf.index(annotations=file, captions=captions, regions="none")
    written(file, [{"bbox": [20, 20, 10, 10]}])
    assert shelf.index(annotations=file).reembedded == 1
    assert sorted(box for box, _ in given_regions(shelf)) == [(1, 1, 5, 5), (20, 20, 10, 10)]
    assert [text for _, _, text in shelf.captions()] == ["a spot"]
    assert index(shelf.store, shelf.model).unchanged == 1


def test_photos_are_found_by_path_then_by_their_only_name(shelf: Shelf) -> None:
    for name, colour in (("x/a.png", "red"), ("y/b.png", "blue"), ("z/b.png", "green")):
        shelf.photo(name, colour)
    away = shelf.folder / "labels"
    away.mkdir()
    content = {
        "images": [
            {"id": 1, "file_name": "train/a.png"},
            {"id": 2, "file_name": "b.png"},
            {"id": 3, "file_name": "z/b.png"},
        ],
        "annotations": [{"id": n, "image_id": n, "bbox": [n, n, 5, 5]} for n in (1, 2, 3)],
    }
    (away / "coco.json").write_text(json.dumps(content))
    report = shelf.index(annotations=away / "coco.json", regions="none")
    assert given_regions(shelf) == [((1, 1, 5, 5), None)]
    assert [r.box.xywh for r in shelf.regions("b.png") if r.origin == "annotation"] == [(3, 3, 5, 5)]
    assert "1 of 3 names are not" in report.warnings[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "not COCO JSON"),
        ('{"images": 5}', "not COCO JSON"),
        ('{"images": [], "annotations": {}}', '"annotations" is not a list'),
    ],
)
def test_a_malformed_file_is_an_input_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_annotations(path)


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"images": [{"id": [], "file_name": "b.png"}]}, "images not of the COCO format, left out: images"),
        ({"images": [{"id": 9}]}, "left out: images[1] (KeyError: 'file_name')"),
        ({"images": [{"id": 9, "file_name": "b.png", "width": -3, "height": 2}]}, "images[1] (ValueError"),
        ({"categories": [{"id": 9}]}, "categories not of the COCO format, left out: categories[1]"),
        ({"annotations": [{"id": 5, "image_id": 4}]}, "annotations of no image that the file has, left out: "
         "annotation 5"),
        ({"annotations": [{"image_id": 4}] * 3}, "left out: annotation 2, and 2 more"),
        ({"annotations": [5]}, "no annotations, and left out: annotations[2]"),
        ({"annotations": [{"id": 6, "image_id": 1, "bbox": [5, 5, 9, 9], "category_id": 8}]},
         "annotations of an unknown category, taken without it: annotation 6"),
        ({"images": [{"id": 1, "file_name": "b.png"}]}, "images that share an id, left out: id 1"),
        ({"images": [{"id": 2, "file_name": "a.png", "width": 1, "height": 1}]},
         "images listed again with another size, left out: a.png"),
        ({"categories": [{"id": 1, "name": "cup"}]}, "categories that share an id, left out: id 1"),
    ],
)  # fmt: skip
def test_odd_entries_cost_themselves(shelf: Shelf, odd: dict[str, list[Any]], told: str) -> None:
    shelf.photo("a.png")
    shelf.photo("b.png", "blue")
    content: dict[str, list[Any]] = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "mug"}],
        "annotations": [
            {"id": 0, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]},
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 10, 10]},
        ],
    }
    for name, entries in odd.items():
        content[name] += entries
    file = shelf.photos / "coco.json"
    file.write_text(json.dumps(content))
    warnings = shelf.index(annotations=file, regions="none").warnings
    assert any(told in warning for warning in warnings), warnings
    found = [(box, category) for box, category in given_regions(shelf)]
    if "share an id" not in told:
        assert found[:2] == [((0, 0, 10, 10), "mug"), ((20, 20, 10, 10), "mug")]
    elif "images" in odd:  # nobody knows whose they are
        assert found == []
    else:
        assert found == [((0, 0, 10, 10), None), ((20, 20, 10, 10), None)]
    assert found[2:] == ([((5, 5, 9, 9), None)] if "unknown category" in told else [])


def test_an_image_that_is_listed_twice_has_the_annotations_of_both(shelf: Shelf) -> None:
    shelf.photo("a.png")
    content = {
        "images": [{"id": n, "file_name": "a.png", "width": 80, "height": 60} for n in (1, 2)],
        "annotations": [{"image_id": n, "bbox": [n, n, 5, 5]} for n in (1, 2)],
    }
    (shelf.photos / "coco.json").write_text(json.dumps(content))
    assert shelf.index(annotations=shelf.photos / "coco.json", regions="none").warnings == []
    assert given_regions(shelf) == [((1, 1, 5, 5), None), ((2, 2, 5, 5), None)]


RING = [10, 20, 40, 20, 40, 40, 10, 40]


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"segmentation": [[]], "bbox": [10, 20, 30, 20]}, ""),
        ({"segmentation": RING}, ""),
        ({"segmentation": [[10, 20, 40, 40]], "bbox": [10, 20, 30, 20]}, "a polygon of fewer than three"),
        ({"segmentation": [RING, [1, 1, 2, 2]]}, "a polygon of fewer than three corners"),
        ({"segmentation": [RING, [0, 0, 500, 0, 500, 500]]}, "a polygon leaves the picture"),
        ({"segmentation": "abc", "bbox": [10, 20, 30, 20]}, "its outline is no list of polygons"),
        (
            {"segmentation": {"size": [5, 5], "counts": [25]}, "bbox": [10, 20, 30, 20]},
            "its mask has the size",
        ),
        ({"segmentation": [RING], "bbox": [0, 0, 0, 0]}, "has no size"),
        ({"segmentation": [RING], "bbox": [60, 10, 40, 20]}, "leaves the picture"),
        ({"segmentation": [RING], "bbox": "1234"}, "its box is no list of four numbers"),
    ],
)
def test_the_sound_part_of_an_annotation_counts(shelf: Shelf, annotation: dict[str, Any], told: str) -> None:
    shelf.photo("a.png")
    report = shelf.index(annotations=written(shelf.photos / "coco.json", [annotation]), regions="none")
    assert given_regions(shelf) == [((10, 20, 30, 20), None)]
    if told:
        (warning,) = report.warnings
        assert told in warning and warning.endswith("annotation 0 of a.png: " + warning.split("a.png: ")[-1])
        assert warning.endswith("the rest of it is used")
    else:
        assert report.warnings == []


@pytest.mark.parametrize(
    "name",
    [
        "images\\a.png", "C:\\Users\\me\\a.png", "/data/set/images/a.png", "deep/er/images/a.png", "a.png",
        "./images/../images/a.png", "IMAGES/A.PNG",
    ],
)  # fmt: skip
def test_names_written_elsewhere_are_found(shelf: Shelf, name: str) -> None:
    shelf.photo("images/a.png")
    shelf.photo("images/b.png", "blue")
    away = shelf.folder / "labels"
    away.mkdir()
    content = {
        "images": [{"id": 1, "file_name": name}],
        "annotations": [{"image_id": 1, "bbox": [1, 2, 30, 40]}],
    }
    (away / "coco.json").write_text(json.dumps(content))
    assert shelf.index(annotations=away / "coco.json", regions="none").warnings == []
    assert given_regions(shelf) == [((1, 2, 30, 40), None)]


def test_the_longest_ending_of_a_name_decides_and_none_is_guessed(shelf: Shelf) -> None:
    for name, colour in (("cats/1.png", "red"), ("dogs/1.png", "blue"), ("Caf\u00e9.png", "green")):
        shelf.photo(name, colour)
    away = shelf.folder / "labels"
    away.mkdir()
    names = ["/x/dogs/1.png", "birds/1.png", "Cafe\u0301.png"]
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"image_id": n, "bbox": [n + 1, 2, 30, 40]} for n in range(3)],
    }
    (away / "coco.json").write_text(json.dumps(content))
    (warning,) = shelf.index(annotations=away / "coco.json", regions="none").warnings
    assert "1 of 3 names are not" in warning and "birds/1.png" in warning
    found = [each for name in ("1.png", "Caf\u00e9.png") for each in shelf.regions(name)]
    boxes = [
        (Path(each.path.decode()).parts[-2:], each.box.x0) for each in found if each.origin == "annotation"
    ]
    assert boxes == [(("dogs", "1.png"), 1), (("photos", "Caf\u00e9.png"), 3)]


HUGE = "9" * 400

BOXES = [f"{HUGE}, 1, 5, 5", f"1, 1, {HUGE}, 5", "1, 1, 1e400, 5", "0, 0, 1e-320, 5", "1, 1, 5, 1e-320",
         f"1, 1, 5, {'9' * 5000}"]  # fmt: skip
"""x, y, w, h that are numbers and no boxes."""


def test_impossible_numbers_cost_their_annotations_alone(shelf: Shelf) -> None:
    shelf.photo("a.png")
    boxes = ["[Infinity, 1, 5, 5]", "[NaN, 1, 5, 5]", "[1, 1, Infinity, 5]", *(f"[{box}]" for box in BOXES)]
    shapes = [
        f"[[1, 1, {HUGE}, 5, 3, 3]]",
        "[[1, 1, NaN, 5, 3, 3]]",
        f'{{"size": [60, 80], "counts": [{HUGE}]}}',
        f'{{"size": [60, 80], "counts": [{1 << 62}, {1 << 62}, {1 << 62}, {1 << 62}, 4800]}}',
        f'{{"size": [60, 80], "counts": "{"o" * 100_000}"}}',
        json.dumps([[1, 1, 5, 1, 5, 5]] * 100_000),
        json.dumps([[1, 1, 5, 1, 5, 5] * 100_000]),
    ]
    entries = [f'{{"image_id": 1, "bbox": {box}}}' for box in boxes]
    entries += [f'{{"image_id": 1, "segmentation": {shape}}}' for shape in shapes]
    entries.append('{"image_id": 1, "bbox": [2, 2, 5, 5]}')
    file = shelf.photos / "coco.json"
    file.write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}], '
        f'"annotations": [{", ".join(entries)}]}}'
    )
    report = shelf.index(annotations=file, regions="none")
    assert given_regions(shelf) == [((2, 2, 5, 5), None)]
    assert [f"annotation {n} of a.png" in told for n, told in enumerate(report.warnings)] == [True] * 16


@pytest.mark.parametrize("side", ["1e400", HUGE, "9" * 5000, "NaN", "3000000000"])
def test_an_impossible_size_costs_its_image_alone(shelf: Shelf, side: str) -> None:
    shelf.photo("a.png")
    shelf.photo("b.png", "blue")
    file = shelf.photos / "coco.json"
    file.write_text(
        f'{{"images": [{{"id": 1, "file_name": "b.png", "width": {side}, "height": {side}}}, '
        '{"id": 2, "file_name": "a.png"}], '
        '"annotations": [{"image_id": 1, "bbox": [1, 1, 5, 5]}, {"image_id": 2, "bbox": [2, 2, 5, 5]}]}'
    )
    (warning,) = shelf.index(annotations=file, regions="none").warnings
    assert "b.png is annotated at an impossible size" in warning
    assert given_regions(shelf) == [((2, 2, 5, 5), None)]


@pytest.mark.parametrize("shape", [{"size": [100_000] * 2, "counts": [10**10]}, [[0, 0, 1e5, 0, 1e5, 1e5]]])
def test_a_mask_far_larger_than_its_picture_takes_no_more_memory(shelf: Shelf, shape: Any) -> None:
    resource = pytest.importorskip("resource")
    shelf.photo("a.png", "red", (60, 60))
    file = shelf.photos / "coco.json"
    entries = [{"segmentation": shape}, {"bbox": [20_000, 20_000, 50_000, 50_000]}]
    written(file, entries, (100_000, 100_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = shelf.index(annotations=file, regions="none")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert ((12, 12, 30, 30), None) in [(tuple(map(round, box)), c) for box, c in given_regions(shelf)]
    assert len(report.warnings) == ("counts" in shape)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_impossible_boxes_cost_their_captions_alone(shelf: Shelf, form: str) -> None:
    shelf.photo("a.png")
    file = shelf.photos / f"captions.{form}"
    if form == "csv":
        lines = [
            f"a.png,bad {n},{box}" for n, box in enumerate([*BOXES, "1,1,inf,5", "1,1,0,5", "nan,1,5,5"])
        ]
        lines.append("a.png,good,2,2,5,5")
    else:
        values = [dict(zip("xywh", box.split(", "), strict=True)) for box in BOXES]
        lines = [
            f'{{"path": "a.png", "caption": "bad {n}", '
            + ", ".join(f'"{key}": {value}' for key, value in box.items())
            + "}"
            for n, box in enumerate(values)
        ]
        lines.append('{"path": "a.png", "caption": "good", "x": 2, "y": 2, "w": 5, "h": 5}')
    file.write_text("\n".join(lines))
    report = shelf.index(captions=file, regions="none")
    assert given_regions(shelf) == [((2, 2, 5, 5), None)]
    assert [text for _, _, text in shelf.captions()] == ["good"]
    assert [f"line {n + 1}: " in told for n, told in enumerate(report.warnings)] == [True] * (len(lines) - 1)


def test_annotations_survive_edits_into_any_size(shelf: Shelf) -> None:
    shelf.photo("a.png")
    file = written(
        shelf.photos / "coco.json",
        [{"segmentation": [[5, 5, 25, 5, 25, 25]]}, {"bbox": [40, 5, 30, 30], "caption": "far right"}],
    )
    shelf.index(annotations=file, regions="none")
    for colour, size in (("green", (80, 60)), ("blue", (60, 80)), ("red", (50, 50)), ("white", (200, 100))):
        shelf.photo("a.png", colour, size)
        assert shelf.index().problems == []
        assert ((5, 5, 20, 20), None) in given_regions(shelf)
        assert ("a.png", "annotation", "far right") in shelf.captions()


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"bbox": "1234"}, "its box is no list of four numbers"),
        ({"bbox": [1, 2, 3, True]}, "its box is no list of four numbers"),
        ({"bbox": [[1, 2, 3, 4]]}, "its box is no list of four numbers"),
        ({"bbox": {"x": 1}}, "its box is no list of four numbers"),
        ({"segmentation": "abc"}, "its outline is no list of polygons"),
        ({"segmentation": deep(800)}, "its outline is no list of polygons"),
        ({"segmentation": [["1", "2", "3", "4", "5", "6"]]}, "its outline is no list of polygons"),
        ({"segmentation": {"size": deep(800), "counts": "a"}}, "its mask is no run-length encoding"),
        ({"segmentation": {"size": [80, 100], "counts": {"a": 1}}}, "its mask is no run-length encoding"),
        ({"segmentation": {"size": [80, 100], "counts": [None]}}, "its mask is no run-length encoding"),
    ],
)
def test_values_of_another_type_cost_their_annotations_alone(tmp_path: Path, odd: Any, said: str) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [
            {"id": deep(800), "image_id": 1} | odd,
            {"id": 7, "image_id": 1, "bbox": [10, 10, 10, 10]},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    image = read_annotations(tmp_path / "coco.json")[0]["a.jpg"]
    assert image.content
    fitted = image.fit(100, 80)
    assert [region.box.xywh for region in fitted.regions] == [(10, 10, 10, 10)]
    assert said in fitted.faults[0] and len(fitted.faults) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {"images": [{"id": 1, "file_name": deep(800)}]},
        {"categories": [{"id": 1, "name": deep(800)}]},
        {"categories": [{"id": 1, "name": "x" * 10_000_000}]},
        {"annotations": [{"image_id": "x" * 10_000_000}]},
        {"images": [{"id": deep(800), "file_name": "a"}]},
        {"images": [{"x" * 10_000_000: 1}]},
        {"images": [[]]},
        {"categories": ["id"]},
        {"annotations": [["image_id"]]},
    ],
)
def test_odd_names_are_told_in_a_short_sentence(tmp_path: Path, entry: Any) -> None:
    (tmp_path / "coco.json").write_text(json.dumps({"images": [], "annotations": []} | entry))
    annotations, (told,) = read_annotations(tmp_path / "coco.json")
    assert annotations == {} and len(told) < 2000


def test_a_file_of_millions_of_lists_is_refused(tmp_path: Path) -> None:
    """Each takes three characters, and thirty times as many bytes of memory."""
    (tmp_path / "coco.json").write_text('{"images": [' + "[]," * 21_000_000 + "[]]}")
    with pytest.raises(InputError, match="20,000,000 lists"):
        read_annotations(tmp_path / "coco.json")


def coco_file(path: Path, segmentations: list[Any], side: int) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": side, "height": side}],
        "annotations": [{"image_id": 1, "segmentation": each} for each in segmentations],
    }
    path.write_text(json.dumps(content))
    return path


def test_masks_that_take_too_much_work_are_left_out(tmp_path: Path) -> None:
    """Forty characters each, of a hundred million pixels, for a photo of ten thousand."""
    bomb = {"size": [10_000, 10_000], "counts": [0, 100_000_000]}
    file = coco_file(tmp_path / "coco.json", [bomb] * 3000, 10_000)
    fitted = read_annotations(file)[0]["a.jpg"].fit(100, 100)
    assert len(fitted.regions) == 100
    assert len(fitted.faults) == 2900 and "too much work" in fitted.faults[0]


def test_outlines_that_go_to_and_fro_are_left_out(tmp_path: Path) -> None:
    scribble = [[x for n in range(49_000) for x in (n % 100, 3000 * (n % 2))]]
    file = coco_file(tmp_path / "coco.json", [scribble, [[0, 0, 3000, 0, 0, 3000]]], 3000)
    fitted = read_annotations(file)[0]["a.jpg"].fit(3000, 3000)
    assert "too much work" in fitted.faults[0]


def test_the_first_of_too_many_annotations_are_used(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, n / 1000 + 1, 1]} for n in range(10_001)],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    fitted = read_annotations(tmp_path / "coco.json")[0]["a.jpg"].fit(100, 80)
    assert len(fitted.regions) == 10_000
    assert fitted.faults == (
        f"{tmp_path / 'coco.json'}: the first 10,000 annotations of a.jpg are used, of 10,001",
    )


def test_a_mask_of_a_larger_copy_is_the_one_that_was_drawn(tmp_path: Path) -> None:
    mask = np.zeros((160, 200), bool)
    mask[40:80, 20:100] = True
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 160}],
        "annotations": [{"image_id": 1, "segmentation": masks.encode(mask)}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (region,) = read_annotations(tmp_path / "coco.json")[0]["a.jpg"].fit(100, 80).regions
    assert region.box.corners == (10, 20, 50, 40)
    assert (masks.decode(json.loads(region.mask or "")) == mask[::2, ::2]).all()
