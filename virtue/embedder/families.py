"""Which family of models a name belongs to; the larger ones are imported only when asked for.

A name is `mini`, a folder, or `owner/model` on the Hugging Face hub with perhaps `@revision`; a two-tower
model may end in `#attend`, `#roi`, `#crop` or `#circle`, which says how its regions get their vectors. The
whole name is what a library remembers, so that it is asked with the model that made it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virtue.distribution import install_hint
from virtue.embedder import hub
from virtue.embedder.model import Model
from virtue.errors import ModelError

if TYPE_CHECKING:
    import torch

MINI = "mini"
TOWERS = ("clip", "siglip", "siglip2")
SAM_SIZES = {"t": "tiny", "s": "small", "l": "large"}


@dataclass(frozen=True, slots=True)
class Known:
    """A model that is worth naming. `size` in bytes of what is downloaded, as rounded as is known here."""

    name: str
    dim: int
    size: int
    licence: str
    what: str


KNOWN = (
    Known(MINI, 768, 40_000_000, "Apache-2.0", "bundled, for any machine; regions from feature maps"),
    Known("openai/clip-vit-base-patch32", 512, 605_000_000, "MIT (code; the card is silent)", "CLIP, small"),
    Known("google/siglip-base-patch16-224", 768, 813_000_000, "Apache-2.0", "SigLIP, English"),
    Known("google/siglip2-base-patch16-224", 768, 1_500_000_000, "Apache-2.0", "SigLIP 2, many languages"),
    Known("google/siglip2-so400m-patch14-384", 1152, 4_540_000_000, "Apache-2.0", "SigLIP 2, large"),
    Known("Sony/VIRTUE-2B-SCaR", 1536, 4_700_000_000, "CC-BY-NC-4.0 (non-commercial)", "VIRTUE; wants a GPU"),
    Known("Sony/VIRTUE-7B-SCaR", 3584, 16_900_000_000, "CC-BY-NC-4.0 (non-commercial)", "VIRTUE, large"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A model's name, parsed. `source` is a folder's path or `owner/model`."""

    source: str
    revision: str | None = None
    variant: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> Name:
        """Parses a name such as `owner/model@revision#variant`.

        Raises:
            ModelError: two revisions are named.
        """
        if text != MINI and Path(text).is_dir():  # the name of a folder may hold any sign
            return cls(text, revision)
        source, _, variant = text.partition("#")
        if Path(source).is_dir():
            return cls(source, revision, variant or None)
        source, _, named = source.partition("@")
        if named and revision and named != revision:
            raise ModelError(
                f"{text} names the revision {named}, and revision={revision!r} another: give one"
            )
        return cls(source, named or revision, variant or None)

    @property
    def is_folder(self) -> bool:
        return self.source != MINI and Path(self.source).is_dir()

    def __str__(self) -> str:
        source = str(Path(self.source).resolve()) if self.is_folder else self.source
        at = f"@{self.revision}" if self.revision and not self.is_folder else ""
        return source + at + (f"#{self.variant}" if self.variant else "")


def load_model(
    name: str | os.PathLike[str] = MINI,
    *,
    device: str | None = None,
    offline: bool = False,
    revision: str | None = None,
    threads: int | None = None,
    compile: bool = False,
) -> Model:
    """Loads a model by its name (see above), ready to embed.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; None: CUDA where there is one and the model can use it.
        offline: download nothing. Without it too, nothing is asked of the network while the files are there.
        revision: a branch, tag or commit on the hub; as `@revision` in the name.
        threads: CPU threads that a forward pass may use; None: as suits the model (`mini`: one).
        compile: let torch.compile make VIRTUE faster; see docs/models.md for what that costs.

    Raises:
        ModelError: there is no such model, it cannot be had, or it cannot run here.
    """
    asked = Name.parse(os.fspath(name), revision)
    if asked.source == MINI:
        if compile:
            raise _not_compiled(asked)
        return _mini(asked, device, threads)
    if not asked.is_folder and not hub.REPOSITORY_NAME.fullmatch(asked.source):
        raise ModelError(
            f"there is no model called {asked.source!r}; there are: {MINI}, the folders of models, and "
            "owner/model on the Hugging Face hub"
        )
    place = _device(asked, device, threads)
    folder = (
        Path(asked.source)
        if asked.is_folder
        else hub.get_folder(asked.source, asked.revision, offline=offline)
    )
    described = _described(folder)
    if described.get("model_type") in TOWERS:
        from virtue.embedder.towers import load_towers

        if compile:
            raise _not_compiled(asked)
        return load_towers.load(folder, str(asked), variant=asked.variant or "attend", device=place)
    if asked.variant:
        raise ModelError(f"#{asked.variant} is for CLIP and SigLIP: leave it out of {name}")
    return _virtue(folder, asked, str(place), offline, compile)


