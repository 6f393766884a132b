"""The face that users of sentence-transformers know."""

import inspect

import numpy as np
import pytest

import virtue
from virtue.embedder import Embedder
from virtue.errors import InputError, ModelError, PictureError

SHARED = (
    "batch_size", "prompt_name", "prompt", "normalize_embeddings", "truncate_dim", "show_progress_bar",
    "convert_to_numpy", "convert_to_tensor",
)  # fmt: skip


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_pretrained()


def test_the_package_exports_it():
    assert virtue.Embedder is Embedder


def test_it_takes_the_arguments_of_sentence_transformers():
    for method in (Embedder.encode, Embedder.encode_query, Embedder.encode_document):
        assert set(SHARED) <= set(inspect.signature(method).parameters)


def test_it_names_itself(embedder):
    assert embedder.name == "mini"
    assert (
        embedder.dim
        == embedder.get_embedding_dimension()
        == embedder.get_sentence_embedding_dimension()
        == 784
    )
    assert len(embedder.fingerprint) == 32


def test_an_unknown_model_is_told_which_there_are():
    with pytest.raises(ModelError, match=r"no model called 'maxi'; there are: mini"):
        Embedder.from_pretrained("maxi")


def test_a_device_it_cannot_use_is_refused():
    with pytest.raises(ModelError, match="CPU"):
        Embedder.from_pretrained("mini", device="cuda")


def test_one_input_gives_one_vector_and_several_give_rows(embedder):
    assert embedder.encode("a cat").shape == (784,)
    assert embedder.encode(["a cat"]).shape == (1, 784)
    assert embedder.encode([]).shape == (0, 784)
    assert embedder.encode({"text": "a cat"}).shape == (784,)
    rows = embedder.encode(["a cat", "a dog"], convert_to_numpy=False)
    assert isinstance(rows, list)
    assert rows[1].shape == (784,)


def test_documents_are_what_encode_gives(embedder):
    np.testing.assert_array_equal(embedder.encode(["a cat"]), embedder.encode_document(["a cat"]))


def test_a_prompt_goes_before_every_text(embedder):
    np.testing.assert_allclose(
        embedder.encode("cat", prompt="a photo of a "), embedder.encode("a photo of a cat")
    )
    with pytest.raises(InputError, match="no prompt called 'query'"):
        embedder.encode("cat", prompt_name="query")


def test_truncated_rows_are_of_unit_length_again(embedder):
    short = embedder.encode(["a cat"], truncate_dim=100)
    assert short.shape == (1, 100)
    assert np.linalg.norm(short) == pytest.approx(1, abs=1e-5)
    plain = embedder.encode(["a cat"], truncate_dim=100, normalize_embeddings=False)
    np.testing.assert_array_equal(plain, embedder.encode(["a cat"])[:, :100])
    for wrong in (0, 785):
        with pytest.raises(InputError, match="truncate_dim"):
            embedder.encode("a cat", truncate_dim=wrong)


def test_a_batch_of_none_is_refused(embedder):
    with pytest.raises(InputError, match="batch_size"):
        embedder.encode("a cat", batch_size=0)


def test_similarity_is_the_cosine_of_every_pair(embedder):
    rows = embedder.encode(["a cat", "a dog", "a car"])
    pairs = embedder.similarity(3 * rows[:2], rows)
    assert pairs.shape == (2, 3)
    np.testing.assert_allclose(np.diag(pairs), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.similarity(rows[0], rows[1]), [[rows[0] @ rows[1]]], atol=1e-5)


def test_a_tensor_if_asked(embedder):
    torch = pytest.importorskip("torch", reason="the base install holds no torch")
    tensor = embedder.encode(["a cat"], convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.shape == (1, 784)


def test_a_bar_goes_to_stderr_alone(embedder, capsys):
    embedder.encode(["a cat", "a dog"], batch_size=1, show_progress_bar=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "embedding" in captured.err


def test_what_is_looked_for_must_be_known(embedder):
    for ask in (embedder.query, embedder.encode_query):
        with pytest.raises(InputError, match="find='faces'"):
            ask("a cat", find="faces")


def test_a_bad_input_is_named_before_anything_is_returned(embedder, tmp_path):
    with pytest.raises(PictureError, match=r"gone\.jpg"):
        embedder.encode(["a cat", tmp_path / "gone.jpg"])


def test_a_prepared_picture_gives_the_same_vectors_and_the_work_is_done_once(embedder, gable, monkeypatch):
    prepared = embedder.prepare(str(gable))
    points = [(340, 250, 1), (100, 400, 0)]
    drawn = [{"box": (250, 160, 440, 350)}, {"points": points}, {"box": (0, 0, 90, 90), "text": "at night"}]
    wanted = [embedder.query({"image": gable, **each}) for each in drawn]
    whole = embedder.query({"image": gable})
    assert np.array_equal(embedder.query(prepared), whole)
    work = []
    monkeypatch.setattr(embedder.model, "scenes", lambda pictures: work.extend(pictures) or [])
    for each, vectors in zip(drawn, wanted, strict=True):
        assert np.array_equal(embedder.query({"image": prepared, **each}), vectors)
    assert work == []
    with pytest.raises(PictureError, match="no such file"):
        embedder.prepare("nothing.jpg")
