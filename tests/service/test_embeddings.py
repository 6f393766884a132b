"""POST /v1/embeddings, asked by the official client of OpenAI and in the shapes of vLLM."""

import base64
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.service.serving import Served
from tests.service.test_searching import AS_TEXT, BOX, GABLE, XYWH
from virtue import Library

TEXTS = ["a dog", "a red mug on a desk", "two dogs running"]
URI = f"data:image/jpeg;base64,{AS_TEXT}"


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.address + "v1", api_key="none needed", max_retries=0)


def rows(answer: Any) -> np.ndarray:
    return np.array([item.embedding for item in answer.data], np.float32)


def test_the_official_client_gets_the_vectors_of_the_library(client: openai.OpenAI, library: Library) -> None:
    wanted = library.embedder.encode(TEXTS)
    for encoding in ("float", "base64", None):
        asked = {"encoding_format": encoding} if encoding else {}
        answer = client.embeddings.create(model="mini", input=TEXTS, **asked)  # type: ignore[call-overload]
        if encoding == "base64":
            got = np.stack([np.frombuffer(base64.b64decode(each.embedding), "<f4") for each in answer.data])
        else:
            got = rows(answer)
        np.testing.assert_allclose(got, wanted, atol=1e-6)
        assert [item.index for item in answer.data] == [0, 1, 2]
        assert answer.model == "mini" and answer.object == "list"
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == 11
    one = client.embeddings.create(model="mini", input="a dog")
    np.testing.assert_allclose(rows(one), wanted[:1], atol=1e-6)


def test_fewer_dimensions_are_unit_vectors_too(client: openai.OpenAI, library: Library) -> None:
    got = rows(client.embeddings.create(model="mini", input=TEXTS, dimensions=128))
    np.testing.assert_allclose(
        got, library.embedder.encode(TEXTS, truncate_dim=128, normalize_embeddings=True), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    with pytest.raises(openai.UnprocessableEntityError, match="784 numbers"):
        client.embeddings.create(model="mini", input="a", dimensions=785)


def test_models_are_listed_and_others_refused(client: openai.OpenAI, library: Library) -> None:
    (model,) = client.models.list().data
    assert model.id == "mini" and model.to_dict()["dim"] == library.embedder.dim
    with pytest.raises(openai.NotFoundError, match="mini is"):
        client.embeddings.create(model="text-embedding-3-small", input="a")


def test_pictures_beside_texts(client: openai.OpenAI, library: Library) -> None:
    inputs: list[Any] = [
        {"text": "a dog"},
        {"image": AS_TEXT},
        {"image": URI, "box": XYWH},
        {"image": URI, "box": XYWH, "text": "at night"},
        {"image": URI, "points": [[340, 250, 1], [100, 400, 0]]},
        URI,
    ]
    wanted = library.embedder.encode(
        [
            "a dog",
            GABLE,
            {"image": GABLE, "box": BOX},
            {"image": GABLE, "box": BOX, "text": "at night"},
            {"image": GABLE, "points": [(340, 250, 1), (100, 400, 0)]},
            GABLE,
        ]
    )
    np.testing.assert_allclose(rows(client.embeddings.create(model="mini", input=inputs)), wanted, atol=1e-6)


def test_messages_as_vllm_takes_them(client: openai.OpenAI, library: Library) -> None:
    content = [
        {"type": "image_url", "image_url": {"url": URI}, "box": XYWH},
        {"type": "text", "text": "at night"},
    ]
    body = {"messages": [{"role": "user", "content": content}]}
    answer = client.post("/embeddings", body={"model": "mini", **body}, cast_to=dict[str, Any])
    wanted = library.embedder.encode({"image": GABLE, "box": BOX, "text": "at night"})
    np.testing.assert_allclose(answer["data"][0]["embedding"], wanted, atol=1e-6)
    plain = {"messages": [{"role": "user", "content": "a dog"}]}
    answer = client.post("/embeddings", body=plain, cast_to=dict[str, Any])
    np.testing.assert_allclose(answer["data"][0]["embedding"], library.embedder.encode("a dog"), atol=1e-6)


def test_vectors_of_queries(http: httpx.Client, library: Library) -> None:
    for find in ("regions", "photos", "captions"):
        body = {"input": ["some people", {"image": AS_TEXT, "box": XYWH}], "find": find}
        data = http.post("/v1/embeddings", json=body).json()["data"]
        wanted = library.embedder.encode_query(["some people", {"image": GABLE, "box": BOX}], find=find)
        np.testing.assert_allclose([each["embedding"] for each in data], wanted, atol=1e-6)


def test_many_inputs_are_answered_in_their_order(http: httpx.Client, library: Library) -> None:
    texts = [f"thing number {n}" for n in range(100)]
    data = http.post("/v1/embeddings", json={"input": texts}).json()["data"]
    np.testing.assert_allclose(
        [each["embedding"] for each in data], library.embedder.encode(texts), atol=1e-6
    )
    assert [each["index"] for each in data] == list(range(100))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": []}, "#/input"),
        ({}, "#/input"),
        ({"input": [1, 2, 3]}, "#/input/0"),
        ({"input": ["a", {"image": "?"}]}, "#/input/1/image"),
        ({"input": ["a", {"image": AS_TEXT, "box": [0, 0, 9999, 9]}]}, "#/input/1/box"),
        ({"input": ["a", {}]}, "#/input/1"),
        ({"input": "a", "messages": [{"content": "a"}]}, "#/input"),
        ({"messages": [{"content": [{"type": "image_url"}]}]}, "#/messages/0/content/0/image_url"),
        ({"input": "a", "encoding_format": "int8"}, "#/encoding_format"),
        ({"input": "a", "dimensions": 0}, "#/dimensions"),
    ],
)
def test_what_cannot_be_embedded_is_named(http: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    answer = http.post("/v1/embeddings", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
