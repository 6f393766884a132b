"""What befalls libraries: processes that are killed, folders that may not be written to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, limits and rights as POSIX has them")

_RIGHTS_OF_ROOT = "-dac_override,-dac_read_search"
POWERLESS = (
    ("setpriv", "--bounding-set", _RIGHTS_OF_ROOT, "--inh-caps", _RIGHTS_OF_ROOT)
    if os.name == "posix" and os.geteuid() == 0
    else ()
)
"""What to write before a command so that rights of files hold for it, even if root runs it."""


def killed(program: str, *arguments: object, after: float, lines: int = 1) -> list[str]:
    """Runs a program, and kills it so many seconds after it has printed so many lines; the words that it
    printed behind those."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for _ in range(lines):
            running.stdout.readline()
        time.sleep(after)
        running.kill()
        return running.stdout.read().split()


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nobody may write to this folder and its files, and everybody may reach them."""
    kept = {path: path.stat().st_mode for path in (folder, *folder.iterdir())}
    outer = [path for path in folder.parents if path.stat().st_uid == os.getuid() and path != Path("/")]
    kept |= {path: path.stat().st_mode for path in outer}
    try:
        for path in (folder, *folder.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
        for path in outer:
            path.chmod(kept[path] | 0o111)
        yield
    finally:
        for path, mode in kept.items():
            path.chmod(mode)
