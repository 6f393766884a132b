"""The bundled model itself, on pictures drawn here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from virtue.embedder import Embedder, Item
from virtue.embedder.mini import FOLDER, Mini
from virtue.embedder.mini.config import FILES, fingerprint, read_config
from virtue.errors import InputError
from virtue.geometry import Box, Prompt
from virtue.pictures import load

HALF = 384


def scene_picture(width: int = 400, height: int = 300, seed: int = 1) -> np.ndarray:
    """A textured ground with a disc, a square and stripes."""
    noise = np.random.default_rng(seed).integers(90, 160, (height // 4, width // 4, 3), np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 120, 120), fill=(220, 30, 30))
    draw.rectangle((250, 30, 340, 120), fill=(20, 60, 200))
    for x in range(30, 180, 16):
        draw.rectangle((x, 180, x + 8, 270), fill=(250, 240, 80))
    return np.asarray(image)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_pretrained("mini", threads=1)


def test_the_fingerprint_is_that_of_the_files():
    config, written = read_config(FOLDER)
    assert written == fingerprint(FOLDER, config) == Mini().fingerprint
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 60e6


def test_a_row_is_meaning_and_look_and_half_as_much_colours(embedder):
    row = embedder.encode(scene_picture())
    assert row.dtype == np.float32
    assert row.shape == (embedder.dim,) == (784,)
    for part, length in zip(np.split(row, [HALF, 2 * HALF]), (2 / 3, 2 / 3, 1 / 3), strict=True):
        assert np.linalg.norm(part) == pytest.approx(length, abs=1e-5)


def test_a_text_is_meaning_alone(embedder):
    for row in (embedder.encode("a tall mug"), embedder.encode_query("a tall mug")):
        assert np.linalg.norm(row[:HALF]) == pytest.approx(1, abs=1e-5)
        assert not row[HALF:].any()
    np.testing.assert_array_equal(
        embedder.encode("a red mug"), embedder.encode_query("a red mug", find="captions")
    )


def test_texts_that_mean_alike_lie_close(embedder):
    cat, kitten, lorry = embedder.encode(["a cat", "a kitten", "a lorry on the motorway"])
    assert cat @ kitten > 0.5 > cat @ lorry + 0.2
    same, other = embedder.encode(["a cat asleep on a sofa", "two boats in a harbour"])
    query = embedder.encode_query("a sleeping cat")
    assert query @ same > embedder.model.text_match > query @ other


def test_a_text_query_opens_no_vision_model():
    model = Mini(threads=1)
    Embedder(model).encode_query("a red mug")
    assert "_vision" not in vars(model)


def test_a_question_weighs_its_parts_by_what_is_looked_for(embedder):
    box = {"image": scene_picture(), "box": (20, 20, 120, 120)}
    for find in ("regions", "photos"):
        (row,) = embedder.query(box, find)
        assert np.linalg.norm(row[:HALF]) == pytest.approx(0.02, abs=1e-3)
    (row,) = embedder.query(box, "captions")
    assert not row[HALF:].any()
    np.testing.assert_allclose(row[:HALF], embedder.encode(box)[:HALF] * 1.5, atol=1e-5)
    (both,) = embedder.query({**box, "text": "a blue square"}, "regions")
    meaning = both[:HALF] / np.linalg.norm(both[:HALF])
    np.testing.assert_allclose(meaning, embedder.encode("a square")[:HALF], atol=1e-5)
    assert np.linalg.norm(both[HALF : 2 * HALF]) > 0.1


def test_rows_of_a_library_are_asked_as_what_they_were_made_of(embedder):
    picture = load(scene_picture())
    (maps,) = embedder.scenes([picture])
    items = [Item(maps, Prompt(Box(20, 30, 90, 100))), Item(text="a cup"), Item(text="a red cup")]
    rows = embedder.embed(items).astype(np.float16)
    for find in ("regions", "photos", "captions"):
        asked = np.concatenate(embedder.model.queries(items, [picture, None, None], find))
        np.testing.assert_allclose(embedder.rows_as_queries(rows, find), asked, atol=2e-3)
    with pytest.raises(InputError, match="cats"):
        embedder.rows_as_queries(rows, "cats")
    with pytest.warns(DeprecationWarning, match="rows_as_queries"):
        np.testing.assert_array_equal(embedder.requery(rows), embedder.rows_as_queries(rows))


def test_queries_of_one_batch_are_those_asked_alone(embedder):
    picture = scene_picture()
    box = {"image": picture, "box": (20, 20, 120, 120)}
    values = ["a cat", "a dog", picture, box, "a red mug", {**box, "text": "at night"}]
    for find in ("regions", "photos", "captions"):
        together = embedder.queries(values, find)
        for rows, value in zip(together, values, strict=True):
            np.testing.assert_allclose(rows, embedder.query(value, find), atol=1e-6)
        np.testing.assert_array_equal(
            [rows[0] for rows in together], embedder.encode_query(values, find=find)
        )
    assert embedder.queries([]) == []


def test_texts_of_one_length_are_one_pass(embedder, monkeypatch):
    passes = []
    run = embedder.model._text._session.run
    monkeypatch.setattr(embedder.model._text, "_session", Counting(run, passes))
    embedder.encode_query(["a cat", "a dog", "a tall mug", "a cow"])
    assert sorted(passes) == [1, 3]
    with pytest.raises(InputError, match=r"input 1: .* is an address"):
        embedder.queries(["a cat", "https://example.org/a.jpg"])


def test_no_words_have_a_vector(embedder):
    rows = embedder.encode(["", "  ", "a cat"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[1])


class Counting:
    def __init__(self, run, passes):
        self._run, self._passes = run, passes

    def run(self, outputs, given):
        self._passes.append(len(given["input_ids"]))
        return self._run(outputs, given)


def test_a_picture_without_a_prompt_is_asked_at_several_sizes_its_own_first(embedder):
    picture = scene_picture()
    rows = embedder.query(picture, "regions")
    assert rows.shape == (4, 784)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows[0], embedder.encode_query(picture))
    own = embedder.encode(picture)[HALF : 2 * HALF] * 1.5
    assert rows[0, HALF : 2 * HALF] @ own == pytest.approx(1, abs=1e-3)
    assert (rows[1:, HALF : 2 * HALF] @ own < 0.99).all()
    assert len(embedder.query({"image": picture, "text": "at night"}, "regions")) == 4
    assert len(embedder.query(picture, "captions")) == 1


def test_a_box_over_everything_is_the_whole_photo(embedder):
    picture = scene_picture()
    whole, boxed, relative = embedder.encode(
        [
            picture,
            {"image": picture, "box": (0, 0, 400, 300)},
            {"image": picture, "box": Box.relative(0, 0, 1, 1)},
        ]
    )
    np.testing.assert_allclose(boxed, whole, atol=1e-5)
    np.testing.assert_allclose(relative, whole, atol=1e-5)


def test_a_relative_box_is_that_box_in_pixels(embedder):
    picture = scene_picture()
    pixels, relative = embedder.encode(
        [
            {"image": picture, "box": (100, 75, 300, 150)},
            {"image": picture, "box": Box.relative(0.25, 0.25, 0.75, 0.5)},
        ]
    )
    np.testing.assert_allclose(pixels, relative, atol=1e-5)


def test_a_mask_of_a_box_is_that_box(embedder):
    picture = scene_picture()
    mask = np.zeros((300, 400), bool)
    mask[75:150, 100:300] = True
    boxed, masked = embedder.encode(
        [{"image": picture, "box": (100, 75, 300, 150)}, {"image": picture, "mask": mask}]
    )
    assert boxed @ masked > 0.999


def test_a_point_means_the_thing_it_lies_on(embedder):
    picture = scene_picture()
    clicked, disc, square = embedder.encode(
        [
            {"image": picture, "points": [(70, 70)]},
            {"image": picture, "box": (20, 20, 120, 120)},
            {"image": picture, "box": (250, 30, 340, 120)},
        ]
    )
    assert clicked @ disc > clicked @ square + 0.1


def test_boxes_are_of_the_original_however_far_it_was_shrunk(embedder):
    large = Image.fromarray(scene_picture(1600, 1200))
    halved = large.resize((800, 600), Image.Resampling.BOX)
    first, second = embedder.encode(
        [{"image": large, "box": (80, 80, 400, 400)}, {"image": halved, "box": (40, 40, 200, 200)}]
    )
    assert first @ second > 0.95


def test_a_vector_does_not_depend_on_its_batch(embedder):
    pictures = [scene_picture(seed=seed) for seed in range(3)]
    scene_of = [{"image": pictures[0], "box": (10.0 * i, 20, 200, 200)} for i in range(8)]
    inputs = [
        "a cat",
        *pictures,
        "a much longer text about a cat and what it did",
        *scene_of,
        "a dog",
        "the cat",
    ]
    together = embedder.encode(inputs)
    np.testing.assert_allclose(embedder.encode(inputs, batch_size=2), together, atol=1e-5)
    np.testing.assert_allclose(np.stack([embedder.encode(value) for value in inputs]), together, atol=1e-5)
    np.testing.assert_allclose(embedder.encode(inputs[::-1])[::-1], together, atol=1e-5)


@settings(max_examples=12)
@given(
    st.lists(st.text("abcdefghij éß日🙂", min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=6)
)
def test_any_text_has_a_vector_of_its_own(embedder, texts):
    together = embedder.encode(texts)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(embedder.encode(texts[-1]), together[-1], atol=1e-5)


def test_a_text_longer_than_the_model_reads_still_has_a_vector(embedder):
    assert np.isfinite(embedder.encode("word " * 5000)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 24), (72, 80), (1000, 10), (10, 10000), (4000, 3)])
def test_pictures_of_any_shape_are_documents_and_questions(embedder, size):
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    row = embedder.encode(pixels)
    assert np.isfinite(row).all()
    questions = embedder.query(pixels, "regions")
    assert np.isfinite(questions).all()
    if max(size) >= 256:
        assert questions[0, HALF : 2 * HALF] @ row[HALF : 2 * HALF] * 1.5 > 0.99
    (scene,) = embedder.scenes([load(pixels, side=512)])
    for box in embedder.propose(scene, 32):
        assert box.within(size[1], size[0]) == box


def test_a_small_picture_is_not_blown_up(embedder):
    detail = np.ascontiguousarray(scene_picture()[20:100, 20:100])
    assert embedder.query(detail, "regions").shape == (2, 784)
    assert embedder.query(np.ascontiguousarray(detail[:40, :40]), "regions").shape == (1, 784)
    assert embedder.query(scene_picture(240, 160), "regions").shape == (3, 784)


def test_a_black_picture_has_a_vector(embedder):
    row = embedder.encode(np.zeros((50, 60, 3), np.uint8))
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-4)


def test_proposals_lie_inside_cover_the_picture_and_find_the_thing(embedder):
    pixels = np.full((600, 800, 3), 200, np.uint8)
    pixels[100:300, 500:720] = scene_picture()[:200, 20:240]
    (scene,) = embedder.scenes([load(pixels, side=512)])
    boxes = embedder.propose(scene, 32)
    assert 4 <= len(boxes) <= 32
    assert all(box.within(800, 600) == box and box.area < 0.9 * 800 * 600 for box in boxes)
    assert boxes[:3] == embedder.propose(scene, 3)
    assert embedder.propose(scene, 0) == []
    assert max(box.iou(Box(500, 100, 720, 300)) for box in boxes[:5]) > 0.5
    for i, box in enumerate(boxes):
        assert all(box.iou(other) <= 0.6 for other in boxes[:i])


def test_a_detail_is_found_by_the_region_around_it(embedder):
    pixels = scene_picture(800, 600)
    (scene,) = embedder.scenes([load(pixels, side=512)])
    boxes = embedder.propose(scene, 32)
    rows = embedder.embed([Item(scene, Prompt(box)) for box in boxes])
    detail = np.ascontiguousarray(pixels[25:145, 240:350])
    best = boxes[int((rows @ embedder.query(detail, "regions").T).max(axis=1).argmax())]
    assert best.x0 < 295 < best.x1
    assert best.y0 < 75 < best.y1


def test_threads_change_no_vector(embedder):
    two = Embedder.from_pretrained("mini", threads=2)
    np.testing.assert_allclose(two.encode(scene_picture()), embedder.encode(scene_picture()), atol=1e-4)
