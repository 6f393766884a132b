"""The families of models: which of them a name belongs to, and how it is loaded. The larger ones are imported
only when they are needed."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from virtue.distribution import install_hint
from virtue.embedder.dtypes import check_dtype, find_dtype, torch_dtype
from virtue.embedder.model import Model
from virtue.embedder.model_folder import check_folder, find_inside, read_json
from virtue.embedder.model_names import KNOWN_MODELS, MINI, REPOSITORY_NAME, ModelName
from virtue.errors import ModelError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("virtue")

PUBLISHED_RESIZE = "published"
NUMBERED_VARIANT = re.compile(r"(max-pixels|dim)=(-?\d{1,18})")
"""The variants of a VIRTUE model that sees pictures smaller, or whose vectors are cut."""
SAM_SIZES = {"t": "tiny", "s": "small", "l": "large"}


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to run, as `load_model` describes it."""

    device: str | None = None
    offline: bool = False
    threads: int | None = None
    compile: bool = False
    dtype: str = "auto"


class Family(Protocol):
    """A family of models. Another one is one more object in `FAMILIES`."""

    models: str
    """What it knows, for a message."""
    variants: tuple[str, ...]
    """What may follow `#` in a name; N stands for any number."""
    can_compile: bool

    def accepts(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Returns whether a folder with this config.json holds a model of the family."""

    def load(self, folder: Path, name: ModelName, options: Options) -> Model:
        """Loads a model that the family accepts.

        Raises:
            ModelError: a file is missing or damaged, or the model cannot run here.
        """


class TowersFamily:
    """CLIP, SigLIP and SigLIP 2."""

    model_types = ("clip", "siglip", "siglip2")
    models = ", ".join(model_types)
    variants: tuple[str, ...] = ("attend", "roi", "crop", "circle")
    can_compile = False

    def accepts(self, folder: Path, config: Mapping[str, Any]) -> bool:
        return config.get("model_type") in self.model_types

    def load(self, folder: Path, name: ModelName, options: Options) -> Model:
        import torch

        from virtue.embedder.towers import load_towers

        return load_towers.load(
            folder,
            str(name),
            variant=name.variant or "attend",
            device=torch.device(options.device or "cpu"),
            dtype=torch_dtype(options.dtype),
        )


class VirtueFamily:
    """VIRTUE, in the published layouts and in our own."""

    models = "VIRTUE"
    variants: tuple[str, ...] = (PUBLISHED_RESIZE, "max-pixels=N", "dim=N")
    can_compile = True

    def accepts(self, folder: Path, config: Mapping[str, Any]) -> bool:
        from virtue.embedder.virtue_model import load_virtue

        return load_virtue.is_model_folder(folder)

    def load(self, folder: Path, name: ModelName, options: Options) -> Model:
        from virtue.embedder.virtue_model import load_virtue

        found = NUMBERED_VARIANT.fullmatch(name.variant or "")
        numbers = {found[1]: int(found[2])} if found else {}
        model = load_virtue.load(
            folder,
            device=options.device,
            offline=options.offline,
            dtype=torch_dtype(options.dtype),
            compile=options.compile,
            resize="published" if name.variant == PUBLISHED_RESIZE else None,
            max_pixels=numbers.get("max-pixels"),
            dim=numbers.get("dim"),
        )
        model.name = str(name)
        return model


FAMILIES: tuple[Family, ...] = (TowersFamily(), VirtueFamily())
"""All but the bundled `mini`, which needs neither a folder nor torch. The first that accepts a folder
loads it."""


def load_model(
    name: str | os.PathLike[str] = MINI,
    *,
    device: str | None = None,
    offline: bool = False,
    revision: str | None = None,
    threads: int | None = None,
    compile: bool = False,
    dtype: str = "auto",
    resize: str | None = None,
    max_pixels: int | None = None,
    truncate_dim: int | None = None,
) -> Model:
    """Loads a model by its name (see `model_names`), ready to embed.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; None: CUDA where there is one and the model can use it.
        offline: download nothing. Without it too, nothing is asked of the network while the files are there.
        revision: a branch, tag or commit on the hub; as `@revision` in the name.
        threads: CPU threads that a forward pass may use; None: as suits the model (`mini`: one).
        compile: let torch.compile make VIRTUE faster; see docs/models.md for what that costs.
        dtype: "fp32", "bf16" or "fp16"; "auto": as suits the device (see `dtypes`).
        resize: "published": pictures are resized as in VIRTUE's published evaluation; as `#published` in the
            name.
        max_pixels: of a picture as VIRTUE's vision tower sees it; as `#max-pixels=N` in the name.
        truncate_dim: numbers that vectors of a VIRTUE trained for it are cut to; as `#dim=N` in the name.

    Raises:
        ModelError: there is no such model, it cannot be had, or it cannot run here.
    """
    parsed = ModelName.parse(os.fspath(name), revision)
    if resize is not None:
        parsed = _with_resize(parsed, resize)
    if max_pixels is not None:
        parsed = parsed.with_variant(f"max-pixels={max_pixels}", f"max_pixels={max_pixels}")
    if truncate_dim is not None:
        parsed = parsed.with_variant(f"dim={truncate_dim}", f"truncate_dim={truncate_dim}")
    return _load(parsed, Options(device, offline, threads, compile, dtype))


def _with_resize(name: ModelName, resize: str) -> ModelName:
    if resize != PUBLISHED_RESIZE:
        raise ModelError(f"resize={resize!r} is unknown: use resize={PUBLISHED_RESIZE!r}, or leave it out")
    return name.with_variant(resize, f"resize={resize!r}")


def load_model_of_library(name: str, *, dtype: str = "auto", device: str | None = None) -> Model:
    """Loads the model that a library remembers, if it is on this machine: the bundled one, one of the hub
    that was downloaded, or the folder at the path it had. A library may be a stranger's, so nothing is
    downloaded for it.

    Raises:
        ModelError: it is not here, or cannot run here.
    """
    return _load(ModelName.of_library(name), Options(device, offline=True, dtype=dtype))


def _load(parsed: ModelName, options: Options) -> Model:
    check_dtype(options.dtype)
    start = time.perf_counter()
    if parsed.source == MINI:
        options = replace(options, device=options.device or "cpu")
        model = _load_mini(parsed, options)
    else:
        device = _find_device(parsed, options)
        options = replace(options, device=str(device), dtype=find_dtype(options.dtype, device))
        model = _load_from_folder(parsed, options)
    how = ", ".join(filter(None, [options.device, getattr(model, "dtype", None)]))
    log.info("model %s loaded on %s in %.2f s", parsed, how, time.perf_counter() - start)
    return model


def available_models() -> list[dict[str, Any]]:
    """Lists recommended models: name, dim, size in bytes, licence, what it is, and whether it is on this
    machine. Any other name of a CLIP, SigLIP, SigLIP 2 or VIRTUE model on the hub can be loaded too."""
    from virtue.embedder import hub  # `mini` needs none

    return [
        {
            "name": known.name,
            "dim": known.dim,
            "size": known.size,
            "licence": known.licence,
            "what": known.what,
            "installed": known.name == MINI or hub.find_cached(known.name) is not None,
        }
        for known in KNOWN_MODELS
    ]


def pull(name: str, *, revision: str | None = None, note: Callable[[str], None] = print) -> Path | None:
    """Downloads a model, so that it can be used offline. Says its size and licence first, with `note`.

    Returns:
        The folder of its files; None for the bundled model, which needs none.

    Raises:
        ModelError: there is no such model, or it cannot be had.
    """
    parsed = ModelName.parse(name, revision)
    if parsed.is_folder:
        raise ModelError(f"{name} is a folder: there is nothing to download")
    if parsed.source == MINI:
        note(f"{MINI} is part of virtue: there is nothing to download")
        return None
    folder = _download(parsed, note)
    segmentation = _missing_segmentation_model(folder)
    if segmentation:
        _download(ModelName(segmentation), note)
    return folder


def convert(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, offline: bool = False
) -> Path:
    """Turns a VIRTUE model in the published layout, or a training checkpoint of it, into one complete folder
    of safetensors with the same vectors.

    Raises:
        ModelError: the source is not a VIRTUE model, the extra `torch` is missing, or the destination cannot
            be written.
    """
    name = ModelName.parse(os.fspath(source))
    _check_torch(name)
    from virtue.embedder.virtue_model import converting

    check_folder(Path(name.source))
    return converting.convert(name.source, os.fspath(destination), offline=offline)


def _download(name: ModelName, note: Callable[[str], None]) -> Path:
    from virtue.embedder import hub

    wanted = hub.fetch_card(name.source, name.revision)
    note(f"{name.source}: {_megabytes(wanted.size)} in {len(wanted.files)} files, licence: {wanted.licence}")
    return hub.download(wanted)


def _missing_segmentation_model(folder: Path) -> str | None:
    """The hub's name of the SAM 2.1 weights that a published VIRTUE model stands on and does not hold."""
    settings = read_json(folder / "config.json").get("virtue_sam")
    if not isinstance(settings, Mapping):
        return None
    named = str(settings.get("checkpoint"))
    # As `published_layout` looks for it; the connector's file begins with "sam2" too.
    if find_inside(folder, named) or any([*folder.glob("sam2*.pt"), *folder.glob("sam2*/config.json")]):
        return None
    size = re.search(r"_(t|tiny|s|small|l|large)\.", named)
    return f"facebook/sam2.1-hiera-{SAM_SIZES[size[1][0]] if size else 'base-plus'}"


def _load_mini(name: ModelName, options: Options) -> Model:
    if options.compile:
        raise _cannot_compile(name)
    if options.device != "cpu":
        raise ModelError(f"the model {MINI!r} runs on the CPU alone: leave out device={options.device!r}")
    if options.dtype != "auto":
        raise ModelError(
            f"the model {MINI!r} comes in one precision: leave out dtype={options.dtype!r}",
            hint="--dtype auto",
        )
    if name.variant or name.revision:
        raise ModelError(f"the model {MINI!r} has no revisions and no variants: use {MINI!r} alone")
    from virtue.embedder.mini import Mini

    return Mini(threads=options.threads)


def _load_from_folder(name: ModelName, options: Options) -> Model:
    folder = Path(name.source)
    if not name.is_folder:
        from virtue.embedder import hub

        folder = hub.get_folder(name.source, name.revision, offline=options.offline)
    check_folder(folder)
    config = read_json(folder / "config.json")
    family = next((family for family in FAMILIES if family.accepts(folder, config)), None)
    if family is None:
        kind, models = config.get("model_type"), ", ".join(family.models for family in FAMILIES)
        raise ModelError(f"{name} is a {kind!r} model: virtue knows {models}")
    if options.compile and not family.can_compile:
        raise _cannot_compile(name)
    variant = NUMBERED_VARIANT.sub(r"\1=N", name.variant or "")
    if variant and variant not in family.variants:
        known = "".join(f"#{variant}, " for variant in family.variants)
        others = f"use {known}or " if known else ""
        raise ModelError(f"{name}: #{name.variant} is not for this model; {others}leave it out")
    return family.load(folder, name, options)


def _cannot_compile(name: ModelName) -> ModelError:
    return ModelError(f"compile=True is for VIRTUE alone: leave it out for {name}")


def _find_device(name: ModelName, options: Options) -> torch.device:
    if not name.is_folder and not REPOSITORY_NAME.fullmatch(name.source):
        raise ModelError(
            f"there is no model called {name.source!r}; there are: {MINI}, the folders of models, and "
            "owner/model on the Hugging Face hub"
        )
    _check_torch(name)
    import torch

    from virtue.torch_device import find_device

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return find_device(options.device, ModelError)


def _check_torch(name: ModelName) -> None:
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise ModelError(f"{name} needs {package}, which is not installed: {install_hint('torch')}")


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
