"""Pictures that are kept, and what is meant by what is drawn on them."""

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.embedder.virtue_model.checkpoints import own_folder
from tests.service.serving import serve
from tests.service.test_searching import AS_TEXT, BOX, GABLE, XYWH, ask, same
from virtue import Embedder, Library
from virtue.indexer.masks import decode
from virtue.pictures import load
from virtue.service.kept_pictures import KeptPicture, KeptPictures

DATA = Path(__file__).parent.parent / "data"


def test_a_kept_picture_stands_for_its_upload(http: httpx.Client, library: Library, cutout: Path) -> None:
    kept = http.post("/v1/pictures", json={"image": AS_TEXT})
    assert kept.status_code == 201
    with Image.open(io.BytesIO(GABLE)) as image:
        assert (kept.json()["width"], kept.json()["height"]) == image.size
    picture_id = kept.json()["picture_id"]
    for box in (BOX, (10, 20, 200, 210)):
        xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        same(ask(http, picture_id=picture_id, box=xywh), library.search({"image": GABLE, "box": box}))
    same(ask(http, picture_id=picture_id), library.search({"image": GABLE}))
    drawn = {"image": GABLE, "box": BOX, "text": "at night"}
    same(ask(http, picture_id=picture_id, box=XYWH, text="at night"), library.search(drawn))
    upload = http.post("/v1/pictures", files={"image": cutout.read_bytes()}).json()
    content = cutout.read_bytes()
    same(ask(http, picture_id=upload["picture_id"]), library.search({"image": content}))
    boxed = library.search({"image": content, "box": (150, 60, 250, 160)})
    same(ask(http, picture_id=upload["picture_id"], box=[150, 60, 100, 100]), boxed)
    assert http.delete(f"/v1/pictures/{picture_id}").status_code == 204
    assert http.delete(f"/v1/pictures/{picture_id}").status_code == 404
    gone = http.post("/v1/search", json={"picture_id": picture_id}).json()
    assert gone["errors"][0]["pointer"] == "#/picture_id"


def test_a_photo_of_the_library_can_be_drawn_on(http: httpx.Client, library: Library) -> None:
    (cat,) = library.photos("path ~ *cat.jpg")
    kept = http.post("/v1/pictures", json={"photo_id": cat.photo_id}).json()
    assert (kept["width"], kept["height"]) == (cat.width, cat.height)
    wanted = library.search({"image": Path(cat.paths[0]), "box": (50, 50, 200, 200)})
    same(ask(http, picture_id=kept["picture_id"], box=[50, 50, 150, 150]), wanted)


def test_a_picture_that_browsers_cannot_show_has_a_preview(http: httpx.Client) -> None:
    heic = (DATA / "turned.heic").read_bytes()
    answer = http.post("/v1/preview", files={"image": heic})
    assert answer.headers["content-type"] == "image/jpeg"
    shown, wanted = load(answer.content), load(heic)
    assert (shown.width, shown.height) == (wanted.width, wanted.height) == (64, 48)
    assert np.abs(shown.pixels.astype(int) - wanted.pixels).mean() < 10, "of colours that differ by 87"
    refused = http.post("/v1/preview", files={"image": b"words"})
    assert refused.status_code == 422 and refused.json()["errors"][0]["pointer"] == "#/image"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/image"),
        ({"image": AS_TEXT, "photo_id": 1}, "#/image"),
        ({"image": "AAAA"}, "#/image"),
        ({"photo_id": 99}, "#/photo_id"),
    ],
)
def test_what_cannot_be_kept(http: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    answer = http.post("/v1/pictures", json=body)
    assert answer.status_code in (404, 422)
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_few_are_kept_and_none_for_long(gable: Path) -> None:
    prepared = Embedder.from_pretrained().prepare(gable)
    picture = KeptPicture(prepared, load(gable))
    kept = KeptPictures(limit=3, seconds=1000)
    ids = [kept.add(picture) for _ in range(3)]
    assert kept.get(ids[0]) is picture, "which is now the last used"
    ids.append(kept.add(picture))
    assert [kept.get(each) is not None for each in ids] == [True, False, True, True]
    assert len(set(ids)) == 4 and all(len(each) >= 20 for each in ids)
    short = KeptPictures(seconds=0)
    assert short.get(short.add(picture)) is None and len(short) == 0


def test_mini_tells_which_cells_count(http: httpx.Client) -> None:
    answer = http.post("/v1/segment", json={"image": AS_TEXT, "box": XYWH})
    assert answer.status_code == 200, answer.text
    meant = answer.json()
    assert (
        meant["kind"] == "cells" and (meant["width"], meant["height"]) == Image.open(io.BytesIO(GABLE)).size
    )
    cells = np.array(meant["cells"]["weights"]).reshape(meant["cells"]["rows"], meant["cells"]["columns"])
    assert cells.sum() == pytest.approx(1, abs=1e-3)
    x, y = XYWH[0] + XYWH[2] / 2, XYWH[1] + XYWH[3] / 2
    row, column = int(y * cells.shape[0] / meant["height"]), int(x * cells.shape[1] / meant["width"])
    assert cells[row, column] == cells.max() and cells[-1, -1] == 0
    mask = decode(meant["mask"])
    with Image.open(io.BytesIO(base64.b64decode(meant["png"]))) as png:
        assert np.array_equal(np.asarray(png), mask)
    assert mask[int(y), int(x)] and not mask[-1, -1]
    x, y, w, h = meant["box"]
    assert x <= XYWH[0] and y <= XYWH[1] and x + w >= 440 and y + h >= 350
    # The mask is a prompt itself.
    assert ask(http, image=AS_TEXT, mask=meant["mask"])
    pointed = http.post("/v1/segment", json={"photo_id": 1, "points": [[50, 50, 1]]}).json()
    assert pointed["kind"] == "cells"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, "#/image"), ({"image": AS_TEXT}, "#/box"), ({"photo_id": 99, "points": [[1, 1]]}, "#/photo_id")],
)
def test_what_cannot_be_segmented(http: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    assert http.post("/v1/segment", json=body).json()["errors"][0]["pointer"] == pointer


def test_virtue_segments(tmp_path: Path) -> None:
    """A small VIRTUE with random weights: what it makes is no thing, and is a mask."""
    model = own_folder(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    shutil.copy(Path(__file__).parents[2] / "examples" / "photos" / "cat.jpg", tmp_path / "photos")
    with Library(tmp_path / "library", embedder=str(model)) as library:
        library.index(tmp_path / "photos", regions="none", ocr=False)
        wanted = library.embedder.segment({"image": GABLE, "box": BOX})
    assert wanted.dtype == bool and wanted.shape == Image.open(io.BytesIO(GABLE)).size[::-1]
    with serve(tmp_path / "library", "--read-only", home=tmp_path) as served, served.client() as http:
        assert http.get("/v1/status").json()["can_segment"] is True
        meant = http.post("/v1/segment", json={"image": AS_TEXT, "box": XYWH}).json()
    assert meant["kind"] == "mask"
    assert np.array_equal(decode(meant["mask"]), wanted)
    assert meant.get("cells") is None
