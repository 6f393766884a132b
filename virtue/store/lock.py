"""The one lock of a library: who holds it may write."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from virtue.errors import LockedError, StoreError
from virtue.store import layout as names


@contextmanager
def writer_lock(folder: Path, command: str, *, timeout: float = 0.0) -> Iterator[None]:
    """Holds the write lock. The system releases it when the process ends, however it ends.

    A note beside it says who holds it. The note means nothing unless the lock is held.

    Args:
        command: what the user ran, for the message that a second writer gets.
        timeout: seconds to wait for it.

    Raises:
        LockedError: another writer holds it.
        StoreError: the folder is gone, or cannot be written to.
    """
    if not folder.is_dir():  # which taking the lock would make
        raise StoreError(f"the library {folder} is not there any more: mount its drive, if that is it")
    lock = FileLock(folder / names.LOCK, timeout=timeout, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(f"the library {folder} is being written {_holder(folder)}") from None
    except OSError as error:
        raise StoreError(f"the library {folder} cannot be written to: {error.strerror}") from error
    note = folder / names.LOCK_NOTE
    ours = None
    try:
        ours = _leave_note(note, command)
        yield
    finally:
        with suppress(OSError):
            if note.stat().st_ino == ours:  # the folder may be another library by now
                note.unlink()
        lock.release()


def _leave_note(note: Path, command: str) -> int | None:
    """Writes the note; returns its number on the disk."""
    text = json.dumps(
        {
            "pid": os.getpid(),
            "host": platform.node(),
            "command": command,
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        }
    )
    # A courtesy: on a full disk the write itself has the better sentence.
    with suppress(OSError):
        note.write_text(text, encoding="utf-8")
        return note.stat().st_ino
    return None


def _holder(folder: Path) -> str:
    try:
        note = json.loads((folder / names.LOCK_NOTE).read_text(encoding="utf-8"))
        return (
            f"by process {note['pid']} on {note['host']} ({note['command']}) since {note['since']}: "
            "wait for it, or stop it"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "by another process: wait for it, or stop it"
