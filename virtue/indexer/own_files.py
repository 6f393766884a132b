"""Files that one process alone embeds into a library that others write to as well."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtue.paths import changed_at
from virtue.store import FileState

if TYPE_CHECKING:
    from virtue.store import Generation, Store


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """What the library has of the photos of these files, where not all that it knows is held."""

    store: Store
    target: Generation

    def claim(self, path: bytes, photo: bytes) -> dict[bytes, FileState]:
        """Returns the paths that the library has of a photo; those that have changed count as missing."""
        with self.store.read() as snapshot:
            known = snapshot.files_of([photo], self.target)
        return {
            path: state._replace(missing=state.missing or not _is_as_known(path, state))
            for path, state in known.items()
        }

    def put_back(self, path: bytes) -> None:
        raise AssertionError("what is this process's alone is never another's")


def _is_as_known(path: bytes, state: FileState) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return True  # what became of it is not for this photo to tell
    return (status.st_size, changed_at(status)) == (state.size, state.mtime_ns)
