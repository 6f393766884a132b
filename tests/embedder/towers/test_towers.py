"""Two-tower models of transformers through the public face, against transformers itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch.nn import functional as F

from tests.conftest import Run
from tests.embedder.towers.builders import PATCH, SIDE, WORDS, picture
from tests.embedder.waits import Waits
from virtue import Library
from virtue.embedder import Embedder, Item
from virtue.errors import InputError, ModelError, PictureError, PromptError
from virtue.geometry import Prompt
from virtue.pictures import load

WIDE, SQUARE = picture(96, 64, seed=1), picture(SIDE, SIDE, seed=2)
TEXTS = ["a red mug on the desk", "a blue dog", "a cat"]


def expected(folder: Path, image: np.ndarray, crops: bool = False) -> np.ndarray:
    """What transformers gives for a whole picture; of CLIP, perhaps without its crop to the middle square."""
    model, processor = _of(folder)
    square = {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}
    how = square if folder.name == "clip" and not crops else {}
    with torch.inference_mode():
        pixels = processor(images=Image.fromarray(image), return_tensors="pt", **how)
        seen = model.get_image_features(**pixels)
    return F.normalize(seen.pooler_output, dim=-1)[0].numpy()


def _of(folder: Path):
    model = transformers.AutoModel.from_pretrained(folder).eval()
    return model, transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


# -- whole pictures and texts -----------------------------------------------------------------------------


@pytest.mark.parametrize("image", [WIDE, SQUARE, picture(30, 100)], ids=["wide", "square", "small"])
def test_a_whole_picture_is_what_transformers_makes_of_it(embedder, folder, image):
    np.testing.assert_allclose(embedder.encode(image), expected(folder, image), atol=1e-5)
    cropped = Embedder.from_pretrained(f"{folder}#crop").encode(image)
    np.testing.assert_allclose(cropped, expected(folder, image, crops=True), atol=1e-5)


def test_a_text_is_what_transformers_makes_of_it(embedder, folder):
    model, _ = _of(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = "longest" if folder.name == "clip" else "max_length"
    with torch.inference_mode():
        words = tokenizer(TEXTS, padding=padding, max_length=12, return_tensors="pt")
        wanted = F.normalize(model.get_text_features(**words).pooler_output, dim=-1).numpy()
    np.testing.assert_allclose(embedder.encode(TEXTS), wanted, atol=1e-5)


def test_siglip_reads_words_in_lower_case_as_it_was_trained(embedder, folder):
    alike = np.array_equal(embedder.encode("A Red Mug"), embedder.encode("a red mug"))
    assert alike == (folder.name != "clip")  # whose own tokenizer does so; this small one does not


def test_the_first_siglip_has_a_tokenizer_of_sentencepiece(folders, tmp_path):
    copy = copy_without_tokenizer(folders["siglip"], tmp_path)
    (tmp_path / "corpus").write_text("a red mug\na bad dog\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus"), model_prefix=str(copy / "spiece"),
        model_type="char", vocab_size=len(WORDS), hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "SiglipTokenizer"}')
    embedder = Embedder.from_pretrained(copy)
    a, b, other = embedder.encode(["A Red Mug", "a red mug", "a bad dog"])
    assert np.array_equal(a, b)
    assert not np.allclose(a, other, atol=1e-3)


def test_what_a_tokenizer_needs_is_said_in_its_own_words(folders, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise ImportError("\nFooTokenizer requires the Foo library but it was not found.\nInstall it.\n")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ModelError, match=r"FooTokenizer requires the Foo library.*Install it\.$"):
        Embedder.from_pretrained(folders["siglip"])


def copy_without_tokenizer(model: Path, place: Path) -> Path:
    copy = Path(shutil.copytree(model, place / "copy"))
    for file in copy.glob("*token*"):
        file.unlink()
    return copy


def test_an_image_with_a_text_lies_halfway(embedder):
    image, text, both = (embedder.encode(each) for each in (WIDE, "a cat", {"image": WIDE, "text": "a cat"}))
    np.testing.assert_allclose(both, (image + text) / np.linalg.norm(image + text), atol=1e-5)


def test_in_a_question_what_is_of_another_kind_than_the_rows_counts_four_times(embedder):
    """Vectors of pictures are much more alike than those of pictures and texts, so that it hardly would."""
    image, text = embedder.encode(WIDE), embedder.encode("a dog")
    for find, its, words in (("regions", 1, 4), ("photos", 1, 4), ("captions", 4, 1)):
        asked = embedder.query({"image": WIDE, "text": "a dog"}, find)
        both = its * image + words * text
        np.testing.assert_allclose(asked, [both / np.linalg.norm(both)], atol=1e-5)


def test_a_question_is_one_vector_the_document_of_the_same(embedder):
    for asked in ("a cat", WIDE, {"image": WIDE, "box": (10, 10, 40, 40)}):
        for find in ("regions", "photos", "captions"):
            np.testing.assert_allclose(embedder.query(asked, find), embedder.encode([asked]), atol=1e-5)


# -- regions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [SQUARE, WIDE, picture(30, 100)], ids=["square", "wide", "tall"])
def test_the_region_of_the_whole_picture_is_the_picture(embedder, image):
    whole = embedder.encode(image)
    height, width = image.shape[:2]
    box = {"image": image, "box": (0, 0, width, height)}
    np.testing.assert_allclose(embedder.encode(box), whole, atol=1e-5)
    full = {"image": image, "mask": np.ones((height, width), bool)}
    np.testing.assert_allclose(embedder.encode(full), whole, atol=1e-5)


def test_a_region_has_its_own_vector_and_a_mask_of_the_box_has_the_same(embedder):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[8:32, 16:40] = True
    box = embedder.encode({"image": SQUARE, "box": (16, 8, 40, 32)})
    np.testing.assert_allclose(embedder.encode({"image": SQUARE, "mask": mask}), box, atol=1e-4)
    assert box @ embedder.encode(SQUARE) < 0.999
    assert box @ embedder.encode({"image": SQUARE, "box": (0, 24, 24, 48)}) < 0.999


def test_points_positive_and_negative_each_have_their_say(embedder):
    prompts = ([(12, 12, 1)], [(40, 40, 1)], [(12, 12, 1), (13, 13, 0)], [(12, 12, 1), (40, 40, 1)])
    rows = embedder.encode([{"image": SQUARE, "points": points} for points in prompts])
    assert len(np.unique(rows.round(4), axis=0)) == len(prompts)


def test_roi_of_half_a_picture_is_the_mean_of_its_tokens_through_the_head(folder):
    half = Embedder.from_pretrained(f"{folder}#roi").encode({"image": SQUARE, "box": (0, 0, SIDE / 2, SIDE)})
    model, processor = _of(folder)
    with torch.inference_mode():
        pixels = processor(images=Image.fromarray(SQUARE), return_tensors="pt")
        tokens = model.get_image_features(**pixels).last_hidden_state[0]
        tokens = tokens[1:] if folder.name == "clip" else tokens[: (SIDE // PATCH) ** 2]
        cells = SIDE // PATCH
        mean = tokens.view(cells, cells, -1)[:, : cells // 2].mean((0, 1))
        if folder.name == "clip":
            wanted = model.visual_projection(model.vision_model.post_layernorm(mean))
        else:
            wanted = model.vision_model.head(mean[None, None])[0]
    np.testing.assert_allclose(half, F.normalize(wanted, dim=-1).numpy(), atol=1e-5)


@pytest.mark.parametrize("way", ["", "#roi", "#circle"])
def test_whole_and_region_see_the_same_pixels(folders, way):
    """CLIP's own crop hides the ends of a wide picture from it: from #crop alone, which has the same pixels
    too, those of CLIP's crop."""
    embedder, cropped = (Embedder.from_pretrained(f"{folders['clip']}{end}") for end in (way, "#crop"))
    changed = WIDE.copy()
    changed[:, :12] = 255 - changed[:, :12]
    for prompt in ({}, {"box": (0, 0, 12, 64)}):
        rows = embedder.encode([{"image": image, **prompt} for image in (changed, WIDE)])
        assert rows[0] @ rows[1] < 0.999
    whole = {"image": WIDE, "box": (0, 0, 96, 64)}
    np.testing.assert_allclose(cropped.encode(changed), cropped.encode(WIDE), atol=1e-5)
    np.testing.assert_allclose(cropped.encode(whole), cropped.encode(WIDE), atol=1e-5)
    # Squeezed CLIP is another model than the one before it; the cropped one is not.
    assert embedder.fingerprint != cropped.fingerprint


