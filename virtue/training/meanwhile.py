"""Evaluations meanwhile: commands of `virtue evaluate`, each a process of its own."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger("virtue")


def run_evaluations(commands: Sequence[str], model: Path) -> dict[str, float]:
    """Runs commands with a model.

    Args:
        commands: what follows `virtue evaluate`, without a model.

    Returns:
        All numbers that they printed as JSON, by command and key. A command that fails gives none, and a
        warning in the log.
    """
    found: dict[str, float] = {}
    for command in commands:
        words = [*shlex.split(command), "--model", str(model), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "virtue", "evaluate", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            log.warning("virtue evaluate %s failed: %s", command, done.stderr.strip())
            continue
        for number, line in enumerate(done.stdout.splitlines()):
            found.update(_numbers(json.loads(line), f"{command.split()[0]}/{number}"))
    return found


def _numbers(values: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(values, dict):
        own = values.get("name")
        name = f"{name.rpartition('/')[0]}/{own}" if isinstance(own, str) else name
        for key, value in values.items():
            yield from _numbers(value, f"{name}/{key}")
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield name, float(values)
