"""`index`: brings a library up to date with folders of photos."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from virtue.added_pictures import name_of
from virtue.errors import InputError, ModelMismatchError, StoreError
from virtue.indexer.annotations import read_annotations
from virtue.indexer.captions import read_captions
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.interrupts import stopping_softly
from virtue.indexer.name_matching import match_to_files
from virtue.indexer.pipeline import Pipeline
from virtue.indexer.plan import Plan, is_known, make_plan
from virtue.indexer.reach import find_out_of_reach
from virtue.indexer.report import Progress, Report
from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.roots import Options, Roots, parse_regions
from virtue.indexer.shared_index import Given, index_shared
from virtue.indexer.shared_work import embed_with_others, limit_of_known, list_jobs
from virtue.indexer.user_annotations import AnnotationEntry
from virtue.indexer.walk import Found, Walk
from virtue.indexer.walking import (
    choose_options,
    describe_emptied,
    describe_unfollowed,
    find_tops,
    folders_above,
    is_empty,
    remember_options,
    walk_all,
)
from virtue.indexer.workers import FILE_TIMEOUT, default_workers
from virtue.paths import absolute, is_below, is_below_any, printable
from virtue.store import FileState, Generation

if TYPE_CHECKING:
    from virtue.store import Snapshot, Store, Writer

LOG = logging.getLogger("virtue")

MAX_LOOKED_UP = 10_000
"""Files that are looked up at once."""
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
E = TypeVar("E", bound=AnnotationEntry)


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
    with nullcontext(writer) if writer else store.write("virtue index") as writer:
        named = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
        requested = [absolute(path) for path in named]
        with store.read() as snapshot:
            target = _target(snapshot, writer, embedder, reembed)
            roots = Roots(snapshot.roots())
            forgotten = snapshot.forgotten()
        if writer.jobs and not reembed and annotations is None and captions is None:
            index_shared(
                store,
                writer,
                embedder,
                Given(requested, wanted, exclude, follow_links, ocr, rehash),
                roots,
                forgotten,
                report,
                workers=workers or default_workers(),
                timeout=timeout,
                progress=progress,
                started=started,
            )
            return _end(store, report, started)
        with store.read() as snapshot:
            known = snapshot.files(target)
        tops = find_tops(requested, roots, lambda: _list_apart(known, roots), reembed, report)
        scope = set(requested or tops)
        new_options = choose_options(scope, roots, wanted, exclude, follow_links, ocr)
        found = walk_all(tops, requested, roots, progress, started)
        requirements = EmbeddingRequirements(
            _match_entries(annotated, annotations, tops, found, report),
            _match_entries(captioned, captions, [], found, report),
            roots.link_rule,
        )

        def limit_of(path: bytes, state: FileState | None) -> int:
            is_added = name_of(path) is not None
            if wanted is not None and (path in scope or (is_added and os.path.dirname(path) in scope)):
                return Options(wanted).limit
            return limit_of_known(roots, path, state)

        passed = {photo.path: photo for photo in forgotten if photo.path not in requested}
        plan = make_plan(found, tops, known, requirements, limit_of, rehash, passed)
        behind = _find_behind_links(found, known)
        if behind and reembed:
            _refuse_unfollowed(behind, known, found)
        if behind or (found.not_followed and requested and follow_links is None):
            report.warnings.append(describe_unfollowed(found.not_followed, len(behind)))
        for folder, lost in _find_lost_folders(found, known) if reembed else ():
            raise InputError(
                f"{printable(folder)} holds no photos, and had {lost}, which would lose their vectors: mount "
                "its drive if that is why, else index again and forget what is missing; searches use the old "
                "vectors until then",
                hint="virtue index; virtue forget --missing",
            )
        walked = set(tops)
        lost_below = Counter(folder for path in plan.missing for folder in folders_above(path, walked))
        report.warnings += describe_emptied(
            lost_below, walked, lambda folder: any(is_below(path, folder) for path in found.files)
        )
        passed_by = roots.count_passed_by(found.passed_by)
        remember_options(writer, roots, new_options, passed_by, tops, found, report)
        shared: list[Found] = []
        if writer.jobs and not reembed:
            # What files of this run say of photos only this process knows.
            shared = [file for file in plan.opened if not requirements.mentioned(file.path)]
            plan.opened = [file for file in plan.opened if requirements.mentioned(file.path)]
            list_jobs(writer.jobs, shared, lambda path: limit_of(path, known.get(path)), set(requested))
        with CommitQueue(writer) as queue:
            hashes = {photo.hash for photo in forgotten}
            pipeline = Pipeline(
                store, queue, embedder, requirements, known, limit_of, report, hashes, set(requested)
            )
            with stopping_softly(queue.finish):
                pipeline.start(plan)
                opening = time.monotonic()
                # Closed at once, or its workers would live as long as an error that somebody keeps.
                with closing(pipeline.run(plan.opened, workers or default_workers(), timeout)) as run:
                    for done in run:
                        if progress:
                            seconds = time.monotonic() - opening
                            count, problems = len(plan.opened), len(report.problems)
                            progress(Progress("indexing", done, count, problems, seconds, "indexing"))
                pipeline.finish(plan)
            queue.finish()
        if writer.jobs and not reembed:
            embed_with_others(
                store,
                writer,
                embedder,
                len(shared),
                partial(_find_new_problems, store, known, shared),
                report,
                workers=workers or default_workers(),
                timeout=timeout,
                progress=progress,
            )
        if plan.dropped:
            writer.drop_paths(plan.dropped)
        _drop_moved(store, writer, set(roots), known, plan, report)
        if reembed:
            _refuse_losses(store, target, report)
        if pipeline.passed_by:
            report.warnings.append(
                f"{len(pipeline.passed_by)} photos that captions or annotations were given for could not be "
                f"read, such as {printable(pipeline.passed_by[0])}: give these again once they can"
            )
        if reembed or not target.active:
            writer.activate(target)
        if writer.waste().is_much:
            try:
                writer.compact()
            except StoreError as error:  # what was asked for is done
                report.warnings.append(str(error))
    return _end(store, report, started)


def _end(store: Store, report: Report, started: float) -> Report:
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


def _list_apart(known: dict[bytes, FileState], roots: Roots) -> list[bytes]:
    return [path for path, state in known.items() if roots.of(path) is None and not state.missing]


def _find_new_problems(
    store: Store, known: dict[bytes, FileState], files: Sequence[Found]
) -> Iterator[tuple[bytes, str]]:
    """Finds the problems that the library has with files now, and had not before."""
    for first in range(0, len(files), MAX_LOOKED_UP):
        with store.read() as snapshot:
            found = snapshot.files(paths=[file.path for file in files[first : first + MAX_LOOKED_UP]])
        for path, state in found.items():
            if state.problem and not is_known(known.get(path), state.problem):
                yield path, state.problem


def _drop_moved(
    store: Store, writer: Writer, roots: set[bytes], known: dict[bytes, FileState], plan: Plan, report: Report
) -> None:
    """Drops the missing paths of photos that are at another. Where a disk may be missing, only those of
    photos that this run found at a new path: other copies will be back with the disk."""
    with store.read() as snapshot:
        elsewhere = snapshot.found_elsewhere()
    gone = {path for path, _ in elsewhere}
    new = {path for path, here in elsewhere if here not in known or known[here].hash != known[path].hash}
    moved = new | gone.difference(find_out_of_reach(gone - new, roots))
    if moved:
        writer.drop_paths(moved)
        report.missing -= len(moved.intersection(plan.missing))


def _match_entries(
    entries: dict[str, E], file: Path | None, tops: list[bytes], found: Walk, report: Report
) -> dict[bytes, E]:
    if file is None:
        return {}
    folders = [os.path.dirname(absolute(file)), *(top for top in tops if os.path.isdir(top))]
    result, lost = match_to_files(entries, folders, found.files)
    if lost:
        report.warnings.append(
            f"{printable(os.fspath(file))}: {len(lost)} of {len(entries)} names are not (or not the only) "
            f"photos below what is indexed, such as {printable(lost[0])}"
        )
    return result


def _find_behind_links(found: Walk, known: dict[bytes, FileState]) -> list[bytes]:
    """Finds the photos of the library that lie behind links that are not followed."""
    links = found.not_followed
    return [
        path
        for path, state in known.items()
        if links and state.hash and not state.missing and is_below_any(path, links)
    ]


def _refuse_unfollowed(behind: list[bytes], known: dict[bytes, FileState], found: Walk) -> None:
    """Raises an error if photos behind links that are not followed would lose their vectors."""
    live = {known[path].hash for path in found.files if path in known}
    for path in behind:
        if known[path].hash not in live:
            raise InputError(
                f"{printable(path)} lies behind a link that leads out of what is indexed, and would lose its "
                "vectors: index its folder with follow_links, or forget it; searches use the old vectors "
                "until then",
                hint="virtue index FOLDER --follow-links",
            )


def _find_lost_folders(found: Walk, known: dict[bytes, FileState]) -> Iterator[tuple[bytes, int]]:
    """Finds folders whose photos are all gone, in this run or before, and how many those are: folders that
    hold nothing, or are not there. Photos that lie elsewhere as well are not gone."""
    live = {state.hash for path, state in known.items() if path in found.files}
    there = {os.path.dirname(path) for path in (*found.files, *found.problems)}
    lost = Counter(
        os.path.dirname(path)
        for path, state in known.items()
        if state.hash and state.hash not in live and path not in found.problems and not found.hides(path)
    )
    for folder in sorted(lost.keys() - there):
        if not os.path.isdir(folder) or is_empty(folder):
            yield folder, lost[folder]


def _refuse_losses(store: Store, target: Generation, report: Report) -> None:
    """Raises an error if photos have vectors that searches use, and none in the generation that is to take
    their place."""
    with store.read() as snapshot:
        new = snapshot.files(target)
        old = {path for path, state in snapshot.files().items() if state.settings and not state.missing}
    done = {state.hash for state in new.values() if state.settings}
    left = sorted(path for path in old if new[path].hash not in done)
    if left:
        reason = new[left[0]].problem or dict(report.problems).get(left[0], "it was not read")
        count = f"{len(left)} photos" if len(left) > 1 else "a photo"
        raise InputError(
            f"{count} could not be read, such as {printable(left[0])} ({reason}): see to their drive or "
            "their rights, or forget them, and reindex again; searches use the old vectors until then",
            hint="virtue reindex",
        )
