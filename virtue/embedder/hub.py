"""The Hugging Face hub: a name -> a folder in the hub's own cache.

Nothing is asked of the network while the files are there. `HF_HOME`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and
`HF_TOKEN` mean what they mean everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from virtue.errors import ModelError

NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
FILES = ["*.json", "*.txt", "*.model", "*.yaml", "*.safetensors", "*.pth"]
PICKLES = ["*.bin", "*.pt"]
"""Taken only where there are no safetensors: many repositories hold the same weights in both."""
ELSEWHERE = ["*/*"]
"""Folders of a repository hold other formats (ONNX, Core ML) and checkpoints of the training."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the hub says of a model: `files` are those that would be downloaded, `size` their bytes."""

    name: str
    revision: str | None
    commit: str
    licence: str
    files: tuple[str, ...]
    size: int


def cached(name: str, revision: str | None = None) -> Path | None:
    """The folder of a model that is there as a whole; asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    for patterns in (FILES, [*FILES, *PICKLES]):
        try:
            found = snapshot_download(
                name,
                revision=revision,
                local_files_only=True,
                allow_patterns=patterns,
                ignore_patterns=ELSEWHERE,
            )
        except (LocalEntryNotFoundError, HFValidationError):
            continue
        folder = Path(found)
        if (folder / "config.json").is_file() and any(_weights(file.name) for file in folder.iterdir()):
            return folder
    return None


def card(name: str, revision: str | None = None) -> Card:
    """Asks the hub about a model.

    Raises:
        ModelError: there is no such model or revision, it is closed to you, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _plain_errors(name, revision):
        told = HfApi().model_info(name, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in told.siblings or ()}
    patterns = _patterns(list(sizes))
    files = [
        file for file in sizes if "/" not in file and any(fnmatch(file, pattern) for pattern in patterns)
    ]
    data = told.card_data
    licence = (data.get("license_name") or data.get("license")) if data else None
    return Card(
        name,
        revision,
        str(told.sha),
        str(licence or "not stated"),
        tuple(files),
        sum(sizes[f] for f in files),
    )


def download(wanted: Card) -> Path:
    """Fetches a model's files, those that are there left as they are.

    Raises:
        ModelError: as for `card`.
    """
    from huggingface_hub import snapshot_download

    with _plain_errors(wanted.name, wanted.revision):
        return Path(
            snapshot_download(
                wanted.name,
                revision=wanted.revision,
                allow_patterns=_patterns(wanted.files),
                ignore_patterns=ELSEWHERE,
            )
        )


def folder_of(name: str, revision: str | None = None, *, offline: bool = False) -> Path:
    """The folder of a model, downloaded if it is not there.

    Raises:
        ModelError: it is neither there nor to be had.
    """
    found = cached(name, revision)
    if found is not None:
        return found
    if offline or _is_offline():
        raise ModelError(
            f"{_full(name, revision)} is not in the model cache and downloads are off: "
            f"say 'virtue models pull {_full(name, revision)}' where there is a network"
        )
    return download(card(name, revision))


def _weights(file: str) -> bool:
    return file.endswith((".safetensors", ".bin", ".pth", ".pt"))


def _patterns(files: list[str] | tuple[str, ...]) -> list[str]:
    has_safetensors = any(file.endswith(".safetensors") and "/" not in file for file in files)
    return FILES if has_safetensors else [*FILES, *PICKLES]


def _full(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def _plain_errors(name: str, revision: str | None) -> Iterator[None]:
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
            f"{name} is closed: accept its terms on its page of the hub, then set HF_TOKEN"
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
        raise ModelError(f"{_full(name, revision)} cannot be downloaded: HF_HUB_OFFLINE is set") from None
    except HfHubHTTPError as error:
        raise ModelError(
            f"the hub answered {error.response.status_code} when asked for {name}: try again later"
        ) from None
    except (HTTPError, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the hub cannot be reached for {_full(name, revision)} ({said}): "
            "check the network, or give a folder"
        ) from None
