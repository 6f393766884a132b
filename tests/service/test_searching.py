"""POST /v1/search answers as `Library.search` does, whatever shape it is asked in."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import EXAMPLES
from virtue import Box, Hit, Library
from virtue.indexer.masks import encode

GABLE = (EXAMPLES / "query" / "gable.jpg").read_bytes()
AS_TEXT = base64.b64encode(GABLE).decode()
BOX = (250, 160, 440, 350)
XYWH = [250, 160, 190, 190]


def ask(http: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    answer = http.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: list[dict[str, Any]] = answer.json()["hits"]
    return found


def same(found: list[dict[str, Any]], hits: list[Hit]) -> None:
    """The hits of the service are those of the library, key by key as `--json` prints them."""
    assert hits
    assert [hit.keys() for hit in found] == [hit.as_json().keys() for hit in hits]
    for got, hit in zip(found, hits, strict=True):
        wanted = json.loads(hit.json_line())
        assert got.pop("score") == pytest.approx(wanted.pop("score"), abs=2e-6)
        assert got.pop("percentile") == pytest.approx(wanted.pop("percentile"), abs=0.01)
        assert got == wanted


def test_words_find_what_the_library_finds(http: httpx.Client, library: Library) -> None:
    same(ask(http, text="a cat", top=3), library.search("a cat", top=3))
    same(ask(http, text="a cat", top=2, offset=1), library.search("a cat", top=2, offset=1))
    for find in ("regions", "photos", "captions"):
        same(ask(http, text="a dog", find=find), library.search("a dog", find=find))
    same(
        ask(http, text="fur", all_regions=True, find="regions", top=20),
        library.search("fur", all_regions=True, find="regions", top=20),
    )
    assert (
        ask(http, text="a cat", min_score="auto")
        == ask(http, text="a cat")[: len(library.search("a cat", min_score="auto"))]
    )
    assert ask(http, text="a cat", min_score=2.0) == []


def test_filters_alone_and_beside_words(http: httpx.Client, library: Library) -> None:
    same_paths = [hit["path"] for hit in ask(http, where="rating >= 4")]
    assert same_paths == [hit.path for hit in library.search(where="rating >= 4")]
    assert {Path(path).stem for path in same_paths} == {"cat", "rocket"}
    found = ask(http, text="an animal", where=["tag = animal", "rating < 4"])
    assert [Path(hit["path"]).stem for hit in found] == ["dog"]


@pytest.mark.parametrize("image", [AS_TEXT, f"data:image/jpeg;base64,{AS_TEXT}"])
def test_a_box_on_a_picture(http: httpx.Client, library: Library, image: str) -> None:
    wanted = library.search({"image": GABLE, "box": BOX}, top=3)
    same(ask(http, image=image, box=XYWH, top=3), wanted)


def test_points_masks_and_whole_pictures(http: httpx.Client, library: Library, cutout: Path) -> None:
    same(ask(http, image=AS_TEXT), library.search({"image": GABLE}))
    points = [(340, 250, 1), (100, 400, 0)]
    same(ask(http, image=AS_TEXT, points=points), library.search({"image": GABLE, "points": points}))
    same(
        ask(http, image=AS_TEXT, points=[[340, 250]]),
        library.search({"image": GABLE, "points": [(340, 250)]}),
    )
    with Image.open(io.BytesIO(GABLE)) as image:
        size = image.size
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(BOX, fill=255)
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    wanted = library.search({"image": GABLE, "mask": stream.getvalue()})
    same(ask(http, image=AS_TEXT, mask=base64.b64encode(stream.getvalue()).decode()), wanted)
    same(ask(http, image=AS_TEXT, mask=encode(np.asarray(mask) > 127)), wanted)
    relative = library.search({"image": GABLE, "box": Box.relative(0.25, 0.25, 0.75, 0.75)})
    same(ask(http, image=AS_TEXT, box=[0.25, 0.25, 0.5, 0.5], relative=True), relative)
    # Of a cut-out, what is transparent is not meant, with and without a box.
    content = cutout.read_bytes()
    as_text = base64.b64encode(content).decode()
    same(ask(http, image=as_text), library.search({"image": content}))
    same(
        ask(http, image=as_text, box=[150, 60, 100, 100]),
        library.search({"image": content, "box": (150, 60, 250, 160)}),
    )


def test_parts_weights_and_what_to_leave_out(http: httpx.Client, library: Library) -> None:
    cat = library.search("a cat")[0]
    wanted = library.search(
        [{"text": "grass", "weight": 0.5}, {"image": GABLE, "box": BOX}],
        without=[{"text": "a coin"}, {"photo_id": cat.photo_id}],
    )
    parts = [{"text": "grass", "weight": 0.5}, {"image": AS_TEXT, "box": XYWH}]
    without = [{"text": "a coin"}, {"photo_id": cat.photo_id}]
    same(ask(http, parts=parts, without=without), wanted)
    same(ask(http, text="grass", weight=0.5, parts=parts[1:], without=without), wanted)
    same(ask(http, text="a dog", without={"text": "a coin"}), library.search("a dog", without="a coin"))
    more = library.search([{"text": "a dog"}, cat])
    same(
        ask(
            http,
            text="a dog",
            parts=[{"region_id": cat.region_id} if cat.kind == "region" else {"photo_id": cat.photo_id}],
        ),
        more,
    )
    vector = library.embedder.encode_query("a dog", find="photos")
    same(ask(http, vector=vector.tolist()), library.search(vector))


def test_a_form_with_a_file(http: httpx.Client, library: Library) -> None:
    wanted = library.search({"image": GABLE, "box": BOX, "text": "at night"}, top=2)
    for box in ("250,160,190,190", json.dumps(XYWH)):
        answer = http.post(
            "/v1/search", files={"image": GABLE}, data={"box": box, "text": "at night", "top": "2"}
        )
        assert answer.status_code == 200, answer.text
        same(answer.json()["hits"], wanted)
    rest = json.dumps({"box": XYWH, "text": "at night", "top": 2})
    answer = http.post("/v1/search", files={"image": GABLE}, data={"query": rest})
    same(answer.json()["hits"], wanted)


def test_several_queries_have_hits_or_problems_in_their_order(http: httpx.Client, library: Library) -> None:
    queries = ["a cat", {"text": "a dog", "top": 1}, {"image": "AAAA"}, {"image": AS_TEXT, "box": XYWH}]
    queries += [{"text": " "}, {"text": "a dog", "where": "colour = 1"}]
    answer = http.post("/v1/search", json={"queries": queries, "top": 2})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    same(results[0]["hits"], library.search("a cat", top=2))
    same(results[1]["hits"], library.search("a dog", top=1))
    same(results[3]["hits"], library.search({"image": GABLE, "box": BOX}, top=2))
    fields = {number: results[number]["problem"]["errors"][0]["pointer"] for number in (2, 4, 5)}
    assert fields == {2: "#/queries/2/image", 4: "#/queries/4/text", 5: "#/queries/5/where"}
    assert results[2]["problem"]["status"] == 422
    many = [f"thing number {n}" for n in range(40)]
    results = http.post("/v1/search", json={"queries": many}).json()["results"]
    for text, result in zip(many, results, strict=True):
        same(result["hits"], library.search(text))


def test_names_in_no_encoding_come_through(http: httpx.Client, library: Library) -> None:
    (street,) = ask(http, where="path ~ *caf*")
    assert street["path"] == library.search(where="path ~ *caf*")[0].path
    assert "\udce9" in street["path"]
