"""`Embedder` in the place of a model of sentence-transformers 6: its arguments, its evaluators, its tools."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import evaluation
from sentence_transformers.util import mine_hard_negatives, paraphrase_mining, quantize_embeddings

from tests.embedder.towers.builders import save
from virtue import Embedder
from virtue.errors import InputError, ModelError

TEXTS = ["a red mug", "a dog on the desk", "the blue cat", "a cat"]
OTHERS = ["the red mug", "a blue dog", "a cat on the desk", "the cat"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder.from_pretrained(save("clip", tmp_path_factory.mktemp("model")), device="cpu", threads=1)


SCORES = [0.9, 0.1, 0.2, 0.8]
EVALUATORS = {
    "binary classification": lambda: evaluation.BinaryClassificationEvaluator(TEXTS, OTHERS, [1, 0, 0, 1]),
    "embedding similarity": lambda: evaluation.EmbeddingSimilarityEvaluator(TEXTS, OTHERS, SCORES),
    "embedding similarity in int8": lambda: evaluation.EmbeddingSimilarityEvaluator(
        TEXTS, OTHERS, SCORES, precision="int8", truncate_dim=16
    ),
    "information retrieval": lambda: evaluation.InformationRetrievalEvaluator(
        dict(enumerate(TEXTS)), dict(enumerate(OTHERS)), {n: {n} for n in range(4)}
    ),
    "translation": lambda: evaluation.TranslationEvaluator(TEXTS, OTHERS),
    "triplet": lambda: evaluation.TripletEvaluator(TEXTS, OTHERS, OTHERS[::-1]),
    "paraphrase mining": lambda: evaluation.ParaphraseMiningEvaluator(
        {str(n): text for n, text in enumerate(TEXTS + OTHERS)}, [("0", "4"), ("3", "7")]
    ),
    "reranking": lambda: evaluation.RerankingEvaluator(
        [
            {"query": TEXTS[n], "positive": [OTHERS[n]], "negative": OTHERS[:n] + OTHERS[n + 1 :]}
            for n in range(4)
        ]
    ),
}


@pytest.mark.parametrize("name", EVALUATORS)
def test_every_evaluator_takes_it(name: str, embedder: Embedder, tmp_path: Path) -> None:
    evaluator = EVALUATORS[name]()
    scores = evaluator(embedder, output_path=str(tmp_path))
    assert scores and all(np.isfinite(value) for value in scores.values())
    assert embedder.model_card_data.metrics.items() >= scores.items()


def test_the_evaluators_that_take_a_teacher(embedder: Embedder) -> None:
    same = evaluation.MSEEvaluator(TEXTS, TEXTS, teacher_model=embedder)(embedder)
    assert same["negative_mse"] == pytest.approx(0, abs=1e-9)
    other = evaluation.MSEEvaluator(TEXTS, OTHERS, teacher_model=embedder)(embedder)
    assert other["negative_mse"] < 0


def test_evaluators_in_a_sequence(embedder: Embedder) -> None:
    sequence = evaluation.SequentialEvaluator([EVALUATORS["triplet"](), EVALUATORS["translation"]()])
    assert set(sequence(embedder)) >= {"cosine_accuracy", "mean_accuracy", "sequential_score"}


def test_hard_negatives_and_paraphrases_are_mined(embedder: Embedder) -> None:
    pairs = Dataset.from_dict({"query": TEXTS, "answer": OTHERS})
    mined = mine_hard_negatives(pairs, embedder, num_negatives=2, range_max=3, verbose=False)
    assert len(mined) > 0 and set(mined.column_names) == {"query", "answer", "negative"}
    assert all(row["negative"] in OTHERS and row["negative"] != row["answer"] for row in mined)
    assert len(paraphrase_mining(embedder, TEXTS + OTHERS)) > 0


# -- arguments ------------------------------------------------------------------------------------------


def test_the_arguments_have_the_names_and_the_order_of_sentence_transformers() -> None:
    import inspect

    theirs = list(inspect.signature(SentenceTransformer.encode).parameters.values())[:-1]  # not **kwargs
    for ours in (Embedder.encode, Embedder.encode_query, Embedder.encode_document):
        mine = list(inspect.signature(ours).parameters.values())[: len(theirs)]
        assert [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in theirs]


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_precisions_are_theirs(embedder: Embedder, precision: Any) -> None:
    rows = embedder.encode(TEXTS)
    expected = quantize_embeddings(rows, precision)
    found = embedder.encode(TEXTS, precision=precision)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    as_tensor = embedder.encode(TEXTS, precision=precision, convert_to_tensor=True)
    np.testing.assert_array_equal(as_tensor.numpy(), expected)


def test_what_comes_back_is_what_was_asked_for(embedder: Embedder) -> None:
    rows = embedder.encode(TEXTS)
    assert isinstance(rows, np.ndarray) and rows.shape == (4, 24)
    tensor = embedder.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), rows)
    tensors = embedder.encode(TEXTS, convert_to_numpy=False)
    assert isinstance(tensors, list) and all(isinstance(row, torch.Tensor) for row in tensors)
    assert isinstance(embedder.encode(TEXTS[0], convert_to_numpy=False), torch.Tensor)
    dicts = embedder.encode(TEXTS, output_value=None)
    np.testing.assert_array_equal([part["sentence_embedding"].numpy() for part in dicts], rows)
    np.testing.assert_array_equal(embedder.encode(text for text in TEXTS), rows)
    np.testing.assert_array_equal(embedder.encode(np.array(TEXTS)), rows)
    np.testing.assert_allclose(embedder.encode(tuple(TEXTS), None, "", 2, False), rows, atol=1e-6)
    assert embedder.encode([]).shape == (0, 24)
    assert embedder.encode([], precision="int8").shape == (0, 24)


def test_lists_and_generators_of_images(embedder: Embedder) -> None:
    images = [Image.new("RGB", (60, 40), colour) for colour in ("red", "green", "blue")]
    rows = embedder.encode(images)
    assert rows.shape == (3, 24)
    np.testing.assert_array_equal(embedder.encode(image for image in images), rows)
    np.testing.assert_array_equal(embedder.encode([np.asarray(image) for image in images]), rows)
    np.testing.assert_array_equal(embedder.encode([{"image": image} for image in images]), rows)


def test_what_cannot_be_is_said(embedder: Embedder) -> None:
    for options, words in (
        ({"output_value": "token_embeddings"}, "no tokens"),
        ({"precision": "int4"}, "is none of float32, int8"),
        ({"device": "cuda:7"}, "is on cpu"),
        ({"truncate_dim": 25}, "give 1 to 24"),
        ({"batch_size": 0}, "give 1 or more"),
    ):
        with pytest.raises(InputError, match=words):
            embedder.encode(TEXTS, **options)
    with pytest.raises(InputError, match="more than one input"):
        embedder.encode(TEXTS[0], precision="int8")
    with pytest.raises(InputError, match=r"input 1: .* is an address"):
        embedder.encode(["a cat", "https://example.org/cat.jpg"])


def test_what_a_model_says_of_itself(embedder: Embedder) -> None:
    assert embedder.device == torch.device("cpu")
    assert embedder.max_seq_length == 12
    assert embedder.supports("text") and embedder.supports(("image", "text"))
    assert not embedder.supports("audio")
    assert Embedder.from_pretrained("mini").max_seq_length == 256
    a, b = embedder.encode(TEXTS), embedder.encode(OTHERS)
    np.testing.assert_allclose(
        embedder.similarity_pairwise(a, b), np.diag(embedder.similarity(a, b)), atol=1e-6
    )
    assert isinstance(embedder.similarity_pairwise(torch.tensor(a), torch.tensor(b)), torch.Tensor)


def test_it_is_pickled_by_its_name(embedder: Embedder) -> None:
    for one in (embedder, Embedder.from_pretrained("mini")):
        other = pickle.loads(pickle.dumps(one))
        assert (other.name, other.fingerprint) == (one.name, one.fingerprint)
        np.testing.assert_array_equal(other.encode(TEXTS), one.encode(TEXTS))
    with pytest.raises(ModelError, match="not made by from_pretrained"):
        pickle.dumps(Embedder(embedder.model))


def test_several_processes_give_the_same_rows(embedder: Embedder) -> None:
    inputs = [*TEXTS, Image.new("RGB", (60, 40), "red")]
    rows = embedder.encode(inputs)
    pool = embedder.start_multi_process_pool(["cpu", "cpu"])
    try:
        np.testing.assert_allclose(embedder.encode(inputs, pool=pool), rows, atol=1e-6)
        np.testing.assert_allclose(embedder.encode(inputs, pool=pool, chunk_size=1), rows, atol=1e-6)
        queries = embedder.encode_query(inputs, pool=pool, find="captions", convert_to_tensor=True)
        np.testing.assert_allclose(queries.numpy(), embedder.encode_query(inputs, find="captions"), atol=1e-6)
        with pytest.raises(InputError, match="is an address"):
            embedder.encode(["a cat", "https://example.org/cat.jpg"], pool=pool)
    finally:
        embedder.stop_multi_process_pool(pool)
