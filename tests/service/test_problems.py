"""What is wrong is said as RFC 9457 has it: in which field, why, and what to do."""

import base64
from typing import Any

import httpx
import pytest

from tests.service.test_searching import AS_TEXT

POINTERS = [
    ({"text": " "}, 422, "#/text", "empty"),
    ({"text": "a", "top": 0}, 422, "#/top", "greater than or equal to 1"),
    ({"text": "a", "top": "3"}, 422, "#/top", "integer"),
    ({"text": "a", "colour": 1}, 422, "#/colour", "not permitted"),
    ({"text": "a", "find": "cats"}, 422, "#/find", "'auto'"),
    ({"text": "a", "where": "taken >"}, 422, "#/where", "the filter"),
    ({"text": "a", "where": ["rating > 1", "colour = 2"]}, 422, "#/where", "no field 'colour'"),
    ({"text": "a", "box": [1, 2, 3, 4]}, 422, "#/box", "need an image"),
    ({"image": AS_TEXT, "box": [1, 2, 3]}, 422, "#/box", "at least 4"),
    ({"image": AS_TEXT, "box": [1, 2, 0, 4]}, 422, "#/box", "no size"),
    ({"image": AS_TEXT, "box": [9000, 2, 3, 4]}, 422, "#/box", "leaves the picture"),
    ({"image": AS_TEXT, "points": [[1, 2, 5]]}, 422, "#/points/0", "1 for what is meant"),
    ({"image": AS_TEXT, "points": [[1, 9000]]}, 422, "#/points", "outside the picture"),
    ({"image": AS_TEXT, "mask": "AAAA"}, 422, "#/mask", "not a picture"),
    ({"image": AS_TEXT, "mask": {"size": [2, 2], "counts": [4]}}, 422, "#/mask", "must agree"),
    ({"image": AS_TEXT, "mask": AS_TEXT[:3000]}, 422, "#/mask", "cut off"),
    ({"image": "/etc/passwd"}, 422, "#/image", "not a path"),
    ({"image": "../../etc/passwd"}, 422, "#/image", "not a path"),
    ({"image": "https://example.org/a.jpg"}, 422, "#/image", "not fetched"),
    ({"image": base64.b64encode(b"<svg/>").decode()}, 422, "#/image", "not a picture"),
    ({"image": ""}, 422, "#/image", "empty"),
    ({"image": "data:image/png,xx"}, 422, "#/image", "base64"),
    ({"picture_id": "gone"}, 422, "#/picture_id", "POST /v1/pictures"),
    ({"photo_id": 12345}, 422, "#/photo_id", "no photo 12345"),
    ({"region_id": 12345}, 422, "#/region_id", "no region 12345"),
    ({"photo_id": 1, "text": "a"}, 422, "#/photo_id", "goes alone"),
    ({"photo_id": 1 << 70}, 422, "#/photo_id", "less than or equal"),
    ({"vector": [1.0, 2.0]}, 422, "#/vector", "have 784"),
    ({"vector": [0.0] * 784}, 422, "#/vector", "zero"),
    ({"text": "a", "weight": 0}, 422, "#/weight", "cannot weigh 0"),
    ({"text": "a", "parts": [{"text": "b"}, {}]}, 422, "#/parts/1", "empty"),
    ({"text": "a", "parts": [{"image": "?"}]}, 422, "#/parts/0/image", "base64"),
    ({"without": {"text": "a"}}, 422, "#/without", "nothing to search for"),
    ({"where": "rating > 1", "min_score": 0.5}, 422, "#/min_score", "leave min_score out"),
    ({}, 422, "#/text", "nothing to search for"),
    ({"queries": []}, 422, "#/queries", "at least 1"),
    ({"text": "x" * 200_000}, 422, "#/text", "at most 100000"),
]


@pytest.mark.parametrize(("body", "status", "pointer", "words"), POINTERS, ids=lambda value: str(value)[:40])
def test_a_field_that_cannot_be_used_is_named(
    http: httpx.Client, body: dict[str, Any], status: int, pointer: str, words: str
) -> None:
    answer = http.post("/v1/search", json=body)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["errors"][0]["detail"]
    assert problem["title"] and words in problem["detail"]
    assert "Traceback" not in answer.text and "site-packages" not in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 100_000, "application/json", 400),
        (b'"\\ud800"', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"text": "a", "top": 1' + b"0" * 6000 + b"}", "application/json", 400),
        (b"text=a", "application/x-www-form-urlencoded", 415),
        (b'{"text": "a"}', "text/plain", 415),
        (b"x", "multipart/form-data", 400),
        (b"--a\r\n\r\n", "multipart/form-data; boundary=a", 400),
    ],
)
def test_a_body_that_cannot_be_read(http: httpx.Client, content: bytes, kind: str, status: int) -> None:
    answer = http.post("/v1/search", content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_addresses_and_methods_that_are_none(http: httpx.Client) -> None:
    assert http.get("/nothing").json()["status"] == 404
    answer = http.delete("/v1/search")
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"
    assert http.put("/v1/jobs/1").headers["allow"] == "DELETE, GET"
    assert http.get("/v1/photos/999").json()["detail"].startswith("this library has no photo 999")
    problem = http.get("/v1/photos", params={"limit": -1}).json()
    assert problem["status"] == 422 and problem["errors"][0]["pointer"] == "#/limit"
    assert http.get("/v1/photos", params={"where": "x ="}).json()["errors"][0]["pointer"] == "#/where"


def test_too_large_a_body_is_refused_before_it_is_read(http: httpx.Client) -> None:
    large = b"x" * (65 << 20)
    headers = {"content-type": "application/json"}
    assert http.post("/v1/search", content=large, headers=headers).status_code == 413

    def parts() -> Any:  # without a Content-Length
        for _ in range(65):
            yield large[: 1 << 20]

    assert http.post("/v1/search", content=parts(), headers=headers).status_code == 413
    assert http.post("/v1/search", json={"text": "a cat"}).status_code == 200
