"""The training run: batches -> loss -> gradients -> weights, with checkpoints that go on exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from virtue.embedder.dtypes import find_dtype, torch_dtype
from virtue.embedder.virtue_model.converting import convert
from virtue.embedder.virtue_model.qwen2_vl import Qwen2VLLanguage
from virtue.embedder.virtue_model.trained_adapter import write_adapter
from virtue.embedder.weights import select_prefix
from virtue.errors import ModelError
from virtue.torch_device import find_device
from virtue.training.example_stream import ExampleStream
from virtue.training.examples import Source
from virtue.training.gradient_caching import backward_in_chunks
from virtue.training.interruption import Interruption
from virtue.training.item_loading import Batch, BatchLoader, chunk_rows, place_rows
from virtue.training.losses import Temperature, nested_loss
from virtue.training.low_rank import Adapter
from virtue.training.master_weights import MasterWeights
from virtue.training.meanwhile import run_evaluations
from virtue.training.ranks import gather_rows, join_ranks, rank, wait_for_ranks, world_size
from virtue.training.run_log import BrokenRows, RunLog, StepRecord
from virtue.training.scene_cache import SceneCache
from virtue.training.sources import open_sources
from virtue.training.start_model import load_start
from virtue.training.training_config import TrainingConfig
from virtue.training.training_state import find_checkpoints, load_checkpoint, save_checkpoint

ADAPTER_FOLDER, MODEL_FOLDER = "adapter", "model"
"""Where the result lies in the output folder: as changes to the model it started from, and as one whole."""

OnStep = Callable[[StepRecord, int], None]
"""Called after each step, with the number of broken rows so far."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a run did. `adapter` and `model` are folders; None: it was stopped before its last step.

    `loss` is that of the last step, also where an earlier run took it; None: there was none, or the log of it
    is another process's of torchrun.
    """

    steps: int
    loss: float | None
    broken_rows: int
    adapter: Path | None = None
    model: Path | None = None


class Trainer:
    """A run of training. Processes that torchrun started share each batch; the loss is that of all of it.

    Args:
        sources: further sources, beside those that the configuration names.
        device: None: CUDA where there is one.

    Raises:
        ModelError, InputError: the model, a source or a setting cannot be used.
    """

    def __init__(
        self, config: TrainingConfig, *, sources: Sequence[Source] = (), device: str | None = None
    ) -> None:
        self.config = config
        self.device = find_device(device, ModelError)
        dtype = find_dtype(config.dtype, self.device)
        self.model = load_start(config, self.device, torch_dtype("fp32" if dtype == "fp16" else dtype))
        network = self.network = self.model.network
        torch.manual_seed(config.seed)
        self.adapter = Adapter(network, config.adapter)
        network.connector.requires_grad_(True)
        language = network.language
        assert isinstance(language, Qwen2VLLanguage)
        if config.gradient_checkpointing:
            language.enable_checkpointing()
        language.train()
        self.temperature = Temperature(config.loss.temperature, is_learnt=config.loss.learn_temperature).to(
            self.device
        )
        parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        shared = [name for name, value in self.temperature.named_parameters() if value.requires_grad]
        parameters |= {
            name: value for name, value in self.temperature.named_parameters() if value.requires_grad
        }
        self.weights = MasterWeights(parameters, config, shared)
        self.broken = BrokenRows(config.output)
        self.stream = ExampleStream(
            [*open_sources(config.sources, config.seed), *sources], block=config.block, seed=config.seed
        )
        self.cache = SceneCache(self.model, config.cache)
        self.loader = BatchLoader(
            self.model, self.stream, self.cache, negatives=config.loss.negatives, on_broken=self.broken.add
        )
        self.step = self._saved = 0

    @property
    def trained_numbers(self) -> int:
        return sum(master.numel() for master in self.weights.masters.values())

    def resume(self) -> int:
        """Goes on from the last checkpoint in the output folder, if there is one.

        Returns:
            How many steps were done.
        """
        found = find_checkpoints(self.config.output)
        if found:
            step, folder = found[-1]
            self.weights.restore(load_checkpoint(folder, self.config.what_counts()), step)
            self.step = self._saved = step
        return self.step

    def run(self, *, until: int | None = None, on_step: OnStep | None = None) -> TrainingReport:
        """Trains up to the last step, or up to `until`, where a checkpoint is written.

        Raises:
            KeyboardInterrupt, SystemExit: it was told to stop; a checkpoint is written of the steps before.
        """
        config = self.config
        until = min(until or config.steps, config.steps)
        with RunLog(config.output, self.step) as log, self._stopping_softly() as stop:
            while self.step < until:
                record = self._take_step(stop, log)
                stop.check()
                if on_step is not None:
                    on_step(record, self.broken.count)
                is_last = self.step == until
                evaluates = config.evaluate and (is_last or self.step % config.evaluate.every == 0)
                if is_last or evaluates or self.step % config.save_every == 0:
                    self.save()
                if evaluates:
                    self._evaluate(log)
        report = TrainingReport(self.step, log.last_loss, self.broken.count_all())
        return self._finish(report) if self.step == config.steps else report

    def load_batch(self, step: int) -> Batch:
        """Loads this process's share of a step."""
        size, first = self.config.batch, step * self.config.batch
        start, stop = (first + size * number // world_size() for number in (rank(), rank() + 1))
        return self.loader.load(range(start, stop))

    def backward(self, batch: Batch, step: int = 0) -> Tensor:
        """Adds the gradients of the loss over all processes' batches to the master weights."""
        with self._computing():
            return backward_in_chunks(
                lambda numbers: self.embed(batch, numbers),
                self.chunks(batch),
                lambda vectors: self.loss(vectors, batch),
                seed=(self.config.seed * 1_000_000 + step) * 1_000 + rank(),
            )

    def chunks(self, batch: Batch) -> list[list[int]]:
        return chunk_rows(batch.rows, pictures=self.config.chunk, texts=self.config.text_chunk)

    def embed(self, batch: Batch, numbers: Sequence[int]) -> Tensor:
        """Embeds rows of a batch: (len(numbers), dim) float32, unit rows."""
        vectors: Tensor = self.network(place_rows([batch.rows[number] for number in numbers], self.device))
        return vectors

    def save(self) -> None:
        """Writes a checkpoint."""
        if rank() == 0:
            save_checkpoint(
                self.config.output,
                self.step,
                self.weights.state(),
                self.config.what_counts(),
                self._write_adapter,
                self.config.keep,
            )
        self._saved = self.step
        wait_for_ranks()

    @contextmanager
    def _stopping_softly(self) -> Iterator[Interruption]:
        with Interruption() as stop:
            try:
                # Processes wait for each other, so none may leave in the middle of a step.
                with stop.held() if world_size() > 1 else nullcontext():
                    yield stop
            except (KeyboardInterrupt, SystemExit):
                with stop.held():
                    if self.step > self._saved:
                        self.save()
                raise

    def _take_step(self, stop: Interruption, log: RunLog) -> StepRecord:
        start = time.perf_counter()
        loss = float(self.backward(self.load_batch(self.step), self.step))
        with stop.held():
            norm = self.weights.update(self.step)
            self.step += 1
            record = StepRecord(
                self.step,
                loss,
                norm,
                self.weights.rate,
                float(self.temperature().detach()),
                time.perf_counter() - start,
            )
            log.add(record)
        return record

    def loss(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Computes the loss of all processes' batches; its gradients go to this one's vectors."""
        parts = [batch.count, batch.count, len(batch.rows) - 2 * batch.count]
        queries, positives, negatives = map(gather_rows, vectors.split(parts))
        ids = [gather_rows(part) for part in batch.ids.to(vectors.device).split(parts)]
        return nested_loss(
            queries,
            torch.cat([positives, negatives]),
            self.config.matryoshka,
            temperature=self.temperature(),
            symmetric=self.config.loss.symmetric,
            query_ids=ids[0],
            candidate_ids=torch.cat(ids[1:]),
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        # In bf16 on a processor the flash kernel takes twice as long on its way back.
        on_processor = self.device.type == "cpu" and self.network.dtype == torch.bfloat16
        with sdpa_kernel(SDPBackend.MATH) if on_processor else nullcontext():
            yield

    def _write_adapter(self, folder: Path) -> None:
        learnt = {name: master.detach().cpu() for name, master in self.weights.masters.items()}
        write_adapter(
            folder,
            self.network,
            self.model.tokenizer,
            self.adapter.settings(self.config.model),
            self.adapter.weights(learnt),
            select_prefix("connector.", learnt),
            self.config.segmenter,
        )

    def _evaluate(self, log: RunLog) -> None:
        settings = self.config.evaluate
        assert settings is not None
        if rank() == 0:
            _, model = find_checkpoints(self.config.output)[-1]
            log.add_metrics(self.step, run_evaluations(settings.commands, model, settings.folder))
        wait_for_ranks()

    def _finish(self, report: TrainingReport) -> TrainingReport:
        adapter, model = (self.config.output / name for name in (ADAPTER_FOLDER, MODEL_FOLDER))
        if rank() == 0:
            self._write_adapter(adapter)
            convert(adapter, model)
        wait_for_ranks()
        return TrainingReport(report.steps, report.loss, report.broken_rows, adapter, model)


def train(
    config: TrainingConfig,
    *,
    sources: Sequence[Source] = (),
    device: str | None = None,
    until: int | None = None,
    on_start: Callable[[Trainer], None] | None = None,
    on_step: OnStep | None = None,
) -> TrainingReport:
    """Trains a model, or goes on where an earlier run in the same output folder was cut.

    Args:
        sources, device: as for `Trainer`; torchrun gives each process a device of its own.
        until: a step to stop at, before the last.
        on_start: called when all is loaded, before the first step.
        on_step: called after each step.
    """
    own_device = join_ranks()
    trainer = Trainer(config, sources=sources, device=device or own_device)
    trainer.resume()
    if on_start is not None:
        on_start(trainer)
    return trainer.run(until=until, on_step=on_step)
