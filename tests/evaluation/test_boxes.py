import json

import pytest
from PIL import Image, ImageDraw

from virtue.errors import InputError
from virtue.evaluation import boxes
from virtue.evaluation.front_door import indexed, read_labels
from virtue.evaluation.real_photos import PACKAGES, build, find_photos
from virtue.evaluation.rows import photo_paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two photos: a disc and a square, each on a plain ground."""
    folder = tmp_path_factory.mktemp("it's photos")
    for name, color in (("disc.png", "orange"), ("square.png", "navy")):
        image = Image.new("RGB", (320, 240), "lightgray")
        draw = ImageDraw.Draw(image)
        (draw.ellipse if name == "disc.png" else draw.rectangle)((40, 60, 160, 180), fill=color)
        image.save(folder / name)
    return folder


def label(photo, words, coco=True, size=(320, 240)):
    return {"photo": photo, "size": list(size), "words": words, "box": [40, 60, 120, 120], "coco": coco}


def test_the_overlap_of_two_boxes_is_intersection_over_union():
    assert boxes.overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert boxes.overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert boxes.overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert boxes.overlap((0, 0, 10, 10), (20, 20, 1, 1)) == 0


def test_shown_boxes_are_compared_photo_by_photo(folder, tmp_path, monkeypatch):
    labels = [label("disc.png", "a ball"), label("square.png", "a crate", coco=False)]
    found = boxes.evaluate(folder, labels, each=True, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(boxes, "indexed", None)  # known: nothing is indexed again
        assert boxes.evaluate(folder, labels, each=True, cache=tmp_path).as_json() == found.as_json()
    assert (found.facts["photos"], found.figures["mean_iou"].queries, found.facts["half"]) == (2, 2, "all")
    overlaps = []
    for row, expected in zip(found.facts["each"], labels, strict=True):
        assert (row["photo"], row["words"]) == (expected["photo"], expected["words"])
        overlaps.append(boxes.overlap(expected["box"], row["shown"]))
        assert row["iou"] == round(overlaps[-1], 3)
    assert found.figures["mean_iou"].value == pytest.approx(sum(overlaps) / 2, abs=0.001)
    assert found.figures["share_half"].value == sum(overlap >= 0.5 for overlap in overlaps) / 2
    assert found.figures["of_coco_mean_iou"].value == found.facts["each"][0]["iou"]
    assert found.figures["others_mean_iou"].queries == 1


def test_halves_part_photos_and_never_a_photo():
    labels = read_labels("boxes")
    halves = [{each["photo"] for each in labels if boxes.half_of(each["photo"]) == half} for half in "ab"]
    assert not halves[0] & halves[1]
    assert min(map(len, halves)) >= 25


def test_labelled_photos_that_are_missing_or_of_another_size_are_named(folder):
    with pytest.raises(InputError, match=r"cat\.png"):
        boxes.evaluate(folder, [label("cat.png", "a cat")])
    with pytest.raises(InputError, match=r"disc\.png.*\[320, 240\].*\[640, 480\]"):
        boxes.evaluate(folder, [label("disc.png", "a ball", size=(640, 480))])


def test_file_names_do_not_help_a_search(folder):
    with indexed(photo_paths(folder)) as door:
        hits = door.search("square")
    assert {hit["photo"] for hit in hits} == {"disc.png", "square.png"}
    assert all("name" not in hit["via"] for hit in hits)
    assert not any(path.exists() for path in door.copies)


def test_hand_drawn_boxes_lie_in_their_photos():
    labels = read_labels("boxes")
    assert len(labels) >= 60
    assert len({each["photo"] for each in labels}) >= 40
    assert len({(each["photo"], each["words"]) for each in labels}) == len(labels)
    for each in labels:
        (width, height), (x, y, w, h) = each["size"], each["box"]
        assert each["words"].strip() == each["words"] != ""
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height, each
    shares = sum(each["coco"] for each in labels) / len(labels)
    assert 0.3 < shares < 0.7


def test_photos_are_gathered_from_packages_by_their_places_in_them(tmp_path):
    packages = tmp_path / "packages"
    size = (1600, 1200)
    for folder, files in PACKAGES.values():
        for file in files.split():
            path = packages / "some" / "where" / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, "teal").save(path)
            size = (40, 30)
    named = {each["photo"] for each in read_labels("boxes")}
    assert named <= set(find_photos(packages))
    assert build(packages, tmp_path / "out") == {"photos": len(find_photos(packages))}
    with Image.open(tmp_path / "out" / "opencv-aero1.jpg") as image:
        assert image.size == (1280, 960)
    (packages / "some" / "where" / "imgaug" / "quokka.jpg").unlink()
    with pytest.raises(InputError, match=r"imgaug/quokka\.jpg"):
        find_photos(packages)


def test_the_commands_print_figures_or_say_what_is_wrong(virtue, folder):
    done = virtue("evaluate", "boxes", folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"virtue.evaluation.real_photos" in done.stderr and b"Traceback" not in done.stderr
    done = virtue("evaluate", "details", folder, "--count", 4, "--regions", 4, "--json")
    found = json.loads(done.stdout)
    assert found["name"] == "details" and found["model"] == "mini" and len(found["fingerprint"]) == 32
    assert found["command"].split()[-5:] == ["--count", "4", "--regions", "4", "--json"]
    assert 0 <= found["recall@1"]["low"] <= found["recall@1"]["value"] <= found["recall@1"]["high"] <= 1
    assert found["recall@1"]["queries"] == 4
    done = virtue("evaluate", "cutouts", folder, "--count", 1)
    assert done.returncode == 0, done.stderr.decode()
    assert b"| round_recall@5 |" in done.stdout and b"`virtue evaluate cutouts" in done.stdout
