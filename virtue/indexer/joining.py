"""`index --join`: works on the photos that another process indexes, until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.reading import list_unread, read_leased
from virtue.indexer.report import Progress, Report
from virtue.indexer.shared_work import embed_leased, wait_for_others
from virtue.indexer.workers import FILE_TIMEOUT, default_workers

if TYPE_CHECKING:
    from virtue.store import Store, Writer


def wait_for_model(store: Store, writer: Writer, progress: Callable[[Progress], None] | None) -> bool:
    """Waits until the library has a model; returns False if nobody makes it have one."""
    assert writer.jobs is not None
    while True:
        with store.read() as snapshot:
            if snapshot.generation is not None:
                return True
        if not writer.jobs.is_being_filled():
            return False
        wait_for_others(writer.jobs, Report(), progress)


def join(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    *,
    workers: int | None = None,
    timeout: float = FILE_TIMEOUT,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Report, bool]:
    """Embeds photos that other processes have listed, and reads the text in them, until none is left and
    nobody lists any more.

    Args:
        writer: in a block of `sharing`.
        workers, timeout, progress: as of `index`.

    Returns:
        What this process did, and whether it took the part of one that ended while it listed files.
    """
    started = time.monotonic()
    report, jobs, count, took_over = Report(), writer.jobs, workers or default_workers(), False
    assert jobs is not None
    writer.generation(embedder.name, embedder.fingerprint, embedder.dim)
    while True:
        worked = (
            embed_leased(store, writer, embedder, report, workers=count, timeout=timeout, progress=progress)
            > 0
        )
        worked |= read_leased(writer, embedder, report, workers=count, timeout=timeout, progress=progress)
        if worked:
            continue
        if not jobs.count("embed") and not jobs.count("read"):
            if jobs.take_over():
                took_over = True
                list_unread(store, writer)
                jobs.stop_listing()
                continue
            if not jobs.is_being_filled():
                break
        wait_for_others(jobs, report, progress)
    report.problems.sort()
    report.seconds = time.monotonic() - started
    return report, took_over
