"""A process that decodes pictures of strangers for the service: `python -m virtue.service.decoder`, spoken to
through pipes in pickles. A crash or a hang here costs one request a second try."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import warnings
from dataclasses import replace

import numpy as np
from PIL import AvifImagePlugin, Image

from virtue.errors import PictureError, PromptError, UnreadableError
from virtue.indexer.confinement import confine
from virtue.indexer.messages import Channel, Heavy, Refused
from virtue.pictures import Picture, decode, estimate_memory, load, load_cutout, load_mask, open_image
from virtue.service.decoder_messages import (
    NAMES,
    Mask,
    MaskTask,
    PictureTask,
    QueryPicture,
    Thumbnail,
    ThumbnailTask,
)

MAX_LIGHT_BYTES = 120_000_000
"""Bytes of a decode from which on only one runs at a time, in all decoders together."""
JPEG_QUALITY = 82
"""Of thumbnails."""


def main() -> None:
    # Whatever a library prints must not get between the pickles.
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"), NAMES)
    os.dup2(2, 1)
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):  # they reach the whole group; the service decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")
    confine()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    channel.send("ready")
    while True:
        try:
            task = channel.receive()
        except (EOFError, pickle.UnpicklingError):
            return
        try:
            _set_alarm(task.timeout * 1.5 + 5)
            channel.send(work(task, channel))
        except (PictureError, PromptError) as error:
            channel.send(Refused(str(error), not isinstance(error, UnreadableError)))
        except MemoryError:
            channel.send(Refused("there is not enough memory to decode it"))
        except BrokenPipeError:
            return
        finally:
            _set_alarm(0)
            del task


def work(task: PictureTask | MaskTask | ThumbnailTask, channel: Channel) -> QueryPicture | Mask | Thumbnail:
    """Does one task.

    Raises:
        PictureError: it is no picture.
        PromptError: it is no mask of that picture.
    """
    side = task.side if isinstance(task, PictureTask | ThumbnailTask) else None
    with open_image(task.content) as image:
        size = estimate_memory(image, side)
        is_transparent = image.has_transparency_data
    if size > MAX_LIGHT_BYTES:
        channel.send(Heavy(size))
        channel.receive()
    if isinstance(task, MaskTask):
        return Mask(load_mask(task.content, task.width, task.height))
    if isinstance(task, ThumbnailTask):
        return make_thumbnail(task)
    upright = _own(load_cutout(task.content, side=side, crop=False))
    if not is_transparent or upright.alpha is None:
        return QueryPicture(upright, upright, upright)
    whole = _own(load_cutout(task.content, side=side))
    return QueryPicture(upright, whole, _own(load(task.content, side=side, keep_alpha=True)))


def make_thumbnail(task: ThumbnailTask) -> Thumbnail:
    """Makes a small JPEG, upright, without metadata."""
    with open_image(task.content) as opened:
        if task.box is None:
            picture = decode(opened, task.side)
            image = Image.fromarray(picture.pixels)
        else:
            image = _crop(decode(opened), task.box)
            image.thumbnail((task.side, task.side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Thumbnail(stream.getvalue())


def _crop(picture: Picture, box: tuple[float, float, float, float]) -> Image.Image:
    x0, y0 = (max(0, int(value)) for value in box[:2])
    x1 = min(picture.width, max(x0 + 1, round(box[2])))
    y1 = min(picture.height, max(y0 + 1, round(box[3])))
    if x0 >= x1 or y0 >= y1:
        raise PromptError("the box lies outside the picture")
    rows, columns = picture.pixels.shape[:2]  # half of those of a RAW
    x0, x1 = (round(x * columns / picture.width) for x in (x0, x1))
    y0, y1 = (round(y * rows / picture.height) for y in (y0, y1))
    return Image.fromarray(picture.pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])


def _own(picture: Picture) -> Picture:
    """The picture with arrays that a pickle takes as they are."""
    alpha = None if picture.alpha is None else np.ascontiguousarray(picture.alpha)
    return replace(picture, pixels=np.ascontiguousarray(picture.pixels), alpha=alpha)


def _set_alarm(seconds: float) -> None:
    """Has the kernel end this process if a decoder hangs after the service was killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
    sys.exit(0)
