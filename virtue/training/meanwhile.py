"""Evaluations meanwhile: commands of `virtue evaluate`, each a process of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def run_evaluations(commands: Sequence[str], model: Path, folder: Path) -> dict[str, float]:
    """Runs commands with a model.

    Args:
        commands: what follows `virtue evaluate`, without a model.
        folder: what paths in them are relative to.

    Returns:
        All numbers that they printed as JSON, by command and key. A command that fails gives none, and a
        warning.
    """
    found: dict[str, float] = {}
    for command in commands:
        words = [*shlex.split(command), "--model", str(model.resolve()), "--json"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "virtue", "evaluate", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = " ".join(done.stderr.split()).removeprefix("virtue: ")
            warnings.warn(f"`virtue evaluate {command}` failed: {said}", stacklevel=2)
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
