"""Where a library lives when nobody says: `$VIRTUE_DATABASE`, then the nearest `.virtue/` from the
working directory up, then the user's data folder.

A `.virtue/` above the working directory may be anybody's: in /tmp, on a share, on a stick. So one that is
found is used only if it is the user's own, as git uses a repository (CVE-2022-24765, `safe.directory`)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from virtue.errors import InputError
from virtue.paths import no_working_directory, printable, quote

NAME = ".virtue"
SERVERS = ("postgresql://", "postgres://")
"""How the address of a library on a server begins."""
VECTOR_SERVERS = ("milvus://", "milvus+tls://")
"""How the address of a server begins that holds nothing but vectors."""
VECTORS = "vectors"
"""The option of a library's address that says where its vectors are."""


def is_server(location: str | os.PathLike[str]) -> bool:
    """Returns whether a location is an address on a server, and no folder.

    Raises:
        InputError: it is an address of another kind of server.
    """
    text = location if isinstance(location, str) else ""
    if text.startswith(SERVERS):
        return True
    kind, mark, _ = text.partition("://")
    if text.startswith(VECTOR_SERVERS):
        raise InputError(
            "Milvus holds vectors, and has no place for the catalogue of a library: name "
            f"postgresql://HOST/DATABASE?vectors={kind}://HOST:PORT"
        )
    if mark and kind.isalnum() and len(kind) > 1:
        raise InputError(
            f"a library lies in a folder or in PostgreSQL, and {kind}:// is neither: name postgresql://HOST/DATABASE"
        )
    return False


def hide_secrets(url: str) -> str:
    """Returns an address without the password that it may hold."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    shown = user.partition(":")[0] + at + place
    options = [
        (name, hide_secrets(value) if name == VECTORS else value)
        for name, value in parse_qsl(parts.query)
        if not re.search("pass|key", name)
    ]
    return urlunsplit((parts.scheme, shown, parts.path, urlencode(options, safe=":/@+"), ""))


def split_vectors(url: str) -> tuple[str, str | None]:
    """Returns the address of a library on a server without that of its vectors, and that; None: they are not
    elsewhere.

    Raises:
        InputError: it is the address of another kind of server.
    """
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    elsewhere = [value for name, value in options if name == VECTORS]
    if not elsewhere:
        return url, None
    vectors = elsewhere[-1].replace("milvus tls", "milvus+tls")
    if not vectors.startswith(VECTOR_SERVERS) or not urlsplit(vectors).hostname:
        raise InputError(
            f"vectors lie in PostgreSQL itself or in Milvus, not in {hide_secrets(vectors)}: name "
            "?vectors=milvus://HOST:PORT, or leave it out"
        )
    others = urlencode([(name, value) for name, value in options if name != VECTORS])
    return urlunsplit((*parts[:3], others, "")), vectors


def locate(location: str | os.PathLike[str] | None = None) -> Path | str:
    """Returns the folder of the library meant by `location`, or by the environment, or its address on a
    server. It need not exist.

    Raises:
        InputError: the working directory was removed, or the nearest `.virtue/` belongs to another user; it
            is an address of another kind of server.
    """
    chosen = location or os.environ.get("VIRTUE_DATABASE")
    if chosen:
        return str(chosen) if is_server(chosen) else Path(chosen).expanduser()
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
