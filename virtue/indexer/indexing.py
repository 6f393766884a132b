"""`index`: brings a library up to date with folders of photos."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
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
from virtue.indexer.roots import Options, Regions, Roots, parse_regions
from virtue.indexer.shared_work import embed_leased, limit_of_known, list_jobs, wait_for_others
from virtue.indexer.user_annotations import AnnotationEntry
from virtue.indexer.walk import Found, Walk, walk
from virtue.indexer.workers import FILE_TIMEOUT, default_workers
from virtue.paths import absolute, is_below, is_below_any, printable
from virtue.store import FileState, Generation

if TYPE_CHECKING:
    from virtue.store import Snapshot, Store, Writer

LOG = logging.getLogger("virtue")

MAX_LOOKED_UP = 10_000
"""Files that are looked up at once."""
NOT_THERE = "it is not there; what the library has of it was kept"

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
        with store.read() as snapshot:
            target = _target(snapshot, writer, embedder, reembed)
            known = snapshot.files(target)
            roots = Roots(snapshot.roots())
            forgotten = snapshot.forgotten()
        named = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
        requested = [absolute(path) for path in named]
        tops = _find_tops(requested, roots, known, reembed, report)
        scope = set(requested or tops)
        new_options = _choose_options(scope, roots, wanted, exclude, follow_links, ocr)
        found = _walk_all(tops, requested, roots, progress, started)
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
            report.warnings.append(_describe_unfollowed(found.not_followed, len(behind)))
        for folder, lost in _find_lost_folders(found, known) if reembed else ():
            raise InputError(
                f"{printable(folder)} holds no photos, and had {lost}, which would lose their vectors: mount "
                "its drive if that is why, else index again and forget what is missing; searches use the old "
                "vectors until then",
                hint="virtue index; virtue forget --missing",
            )
        for top, lost in _find_emptied(plan, tops, found):
            report.warnings.append(
                f"{printable(top)} holds no photos, and had {lost}: they are marked as missing; if a drive "
                "is not mounted there, mount it and index again"
            )
        report.passed_by = dict(sorted(Counter(found.passed_by.values()).items()))
        walked = [root for root in roots if is_below_any(root, set(tops)) and not found.hides(root)]
        new_options += roots.note_passed_by(walked, found.passed_by)
        for folder, options in new_options:
            writer.remember_root(folder, options.to_json())
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
            _embed_with_others(
                store,
                writer,
                embedder,
                known,
                shared,
                report,
                workers or default_workers(),
                timeout,
                progress,
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


def _embed_with_others(
    store: Store,
    writer: Writer,
    embedder: PhotoEmbedder,
    known: dict[bytes, FileState],
    listed: Sequence[Found],
    report: Report,
    workers: int,
    timeout: float,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Embeds what this run and others have listed, until nothing is left; tells of problems that others
    met in what this one listed."""
    jobs, own = writer.jobs, 0
    assert jobs is not None
    while True:
        own += embed_leased(
            store, writer, embedder, report, workers=workers, timeout=timeout, progress=progress
        )
        if not jobs.count("embed"):
            break
        wait_for_others(jobs, report, progress)
    report.elsewhere = max(0, len(listed) - own)
    told = {path for path, _ in report.problems}
    for first in range(0, len(listed), MAX_LOOKED_UP):
        with store.read() as snapshot:
            found = snapshot.files(paths=[file.path for file in listed[first : first + MAX_LOOKED_UP]])
        report.problems += [
            (path, state.problem)
            for path, state in found.items()
            if state.problem and path not in told and not is_known(known.get(path), state.problem)
        ]


def _find_tops(
    named: list[bytes], roots: Roots, known: dict[bytes, FileState], reembed: bool, report: Report
) -> list[bytes]:
    """Returns what to walk: what was named; without that, and to embed all again, all that is known."""
    if named and not reembed:
        return named
    folders = [folder for folder in roots if folder not in named]
    gone = [folder for folder in folders if not os.path.exists(folder)]
    if reembed and gone:
        raise InputError(
            f"{printable(gone[0])} is not there, and its photos cannot be embedded again: mount it, or "
            "forget it",
            hint="virtue forget FOLDER",
        )
    single_files = [path for path, state in known.items() if roots.of(path) is None and not state.missing]
    tops = named + [folder for folder in folders if folder not in gone] + single_files
    report.problems += [(folder, NOT_THERE) for folder in gone if not is_below_any(folder, set(tops))]
    if not tops:
        if gone:
            raise InputError(f"{printable(gone[0])} is not there: mount it, or name another folder")
        raise InputError("nothing was indexed yet: name a folder of photos", hint="virtue index ./photos")
    return tops


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


