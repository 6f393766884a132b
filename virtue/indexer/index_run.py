"""One `index` or `reindex`: what it was told, what it works with, and what both ways of doing it share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from virtue.added_pictures import name_of
from virtue.errors import InputError
from virtue.indexer.annotations import CocoImage
from virtue.indexer.captions import PhotoCaptions
from virtue.indexer.embedding import PhotoEmbedder
from virtue.indexer.name_matching import FoundFiles, match_to_files
from virtue.indexer.report import Progress, Report
from virtue.indexer.requirements import EmbeddingRequirements
from virtue.indexer.roots import Options, Regions, Roots
from virtue.indexer.shared_work import limit_of_known
from virtue.indexer.user_annotations import AnnotationEntry
from virtue.indexer.walk import Found, Walk
from virtue.indexer.walking import choose_options, find_tops, walk_all
from virtue.paths import absolute, printable
from virtue.store import FileState
from virtue.store.records import ForgottenPhoto

if TYPE_CHECKING:
    from virtue.indexer.pipeline import Pipeline
    from virtue.store import Generation, Store, Writer

E = TypeVar("E", bound=AnnotationEntry)


@dataclass(frozen=True, slots=True)
class Given:
    """What a run was told, as of `index`; `paths` are absolute.

    Attributes:
        annotated, captioned: what is said of photos, by the names that the files have for them.
        annotations, captions: these files.
    """

    paths: list[bytes]
    regions: Regions | None
    exclude: Iterable[str]
    follow_links: bool | None
    ocr: bool | None
    rehash: bool
    reembed: bool
    annotated: Mapping[str, CocoImage] = field(default_factory=dict)
    captioned: Mapping[str, PhotoCaptions] = field(default_factory=dict)
    annotations: str | bytes | None = None
    captions: str | bytes | None = None


@dataclass(slots=True)
class Run:
    """A run, with what it writes to and reports.

    Attributes:
        target: the generation that it writes.
        roots: what was indexed by name, as remembered; `begin` adds what this run was told.
        forgotten: photos to pass by.
        started: when it began (`time.monotonic`).
        tops: what is walked, once it has begun.
        options: those of folders that are new, to be remembered.
    """

    store: Store
    writer: Writer
    embedder: PhotoEmbedder
    target: Generation
    given: Given
    roots: Roots
    forgotten: Sequence[ForgottenPhoto]
    report: Report
    workers: int
    timeout: float
    progress: Callable[[Progress], None] | None
    started: float
    tops: list[bytes] = field(default_factory=list)
    options: list[tuple[bytes, Options]] = field(default_factory=list)
    scope: set[bytes] = field(default_factory=set)

    def begin(self, list_apart: Callable[[], list[bytes]]) -> None:
        """Finds out what to walk, and with which options.

        Args:
            list_apart: lists the known files that lie below no root.
        """
        given = self.given
        self.tops = find_tops(given.paths, self.roots, list_apart, given.reembed, self.report)
        self.scope = set(given.paths or self.tops)
        self.options = choose_options(
            self.scope, self.roots, given.regions, given.exclude, given.follow_links, given.ocr
        )

    def walk(self, take: Callable[[Walk], None] | None = None) -> Walk:
        """Walks all of it, as `walk_all` does."""
        return walk_all(self.tops, self.given.paths, self.roots, self.progress, self.started, take)

    @property
    def named(self) -> set[bytes]:
        return set(self.given.paths)

    @property
    def forgotten_hashes(self) -> set[bytes]:
        return {photo.hash for photo in self.forgotten}

    def passed_by(self) -> dict[bytes, ForgottenPhoto]:
        """Returns the photos to pass by, by their paths, but for files that are named by themselves."""
        named = self.named
        return {photo.path: photo for photo in self.forgotten if photo.path not in named}

    def limit_of(self, path: bytes, state: FileState | None) -> int:
        """Returns how many proposals a path asks for."""
        is_added = name_of(path) is not None
        is_told = path in self.scope or (is_added and os.path.dirname(path) in self.scope)
        if self.given.regions is not None and is_told:
            return Options(self.given.regions).limit
        return limit_of_known(self.roots, path, state)

    def match(self, files: FoundFiles) -> tuple[dict[bytes, CocoImage], dict[bytes, PhotoCaptions]]:
        """Returns what is said of photos, by their paths, and tells of names that are none of these."""
        given = self.given
        return (
            self._match(given.annotated, given.annotations, self.tops, files),
            self._match(given.captioned, given.captions, [], files),
        )

    def _match(
        self, entries: Mapping[str, E], file: str | bytes | None, tops: list[bytes], files: FoundFiles
    ) -> dict[bytes, E]:
        if file is None:
            return {}
        folders = [os.path.dirname(absolute(file)), *(top for top in tops if os.path.isdir(top))]
        result, lost = match_to_files(entries, folders, files)
        if lost:
            self.report.warnings.append(
                f"{printable(file)}: {len(lost)} of {len(entries)} names are not (or not the only) "
                f"photos in what was looked through, such as {printable(lost[0])}"
            )
        return result

    def requirements(
        self, annotated: dict[bytes, CocoImage], captioned: dict[bytes, PhotoCaptions]
    ) -> EmbeddingRequirements:
        return EmbeddingRequirements(annotated, captioned, self.roots.link_rule)

    def open(self, pipeline: Pipeline, files: Sequence[Found]) -> Iterator[int]:
        """Opens and embeds files; yields again and again how many are done."""
        # Closed at once, or its workers would live as long as an error that somebody keeps.
        with closing(pipeline.run(files, self.workers, self.timeout)) as run:
            yield from run

    def tell(self, done: int, total: int, began: float) -> None:
        """Tells how far embedding is, which began at that time (`time.monotonic`)."""
        if self.progress:
            seconds = time.monotonic() - began
            problems = len(self.report.problems)
            self.progress(Progress("indexing", done, total, problems, seconds, "indexing"))

    def tell_of_unread(self, paths: Sequence[bytes]) -> None:
        """Tells of photos that something was said of and that could not be read."""
        if paths:
            count = f"{len(paths):,} photos" if len(paths) > 1 else "a photo"
            self.report.warnings.append(
                f"{count} that captions or annotations were given for could not be read, such as "
                f"{printable(paths[0])}: give these again once they can"
            )

    def end(self) -> None:
        """Lets searches use what was written, if that takes the place of other vectors.

        Raises:
            InputError: photos would lose their vectors.
        """
        if self.given.reembed:
            self._refuse_losses()
        if self.given.reembed or not self.target.active:
            self.writer.activate(self.target)

    def _refuse_losses(self) -> None:
        """Raises an error if photos have vectors that searches use, and none in the generation that is to
        take their place."""
        with self.store.read() as snapshot:
            left, path, problem = snapshot.without_vectors(self.target)
        if path is not None:
            count = f"{left} photos" if left > 1 else "a photo"
            reason = problem or dict(self.report.problems).get(path)
            if reason is None:
                raise InputError(
                    f"{count} came, moved or went while others were embedded, such as {printable(path)}: "
                    "reindex again, which embeds no more than these; searches use the old vectors until then",
                    hint="virtue reindex",
                )
            raise InputError(
                f"{count} could not be read, such as {printable(path)} ({reason}): see to their drive or "
                "their rights, or forget them, and reindex again; searches use the old vectors until then",
                hint="virtue reindex",
            )


def unfollowed_error(path: bytes) -> InputError:
    """Returns the error that a photo behind a link that is not followed would lose its vectors."""
    return InputError(
        f"{printable(path)} lies behind a link that leads out of what is indexed, and would lose its "
        "vectors: index its folder with follow_links, or forget it; searches use the old vectors "
        "until then",
        hint="virtue index FOLDER --follow-links",
    )


def lost_folder_error(folder: bytes, lost: int) -> InputError:
    """Returns the error that all photos of a folder are gone, which it had."""
    return InputError(
        f"{printable(folder)} holds no photos, and had {lost}, which would lose their vectors: mount "
        "its drive if that is why, else index again and forget what is missing; searches use the old "
        "vectors until then",
        hint="virtue index; virtue forget --missing",
    )
