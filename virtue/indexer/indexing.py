"""`index`: brings a library up to date with folders of photos."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from virtue.errors import ModelMismatchError
from virtue.indexer.annotations import read_annotations
from virtue.indexer.captions import read_captions
from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.folder_index import index_folder
from virtue.indexer.index_run import Given, Run
from virtue.indexer.report import Progress, Report
from virtue.indexer.roots import Roots, parse_regions
from virtue.indexer.shared_index import index_shared
from virtue.indexer.workers import FILE_TIMEOUT, default_workers
from virtue.paths import absolute
from virtue.store import Generation

if TYPE_CHECKING:
    from virtue.store import Snapshot, Store, Writer

LOG = logging.getLogger("virtue")

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def index(
    store: Store,
    embedder: PhotoEmbedder,
    paths: Path | Sequence[Path] = (),
    *,
    regions: str | int | None = None,
    exclude: Iterable[str] = (),
    follow_links: bool | None = None,
    ocr: bool | None = None,
    annotations: Path | None = None,
    captions: Path | None = None,
    rehash: bool = False,
    reembed: bool = False,
    workers: int | None = None,
    timeout: float = FILE_TIMEOUT,
    progress: Callable[[Progress], None] | None = None,
    writer: Writer | None = None,
) -> Report:
    """Indexes photos below folders, or single files; without paths everything indexed before.

    What is done is committed every few seconds and, on KeyboardInterrupt or SystemExit, before that is
    raised again. A file that cannot be read costs itself alone.

    Args:
        regions: proposals for each photo: "auto", "none" or their number. None: as before, else "auto".
        exclude: shell patterns on names, or paths relative to a root, to leave out. None
            given: as before; an empty one: leave out nothing any more.
        follow_links: whether links that lead out of the indexed folders are followed, but for those to a
            folder above. None: as before, else not.
        ocr: whether the text in photos is to be read, which `read_texts` does afterwards. None: as before,
            else it is.
        annotations: a file of COCO JSON with regions and captions.
        captions: a CSV or JSONL file with path, caption, and perhaps x, y, w, h.
        rehash: open every file, also those of the same size and time.
        reembed: let the embedder's vectors take the place of another model's, for all that is known; see
            `reindex`.
        workers: processes that decode. None: one for each core, 8 at most.
        timeout: seconds after which a file that is still being decoded is given up.
        progress: called now and then with how far it is.
        writer: one of `store` that the caller goes on with. None: one that is opened for this.

    Raises:
        InputError: a path does not exist; a file of annotations or captions is malformed.
        ModelMismatchError: the library's vectors are of another model, and `reembed` is off.
        LockedError: another process is writing.
    """
    started = time.monotonic()
    report = Report()
    wanted = parse_regions(regions)
    annotated, odd = read_annotations(os.fsdecode(annotations)) if annotations is not None else ({}, [])
    captioned, left_out = read_captions(os.fsdecode(captions)) if captions is not None else ({}, [])
    report.warnings += odd + left_out
    named = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
    given = Given(
        [absolute(path) for path in named],
        wanted,
        exclude,
        follow_links,
        ocr,
        rehash,
        reembed,
        annotated,
        captioned,
        None if annotations is None else os.fspath(annotations),
        None if captions is None else os.fspath(captions),
    )
    with (
        nullcontext(writer) if writer else store.write("virtue index") as writer,
        nullcontext() if writer.jobs else writer.sharing(fills=not reembed),
    ):
        with store.read() as snapshot:
            target = _target(snapshot, writer, embedder, reembed)
            roots, forgotten = Roots(snapshot.roots()), snapshot.forgotten()
        run = Run(
            store, writer, embedder, target, given, roots, forgotten, report, workers or default_workers(),
            timeout, progress, started,
        )  # fmt: skip
        if writer.jobs:
            index_shared(run)
        else:
            index_folder(run)
    report.problems.sort()
    report.seconds = time.monotonic() - started
    LOG.info("indexed %s: %s", store.name, report.summary())
    return report


def _target(snapshot: Snapshot, writer: Writer, embedder: PhotoEmbedder, reembed: bool) -> Generation:
    if not reembed:
        require_model(snapshot.generation, embedder)
    return writer.generation(embedder.name, embedder.fingerprint, embedder.dim)


def require_model(active: Generation | None, embedder: PhotoEmbedder) -> None:
    """Raises an error if the vectors that searches use are of another model."""
    if active is not None and active.fingerprint != embedder.fingerprint:
        raise ModelMismatchError.of(active.model, embedder.name)
