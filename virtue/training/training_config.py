"""What a training run is to do, as its YAML file says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from virtue.embedder.virtue_model.configuration import Layout
from virtue.errors import InputError
from virtue.paths import printable

LINEAR_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All linear layers of Qwen2-VL's language model. The published list names modules that it does not have, and
so misses `gate_proj` and `up_proj`."""
FREE_SETTINGS = ("output", "cache", "save_every", "keep", "evaluate")
"""What may change when a run goes on, since it changes no loss."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(Settings):
    """Attributes:
    kind: "mmeb", "scar": Parquet as published; "coco": JSON with boxes and captions; "scenes": composed
        while they are needed.
    path: the file, or (Parquet) a folder of them, each of which is a source then; of scenes the folder of
        cut-outs.
    images: the folder that paths in the file are relative to. None: the folder of the file.
    grounds: of scenes the folder of photos that they lie on. None: drawn grounds alone.
    prompts: of scenes how things are prompted, each scene in one of these ways.
    weight: how often blocks are drawn from it.
    limit: how many rows are used, from the first on. None: all; of scenes a million.
    """

    kind: Literal["mmeb", "scar", "coco", "scenes"]
    path: Path
    images: Path | None = None
    grounds: Path | None = None
    prompts: tuple[Literal["box", "point", "mask", "none"], ...] = Field(default=("box",), min_length=1)
    weight: float = Field(default=1.0, gt=0)
    limit: int | None = Field(default=None, ge=1)


class AdapterSettings(Settings):
    kind: Literal["lora", "dora"] = "dora"
    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    modules: tuple[str, ...] = LINEAR_MODULES


class LossSettings(Settings):
    """Attributes:
    negatives: how many hard negatives of an example are used at most.
    """

    temperature: float = Field(default=0.02, gt=0, le=1)
    learn_temperature: bool = False
    symmetric: bool = False
    negatives: int = Field(default=9, ge=0)


class EvaluationSettings(Settings):
    """Attributes:
    every: steps between evaluations.
    commands: what follows `virtue evaluate` and names no model, as "scar ./SCaR-eval"; the model as it is
        then and `--json` are added.
    folder: what paths in `commands` are relative to; of a YAML file its folder.
    """

    every: int = Field(ge=1)
    commands: tuple[str, ...] = Field(min_length=1)
    folder: Path = Path()


class TrainingConfig(Settings):
    """Attributes:
    model: what training starts from: a VIRTUE model (a folder in any layout, or a name on the hub), or a
        Qwen2-VL, which gets a connector of its own.
    segmenter: the SAM 2.1 that goes with a Qwen2-VL.
    layout, segmentation_tokens: None: as the model has them. Other segmentation tokens than it has make its
        connector begin anew.
    matryoshka: dimensions at which vectors are to be of use when they are cut there.
    batch: queries a step, of all processes together.
    chunk, text_chunk: pictures and texts that are in memory at once, with what their gradients need.
    block: rows in a row from one source.
    learning_rate: of the adapter. `connector_learning_rate` is that of the connector; None: the same.
    clip: the norm to which gradients are cut.
    cache: the folder in which what frozen models see is kept. None: it is not kept.
    save_every: steps between checkpoints, of which the last `keep` stay.
    """

    output: Path
    model: str
    segmenter: str = "facebook/sam2.1-hiera-base-plus"
    sources: tuple[SourceSettings, ...] = ()
    steps: int = Field(ge=1)
    layout: Layout | None = None
    segmentation_tokens: int | None = Field(default=None, ge=1)
    max_pixels: int | None = Field(default=None, ge=1)
    matryoshka: tuple[int, ...] = ()
    adapter: AdapterSettings = AdapterSettings()
    loss: LossSettings = LossSettings()
    batch: int = Field(default=1024, ge=1)
    chunk: int = Field(default=2, ge=1)
    text_chunk: int = Field(default=64, ge=1)
    block: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-5, gt=0)
    connector_learning_rate: float | None = Field(default=None, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, gt=0)
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = True
    cache: Path | None = None
    save_every: int = Field(default=100, ge=1)
    keep: int = Field(default=2, ge=1)
    evaluate: EvaluationSettings | None = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if any(dim < 1 for dim in self.matryoshka):
            raise ValueError("matryoshka holds a dimension below 1")
        return self

    def what_counts(self) -> dict[str, Any]:
        """Returns the settings on which losses depend, as JSON has them."""
        held: dict[str, Any] = json.loads(self.model_dump_json(exclude=set(FREE_SETTINGS)))
        return held


def read_config(file: str | os.PathLike[str]) -> TrainingConfig:
    """Reads a YAML file. Paths in it are relative to its folder.

    Raises:
        InputError: there is no such file, or a setting is unknown, missing or cannot be; names it.
    """
    file = Path(file)
    shown = printable(str(file))
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{shown}: {error.strerror or error}: name the YAML file of a training run"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{shown} is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise InputError(f"{shown} holds no settings: see docs/training.md for an example")
    try:
        return _resolve(TrainingConfig.model_validate(values), file.parent)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{shown}: {f'{where}: ' if where else ''}{said[0].lower()}{said[1:]}") from None


def _resolve(config: TrainingConfig, folder: Path) -> TrainingConfig:
    beside = folder / config.model
    segmenter = folder / config.segmenter
    sources = tuple(
        source.model_copy(
            update={
                "path": folder / source.path,
                "images": folder / source.images if source.images else None,
                "grounds": folder / source.grounds if source.grounds else None,
            }
        )
        for source in config.sources
    )
    return config.model_copy(
        update={
            "output": folder / config.output,
            "model": str(beside.resolve()) if beside.is_dir() else config.model,
            "segmenter": str(segmenter.resolve()) if segmenter.is_dir() else config.segmenter,
            "cache": folder / config.cache if config.cache else None,
            "sources": sources,
            "evaluate": config.evaluate
            and config.evaluate.model_copy(update={"folder": folder / config.evaluate.folder}),
        }
    )
