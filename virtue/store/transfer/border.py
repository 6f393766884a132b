"""Checks what comes from elsewhere, an export or another library, before anything of it is taken in."""

from __future__ import annotations

import math
import os
from typing import Any

from virtue.geometry import Box
from virtue.store.catalogue import writes
from virtue.store.catalogue.given import Given
from virtue.store.records import MAX_DIM, MAX_SIDE, FileRecord, NewRegion, PhotoInfo, TextChecks
from virtue.store.transfer.manifest import ExportManifest, PhotoExport
from virtue.store.vectors import row_files

MAX_HASH_BYTES = 64
MAX_PATH_BYTES = 1 << 16
MAX_TEXT = 1_000_000
"""Characters of a caption, a tag, a category or another text."""
MAX_NAME = 1_000
"""Characters of the name of a model, and of its fingerprint."""
MAX_NUMBER = (1 << 63) - 1
"""The greatest number that the catalogue holds."""


def check_manifest(manifest: ExportManifest, checks: TextChecks) -> None:
    """Raises ValueError if it names no model, or roots that are none."""
    for name in (manifest.model, manifest.fingerprint):
        if not _is_text(name, MAX_NAME) or not name.strip():
            raise ValueError("its model has no name")
    if not _is_whole(manifest.dim, 1, MAX_DIM):
        raise ValueError(f"its vectors have {manifest.dim!r} dimensions")
    for root in manifest.roots:
        _check_path(root.path)
        if os.path.dirname(root.path) == root.path:
            raise ValueError("its photos lie in a whole disk, which the next indexing would walk")
        if not _is_text(root.options, MAX_TEXT) or not checks.is_options(root.options):
            raise ValueError(f"the options of the folder {root.path!r} cannot be read")


def check_photo(export: PhotoExport, dim: int, checks: TextChecks) -> None:
    """Raises ValueError if a library could not hold the photo, or if it does not hold together."""
    photo = export.photo
    _check_info(photo.info)
    if not _is_text(photo.settings, MAX_TEXT) or not checks.is_settings(photo.settings):
        raise ValueError("the settings of a photo cannot be read")
    for region in photo.regions:
        _check_region(region, photo.info, checks)
    for caption in photo.captions:
        _check_texts(caption.text, caption.source)
        if caption.box is not None:
            _check_box(caption.box, photo.info)
    writes.check_captions(photo)
    for vectors, owners in ((photo.region_vectors, photo.regions), (photo.caption_vectors, photo.captions)):
        row_files.encode(vectors, len(owners), dim, "a photo")
    paths = [file.path for file in export.files]
    if len(set(paths)) < len(paths) or not export.missing <= set(paths):
        raise ValueError("the paths of a photo contradict each other")
    for file in export.files:
        _check_file(file)


def _check_info(info: PhotoInfo) -> None:
    if not isinstance(info.hash, bytes) or not 1 <= len(info.hash) <= MAX_HASH_BYTES:
        raise ValueError("a photo has no hash")
    if not (_is_whole(info.width, 1, MAX_SIDE) and _is_whole(info.height, 1, MAX_SIDE)):
        raise ValueError(f"a photo of {info.width} x {info.height} pixels")
    for degrees, most in ((info.latitude, 90), (info.longitude, 180)):
        if not (degrees is None or (math.isfinite(degrees) and abs(degrees) <= most)):
            raise ValueError(f"no place is at {degrees} degrees")
    if not (info.rating is None or _is_whole(info.rating, -1, 5)):
        raise ValueError(f"a rating of {info.rating}")
    if not _is_whole(info.phash, 0, (1 << 64) - 1):
        raise ValueError("a perceptual hash has 64 bits")
    _check_texts(info.taken, info.camera, info.given, info.read_by, *info.tags)
    Given.from_json(info.given)
    if len(set(info.tags)) < len(info.tags):
        raise ValueError("a photo has a tag twice")


def _check_region(region: NewRegion, info: PhotoInfo, checks: TextChecks) -> None:
    _check_box(region.box, info)
    _check_texts(region.origin, region.category, region.object)
    if not (region.objectness is None or 0 <= region.objectness <= 1):
        raise ValueError(f"an objectness of {region.objectness}")
    if region.mask is not None and not checks.is_mask(region.mask, info.width, info.height):
        raise ValueError("a mask cannot be read, or is not as large as its photo")


def _check_box(box: Box, info: PhotoInfo) -> None:
    if min(box.x0, box.y0) < 0 or box.x1 > info.width or box.y1 > info.height:
        box.within(info.width, info.height)


def _check_file(file: FileRecord) -> None:
    _check_path(file.path)
    if not (_is_whole(file.size, 0, MAX_NUMBER) and _is_whole(file.mtime_ns, -MAX_NUMBER - 1, MAX_NUMBER)):
        raise ValueError(f"the file {file.path!r} has no size or time")
    _check_texts(file.sidecar)


def _check_path(path: Any) -> None:
    sound = isinstance(path, bytes) and b"\0" not in path and len(path) <= MAX_PATH_BYTES
    if not (sound and os.path.isabs(path) and os.path.abspath(path) == path):
        raise ValueError(f"{path!r} is no whole path")


def _check_texts(*texts: Any) -> None:
    if not all(text is None or _is_text(text, MAX_TEXT) for text in texts):
        raise ValueError("a text is none, or too long")


def _is_text(value: Any, most: int) -> bool:
    """Returns whether this is text that a catalogue can hold, as it cannot lone surrogates."""
    if not isinstance(value, str) or len(value) > most:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