def _choose_options(
    named: Iterable[bytes],
    roots: Roots,
    regions: Regions | None,
    exclude: Iterable[str],
    follow_links: bool | None,
    ocr: bool | None,
) -> list[tuple[bytes, Options]]:
    given = tuple(exclude)
    # An empty pattern alone says that nothing is left out any more.
    patterns = tuple(filter(None, given)) if given else None
    folders = [path for path in named if os.path.isdir(path)]
    return [
        chosen for folder in folders for chosen in roots.choose(folder, regions, patterns, follow_links, ocr)
    ]


def _walk_all(
    tops: list[bytes],
    asked: list[bytes],
    roots: Roots,
    progress: Callable[[Progress], None] | None,
    started: float,
) -> Walk:
    """Walks all of it, each known folder with its own options. What is not `asked` for by name need not be
    there: a known folder that is not there, or cannot be listed, keeps what it had, and so does a file unless
    its folder can be listed and lacks it."""
    found, known, listings = Walk(), set(roots), dict[bytes, set[bytes]]()

    def tick() -> None:
        if progress:
            seconds = time.monotonic() - started
            count, problems = len(found.files), len(found.problems)
            progress(Progress("walking", count, None, problems, seconds, "looking for photos"))

    nested = [root for root in known.difference(tops) if is_below_any(root, set(tops))]
    for top in tops + nested:
        options, links = roots.of(top) or Options(), roots.link_rule(top)
        if top in asked:
            walk(top, options.exclude, found, known, links, tick)
        elif top in known and not os.path.isdir(top):
            found.unlisted.add(top)
        elif top in known or os.path.exists(top):
            try:
                walk(top, options.exclude, found, known, links, tick)
            except InputError:
                found.add_unreadable(top, "folder that cannot be listed")
        elif not _is_gone(top, listings):
            found.add_unreadable(top, NOT_THERE)
        tick()
    return found


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


def _is_gone(path: bytes, listings: dict[bytes, set[bytes]]) -> bool:
    """Returns whether a file is gone for sure: its folder can be listed, and lacks it."""
    folder, name = os.path.split(path)
    try:
        if folder not in listings:
            listings[folder] = set(os.listdir(folder))
    except OSError:
        return False
    return name not in listings[folder]


def _find_emptied(plan: Plan, tops: list[bytes], found: Walk) -> Iterator[tuple[bytes, int]]:
    """Finds folders without a photo that had some, and how many they had: of those walked, and of those below
    them that hold nothing at all, as the place of a drive that is not mounted."""
    walked = set(tops)
    lost = Counter(folder for path in plan.missing for folder in _folders_above(path, walked))
    emptied = {folder for folder in lost if folder not in walked and _is_empty(folder)}
    for folder in walked.intersection(lost):
        if not any(is_below(path, folder) for path in found.files):
            emptied.add(folder)
    for folder in sorted(emptied):
        if not is_below_any(os.path.dirname(folder), emptied):
            yield folder, lost[folder]


def _folders_above(path: bytes, tops: set[bytes]) -> Iterator[bytes]:
    while path not in tops and os.path.dirname(path) != path:
        path = os.path.dirname(path)
        yield path


def _is_empty(folder: bytes) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def _find_behind_links(found: Walk, known: dict[bytes, FileState]) -> list[bytes]:
    """Finds the photos of the library that lie behind links that are not followed."""
    links = found.not_followed
    return [
        path
        for path, state in known.items()
        if links and state.hash and not state.missing and is_below_any(path, links)
    ]


def _describe_unfollowed(links: set[bytes], behind: int) -> str:
    many = len(links) > 1
    what = f"{len(links)} links that lead" if many else "a link that leads"
    kept = (
        f" and {behind:,} photo{'s' * (behind > 1)} of the library behind kept as they were" if behind else ""
    )
    return (
        f"{what} out of what is indexed, such as {printable(min(links))}: not followed{kept}; index with "
        "follow_links (--follow-links) to follow all but those to a folder above"
    )


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
        if not os.path.isdir(folder) or _is_empty(folder):
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
