"""SCaR: made files of its form, through the command line and in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run
from tests.embedder.virtue_model.checkpoints import own_folder
from tests.evaluation.scar_folder import SIZE, THINGS, captions, draw_pairs, rows, write
from virtue import Embedder
from virtue.embedder.virtue_model.instructions import PUBLISHED
from virtue.errors import InputError
from virtue.evaluation.scar import evaluate_scar, with_box_frame
from virtue.evaluation.scar_files import deduce_swaps

ELEMENTS = ["object"] * 3 + ["relation"] * 3 + ["scene"] * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of the form of the published ones, and their pictures in `images`."""
    folder = tmp_path_factory.mktemp("SCaR-eval")
    draw_pairs(folder / "images")
    write(folder / "SCaR_eval_ADE20K.parquet", rows())
    write(folder / "made.parquet", rows()[:4])
    return folder


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder.from_pretrained("mini")


@pytest.fixture(scope="module")
def small_virtue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Embedder]:
    """A small random VIRTUE model, with boxes in either frame."""
    place = tmp_path_factory.mktemp("models")
    return {
        frame: Embedder.from_pretrained(
            own_folder(place / frame, box_frame=frame, instructions={"scar": PUBLISHED["scar"]}),
            device="cpu",
            threads=1,
        )
        for frame in ("scaled", "unscaled")
    }


