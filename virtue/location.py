"""Where a library lives when nobody says: `$VIRTUE_DATABASE`, then the nearest `.virtue/` from the
working directory up, then the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

from virtue.paths import no_working_directory

NAME = ".virtue"


def locate(folder: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of the library meant by `folder`, or by the environment. It need not exist.

    Raises:
        InputError: the working directory was removed.
    """
    chosen = folder or os.environ.get("VIRTUE_DATABASE")
    if chosen:
        return Path(chosen).expanduser()
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise no_working_directory() from None
    for parent in (here, *here.parents):
        if (parent / NAME).is_dir():
            return parent / NAME
    from platformdirs import user_data_path

    return user_data_path("virtue", appauthor=False) / "library"
