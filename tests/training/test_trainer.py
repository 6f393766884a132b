"""Runs of training: exact gradients, exact resumption, what is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.training.conftest import Configure, draw, losses
from virtue import Embedder, Library
from virtue.errors import InputError, ModelError
from virtue.training.examples import Example, Source
from virtue.training.sources import open_sources
from virtue.training.trainer import Trainer, TrainingReport, train


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    trainer.weights.clear()
    trainer.backward(trainer.load_batch(0))
    return {name: master.grad.clone() for name, master in trainer.weights.masters.items()}


@pytest.mark.parametrize("layout", ["published", "image-first"])
def test_chunks_give_the_gradients_of_the_whole_batch(configure: Configure, layout: str) -> None:
    settings: dict[str, Any] = {
        "layout": layout, "adapter": {"dropout": 0}, "loss": {"learn_temperature": True, "symmetric": True},
    }  # fmt: skip
    trainer = Trainer(configure(**settings), device="cpu")
    gradients(trainer)
    trainer.weights.update(0)  # or half of the adapter still is zero
    made = gradients(trainer)
    batch = trainer.load_batch(0)
    trainer.weights.clear()
    everything = range(len(batch.rows))
    texts = [number for number in everything if batch.rows[number].scene is None]
    pictures = [number for number in everything if batch.rows[number].scene is not None]
    vectors = torch.cat([trainer.embed(batch, pictures), trainer.embed(batch, texts)])
    trainer.loss(vectors[torch.tensor([*pictures, *texts]).argsort()], batch).backward()
    most = max(master.grad.abs().max() for master in trainer.weights.masters.values())
    for name, master in trainer.weights.masters.items():
        torch.testing.assert_close(made[name], master.grad, rtol=1e-5, atol=1e-5 * float(most), msg=name)
        assert master.grad.any(), name
    assert {"connector.sam2_reducer.weight", "logarithm"} < set(made)
    assert sum("gate_proj.lora_magnitude" in name for name in made) == 2


def test_a_run_that_was_cut_goes_on_exactly(configure: Configure, tmp_path: Path) -> None:
    settings = {"loss": {"learn_temperature": True}, "cache": tmp_path / "cache"}
    whole = train(configure(output=tmp_path / "whole", **settings), device="cpu")
    assert (whole.steps, whole.broken_rows) == (4, 0)
    cut = configure(output=tmp_path / "cut", **settings)
    for until in (1, 3, None):
        train(cut, device="cpu", until=until)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert len(set(losses(tmp_path / "cut"))) == 4


class Telling:
    """A source that wraps another, and tells the process to stop while a row is read."""

    def __init__(self, source: Source, at: int | None) -> None:
        self.name, self.weight, self.is_cheap, self.faults = source.name, 1.0, True, source.faults
        self._source, self._at, self._read = source, at, 0

    def __len__(self) -> int:
        return len(self._source)

    def example(self, row: int) -> Example:
        self._read += 1
        if self._read == self._at:
            signal.raise_signal(signal.SIGTERM)
        return self._source.example(row)


def test_a_run_that_is_told_to_stop_keeps_its_steps(configure: Configure, scar: Path, tmp_path: Path) -> None:
    def run(output: Path, at: int | None = None) -> TrainingReport:
        (source,) = open_sources(configure().sources, 0)
        return train(configure(output=output, sources=[]), sources=[Telling(source, at)], device="cpu")

    run(tmp_path / "whole")
    with pytest.raises(SystemExit) as ended:  # in the middle of the third of four steps
        run(tmp_path / "cut", at=20)
    assert ended.value.code == 128 + signal.SIGTERM
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")[:2]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert run(tmp_path / "cut").model
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_two_processes_have_the_losses_of_one_and_go_on_exactly(configure: Configure, tmp_path: Path) -> None:
    """Batches of 7, so that their shares differ. The run that is cut is so by a signal to one of them."""
    one = configure(
        output=tmp_path / "one", batch=7, adapter={"dropout": 0}, loss={"learn_temperature": True}
    )
    train(one, device="cpu")
    runs = [(str(tmp_path / "whole"), False), (str(tmp_path / "cut"), True), (str(tmp_path / "cut"), False)]
    arguments = json.dumps({"config": json.loads(one.model_dump_json()), "runs": runs})
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "tests.training.two_processes", arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    first, last = sorted(folder.name for folder in (tmp_path / "cut" / "checkpoints").iterdir())
    assert (first, last) == ("step-000002", "step-000004")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    np.testing.assert_allclose(losses(tmp_path / "whole"), losses(tmp_path / "one"), rtol=1e-4)


@pytest.mark.parametrize("layout, tokens", [("published", 256), ("image-first", 64)])
def test_what_was_trained_loads_as_adapter_and_merged(
    configure: Configure, tmp_path: Path, layout: str, tokens: int
) -> None:
    config = configure(
        steps=2, layout=layout, segmentation_tokens=tokens, matryoshka=(64, 16), dtype="bf16",
        adapter={"kind": "lora" if layout == "published" else "dora"}, connector_learning_rate=1e-2,
    )  # fmt: skip
    report = train(config, device="cpu")
    assert report.adapter and report.model
    files = sorted(file.name for file in report.adapter.iterdir())
    assert files == [
        "adapter_config.json", "adapter_model.safetensors", "config.json",
        "sam2_reducer_and_vlm_layer.safetensors", "tokenizer.json",
    ]  # fmt: skip
    names = load_file(report.adapter / "adapter_model.safetensors")
    assert "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight" in names
    suffixes = (
        "lora_A.weight",
        "lora_B.weight",
        *(["lora_magnitude_vector"] if layout != "published" else []),
    )
    assert len(names) == 2 * 7 * len(suffixes) and all(name.endswith(suffixes) for name in names)
    values = ["a red square", {"image": draw(["red", "blue", "black", "white"]), "box": (10, 10, 70, 70)}]
    start, adapter, model = (
        Embedder.from_pretrained(folder, device="cpu", threads=1, offline=True)
        for folder in (config.model, report.adapter, report.model)
    )
    assert model.model.configuration.segmentation_tokens == tokens
    assert model.model.configuration.layout == layout
    np.testing.assert_allclose(adapter.encode(values), model.encode(values), atol=1e-5)
    assert adapter.fingerprint == model.fingerprint
    assert np.abs(model.encode(values) - start.encode(values)).max() > 0.01
    # As the network had it that was trained, but for its bfloat16.
    trainer = Trainer(config, device="cpu")
    assert trainer.resume() == 2
    trainer.network.eval()
    np.testing.assert_allclose(
        trainer.model.embed([_text("a red square")]), model.encode(values[:1]), atol=0.05
    )


def _text(words: str) -> Any:
    from virtue.embedder import Item

    return Item(text=words)


def test_vectors_are_cut_where_a_model_was_trained_for_it(configure: Configure, tmp_path: Path) -> None:
    report = train(configure(steps=1, matryoshka=(64, 16)), device="cpu")
    whole = Embedder.from_pretrained(report.model, device="cpu", threads=1)
    cut = Embedder.from_pretrained(report.model, device="cpu", threads=1, truncate_dim=16)
    assert cut.name == f"{report.model.resolve()}#dim=16" and cut.dim == 16
    assert cut.fingerprint != whole.fingerprint
    picture = draw(["red", "blue", "black", "white"])
    np.testing.assert_allclose(cut.encode(picture), whole.encode(picture, truncate_dim=16), atol=1e-6)
    with pytest.raises(ModelError, match="cannot be cut to 32 numbers; it was trained for: 64, 16"):
        Embedder.from_pretrained(report.model, device="cpu", truncate_dim=32)
    (tmp_path / "photos").mkdir()
    picture.save(tmp_path / "photos" / "1.png")
    with Library(tmp_path / "library", embedder=cut) as library:
        library.index(tmp_path / "photos", ocr=False, regions="none")
    with Library(tmp_path / "library") as library:  # remembers it
        assert library.embedder.dim == 16
        (hit,) = library.search(tmp_path / "photos" / "1.png", find="photos")
        assert hit.score == pytest.approx(1, abs=2e-3)


def test_another_run_is_not_gone_on_with(configure: Configure) -> None:
    train(configure(), device="cpu", until=1)
    with pytest.raises(InputError, match="is of a run with another learning_rate: change that back"):
        train(configure(learning_rate=2e-3), device="cpu")
    report = train(configure(save_every=1), device="cpu", until=2)
    assert report.steps == 2 and report.model is None


def test_the_cache_is_of_the_content_and_a_damaged_file_is_made_again(
    configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(cache=tmp_path / "cache", batch=2)
    batch = Trainer(config, device="cpu").load_batch(0)
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:100])
    again = Trainer(config, device="cpu").load_batch(0)
    assert "is damaged" in caplog.text
    for one, other in zip(batch.rows, again.rows, strict=True):
        if one.scene is not None and other.scene is not None:
            assert torch.equal(one.scene.tokens, other.scene.tokens)
            assert torch.equal(one.scene.features, other.scene.features)
    assert files[0].stat().st_size > 100