def test_a_wide_picture_costs_clip_one_pass_with_its_regions(folders, monkeypatch):
    embedder = Embedder.from_pretrained(folders["clip"])
    passes, encode = [], embedder.model._vision.encode
    monkeypatch.setattr(
        embedder.model._vision, "encode", lambda pixels: passes.append(len(pixels)) or encode(pixels)
    )
    embedder.encode([WIDE, {"image": WIDE, "box": (0, 0, 12, 64)}])
    assert len(passes) == 1


# -- the paper's baselines --------------------------------------------------------------------------------


def test_crop_is_the_vector_of_the_crop(folder):
    embedder = Embedder.from_pretrained(f"{folder}#crop")
    boxed = embedder.encode({"image": WIDE, "box": (20, 10, 70, 50)})
    np.testing.assert_allclose(boxed, expected(folder, WIDE[10:50, 20:70], crops=True), atol=1e-5)
    mask = np.zeros(WIDE.shape[:2], bool)
    mask[10:50, 20:70] = True
    np.testing.assert_allclose(embedder.encode({"image": WIDE, "mask": mask}), boxed, atol=1e-5)
    sliver = embedder.encode({"image": WIDE, "box": (95.9, 0, 96, 0.1)})
    np.testing.assert_allclose(sliver, expected(folder, WIDE[:1, 95:], crops=True), atol=1e-5)


