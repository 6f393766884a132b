"""`reindex`: brings a library to another model, beside the vectors it is searched with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtue.embedder.model import pools_alpha, resizing_of
from virtue.errors import StoreError
from virtue.indexer.embedding import Job, PhotoEmbedder
from virtue.indexer.indexing import index
from virtue.indexer.model_threads import ModelThreads
from virtue.indexer.report import Progress, Report
from virtue.indexer.requirements import Settings
from virtue.indexer.user_annotations import FittedAnnotations
from virtue.indexer.walk import Found, walk
from virtue.indexer.workers import FILE_TIMEOUT, Outcome, Pool, default_workers
from virtue.store import FileState

if TYPE_CHECKING:
    from virtue.store import Store, Writer

SAMPLE_PHOTOS = 8
"""Photos that are timed, and one before them, with which the model gets going."""
MAX_SAMPLE = 100
"""Photos of which those are chosen that can be reached."""
CATALOGUE_ROW_BYTES = 250
"""Bytes that a region takes in the catalogue, about, its part of indexes over the tables included."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a `reindex` will take.

    Attributes:
        photos: that have no vectors of the model yet.
        rate: photos a second, as a few of them were; 0: there was none to try.
        bytes: that the new vectors take, beside the old ones.
        free: bytes on the disk; None: that cannot be told.
    """

    photos: int
    rate: float
    bytes: int
    free: int | None

    def summary(self) -> str:
        if not self.photos:
            return "all photos have vectors of this model"
        sentence = f"{self.photos:,} photos to embed, {_size(self.bytes)} more on disk"
        if self.free is not None:
            sentence += f" ({_size(self.free)} are free)"
        if not self.rate:
            return sentence
        return (
            f"{sentence}; at about {self.rate:.1f} photos/s that takes {_duration(self.photos / self.rate)}"
        )


def reindex(
    store: Store,
    embedder: PhotoEmbedder,
    *,
    workers: int | None = None,
    timeout: float = FILE_TIMEOUT,
    estimated: Callable[[Estimate], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    writer: Writer | None = None,
) -> Report:
    """Embeds all photos of a library with this model. Searches use the old vectors until all are done; then
    the old ones are deleted. If it was interrupted, the next call goes on from there.

    Args:
        workers, timeout, progress, writer: see `index`.
        estimated: sentence, before it starts, what it will take.

    Raises:
        StoreError: there is not enough room on the disk.
        InputError: photos are out of reach that were there: on a disk that is not mounted, say.
        LockedError: another process is writing.
    """
    count = workers or default_workers()
    estimate = _estimate(store, embedder, count, timeout)
    if estimated:
        estimated(estimate)
    return index(
        store, embedder, reembed=True, workers=count, timeout=timeout, progress=progress, writer=writer
    )


def _estimate(store: Store, embedder: PhotoEmbedder, workers: int, timeout: float) -> Estimate:
    with store.read() as snapshot:
        target = next((g for g in snapshot.generations() if g.fingerprint == embedder.fingerprint), None)
        left, paths = snapshot.photos_to_embed(target, MAX_SAMPLE)
        reachable = [path for path in paths if os.path.isfile(path)]
        step = max(1, len(reachable) // (SAMPLE_PHOTOS + 1))
        sample = snapshot.files(paths=reachable[::step][: SAMPLE_PHOTOS + 1])
        counts = snapshot.counts()
    rows = (counts.regions + counts.captions) / max(1, counts.photos)
    needed = round(left * rows * (2 * embedder.dim + CATALOGUE_ROW_BYTES))
    free = store.free_bytes()
    if free is not None and needed > free:
        raise StoreError(
            f"{left:,} photos with {embedder.name} take {_size(needed)} more in {store.name}, and "
            f"{_size(free)} are free: make room, or choose a smaller model"
        )
    return Estimate(left, _measure_rate(embedder, sample, workers, timeout), needed, free)


def _measure_rate(
    embedder: PhotoEmbedder, sample: dict[bytes, FileState], workers: int, timeout: float
) -> float:
    """Measures photos a second: of the model, or of decoding if that is slower, since both run at once."""
    files = [walk(path).files[path] for path in sample]
    jobs: list[Job] = []
    ended: list[float] = []
    model = embedder.model
    pool = Pool(
        files,
        model.side,
        lambda *_: True,
        workers,
        timeout,
        resizing=resizing_of(model),
        keep_alpha=pools_alpha(model),
    )
    with pool as outcomes:
        for outcome in outcomes:
            if outcome is not None:
                ended.append(time.monotonic())
                jobs += _job(outcome, sample[outcome.found.path])
    if len(jobs) < 2:
        return 0.0
    with ModelThreads(embedder, lambda warning: None) as threads:
        for some in (jobs[:1], jobs[1:]):
            began = time.monotonic()
            for job in some:
                list(threads.put([job]))
            list(threads.rest())
    embedding = (time.monotonic() - began) / len(jobs[1:])
    decoding = (ended[-1] - ended[0]) / len(ended[1:])
    return 1 / max(embedding, decoding, 1e-6)


def _job(outcome: Outcome, state: FileState) -> list[Job]:
    found, hashed, decoded, *_ = outcome
    if hashed is None or decoded is None:
        return []
    limit = Settings.parse(state.settings).regions if state.settings else 0
    plain = Found(found.path, found.size, found.mtime_ns, None)
    return [Job(plain, hashed.hash, decoded, "", limit, FittedAnnotations(), ())]


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"
