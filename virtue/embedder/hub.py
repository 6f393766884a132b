"""The Hugging Face hub: a name -> a folder in the hub's own cache.

Nothing is asked of the network while the files are there. `HF_HOME`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and
`HF_TOKEN` mean what they mean everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape as escape_glob
from pathlib import Path
from typing import Any

from virtue.embedder.completeness import find_missing
from virtue.errors import ModelError
from virtue.escaping import draw_on, escape

SETTINGS_PATTERNS = ["*.json", "*.txt", "*.model", "*.yaml"]
MORE_WEIGHTS_PATTERNS = ["*.pth", "*.pt"]
WEIGHTS_PATTERNS = ["*.safetensors", "*.bin"]
PICKLE_PATTERNS = ("*.bin", "*.pt")
"""Taken only where there are no safetensors: many repositories hold the same weights in both."""
IGNORED_PATTERNS = ["*/*"]
"""Folders of a repository hold other formats (ONNX, Core ML) and checkpoints of the training."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the hub says about a model: `files` are those that would be downloaded, `size` their bytes."""

    name: str
    revision: str | None
    commit: str
    licence: str
    files: tuple[str, ...]
    size: int


def find_cached(name: str, revision: str | None = None) -> Path | None:
    """Returns the folder of a model whose files are all here, without the network; None: they are not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            name, revision=revision, local_files_only=True, allow_patterns=["config.json"]
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    folder = Path(found)
    return None if find_missing(folder) else folder


def fetch_card(name: str, revision: str | None = None) -> Card:
    """Asks the hub about a model.

    Raises:
        ModelError: there is no such model or revision, it is closed to you, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _translate_errors(name, revision):
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    patterns = _allow_patterns(list(sizes))
    files = [
        file for file in sizes if "/" not in file and any(fnmatch(file, pattern) for pattern in patterns)
    ]
    data = info.card_data
    licence = (data.get("license_name") or data.get("license")) if data else None
    return Card(
        name,
        revision,
        str(info.sha),
        escape(str(licence or "not stated")),
        tuple(files),
        sum(sizes[f] for f in files),
    )


def download(wanted: Card) -> Path:
    """Downloads those of a model's files that are not there yet.

    Raises:
        ModelError: as for `fetch_card`.
    """
    from huggingface_hub import snapshot_download

    with _translate_errors(wanted.name, wanted.revision), _bars() as bar_class:
        # The weights that no model is without come last: where they are, everything is.
        folder = None
        for patterns in (SETTINGS_PATTERNS, MORE_WEIGHTS_PATTERNS, WEIGHTS_PATTERNS):
            files = [file for file in wanted.files if any(fnmatch(file, pattern) for pattern in patterns)]
            if files:
                folder = snapshot_download(
                    wanted.name,
                    revision=wanted.revision,
                    allow_patterns=[escape_glob(file) for file in files],
                    ignore_patterns=IGNORED_PATTERNS,
                    tqdm_class=bar_class,
                )
    if folder is None:
        raise ModelError(f"{wanted.name} on the hub holds no files of a model: name another")
    return Path(folder)


@contextmanager
def _bars() -> Iterator[type]:
    """Gives the hub's kind of progress bar, drawn beside the escapes of stderr. The bars are gone at the end,
    and not only when the program ends."""
    from huggingface_hub.utils import tqdm

    bars, drawing = [], draw_on(sys.stderr)

    class Bar(tqdm):
        def __init__(self, *items: Any, **settings: Any) -> None:
            described = escape(settings.get("desc") or "")
            super().__init__(*items, **{**settings, "desc": described, "file": drawing, "leave": False})
            bars.append(self)

    try:
        yield Bar
    finally:
        for bar in reversed(bars):
            bar.close()
        drawing.flush()


def get_folder(name: str, revision: str | None = None, *, offline: bool = False) -> Path:
    """Returns the folder of a model, and downloads it if it is not there.

    Raises:
        ModelError: it is neither there nor to be had.
    """
    found = find_cached(name, revision)
    if found is not None:
        return found
    if offline or _is_offline():
        raise ModelError(
            f"{_full_name(name, revision)} is not on this machine, and is not downloaded unasked: pull it "
            "where there is a network",
            hint=f"virtue models pull {_full_name(name, revision)}",
        )
    return download(fetch_card(name, revision))


def _allow_patterns(files: list[str] | tuple[str, ...]) -> list[str]:
    patterns = [*SETTINGS_PATTERNS, *MORE_WEIGHTS_PATTERNS, *WEIGHTS_PATTERNS]
    has_safetensors = any(file.endswith(".safetensors") and "/" not in file for file in files)
    return [p for p in patterns if p not in PICKLE_PATTERNS] if has_safetensors else patterns


def _full_name(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def _translate_errors(name: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError:
        raise ModelError(
            f"access to {name} is restricted: accept its terms on its page of the hub, then set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"there is no model called {name!r} on the hub, or it is private: check the name, or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"{name} has no revision {revision!r}: name a branch, tag or commit of it") from None
    except HFValidationError:
        raise ModelError(f"{name!r} is neither a folder nor a name like owner/model") from None
    except OfflineModeIsEnabled:
        raise ModelError(
            f"{_full_name(name, revision)} cannot be downloaded: HF_HUB_OFFLINE is set"
        ) from None
    except HfHubHTTPError as error:
        raise ModelError(
            f"the hub answered {error.response.status_code} when asked for {name}: try again later"
        ) from None
    except (HTTPError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the hub cannot be reached for {_full_name(name, revision)} ({reason}): "
            "check the network, or give a folder"
        ) from None
