"""What a run leaves to look at: a line a step, the same for TensorBoard, and the rows that were broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from virtue.training.ranks import rank, wait_for_ranks

STEPS = "steps.jsonl"
METRICS = "metrics.jsonl"
BROKEN = "broken_rows.jsonl"
BOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step, counted from 1. `gradient_norm` is that before clipping; `seconds` is of the whole step."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    temperature: float
    seconds: float


class RunLog:
    """Written by the first process alone. What an earlier run wrote of later steps than `step` is removed.

    Attributes:
        last_loss: that of the last step; None: there was none yet, or its line is lost.
    """

    def __init__(self, output: Path, step: int) -> None:
        self.last_loss: float | None = None
        self._output = output
        self._step = step
        self._writer: Any = None

    def __enter__(self) -> RunLog:
        if rank() == 0:
            from torch.utils.tensorboard import SummaryWriter

            self._output.mkdir(parents=True, exist_ok=True)
            steps, _ = (self._cut(self._output / name) for name in (STEPS, METRICS))
            if steps and steps[-1]["step"] == self._step:
                self.last_loss = steps[-1]["loss"]
            self._writer = SummaryWriter(str(self._output / BOARD), purge_step=self._step + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, record: StepRecord) -> None:
        self.last_loss = record.loss
        if self._writer is not None:
            values = asdict(record)
            _append(self._output / STEPS, values)
            for name in ("loss", "gradient_norm", "learning_rate", "temperature", "seconds"):
                self._writer.add_scalar(f"training/{name}", values[name], record.step)

    def add_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._writer is not None:
            _append(self._output / METRICS, {"step": step, **metrics})
            for name, value in metrics.items():
                self._writer.add_scalar(f"evaluation/{name}", value, step)

    def _cut(self, file: Path) -> list[dict[str, Any]]:
        if not file.is_file():
            return []
        lines = {line: json.loads(line) for line in file.read_text().splitlines()}
        kept = {line: values for line, values in lines.items() if values["step"] <= self._step}
        file.write_text("".join(f"{line}\n" for line in kept))
        return [*kept.values()]


class BrokenRows:
    """Counts and names rows that cannot be used, each once; all processes write into one file."""

    def __init__(self, output: Path) -> None:
        self._file = output / BROKEN
        self._known: set[str] = set()

    @property
    def count(self) -> int:
        """Those of this process."""
        return len(self._known)

    def add(self, sentence: str) -> None:
        if sentence not in self._known:
            self._known.add(sentence)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _append(self._file, {"row": sentence})

    def count_all(self) -> int:
        """Those of all processes, in this run and before it was cut."""
        wait_for_ranks()
        return len(set(self._file.read_text().splitlines())) if self._file.is_file() else 0


def _append(file: Path, values: Mapping[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(values) + "\n")
