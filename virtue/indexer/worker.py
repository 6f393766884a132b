"""A process that reads photos for the indexer: `python -m virtue.indexer.worker`, spoken to through
pipes in pickles. A crash or a hang here costs one photo.

For every path: `Hashed`; then, if told to decode, `Heavy` before a large picture (and a wait for leave),
then `Decoded`. Anything that goes wrong with the file is a `Refused` in place of an answer.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import BufferedReader

import numpy as np
from PIL import AvifImagePlugin

from virtue.errors import PictureError, UnreadableError
from virtue.indexer.confinement import confine
from virtue.indexer.messages import Channel, Decoded, Hashed, Heavy, Refused, Task
from virtue.indexer.metadata import is_same_shot, read_metadata
from virtue.paths import changed_at, printable, status_changed_at
from virtue.phash import perceptual_hash
from virtue.pictures import MAX_DECODED, check_file, decode, estimate_memory, open_image, orientation_of

MAX_LIGHT_BYTES = 120_000_000
"""Bytes of a decode from which on only one runs at a time, in all workers together."""


def main() -> None:
    # Whatever a library prints must not get between the pickles.
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    # Ctrl-C and the end of a terminal reach the whole group; the parent decides.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")
    confine()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a worker for every core
    channel.send("ready")
    while True:
        try:
            task = channel.receive()
        except (EOFError, pickle.UnpicklingError):
            return
        try:
            with _limit_time(task.timeout):
                read(task, channel)
        except PictureError as error:
            is_verdict = not isinstance(error, UnreadableError) and _has_room()
            channel.send(Refused(str(error), is_verdict))
        except MemoryError:
            channel.send(Refused("there is not enough memory to decode it"))
        except BrokenPipeError:
            return


def read(task: Task, channel: Channel) -> None:
    """Reads one photo, its hash and then its pixels, as far as the other side wants them."""
    path = os.fsdecode(task.path)
    check_file(path)
    with ExitStack() as opened:
        stream = file = opened.enter_context(_open(path))
        if beside := _find_picture_beside(file, task.pictures):
            stream = opened.enter_context(_open(beside))
        stream.seek(0)
        before = os.fstat(stream.fileno())
        digest = hashlib.file_digest(stream, "sha256").digest()
        hashed = Hashed(digest, *_size_and_times(os.fstat(file.fileno())), beside is not None)
        if not _ask(channel, hashed, task.timeout):
            return
        stream.seek(0)
        with open_image(stream) as image:
            size = estimate_memory(image, task.side)
            if size > MAX_LIGHT_BYTES:
                _ask(channel, Heavy(size), task.timeout)
            turned = orientation_of(image) if image.format == "TIFF" else None
            picture = decode(image, task.side, keep_alpha=task.keep_alpha)
            metadata = replace(read_metadata(image), orientation=turned or orientation_of(image))
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnreadableError("it changed while it was read: index again")
    phash = perceptual_hash(picture.pixels)
    picture = picture.resize_by(task.resizing)
    alpha = None if picture.alpha is None else np.ascontiguousarray(picture.alpha)
    picture = replace(picture, pixels=np.ascontiguousarray(picture.pixels), alpha=alpha)
    channel.send(Decoded(picture, metadata, phash))


def _find_picture_beside(raw: BufferedReader, pictures: Iterable[bytes]) -> str | None:
    """Returns the first of the pictures beside a RAW that was taken at the same moment; None: none was."""
    taken = _read_moment(raw) if pictures else None
    for picture in pictures if taken else ():
        path = os.fsdecode(picture)
        try:
            with _open(path) as stream:
                if is_same_shot(taken, _read_moment(stream)):
                    return path
        except UnreadableError as error:
            raise UnreadableError(f"{printable(picture)}, beside it: {error}") from None
    return None


def _read_moment(stream: BufferedReader) -> str | None:
    """Reads when a photo was taken, from its header; None: it does not say, or cannot be read."""
    try:
        with open_image(stream) as image:
            return read_metadata(image).taken
    except UnreadableError:
        raise
    except PictureError:
        return None


def _size_and_times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, changed_at(status), status_changed_at(status)


@contextmanager
def _open(path: str) -> Iterator[BufferedReader]:
    try:
        with open(path, "rb") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:  # of opening and of reading: a PictureError is none
        raise UnreadableError((error.strerror or str(error)).lower()) from None


def _ask(channel: Channel, message: Hashed | Heavy, timeout: float) -> bool:
    """Sends a message and waits for the answer, without a time limit."""
    _set_alarm(0)
    channel.send(message)
    answer = channel.receive()
    _set_alarm(timeout * 1.5 + 5)
    return bool(answer)


@contextmanager
def _limit_time(timeout: float) -> Iterator[None]:
    """Has the kernel end this process if a decoder hangs after the parent was killed. While the parent lives,
    its timeout is shorter."""
    _set_alarm(timeout * 1.5 + 5)
    try:
        yield
    finally:
        _set_alarm(0)


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _has_room() -> bool:
    """Returns whether memory is left for a large picture. Some decoders call it damage if there is none."""
    try:
        np.empty(4 * MAX_DECODED, np.uint8)
    except MemoryError:
        return False
    return True


if __name__ == "__main__":
    main()
    sys.exit(0)
