"""`virtue train`, with the configuration that the docs show."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml
from PIL import Image, ImageDraw

from tests.conftest import ROOT, Run
from tests.embedder.virtue_model.checkpoints import own_folder
from tests.evaluation.scar_folder import draw_pairs, rows, write
from tests.training.conftest import (
    COLOURS,
    PLACES,
    SIDE,
    Configure,
    draw,
    losses,
    scar_rows,
    write_parquet,
    write_words,
)
from virtue import Embedder
from virtue.cli import main

SHOWN = re.search(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "training.md").read_text(), re.M | re.S)


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Path:
    """A folder with all that the configuration of the docs names: models, and data of each kind."""
    split_model(own_folder(tmp_path / "whole"), tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    rows = scar_rows(images, 6, 1)
    write_parquet(tmp_path / "SCaR-train" / "SCAR_squares.parquet", rows)
    mmeb = [
        {key: row[key] for key in row if key not in ("bbox", "neg_text", "neg_image_path")} for row in rows
    ]
    write_parquet(tmp_path / "MMEB-train" / "VOC2007" / "original-00000-of-00001.parquet", mmeb)
    shutil.copytree(images, tmp_path / "MMEB-train" / "images")
    (tmp_path / "photos").mkdir()
    draw([*COLOURS][:4]).save(tmp_path / "photos" / "1.png")
    annotation = {"id": 1, "image_id": 1, "bbox": [*PLACES[0], SIDE, SIDE], "caption": "red"}
    outside = {"id": 2, "image_id": 1, "bbox": [900, 0, 9, 9], "caption": "nowhere"}
    coco = {
        "images": [{"id": 1, "file_name": "1.png", "width": 160, "height": 160}],
        "annotations": [annotation, outside],
    }
    (tmp_path / "mine.json").write_text(json.dumps(coco))
    cutouts = tmp_path / "cutouts"
    cutouts.mkdir()
    for colour in ("red", "blue", "green", "gold", "pink", "brown", "gray", "black", "teal", "navy", "plum"):
        picture = Image.new("RGBA", (48, 48))
        ImageDraw.Draw(picture).ellipse((2, 2, 46, 46), fill=colour)
        picture.save(cutouts / f"{colour}.png")
        (cutouts / f"{colour}.txt").write_text(f"a {colour} ball")
    return tmp_path


def split_model(folder: Path, out: Path) -> None:
    """Saves the parts of a VIRTUE as the Qwen2-VL and the SAM 2.1 that they were."""
    model = Embedder.from_pretrained(folder, device="cpu").model.network
    qwen, sam = out / "Qwen2-VL-2B-Instruct", out / "sam2.1-hiera-base-plus"
    for part in (qwen, sam):
        part.mkdir()
    weights = model.state_dict()
    from safetensors.torch import save_file

    prefixes = {
        "vision.model.": (qwen, "visual."),
        "language.model.": (qwen, "model."),
        "segmentation.model.": (sam, ""),
    }
    for target in (qwen, sam):
        held = {
            new + name.removeprefix(old): value
            for old, (part, new) in prefixes.items()
            for name, value in weights.items()
            if part == target and name.startswith(old)
        }
        save_file({name: value.clone() for name, value in held.items()}, target / "model.safetensors")
    (qwen / "config.json").write_text(json.dumps(model.language.config))
    (sam / "config.json").write_text(json.dumps(model.segmentation.config))
    write_words(qwen / "tokenizer.json")


def test_the_configuration_of_the_docs_trains(
    place: Path, virtue: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SHOWN
    shown = SHOWN[1].replace("[1536, 512, 128]", "[64, 16]")
    (place / "train.yaml").write_text(shown)
    with pytest.raises(SystemExit) as ended:
        main(["train", "train.yaml", "--dry-run", "--device", "cpu"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert "steps: 2,000\n" in out and re.search(r"^hours: \d+\.\d\d, as fast as the 8 queries", out, re.M)
    assert re.search(r"^memory: \d+\.\d\d GB$", out, re.M) and re.search(r"^cache: up to ", out, re.M)
    assert re.search(r"^source: scar SCAR_squares: 6 rows, [\d,.]+ times$", out, re.M)
    assert "annotation 2 of 1.png" in err
    settings = yaml.safe_load(shown)
    draw_pairs(place / "pairs")
    write(place / "SCaR-eval" / "things.parquet", rows()[:2])
    commands = [settings["evaluate"]["commands"][0].replace("./images", "./pairs"), "nothing ./SCaR-eval"]
    small = {"steps": 2, "batch": 4, "block": 2, "warmup": 1, "learning_rate": "1e-3"}
    small["evaluate"] = {"every": 1, "commands": commands}
    (place / "small.yaml").write_text(yaml.safe_dump(settings | small))
    monkeypatch.chdir(place.parent)
    words = ("train", f"{place.name}/small.yaml", "--json")
    done = virtue(*words, env={"OMP_NUM_THREADS": "1"})
    assert not done.returncode, done.stderr.decode()
    assert json.loads(done.stdout)["steps"] == 2
    assert len(losses(place / "run")) == 2
    told = f"trained 2 steps, the last with loss {losses(place / 'run')[-1]:.4f}"
    assert told in done.stderr.decode()
    assert b"virtue: warning: `virtue evaluate nothing ./SCaR-eval` failed: " in done.stderr
    metrics = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [1, 2]
    assert all(0 <= line["scar/things/p_at_1"] <= 1 for line in metrics)
    again = virtue(*words)
    assert b"goes on after step 2 of 2" in again.stderr and told in again.stderr.decode()
    assert again.stdout == done.stdout
    assert [*(place / "run" / "tensorboard").iterdir()]
    for result in ("adapter", "model"):
        loaded = Embedder.from_pretrained(place / "run" / result, device="cpu", offline=True)
        assert loaded.encode("a red square").shape == (64,)


def test_ctrl_c_ends_with_a_checkpoint_and_says_how_to_go_on(
    configure: Configure, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(steps=300, batch=2)
    (tmp_path / "train.yaml").write_text(config.model_dump_json())  # JSON is YAML

    def press() -> None:
        while not (config.output / "steps.jsonl").is_file() or not losses(config.output):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    # What runs in the background, as tests may, is often started with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = Thread(target=press)
    thread.start()
    try:
        with pytest.raises(SystemExit) as ended:
            main(["train", "train.yaml", "--device", "cpu"])
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    done = len(losses(config.output))
    said = f"stopped after step {done} of 300: the same command goes on from there\n"
    assert capsys.readouterr().err.endswith(said)
    assert (config.output / "checkpoints" / f"step-{done:06}").is_dir()


@pytest.mark.parametrize(
    "text, said",
    [
        ("steps: 3\n", "output: field required"),
        ("{output: o, model: m, steps: 0}", "steps: input should be greater than or equal to 1"),
        ("{output: o, model: m, steps: 1, bach: 2}", "bach: extra inputs are not permitted"),
        (
            "{output: o, model: m, steps: 1, adapter: {kind: full}}",
            "adapter.kind: input should be 'lora' or 'dora'",
        ),
        ("[1, 2", "is no YAML"),
        ("3", "holds no settings"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["train", "bad.yaml"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