def test_circle_is_the_vector_of_the_picture_with_a_circle(folder):
    embedder = Embedder.from_pretrained(f"{folder}#circle")
    image = Image.fromarray(SQUARE)
    reach = 8 * 2**0.5
    ImageDraw.Draw(image).ellipse((24 - reach, 24 - reach, 24 + reach, 24 + reach), outline=(255, 0, 0))
    wanted = expected(folder, np.asarray(image))
    np.testing.assert_allclose(embedder.encode({"image": SQUARE, "box": (16, 16, 32, 32)}), wanted, atol=1e-5)


def test_each_way_of_reading_is_a_model_of_its_own(folder):
    ways = [Embedder.from_pretrained(f"{folder}{way}") for way in ("", "#attend", "#roi", "#crop", "#circle")]
    assert len({way.fingerprint for way in ways}) == 4
    assert ways[0].fingerprint == ways[1].fingerprint
    assert ways[2].name == f"{folder}#roi"
    with pytest.raises(
        ModelError, match="#pool is not for this model; use #attend, #roi, #crop, #circle, or leave"
    ):
        Embedder.from_pretrained(f"{folder}#pool")


# -- what must never matter -------------------------------------------------------------------------------


MIXED = [
    "a cat", WIDE, {"image": SQUARE, "box": (4, 4, 30, 20)}, {"image": WIDE, "points": [(50, 30, 1)]},
    "a red mug on the desk", {"image": WIDE, "box": (0, 0, 50, 64), "text": "a dog"}, picture(20, 90, seed=4),
    {"image": WIDE, "mask": np.arange(96 * 64).reshape(64, 96) % 96 < 40},
]  # fmt: skip


@pytest.mark.parametrize("way", ["", "#crop"])
def test_a_vector_does_not_depend_on_its_batch(folder, way):
    embedder = Embedder.from_pretrained(f"{folder}{way}")
    alone = np.stack([embedder.encode(each) for each in MIXED])

    @given(st.permutations(range(len(MIXED))), st.integers(1, len(MIXED)))
    @settings(max_examples=5)
    def check(order, batch_size):
        together = embedder.encode([MIXED[n] for n in order], batch_size=batch_size)
        np.testing.assert_allclose(together, alone[list(order)], atol=1e-5)

    check()


class Counting:
    """A model that remembers how many pictures it was shown."""

    def __init__(self, model):
        self.model, self.shown = model, 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def scenes(self, pictures):
        self.shown += len(pictures)
        return self.model.scenes(pictures)


def test_a_picture_is_seen_once_however_many_regions_it_has(embedder, tmp_path):
    file = tmp_path / "wide.png"
    Image.fromarray(WIDE).save(file)
    model = Counting(embedder.model)
    boxes = [(x, 0, x + 20, 60) for x in range(0, 70, 10)]
    for image in (WIDE, str(file)):
        rows = Embedder(model).encode(
            [{"image": image, "box": box} for box in boxes] + [{"image": image}, "a cat", {"image": SQUARE}]
        )
        assert len(np.unique(rows.round(4), axis=0)) == len(boxes) + 3
    assert model.shown == 4