def numbers(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows with captions that the small model has words for."""
    rng = np.random.default_rng(0)
    return [
        {**row, "tgt_text": [" ".join(map(str, rng.integers(1, 500, 6))) for _ in range(10)]}
        for row in values
    ]


def test_the_published_order_of_swaps_need_not_be_known() -> None:
    truth = "salad fork on table"
    scenes = [f"salad fork on {place}" for place in ("kitchen counter", "picnic blanket", "wooden deck")]
    relations = [
        f"salad fork {relation} table"
        for relation in ("balanced on the edge of", "under the napkin on", "tucked beside the glass on")
    ]
    objects = [f"{thing} on table" for thing in ("butter knife", "teaspoon", "wine glass")]
    assert deduce_swaps([truth, *scenes, *relations, *objects]) == (None, *reversed(ELEMENTS))
    assert deduce_swaps(captions(2)) == (None, *ELEMENTS)
    assert deduce_swaps([truth, *objects, *objects, *objects]) == (None,) * 10
    assert deduce_swaps([truth, *objects]) == (None,) * 4


def test_a_box_tells_which_of_two_things_is_meant(folder: Path, mini: Embedder) -> None:
    file = folder / "SCaR_eval_ADE20K.parquet"
    found = {
        prompt: evaluate_scar(mini, file, prompt=prompt)
        for prompt in ("box", "crop", "none", "circle", "text")
    }
    assert {result.rows for result in found.values()} == {8} and not any(
        result.bad for result in found.values()
    )
    things = {prompt: result.swaps["object"].value for prompt, result in found.items()}
    assert min(things["box"], things["crop"]) >= 6 / 8
    assert max(things["none"], things["text"]) < things["crop"]
    assert list(found["box"].swaps) == ["object", "relation", "scene"]
    p_at_1 = found["box"].p_at_1
    assert p_at_1 and 0 <= p_at_1.low <= p_at_1.value <= p_at_1.high <= 1 and p_at_1.queries == 8


def test_figures_are_those_of_the_vectors(
    folder: Path, small_virtue: dict[str, Embedder], tmp_path: Path
) -> None:
    """VIRTUE is told the published words, and gets boxes in either frame."""
    values = numbers(rows())
    file = write(tmp_path / "numbers.parquet", values)
    scaled, unscaled = small_virtue["scaled"], small_virtue["unscaled"]
    published = with_box_frame(scaled, "published")
    assert published.fingerprint not in (scaled.fingerprint, unscaled.fingerprint)
    for asked, same in ((scaled, scaled), (published, unscaled)):
        result = evaluate_scar(asked, file, images=folder / "images")
        first, scores_of_objects = [], []
        for row in values:
            x, y, w, h = row["bbox"]
            image = folder / "images" / row["qry_image_path"]
            query = same.encode_query({"image": image, "box": (x, y, x + w, y + h)}, prompt_name="scar")
            scores = same.encode(row["tgt_text"]) @ query
            first.append(scores.argmax() == 0)
            scores_of_objects.append(scores)
        assert result.p_at_1 and result.p_at_1.value == pytest.approx(np.mean(first))
        assert result.swaps == {}
    differing = [with_box_frame(scaled, frame).encode({"image": image, "box": (0, 0, 200, 200), "text": "1"})
                 for frame in ("scaled", "published")]  # fmt: skip
    assert np.abs(differing[0] - differing[1]).max() > 1e-4


def test_words_of_a_box_are_all_that_a_prompt_by_text_gives(
    folder: Path, small_virtue: dict[str, Embedder], tmp_path: Path
) -> None:
    embedder = small_virtue["scaled"]
    values = numbers(rows())
    file = write(tmp_path / "numbers.parquet", values)
    words = PUBLISHED["scar"]
    ways = {
        "text": lambda row: embedder.encode_query(
            {"image": folder / "images" / row["qry_image_path"]},
            prompt=words.replace("{box}", str([row["bbox"][0], 4.0, row["bbox"][0] + SIZE - 8, SIZE - 4.0])),
        ),
        "none": lambda row: embedder.encode_query(
            {"image": folder / "images" / row["qry_image_path"]}, prompt=words.partition("\nReferring")[0]
        ),
    }
    for prompt, ask in ways.items():
        result = evaluate_scar(embedder, file, images=folder / "images", prompt=prompt)
        first = [(embedder.encode(row["tgt_text"]) @ ask(row)).argmax() == 0 for row in values]
        assert result.p_at_1 and result.p_at_1.value == pytest.approx(np.mean(first)), prompt


def test_bad_rows_cost_themselves_and_are_named(folder: Path, mini: Embedder, tmp_path: Path) -> None:
    good, other = rows()[0], rows()[1]
    (tmp_path / "torn.png").write_bytes((folder / "images" / "0.png").read_bytes()[:500])
    (tmp_path / "0.png").write_bytes((folder / "images" / "0.png").read_bytes())
    values = [
        good,
        {**good, "qry_image_path": "gone.png"},
        {**good, "qry_image_path": "torn.png"},
        {**good, "bbox": [400.0, 0.0, 200.0, 50.0]},
        {**good, "bbox": [0.0, 0.0, 0.0, 50.0]},
        {**good, "bbox": [1.0, 2.0, 3.0]},
        {**good, "tgt_text": [good["tgt_text"][0]] * 10},
        {**good, "tgt_text": good["tgt_text"][:9]},
        {**good, "tgt_text": None},
        {**good, "tgt_text": ["a dog \N{SNOWMAN} \u202e", *["x " * 500] * 9]},
        other,
    ]
    result = evaluate_scar(mini, write(tmp_path / "bad.parquet", values))
    alone = evaluate_scar(mini, write(tmp_path / "good.parquet", [good, other]))
    assert result.rows == 11 and [row for row, _ in result.bad] == [1, 2, 3, 4, 5, 6, 7, 8]
    said = dict(result.bad)
    for row, words in {
        1: "gone.png",
        3: "leaves the picture",
        4: "no size",
        6: "equal",
        7: "9 captions",
    }.items():
        assert words in said[row]
    assert result.p_at_1 and alone.p_at_1
    assert result.p_at_1.queries == 3 and alone.p_at_1.queries == 2
    shown = result.as_json()
    assert (shown["bad"], shown["queries"], shown["bad_rows"][0]["row"]) == (8, 3, 1)
    with pytest.raises(InputError, match="tgt_text"):
        evaluate_scar(mini, write(tmp_path / "other.parquet", [{"qry_image_path": "0.png", "bbox": [0.0]}]))
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match=r"text\.parquet"):
        evaluate_scar(mini, tmp_path / "text.parquet")


def test_columns_of_made_scenes_name_swaps_and_pairs(folder: Path, mini: Embedder, tmp_path: Path) -> None:
    values = [{**row, "tgt_swap": ["", *reversed(ELEMENTS)], "bound": 4 if place % 2 else None}
              for place, row in enumerate(rows())]  # fmt: skip
    file = write(tmp_path / "scenes.parquet", values)
    result = evaluate_scar(mini, file, images=folder / "images")
    plain = evaluate_scar(mini, folder / "SCaR_eval_ADE20K.parquet")
    assert result.swaps["scene"].value == plain.swaps["object"].value
    assert result.swaps["pair"].queries == 4
    file = write(
        tmp_path / "wrong.parquet",
        [{**values[0], "tgt_swap": ["", *["colour"] * 9]}, {**values[0], "bound": 10}],
    )
    assert [row for row, _ in evaluate_scar(mini, file, images=folder / "images").bad] == [0, 1]


class Counting(Embedder):
    """Counts what it is asked to embed."""

    asked = 0

    def queries(self, values: Any, find: Any = "regions") -> list[np.ndarray]:
        self.asked += len(values)
        return super().queries(values, find)


def test_an_interrupted_run_goes_on_where_it_ended(
    folder: Path, mini: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtue.evaluation.scar.QUERIES_AT_ONCE", 3)
    file, cache = folder / "SCaR_eval_ADE20K.parquet", tmp_path / "cache"

    def interrupt(done: int, total: int) -> None:
        assert total == 8
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_scar(mini, file, cache=cache, tell=interrupt)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes() + b'\n["half a li')
    embedder = Counting(mini.model)
    result = evaluate_scar(embedder, file, cache=cache)
    assert embedder.asked == 5
    assert result.as_json() == evaluate_scar(mini, file).as_json()
    assert evaluate_scar(embedder, file, cache=cache).as_json() == result.as_json() and embedder.asked == 5
    # Other settings and other data are not confused with these.
    evaluate_scar(embedder, file, prompt="crop", cache=cache)
    assert embedder.asked == 13
    changed = rows()
    changed[0]["tgt_text"][1] = "a horse"
    evaluate_scar(
        embedder, write(tmp_path / "changed.parquet", changed), images=folder / "images", cache=cache
    )
    assert embedder.asked == 14
    assert not any(thing.encode() in kept.read_bytes() for thing in THINGS)


def test_the_command_prints_an_object_a_file_or_tables(virtue: Run, folder: Path, tmp_path: Path) -> None:
    done = virtue("evaluate", "scar", folder, "--json", "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["name"] for each in found] == ["SCaR_eval_ADE20K", "made"]
    for each in found:
        assert {"p_at_1", "low", "high", "queries", "object", "relation", "scene", "fingerprint"} <= set(each)
        assert each["settings"] == {"prompt": "box", "box_frame": "scaled", "resize": "model"}
        assert each["command"].startswith("virtue evaluate scar") and each["model"] == "mini"
    done = virtue("evaluate", "scar", folder, "--cache", tmp_path / "cache")
    text = done.stdout.decode()
    assert f"| SCaR_eval_ADE20K | {100 * found[0]['p_at_1']:.1f} (" in text
    assert "| VIRTUE-2B + SCaR | 64.2 | 65.3 | 41.4 | 54.2 | 56.0 | 56.2 |" in text
    measured = next(line for line in text.splitlines() if line.startswith("| mini, measured here"))
    assert measured.count("not measured") == 5
    for wrong in ((tmp_path,), (folder, "--box-frame", "published"), (folder, "--resize", "published")):
        done = virtue("evaluate", "scar", *wrong)
        assert done.returncode == 2 and len(done.stderr.decode().splitlines()) == 1, done.stderr.decode()


def test_an_object_is_printed_as_soon_as_its_file_is_done(home: Path, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "files"
    write(place / "a.parquet", rows()[:2])
    os.mkfifo(place / "b.parquet")  # whoever reads it waits
    words = [
        sys.executable,
        "-m",
        "virtue",
        "evaluate",
        "scar",
        place,
        "--images",
        folder / "images",
        "--json",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        assert json.loads(running.stdout.readline())["name"] == "a"
        (place / "b.parquet").open("wb").close()  # empty: bytes could come after the reader has given up
        assert running.stdout.read() == b"" and b"b.parquet" in running.stderr.read()
    assert running.returncode == 2