def available_models() -> list[dict[str, Any]]:
    """Lists recommended models: name, dim, size in bytes, licence, what it is, and whether it is on this
    machine. Any other name of a CLIP, SigLIP, SigLIP 2 or VIRTUE model on the hub can be loaded too."""
    return [
        {
            "name": known.name,
            "dim": known.dim,
            "size": known.size,
            "licence": known.licence,
            "what": known.what,
            "installed": known.name == MINI or hub.find_cached(known.name) is not None,
        }
        for known in KNOWN
    ]


def pull(name: str, *, revision: str | None = None, note: Callable[[str], None] = print) -> Path | None:
    """Downloads a model, so that it can be used offline. Says its size and licence first, with `note`.

    Returns:
        The folder of its files; None for the bundled model, which needs none.

    Raises:
        ModelError: there is no such model, or it cannot be had.
    """
    asked = Name.parse(name, revision)
    if asked.is_folder:
        raise ModelError(f"{name} is a folder: there is nothing to download")
    if asked.source == MINI:
        note(f"{MINI} is part of virtue: there is nothing to download")
        return None
    folder = _pull(asked, note)
    segmentation = _segmentation_of(folder)
    if segmentation:
        _pull(Name(segmentation), note)
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
    asked = Name.parse(os.fspath(source))
    _device(asked, "cpu", None)
    from virtue.embedder.virtue_model import saving

    return saving.convert(asked.source, os.fspath(destination), offline=offline)


def _pull(asked: Name, note: Callable[[str], None]) -> Path:
    wanted = hub.fetch_card(asked.source, asked.revision)
    note(f"{asked.source}: {_megabytes(wanted.size)} in {len(wanted.files)} files, licence: {wanted.licence}")
    return hub.download(wanted)


def _segmentation_of(folder: Path) -> str | None:
    """The hub's name of the SAM 2.1 weights that a published VIRTUE model stands on and does not hold."""
    described = _described(folder).get("virtue_sam")
    if not isinstance(described, Mapping):
        return None
    named = str(described.get("checkpoint"))
    # As `published` looks for it; the connector's file begins with "sam2" too.
    if (folder / named).is_file() or any([*folder.glob("sam2*.pt"), *folder.glob("sam2*/config.json")]):
        return None
    size = re.search(r"_(t|tiny|s|small|l|large)\.", named)
    return f"facebook/sam2.1-hiera-{SAM_SIZES[size[1][0]] if size else 'base-plus'}"


def _mini(asked: Name, device: str | None, threads: int | None) -> Model:
    if device not in (None, "cpu"):
        raise ModelError(f"the model {MINI!r} runs on the CPU alone: leave out device={device!r}")
    if asked.variant or asked.revision:
        raise ModelError(f"the model {MINI!r} has no revisions and no variants: use {MINI!r} alone")
    from virtue.embedder.mini import Mini

    return Mini(threads=threads)


def _not_compiled(asked: Name) -> ModelError:
    return ModelError(f"compile=True is for VIRTUE alone: leave it out for {asked}")


def _virtue(folder: Path, asked: Name, device: str, offline: bool, compile: bool) -> Model:
    from virtue.embedder.virtue_model import load_virtue

    if not load_virtue.is_model_folder(folder):
        kind = _described(folder).get("model_type")
        raise ModelError(f"{asked} is a {kind!r} model: virtue knows VIRTUE, {', '.join(TOWERS)}")
    model = load_virtue.load(str(folder), device=device, offline=offline, compile=compile)
    model.name = str(asked)
    return model


def _described(folder: Path) -> Mapping[str, Any]:
    try:
        described = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no config.json: it is not the folder of a model") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read ({error})") from None
    if not isinstance(described, Mapping):
        raise ModelError(f"{folder / 'config.json'} holds no configuration")
    return described


def _device(asked: Name, name: str | None, threads: int | None) -> torch.device:
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise ModelError(f"{asked} needs {package}, which is not installed: {install_hint('torch')}")
    import torch

    from virtue.torch_device import find_device

    if threads is not None:
        torch.set_num_threads(threads)
    return find_device(name, ModelError)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