def test_the_same_files_elsewhere_are_the_same_model(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    one, other = Embedder.from_pretrained(folder), Embedder.from_pretrained(copy)
    assert one.fingerprint == other.fingerprint
    model = transformers.AutoModel.from_pretrained(copy)
    model.vision_model.encoder.layers[0].mlp.fc1.weight.data += 1e-3
    model.save_pretrained(copy)
    assert Embedder.from_pretrained(copy).fingerprint != one.fingerprint


# -- proposals --------------------------------------------------------------------------------------------


def test_proposals_lie_in_the_picture_and_differ(embedder):
    (scene,) = embedder.scenes([load(WIDE)])
    boxes = embedder.propose(scene, 6)
    assert 1 <= len(boxes) <= 6
    assert embedder.propose(scene, 0) == []
    for n, box in enumerate(boxes):
        assert box.within(96, 64) == box
        assert all(box.iou(other) <= 0.6 for other in boxes[:n])


def test_a_card_is_waited_for_once_a_batch(embedder):
    model = embedder.model
    pictures = [load(picture(96 + 8 * seed, 64, seed=seed)) for seed in range(3)]
    limits, scenes = [6, 0, 3], model.scenes(pictures)
    with Waits() as waits:
        proposals = model.propose_all(scenes, limits)
    assert waits.count == 2  # for the tokens, and for how alike the boxes look
    assert proposals == [model.propose(*one) for one in zip(model.scenes(pictures), limits, strict=True)]
    items = [
        [Item(scene), *(Item(scene, Prompt(each.box)) for each in some)]
        for scene, some in zip(scenes, proposals, strict=True)
    ]
    with Waits() as waits:
        together = model.embed([item for some in items for item in some])
    assert waits.count == 1
    np.testing.assert_array_equal(together, np.concatenate([model.embed(some) for some in items]))


# -- bad input --------------------------------------------------------------------------------------------


def test_prompts_that_do_not_fit_are_named(embedder):
    with pytest.raises(PromptError, match=r"input 1: box .* leaves the picture"):
        embedder.encode([WIDE, {"image": WIDE, "box": (0, 0, 97, 10)}])
    with pytest.raises(PromptError, match=r"point .* outside"):
        embedder.encode({"image": WIDE, "points": [(100, 10)]})
    with pytest.raises(PromptError, match="the mask is 10 x 10"):
        embedder.encode({"image": WIDE, "mask": np.ones((10, 10), bool)})


def test_a_text_longer_than_the_context_is_named_and_spares_the_others(embedder):
    long = "cat " * 20
    with pytest.raises(
        InputError, match=r"input 2: a text of [0-9]+ tokens is too long: this model reads 12"
    ):
        embedder.encode(["a cat", WIDE, long, "a dog"])
    with pytest.warns(UserWarning, match=r"input 2 is left out: a text of [0-9]+ tokens"):
        rows = embedder.encode(["a cat", WIDE, long, "a dog"], on_error="skip")
    assert np.isnan(rows[2]).all()
    np.testing.assert_allclose(rows[[0, 1, 3]], embedder.encode(["a cat", WIDE, "a dog"]), atol=1e-5)


def test_what_cannot_be_read_is_left_out_with_its_reason(embedder, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8no")
    with pytest.warns(UserWarning) as told:
        rows = embedder.encode(
            [broken, "cat " * 20, WIDE, {"image": WIDE, "box": (0, 0, np.nan, 3)}], on_error="skip"
        )
    assert [str(each.message).split(":")[0] for each in told] == [f"input {n} is left out" for n in (0, 1, 3)]
    assert np.isfinite(rows).all(axis=1).tolist() == [False, False, True, False]
    with pytest.raises(PictureError, match=r"input 0: .*broken\.jpg"):
        embedder.encode([broken, WIDE])
    with pytest.raises(InputError, match="'drop' is neither"):
        embedder.encode(WIDE, on_error="drop")


def test_bad_items_are_named_and_cost_themselves_alone(embedder):
    bad = [
        ({"image": WIDE, "box": (50, 50, 500, 60)}, "leaves the picture"),
        ({"image": WIDE, "box": (0, 0, np.nan, 3)}, "nan"),
        ({"image": WIDE, "points": [(np.nan, 3)]}, "nan"),
        ({"image": WIDE, "mask": np.ones((3, 3), bool)}, "must agree"),
        ("https://example.org/cat.jpg", "is an address"),
        ("cat " * 20, "tokens is too long: this model reads 12"),
        (np.full((30, 30, 3), np.nan), "is not a picture"),
    ]
    for value, reason in bad:
        with pytest.raises(InputError, match=reason):
            embedder.encode(value)
        with pytest.raises(InputError, match=f"input 1: .*{reason}"):
            embedder.encode(["a cat", value, WIDE])
    with pytest.warns(UserWarning) as told:
        rows = embedder.encode(["a cat", *(value for value, _ in bad), WIDE], on_error="skip")
    assert [str(each.message).split(":")[0] for each in told] == [
        f"input {place} is left out" for place in range(1, len(bad) + 1)
    ]
    assert np.isnan(rows[1:-1]).all()
    np.testing.assert_allclose(rows[[0, -1]], embedder.encode(["a cat", WIDE]), atol=1e-5)


def test_a_card_that_is_too_small_costs_time_alone(folder, monkeypatch):
    """Memory for two pictures or texts at once: batches are halved, vectors stay."""
    expected = Embedder.from_pretrained(folder).encode(MIXED)
    embedder = Embedder.from_pretrained(folder)
    vision, words = embedder.model._vision, embedder.model._text
    look, features, refused = vision.encode, words._features, []

    def small(step, count):
        def tried(sources):
            if count(sources) > 2:
                refused.append(count(sources))
                raise torch.OutOfMemoryError
            return step(sources)

        return tried

    monkeypatch.setattr(vision, "encode", small(look, lambda pixels: len(pixels["pixel_values"])))
    monkeypatch.setattr(words, "_features", small(features, len))
    np.testing.assert_allclose(embedder.encode(MIXED), expected, atol=1e-5)
    assert len(refused) >= 2

    def never(_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(vision, "encode", never)
    with pytest.raises(ModelError, match="one item alone does not fit the card's memory"):
        embedder.encode(WIDE)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_extreme_shapes_give_a_vector(embedder, size):
    whole = embedder.encode(np.full((size[1], size[0], 3), 90, np.uint8))
    assert np.linalg.norm(whole) == pytest.approx(1, abs=1e-5)
    part = embedder.encode({"image": np.full((size[1], size[0], 3), 90, np.uint8), "box": (0, 0, 1, 1)})
    assert np.linalg.norm(part) == pytest.approx(1, abs=1e-5)


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(ModelError, match="there is no device 'cuda:9' here"):
        Embedder.from_pretrained(folder, device="cuda:9")


def test_damaged_folders_are_named(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"copy/model.safetensors cannot be read"):
        Embedder.from_pretrained(copy)
    weights.unlink()
    with pytest.raises(ModelError, match=r"copy holds no weights"):
        Embedder.from_pretrained(copy)


def test_weights_that_are_missing_are_never_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    model = folders["clip"]
    weights = load_file(model / "model.safetensors")
    del weights["visual_projection.weight"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"do not fit its configuration; missing: visual_projection"):
        Embedder.from_pretrained(copy)


# -- where people work ------------------------------------------------------------------------------------


def test_sentence_transformers_evaluators_take_it(embedder):
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    corpus = {word: f"a {word}" for word in WORDS[5:9]}
    queries = {word: f"the {word}" for word in corpus}
    evaluator = InformationRetrievalEvaluator(
        queries, corpus, {word: {word} for word in corpus}, show_progress_bar=False, write_csv=False
    )
    figures = evaluator(embedder)
    scores = embedder.encode_query(list(queries.values())) @ embedder.encode(list(corpus.values())).T
    assert figures["cosine_accuracy@1"] == np.mean(scores.argmax(1) == np.arange(len(corpus)))
    assert embedder.model_card_data.metrics == figures


def test_a_library_is_indexed_and_searched_with_it(virtue: Run, folders: dict[str, Path], tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(3):
        Image.fromarray(picture(96, 64, seed=n + 10)).save(photos / f"{n}.png")
    (photos / "1.txt").write_text("a red mug")
    model = f"{folders['siglip']}#roi"
    indexed = virtue("index", photos, "-d", tmp_path / "library", "--model", model, "--json")
    assert indexed.returncode == 0, indexed.stderr.decode()
    assert json.loads(indexed.stdout)["indexed"] == 3
    found = virtue("search", photos / "2.png", "-d", tmp_path / "library", "--find", "photos", "--json")
    hits = [json.loads(line) for line in found.stdout.splitlines()]
    assert Path(hits[0]["path"]).name == "2.png"
    assert hits[0]["score"] == pytest.approx(1, abs=2e-3)
    with Library(tmp_path / "library") as library:
        assert library.embedder.name == model
        assert library.search("a mug", find="captions")[0].caption == "a red mug"
