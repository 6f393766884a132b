"""Files that several processes embed, each those that it has leased."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from virtue.added_pictures import name_of
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.leased_files import LeasedFiles, found
from virtue.indexer.pipeline import Pipeline
from virtue.indexer.plan import Plan, record_failure
from virtue.indexer.report import Progress, Report
from virtue.indexer.requirements import EmbeddingRequirements, Settings
from virtue.indexer.roots import Options, Roots
from virtue.indexer.walk import Found
from virtue.interrupts import stopping_softly
from virtue.paths import printable
from virtue.store import FileState
from virtue.store.job_queue import MAX_COUNTED, Job

if TYPE_CHECKING:
    from virtue.store import Store, Writer
    from virtue.store.job_queue import JobQueue

WAIT = 1.0
"""Seconds until a process that has nothing to do looks again."""
GIVEN_UP = "each of three processes ended while it had this file"


def list_jobs(
    jobs: JobQueue, files: Iterable[Found], limit_of: Callable[[bytes], int], named: set[bytes]
) -> None:
    """Lists files to embed, for whoever leases them.

    Args:
        limit_of: how many proposals a path asks for.
        named: paths that were named by themselves.
    """
    jobs.add(
        "embed",
        (
            Job(
                file.path,
                file.size,
                file.mtime_ns,
                file.ctime_ns,
                file.stamp,
                file.pictures,
                file.beside,
                limit_of(file.path),
                file.path in named,
            )
            for file in files
        ),
    )


def limit_of_known(roots: Roots, path: bytes, state: FileState | None) -> int:
    """Returns how many proposals a path asks for that this run was not told about."""
    options = roots.of(path)
    if (options is None or name_of(path) is not None) and state is not None and state.settings:
        return Settings.parse(state.settings).regions
    return (options or Options()).limit


def embed_leased(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    report: Report,
    *,
    workers: int,
    timeout: float,
    progress: Callable[[Progress], None] | None,
) -> int:
    """Embeds files that were listed, by whatever process, until none is free; returns how many.

    What is done is kept on KeyboardInterrupt, SystemExit and StoppedError, as by `index`.
    """
    jobs, target = writer.jobs, writer.target
    assert jobs is not None and target is not None
    began, before = time.monotonic(), 0
    _give_up(writer, jobs, report)
    while first := jobs.lease("embed"):
        with store.read() as snapshot:
            roots, forgotten = Roots(snapshot.roots()), {photo.hash for photo in snapshot.forgotten()}
        leased = LeasedFiles(store, jobs, target)

        def limit_of(
            path: bytes, state: FileState | None, leased: LeasedFiles = leased, roots: Roots = roots
        ) -> int:
            limit = leased.limits.get(path)
            return limit_of_known(roots, path, state) if limit is None else limit

        requirements = EmbeddingRequirements({}, {}, roots.link_rule)
        with CommitQueue(writer) as queue:
            pipeline = Pipeline(
                store, queue, embedder, requirements, leased.known, limit_of, report, forgotten,
                leased.named, leased,
            )  # fmt: skip
            with stopping_softly(queue.finish):
                left = jobs.count("embed")
                with closing(pipeline.run(leased.take(first), workers, timeout)) as run:
                    for done in run:
                        if progress:
                            total = None if left == MAX_COUNTED else max(before + done, before + left)
                            seconds = time.monotonic() - began
                            problems = len(report.problems)
                            progress(
                                Progress("indexing", before + done, total, problems, seconds, "indexing")
                            )
                pipeline.finish(Plan())
                queue.finish()
        jobs.finish("embed")  # of what was gone, or forgotten
        before += len(leased.limits)
    return before


def embed_with_others(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    listed: int,
    find_new_problems: Callable[[], Iterable[tuple[bytes, str]]],
    report: Report,
    *,
    workers: int,
    timeout: float,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Embeds what this run and others have listed, until nothing is left; tells of problems that others
    met in what this one listed.

    Args:
        listed: how many files this run has listed.
        find_new_problems: finds the problems that the library has with these now, and had not before.
    """
    jobs, own = writer.jobs, 0
    assert jobs is not None
    while True:
        own += embed_leased(
            store, writer, embedder, report, workers=workers, timeout=timeout, progress=progress
        )
        if not jobs.count("embed"):
            break
        wait_for_others(jobs, report, progress)
    report.elsewhere = max(0, listed - own)
    told = {path for path, _ in report.problems}
    report.problems += [(path, problem) for path, problem in find_new_problems() if path not in told]


def wait_for_others(jobs: JobQueue, report: Report, progress: Callable[[Progress], None] | None) -> None:
    """Waits a moment for what other processes do."""
    if progress:
        progress(Progress("indexing", 0, None, len(report.problems), 0.0, "waiting for other processes"))
    time.sleep(WAIT)


def _give_up(writer: Writer, jobs: JobQueue, report: Report) -> None:
    """Makes problems of files that processes ended with again and again."""
    while given_up := jobs.lease_given_up():
        report.problems += [(job.path, GIVEN_UP) for job in given_up]
        writer.commit(files=[record_failure(found(job), None, GIVEN_UP) for job in given_up])
        report.warnings += [f"{printable(job.path)}: {GIVEN_UP}" for job in given_up[:1]]
