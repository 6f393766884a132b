"""The real mteb, on tasks whose data are made here: classification, and retrieval with boxes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mteb
import pytest
import torch
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.model_implementations.virtue_models import VirtueWrapper
from PIL import Image
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil

from tests.conftest import EXAMPLES
from tests.data.recipe import picture
from tests.embedder.test_reference import REFERENCE
from tests.embedder.virtue_model.checkpoints import published_folder
from tests.evaluation.scar_folder import FILES, SIZE, THINGS
from tests.training.drawn_cutouts import draw_cutouts
from virtue import Embedder
from virtue.embedder.virtue_model.configuration import PUBLISHED_MAX_PIXELS, PUBLISHED_MIN_PIXELS
from virtue.evaluation.mteb import MtebEncoder
from virtue.training.scenes import Scenes, draw_grounds, read_cutouts

GENERAL: dict[str, Any] = {
    "description": "made here",
    "reference": None,
    "dataset": {"path": "none", "revision": "none"},
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "date": None,
    "domains": [],
    "task_subtypes": [],
    "license": None,
    "annotations_creators": None,
    "dialect": [],
    "sample_creation": None,
    "bibtex_citation": "",
}


def tiles() -> list[Image.Image]:
    return [Image.open(EXAMPLES / "photos" / f"{name}.jpg").resize((SIZE, SIZE)) for name in FILES]


class PhotosOrNoise(AbsTaskClassification):
    metadata = TaskMetadata(
        name="PhotosOrNoise",
        type="ImageClassification",
        category="i2c",
        modalities=["image"],
        main_score="accuracy",
        **GENERAL,
    )
    input_column_name = "image"
    n_experiments = 1
    samples_per_label = 2

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        noise = [Image.effect_noise((SIZE, SIZE), 40 + 20 * each).convert("RGB") for each in range(4)]
        photos = tiles()
        parts = {"train": slice(0, 2), "test": slice(2, 4)}
        self.dataset = DatasetDict(
            {
                part: Dataset.from_dict({"image": photos[some] + noise[some], "label": [0, 0, 1, 1]})
                for part, some in parts.items()
            }
        )
        self.data_loaded = True


class RegionsToCaptions(AbsTaskRetrieval):
    """One picture of two things: the box tells which."""

    has_boxes = True
    metadata = TaskMetadata(
        name="RegionsToCaptions",
        type="Any2AnyRetrieval",
        category="i2t",
        modalities=["image", "text"],
        main_score="ndcg_at_10",
        **GENERAL,
    )

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        pair = Image.new("RGB", (2 * SIZE, SIZE))
        for place, tile in enumerate(tiles()[:2]):
            pair.paste(tile, (SIZE * place, 0))
        boxes = [[0.0, 0.0, SIZE, SIZE], [float(SIZE), 0.0, SIZE, SIZE]]
        queries = {"id": ["left", "right"], "image": [pair, pair]}
        if self.has_boxes:
            queries["box"] = boxes
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    queries=Dataset.from_dict(queries),
                    corpus=Dataset.from_dict({"id": ["0", "1"], "text": list(THINGS[:2])}),
                    relevant_docs={"left": {"0": 1}, "right": {"1": 1}},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True


class ScenesToCaptions(RegionsToCaptions):
    """Scenes: each thing, by its box, among the captions of all and their distractors."""

    metadata = RegionsToCaptions.metadata.model_copy(update={"name": "ScenesToCaptions"})

    def __init__(self, scenes: Scenes) -> None:
        super().__init__()
        self.asked = [(scene, query) for scene in scenes for query in scene.queries]
        self.texts = list(dict.fromkeys(each.text for _, query in self.asked for each in query.captions))

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        ids = [str(number) for number in range(len(self.asked))]
        things = [scene.objects[query.object] for scene, query in self.asked]
        queries = {
            "id": ids,
            "image": [Image.fromarray(scene.picture) for scene, _ in self.asked],
            "box": [[float(value) for value in thing.box.xywh] for thing in things],
        }
        right = [str(self.texts.index(query.captions[0].text)) for _, query in self.asked]
        corpus = {"id": [str(number) for number in range(len(self.texts))], "text": self.texts}
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    queries=Dataset.from_dict(queries),
                    corpus=Dataset.from_dict(corpus),
                    relevant_docs={each: {true: 1} for each, true in zip(ids, right, strict=True)},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True


class PicturesToCaptions(RegionsToCaptions):
    has_boxes = False
    metadata = RegionsToCaptions.metadata.model_copy(update={"name": "PicturesToCaptions"})


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, Any]]:
    encoder = MtebEncoder(Embedder.from_pretrained("mini"))
    tasks = [PhotosOrNoise(), RegionsToCaptions(), PicturesToCaptions()]
    results = mteb.evaluate(encoder, tasks, cache=None, show_progress_bar=False)
    assert results.model_name == "virtue/mini" and results.model_revision == encoder.embedder.fingerprint
    return {result.task_name: result.scores["test"][0] for result in results.task_results}


def test_mteb_runs_an_image_task_with_our_models(scores: dict[str, dict[str, Any]]) -> None:
    assert scores["PhotosOrNoise"]["accuracy"] >= 0.75


def test_boxes_of_a_task_reach_the_model(scores: dict[str, dict[str, Any]]) -> None:
    assert scores["RegionsToCaptions"]["recall_at_1"] == 1
    # Without boxes both queries are the same picture.
    assert scores["PicturesToCaptions"]["recall_at_1"] == 0.5


def test_mteb_ranks_captions_of_scenes_as_the_model_does(tmp_path: Path) -> None:
    shapes = read_cutouts(draw_cutouts(tmp_path / "shapes"))
    task = ScenesToCaptions(Scenes(shapes, draw_grounds(), length=3, seed=4, size=128))
    embedder = Embedder.from_pretrained("mini")
    results = mteb.evaluate(MtebEncoder(embedder), [task], cache=None, show_progress_bar=False)
    found = results.task_results[0].scores["test"][0]
    captions = embedder.encode(task.texts)
    for k in (1, 10):
        hits = []
        for scene, query in task.asked:
            asked = {"image": Image.fromarray(scene.picture), "box": scene.objects[query.object].box}
            ranked = (captions @ embedder.encode_query(asked, find="captions")).argsort()[::-1]
            hits.append(task.texts.index(query.captions[0].text) in ranked[:k])
        assert found[f"recall_at_{k}"] == pytest.approx(sum(hits) / len(hits), abs=1e-4), k


def test_vectors_are_those_of_the_model(tmp_path: Path) -> None:
    embedder = Embedder.from_pretrained("mini")
    encoder = MtebEncoder("mini")
    image = tiles()[0]
    batch = {"image": [image, image], "box": [[10.0, 0.0], [20.0, 0.0], [100.0, 0.0], [90.0, 0.0]]}
    made = encoder.encode([batch], task_metadata=RegionsToCaptions.metadata)
    wanted = embedder.encode([{"image": image, "box": (10, 20, 110, 110)}, {"image": image}])
    assert abs(made - wanted).max() == 0
    asked = encoder.encode(
        [{"text": ["a dog"]}], task_metadata=RegionsToCaptions.metadata, prompt_type="query"
    )
    assert abs(asked - embedder.encode_query(["a dog"], find="captions")).max() == 0
    assert float(encoder.similarity(made, wanted)[0, 0]) == pytest.approx(1, abs=1e-5)


class WithoutTokenizer(VirtueWrapper):
    """mteb's own wrapper, with a model whose words are the ids of tokens."""

    def __init__(self, folder: Path) -> None:
        self.device = "cpu"
        self.model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.images = Qwen2VLImageProcessorPil(
            min_pixels=PUBLISHED_MIN_PIXELS, max_pixels=PUBLISHED_MAX_PIXELS
        )

    def processor(self, text: list[str], images: list[Image.Image] | None, **_: Any) -> dict[str, Any]:
        words, image_token = [42, 7, 11], self.model.config.image_token_id
        seen = dict(self.images(images=images, return_tensors="pt")) if images else {}
        cells = int(seen["image_grid_thw"].prod()) // 4 if seen else 0
        ids = torch.tensor([[image_token] * cells + words])
        types = (ids == image_token).int()
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types, **seen}


def test_mtebs_own_wrapper_of_virtue_embeds_texts_alike_and_pictures_otherwise(tmp_path: Path) -> None:
    """It leaves out SAM, and with it 256 tokens before each picture, and counts positions otherwise."""
    folder = published_folder(REFERENCE, tmp_path / "VIRTUE")
    ours = Embedder.from_pretrained(str(folder), device="cpu", threads=1, offline=True)
    theirs = WithoutTokenizer(folder)

    def ask(kind: str, value: Any) -> Any:
        batches = Batches([{kind: [value]}])
        options: dict[str, Any] = {"task_metadata": None, "hf_split": "", "hf_subset": ""}
        return theirs.encode(batches, show_progress_bar=False, **options).numpy()[0]

    assert ask("text", "42 7 11") @ ours.encode("42 7 11") == pytest.approx(1, abs=1e-5)
    image = picture(5, 200, 120)
    assert abs(ask("image", image) @ ours.encode({"image": image}, prompt="42 7 11")) < 0.2


class Batches(list[dict[str, Any]]):
    """What mteb's wrapper asks of a DataLoader."""

    @property
    def dataset(self) -> Any:
        return SimpleNamespace(features=self[0])
