"""`virtue train`: a YAML file -> a model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtue.commands.options import FOUND, INTERRUPTED, Debug, Device, Quiet, SummaryAsJson, flag
from virtue.display.streams import note
from virtue.distribution import install_hint
from virtue.errors import InputError
from virtue.paths import printable

if TYPE_CHECKING:
    from virtue.training import Estimate, Trainer

PACKAGES = ("torch", "transformers", "peft", "pydantic", "yaml", "tensorboard")


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what: docs/training.md.")
    ],
    dry_run: Annotated[
        bool, flag("--dry-run", help="Only say what it will take: steps, memory, hours, broken rows.")
    ] = False,
    device: Device = None,
    as_json: SummaryAsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train VIRTUE, or go on where that was interrupted. Under torchrun, on several devices."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise InputError(f"training needs {missing[0]}, which is not installed: {install_hint('train')}")
    from virtue.display.console import IndexProgress
    from virtue.training import Trainer, estimate, read_config
    from virtue.training import train as run
    from virtue.training.run_log import BROKEN, StepRecord

    settings = read_config(config)
    is_first = os.environ.get("RANK", "0") == "0"
    if dry_run:
        trainer = Trainer(settings, device=device)
        trainer.resume()
        made = estimate(trainer)
        if as_json:
            print(json.dumps(asdict(made)))
        else:
            print_estimate(made)
        return FOUND
    started: list[Trainer] = []
    with (
        _telling_how_to_go_on(started, is_first),
        IndexProgress(quiet or not is_first, "loading the model") as bar,
    ):

        def start(trainer: Trainer) -> None:
            started.append(trainer)
            if trainer.step and is_first:
                note(f"goes on after step {trainer.step:,} of {settings.steps:,}")

        def show(record: StepRecord, broken: int) -> None:
            from virtue.indexer import Progress

            what = f"training, loss {record.loss:.4f}"
            bar(Progress("indexes", record.step, settings.steps, broken, what=what))

        report = run(settings, device=device, on_start=start, on_step=show)
    if not is_first:
        return FOUND
    if as_json:
        print(
            json.dumps(
                {
                    key: value if not isinstance(value, Path) else str(value)
                    for key, value in asdict(report).items()
                }
            )
        )
    if not quiet:
        if report.broken_rows:
            rows = f"{report.broken_rows:,} row{'s' * (report.broken_rows != 1)}"
            named = printable(str(settings.output / BROKEN))
            note(f"{rows} could not be used: {named} names them")
        place = printable(str(report.model))
        loss = "" if report.loss is None else f", the last with loss {report.loss:.4f}"
        note(f"trained {report.steps:,} steps{loss}: {place}")
    return FOUND


@contextmanager
def _telling_how_to_go_on(started: Sequence[Trainer], is_first: bool) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as told:
        for trainer in started if is_first else ():
            done = f"stopped after step {trainer.step:,} of {trainer.config.steps:,}"
            note(f"{done}: the same command goes on from there")
        if not started or isinstance(told, SystemExit):
            raise
        raise SystemExit(INTERRUPTED) from None


def print_estimate(made: Estimate) -> None:
    """Prints what a run will take, a line each."""
    from virtue.display.console import print_fields

    done = f", of which {made.done:,} are done" if made.done else ""
    print_fields(f"steps: {made.steps:,}{done}")
    print_fields(f"numbers learnt: {made.trained:,}")
    print_fields(f"device: {made.processes} x {made.device}, {made.dtype}")
    print_fields(f"memory: {made.memory / 1e9:.2f} GB")
    print_fields(f"hours: {made.hours:.2f}, as fast as the {made.measured:,} queries that were measured")
    if made.cache:
        print_fields(f"cache: up to {made.cache / 1e9:.2f} GB")
    for source in made.sources:
        print_fields(f"source: {source.name}: {source.rows:,} rows, {source.epochs:.2f} times")
        for sentence in (*source.faults, *source.broken):
            note(printable(sentence))
