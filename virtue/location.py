"""Where a library lives when nobody says: `$VIRTUE_DATABASE`, then the nearest `.virtue/` from the
working directory up, then the user's data folder.

A `.virtue/` above the working directory may be anybody's: in /tmp, on a share, on a stick. So one that is
found is used only if it is the user's own, as git uses a repository (CVE-2022-24765, `safe.directory`)."""

from __future__ import annotations

import os
from pathlib import Path

from virtue.errors import InputError
from virtue.paths import no_working_directory, printable, quote

NAME = ".virtue"


def locate(folder: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of the library meant by `folder`, or by the environment. It need not exist.

    Raises:
        InputError: the working directory was removed, or the nearest `.virtue/` belongs to another user.
    """
    chosen = folder or os.environ.get("VIRTUE_DATABASE")
    if chosen:
        return Path(chosen).expanduser()
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise no_working_directory() from None
    for parent in (here, *here.parents):
        if os.path.isdir(parent / NAME):
            _require_own(parent / NAME)
            return parent / NAME
    from platformdirs import user_data_path

    return user_data_path("virtue", appauthor=False) / "library"


def _require_own(found: Path) -> None:
    """Raises an error if a folder that nobody named, or a link in its place, belongs to another user."""
    if not hasattr(os, "geteuid"):  # Windows has no such owners
        return
    own = {os.geteuid()}
    if own == {0} and os.environ.get("SUDO_UID", "").isdecimal():
        own.add(int(os.environ["SUDO_UID"]))  # who runs sudo goes on in a folder of theirs
    for status in (os.lstat(found), os.stat(found)):
        if status.st_uid not in own:
            raise InputError(
                f"{printable(str(found))} belongs to another user ({_name_user(status.st_uid)}), so it is "
                "not used unasked: name it if you trust what it holds",
                hint=f"--database {quote(str(found))}",
            )


def _name_user(number: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(number).pw_name}, uid {number}"
    except KeyError:
        return f"uid {number}"
