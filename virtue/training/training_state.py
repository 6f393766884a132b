"""Checkpoints of a run: the adapter as it is then, and what is needed to go on exactly."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from virtue.embedder.model_folder import reading
from virtue.errors import InputError
from virtue.paths import printable

FOLDER = "checkpoints"
NAME = re.compile(r"step-(\d+)")
STATE = "training_state"


def find_checkpoints(output: Path) -> list[tuple[int, Path]]:
    """Finds the complete checkpoints of a run, the latest last, by the steps that were done."""
    found = []
    for folder in (output / FOLDER).glob("step-*"):
        match = NAME.fullmatch(folder.name)
        if match and (folder / f"{STATE}.json").is_file():
            found.append((int(match[1]), folder))
    return sorted(found)


def save_checkpoint(
    output: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    write_adapter: Callable[[Path], None],
    keep: int,
) -> Path:
    """Writes a checkpoint after so many steps, and deletes those before the last `keep`. It has its name only
    once it is complete.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = output / FOLDER / f"step-{step:06}"
    partial = folder.with_suffix(".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_adapter(partial)
        save_file(
            {name: value.contiguous() for name, value in tensors.items()}, partial / f"{STATE}.safetensors"
        )
        (partial / f"{STATE}.json").write_text(
            json.dumps({"step": step, "settings": settings}, indent=2) + "\n"
        )
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        for _, old in find_checkpoints(output)[:-keep]:
            shutil.rmtree(old)
    except OSError as error:
        raise InputError(f"{printable(str(folder))} cannot be written: {error.strerror or error}") from None
    return folder


def load_checkpoint(folder: Path, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Reads what a checkpoint holds, for a run with these settings.

    Raises:
        InputError: it is of a run with other settings; names one.
        ModelError: it is damaged.
    """
    with reading(printable(str(folder))):
        held = json.loads((folder / f"{STATE}.json").read_text())["settings"]
        tensors = load_file(folder / f"{STATE}.safetensors")
    changed = [name for name in settings if held.get(name) != settings[name]]
    if changed:
        raise InputError(
            f"{printable(str(folder))} is of a run with another {', '.join(changed)}: change that back, or "
            "name another folder as `output`"
        )
    return tensors
