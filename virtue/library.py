"""`Library`: the few names a program needs. It joins the rooms; it does no work of its own."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack

from virtue.added_pictures import folder_of, is_folder
from virtue.errors import InputError, LibraryNotFoundError, LockedError, ModelError, StoreError
from virtue.location import hide_secrets, locate
from virtue.paths import absolute, is_below, printable
from virtue.stopping import check_stop, with_stop
from virtue.whole_numbers import read_whole

if TYPE_CHECKING:
    import numpy as np

    from virtue.embedder import Embedder
    from virtue.embedder.dtypes import Dtype
    from virtue.indexer import Estimate, Progress, Report
    from virtue.indexer.reach import MissingSummary
    from virtue.retrieval import Hit
    from virtue.retrieval.checks import Goal
    from virtue.retrieval.similar_group import Similar
    from virtue.store import Fault, Store, TuningResult, Writer
    from virtue.store.catalogue.filters import RowFilter
    from virtue.store.catalogue.listing import Order
    from virtue.store.compaction import Waste
    from virtue.store.records import Kind, Photo, ProgressCallback, Region, VectorBlock
    from virtue.store.transfer.manifest import ExportManifest, ExportSummary, ImportSummary, PhotoExport
    from virtue.tasks.annotate_photos import Annotation

PathLike: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

DEFAULT_MODEL = "mini"


class SearchOptions(TypedDict, total=False):
    """The options of `Library.search`."""

    find: Goal
    top: int
    offset: int
    all_regions: bool
    min_score: float | Literal["auto"] | None
    where: str | Sequence[str] | None


class IndexOptions(TypedDict, total=False):
    """The options of `Library.index` that say what is indexed, and how."""

    regions: str | int | None
    exclude: Sequence[str]
    follow_links: bool | None
    ocr: bool | None
    annotations: str | os.PathLike[str] | None
    captions: str | os.PathLike[str] | None
    rehash: bool
    workers: int | None


class Library:
    """Vectors and metadata of photos, searched with the model that made them. Threads may share it.

    Args:
        folder: where it lives, or the address of a database in PostgreSQL ("postgresql://HOST/DATABASE"),
            which many may write to at once (docs/machines.md). None: `$VIRTUE_DATABASE`, the nearest
            `.virtue/`, or the user's data folder. Made by the first `index`.
        embedder: the model, or its name. None: the one the library was made with, if it is on this machine,
            for a new library the bundled `mini`. Loaded when first needed.
        offline: download no model, not even one that you name.
        read_only: never write, so that a library on a network share or a read-only disk can be used.
        vectors_device: a device of torch, "cuda" or "cuda:1", whose memory holds the vectors from the first
            search on: searches are exact then, at any number of them. None: they are read from the disk, and
            many are searched by an index.
        dtype: what a model that is loaded by name computes with, as for `Embedder.from_pretrained`.
        device: where such a model works, as for `Embedder.from_pretrained`; "cuda:0,cuda:1": on both.
        hold: deprecated, use `vectors_device`.

    Raises:
        LibraryNotFoundError: on any use but `index`, when there is no library in `folder`.
        StoreError: the folder cannot be used as a library; the sentence says why.
        InputError: there is a `dtype` or a `device`, and the embedder is loaded already.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        embedder: Embedder | str | None = None,
        offline: bool = False,
        read_only: bool = False,
        vectors_device: str | None = None,
        dtype: Dtype = "auto",
        device: str | None = None,
        hold: str | None = None,
    ) -> None:
        if hold is not None:
            warnings.warn("hold= is called vectors_device= now", DeprecationWarning, stacklevel=2)
        if not (embedder is None or isinstance(embedder, str)):
            if dtype != "auto":
                raise InputError(f"dtype={dtype!r} comes too late for an Embedder: load it with that dtype")
            if device is not None:
                raise InputError(f"device={device!r} comes too late for an Embedder: load it on that device")
        self._dtype, self._device = dtype, device
        self._offline = offline
        self._location = locate(folder)
        self.folder = None if isinstance(self._location, str) else self._location
        self._read_only = read_only
        self._vectors_device = vectors_device or hold
        self._model = embedder
        self._embedder: Embedder | None = None
        self._store: Store | None = None
        self._opening = threading.RLock()

    @classmethod
    def create(cls, folder: str | os.PathLike[str]) -> Library:
        """Creates an empty library in `folder`, or opens the one that is there."""
        library = cls(folder)
        library._open(create=True)
        return library

    def index(
        self,
        paths: PathLike | Iterable[PathLike] = (),
        *,
        regions: str | int | None = None,
        exclude: Sequence[str] = (),
        follow_links: bool | None = None,
        ocr: bool | None = None,
        annotations: str | os.PathLike[str] | None = None,
        captions: str | os.PathLike[str] | None = None,
        rehash: bool = False,
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        say: ProgressCallback | None = None,
    ) -> Report:
        """Indexes photos and folders of photos; without `paths`, all that were indexed before.

        Args:
            regions: `"auto"`, `"none"`, or the most proposals a photo may have. None: as these
                folders were last indexed.
            exclude: glob patterns of names or paths to leave out; `[""]`: none any more.
            follow_links: whether links that lead out of the indexed folders are followed, but for those to a
                folder above. None: as these folders were last indexed, else not.
            ocr: whether the text in photos is read too, after all have their vectors. Photos that are in the
                library already are not embedded again for it, and what was read stays without it. None: as
                these folders were last indexed, else it is.
            annotations: a COCO JSON file whose boxes and masks become regions.
            captions: a CSV or JSONL file with path, caption and perhaps x, y, w, h.
            rehash: open files of unchanged size and time too.
            progress: called now and then with how far it is.
            stop: set by another thread, it ends the work: StoppedError is raised; what was committed stays.
            say: deprecated, use `progress`.

        Raises:
            InputError: a path does not exist, or an option or file cannot be used.
            LockedError: another process is writing.
            ModelMismatchError: the library's vectors are of another model.
        """
        from virtue.indexer import index

        progress = with_stop(_with_say(progress, say), stop)
        store, embedder, named = self._open(create=True), self.embedder, as_list(paths)
        with store.write("virtue index") as writer, writer.sharing(fills=True):
            report = index(
                store,
                embedder,
                named,
                regions=regions,
                exclude=exclude,
                follow_links=follow_links,
                ocr=ocr,
                annotations=annotations,
                captions=captions,
                rehash=rehash,
                workers=workers,
                progress=progress,
                writer=writer,
            )
            self._refresh(writer, progress)
            self._read_texts(writer, report, [absolute(path) for path in named], ocr, workers, progress)
        return report

    def join(
        self,
        *,
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """Helps `index` of another process, on any machine, with a library in PostgreSQL: embeds files that
        it has listed, and reads the text in them, until none is left. Any number may help; what one that ends
        has not done, another does.

        Args:
            workers, progress, stop: as of `index`.

        Returns:
            What this process did.

        Raises:
            StoreError: the library lies in a folder, where one process indexes at a time.
            ModelMismatchError: the library's vectors are of another model.
        """
        from virtue.indexer import Report, join
        from virtue.indexer.joining import wait_for_model

        if self.folder is not None:
            raise StoreError(
                f"the library {printable(os.fspath(self.folder))} is a folder, into which one process "
                "indexes at a time: to share the work, name a library in PostgreSQL"
            )
        progress = with_stop(progress, stop)
        store = self._open()
        with store.write("virtue index --join") as writer, writer.sharing(fills=False):
            if not wait_for_model(store, writer, progress):
                return Report()
            report, took_over = join(store, writer, self.embedder, workers=workers, progress=progress)
            if took_over:
                self._refresh(writer, progress)
        return report

    def watch(
        self,
        paths: PathLike | Iterable[PathLike] = (),
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        **options: Unpack[IndexOptions],
    ) -> Generator[Report]:
        """Indexes folders, and then those of them in which something changed, again and again: when nothing
        more has changed for a second or two, or something has for a quarter of a minute. The model stays
        loaded, and the library is free for other writers in between.

        Yields a report of each run, also if it found nothing to do. What keeps it from its work (another
        process is writing, a folder is gone) is a warning of a report of its own, and it waits. A file that
        cannot be read is a problem once it has stayed as it is for five seconds.

        Args:
            paths, progress: as of `index`.
            stop: set by another thread, it ends the iterator; what was committed stays.
            options: as of `index`, for the first run; later ones do as the folders were last indexed.

        Raises:
            InputError: a path does not exist at the beginning, or an option or file cannot be used.
            ModelMismatchError: the library's vectors are of another model, perhaps from now on.
        """
        from virtue.tasks.watch_folders import watch_folders

        store, named = self._open(create=True), as_list(paths)
        workers = options.get("workers")

        def run(changed: Sequence[bytes] | None) -> Report:
            if changed is None:
                return self.index(named, progress=progress, stop=stop, **options)
            return self.index(changed, workers=workers, progress=progress, stop=stop)

        yield from watch_folders(store, [absolute(path) for path in named], run, stop)

    def add(
        self,
        pictures: bytes | Mapping[str, bytes] | Iterable[tuple[str, bytes]],
        name: str | None = None,
        *,
        regions: str | int | None = None,
        ocr: bool | None = None,
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """Adds pictures under names of your own, and indexes them. The library keeps their bytes, in files of
        its folder, so that they can be embedded again. A name that it has already gets the new picture, and
        keeps what was said of it.

        Args:
            pictures: the content of a file (JPEG, PNG, WebP, ...), with its `name`; or several, by their
                names.
            regions, ocr, workers, progress, stop: as of `index`.

        Returns:
            What became of them; `problems` names those that are no pictures, which are not kept.

        Raises:
            InputError: a name cannot be used, or is given twice; what is given is not bytes.
            LockedError: another process is writing.
            ModelMismatchError: the library's vectors are of another model.
        """
        from virtue.tasks.add_pictures import add_pictures

        if isinstance(pictures, bytes) == (name is None):
            raise InputError(
                "give the bytes of one picture with its name, or several pictures by their names"
            )
        if isinstance(pictures, bytes):
            pictures = [(name or "", pictures)]
        progress = with_stop(progress, stop)
        store, embedder = self._open(create=True), self.embedder
        with store.write("add") as writer:
            report = add_pictures(
                store,
                writer,
                embedder,
                pictures,
                regions=regions,
                ocr=ocr,
                workers=workers,
                progress=progress,
            )
            self._refresh(writer, progress)
        return report

    def reindex(
        self,
        model: Embedder | str | None = None,
        *,
        workers: int | None = None,
        estimated: Callable[[Estimate], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        say: ProgressCallback | None = None,
    ) -> Report:
        """Embeds all photos with another model. Searches use the old vectors until all new ones are done. If
        it was interrupted, the next call goes on from there.

        Args:
            model: the new one, or its name. None: the one of this library, as this virtue has it.
            estimated: told, before it starts, what it will take.
            progress, stop, say: as of `index`.

        Raises:
            StoreError: there is not enough room on the disk.
            InputError: photos are out of reach: on a disk that is not mounted, say.
            ModelError: there is no such model.
            LockedError: another process is writing.
        """
        from virtue.indexer import reindex

        progress = with_stop(_with_say(progress, say), stop)
        store = self._open()
        embedder = self.embedder if model is None else self._load(model)
        with store.write("virtue reindex") as writer:
            report = reindex(
                store, embedder, workers=workers, estimated=estimated, progress=progress, writer=writer
            )
            # Not before: until all is embedded, searches go on with the model there is.
            self._model = self._embedder = embedder
            self._refresh(writer, progress)
            self._read_texts(writer, report, (), None, workers, progress)
        return report

    def _read_texts(
        self,
        writer: Writer,
        report: Report,
        paths: Sequence[bytes],
        ocr: bool | None,
        workers: int | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Reads the text in photos, when searches find all else already."""
        from virtue.indexer.reading import read_texts

        if read_texts(
            self.store, writer, self.embedder, report, paths, ocr=ocr, workers=workers, progress=progress
        ):
            self._refresh(writer, progress)

    def _refresh(self, writer: Writer, progress: Callable[[Progress], None] | None = None) -> None:
        """Brings up to date what follows from the rows, under the lock that they were written with."""
        from virtue.retrieval.calibration_queries import CalibrationQueries

        self._refresh_indexes(writer, progress)
        writer.refresh_calibration(CalibrationQueries(self._searcher()))

    def _refresh_indexes(self, writer: Writer, progress: Callable[[Progress], None] | None = None) -> None:
        writer.drop_pathless_photos()
        writer.refresh_indexes(texts=self._tuning_texts, progress=_report_indexes(progress))

    def _tuning_texts(self) -> np.ndarray:
        from virtue.retrieval.calibration_queries import tuning_texts

        searcher = self._searcher()
        with self.store.read() as snapshot:
            return tuning_texts(snapshot, searcher)

    def _searcher(self) -> Embedder:
        """Returns what makes queries for the vectors that there are."""
        from virtue.retrieval.checks import choose_embedder

        with self.store.read() as snapshot:
            generation = snapshot.generation
        return self.embedder if generation is None else choose_embedder(generation, self.embedder)

    def tune(
        self,
        *,
        recall: float = 0.95,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
        say: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        """Measures how much of an index searches must read to find that share of the ten best rows, for text
        and image queries, and sets it.

        Args:
            progress, stop, say: as of `index`.

        Returns:
            What was found; nothing if the library is small enough to be read whole.

        Raises:
            InputError: the recall is not between 0 and 1.
            LockedError: another process is writing.
        """
        if not 0 < recall <= 1:
            raise InputError(f"the recall must lie between 0 and 1, not {recall}")
        check_stop(stop)
        report = _report_indexes(with_stop(_with_say(progress, say), stop))
        with self.store.read() as snapshot:
            if not snapshot.is_large():
                return []
        texts = self._tuning_texts()
        with self.store.write("virtue tune") as writer:
            kinds: tuple[Kind, ...] = ("regions", "captions")
            return [
                result
                for kind in kinds
                for result in writer.tune(kind, texts=texts, target=recall, progress=report)
            ]

    def search(
        self,
        query: Any = None,
        *,
        without: Any = (),
        find: Goal = "auto",
        top: int = 10,
        offset: int = 0,
        all_regions: bool = False,
        min_score: float | Literal["auto"] | None = None,
        where: str | Sequence[str] | None = None,
    ) -> list[Hit]:
        """Returns the best hits for a query, best first.

        Args:
            query: a text (str); an image (path object, PIL image, array, bytes); a dict with
                `image` and any of `box` (x0, y0, x1, y1), `points` [(x, y, 1 or 0)], `mask`, `text`, or
                with `region_id` or `photo_id`, and with a `weight`; a hit; an array of shape (dim,), which is
                a vector of your own (an image has rows and columns); a list of these, added up; or
                a `Query`. None: whatever fits `where`, newest photos first, with a score of 0.
            without: what hits should not look like: the same kinds of things, but no `Query`.
            find: `"auto"`: each photo once, by its best region, its full image or, for words, what is said
                about it. Or only `"regions"`, `"photos"` or `"captions"`.
            top: how many hits, if the library has them.
            offset: how many of the best hits to pass over, for the next page of them.
            all_regions: more than one region of a photo.
            min_score: drop hits below it; `"auto"`: those that are unsure. Scores of
                different kinds of query do not compare, their percentiles do.
            where: a filter that hits must fit, as `"rating >= 4 and taken >= 2024-06"` (docs/search.md), or
                several, all of which they must fit.

        Raises:
            InputError: the filter cannot be read, or an option cannot be used.
            EmptyLibraryError, ModelMismatchError, PictureError, PromptError.
        """
        from virtue.retrieval import Query, search

        store = self._open()
        if query is None and where and not without:
            if min_score is not None:
                raise InputError("without a query there are no scores: leave min_score out")
            from virtue.retrieval.browsing import browse

            return browse(store, where, find=find, top=top, offset=offset, all_regions=all_regions)
        query = Query.of(query, without)
        return search(
            store,
            self.embedder,
            query,
            find=find,
            top=top,
            offset=offset,
            all_regions=all_regions,
            min_score=min_score,
            where=where,
        )

    def search_many(self, queries: Iterable[Any], **options: Unpack[SearchOptions]) -> list[list[Hit]]:
        """Returns the hits of each query, in the order of the queries, as `search` does with these options.
        Queries are embedded in batches, which is what takes long about a search.

        Raises:
            InputError: a query cannot be used; says which (counted from 0) and why.
            EmptyLibraryError, ModelMismatchError, PictureError, PromptError: as `search`.
        """
        from virtue.retrieval.search_many import search_many

        return search_many(self._open(), self.embedder, queries, **options)

    def fits(self, where: str | Sequence[str] | None, *, find: Goal = "auto") -> bool:
        """Returns whether anything at all matches this filter; None is no filter.

        Raises:
            InputError: the filter cannot be read.
        """
        from virtue.retrieval.search import row_filter

        if where is None:
            return True
        filter = row_filter(where, find)
        kinds: tuple[Kind, ...] = (find,) if find in ("regions", "captions") else ("regions", "captions")
        with self.store.read() as snapshot:
            return any(filter is None or snapshot.count_matching(kind, filter) for kind in kinds)

    def photos(
        self,
        where: str | Sequence[str] | None = None,
        *,
        order: Order = "photo_id",
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Photo]:
        """Returns photos with all that is known of them.

        Args:
            where: a filter that they must fit, as for `search`; None: all. A photo fits if one of its regions
                does, the whole photo among them.
            order: "photo_id" (as they came), "path", "taken" (photos that do not say stand where their file
                was changed), "rating" or "size"; with a minus, from the other end. What has no value comes
                last.
            offset, limit: leave out so many, then return at most so many; None: all that are left.

        Raises:
            InputError: the filter cannot be read, or there is no such order.
        """
        from virtue.store.catalogue.filters import parse_optional
        from virtue.store.catalogue.listing import check_order

        check_order(order)
        offset = read_whole("offset", offset, 0)
        limit = None if limit is None else read_whole("limit", limit, 0)
        filter = parse_optional(where)
        with self.store.read() as snapshot:
            return snapshot.photos(snapshot.photo_ids(filter, order, offset, limit))

    def count(self, where: str | Sequence[str] | None = None) -> int:
        """Returns how many photos there are, or fit a filter.

        Raises:
            InputError: the filter cannot be read.
        """
        from virtue.store.catalogue.filters import parse_optional

        filter = parse_optional(where)
        with self.store.read() as snapshot:
            return snapshot.count_photos(filter)

    def vectors(
        self,
        kind: Literal["regions", "photos", "captions"] = "regions",
        *,
        where: str | Sequence[str] | None = None,
        block: int = 4096,
    ) -> Iterator[VectorBlock]:
        """Yields the vectors of the library, at most `block` in memory at once, as the library was at the
        first.

        Args:
            kind: "regions": all that searches for regions and photos compare with, whole photos among them;
                "photos": those of whole photos alone; "captions".
            where: a filter that they must fit.

        Raises:
            InputError: the filter cannot be read, or there is no such kind.
            DamagedError: a row file is gone or too short.
        """
        from virtue.store.catalogue.filters import RowFilter, parse_optional
        from virtue.store.records import FINDS

        if kind not in FINDS:
            raise InputError(f"there are no vectors of {kind!r}: choose one of {', '.join(FINDS)}")
        block = read_whole("block", block, 1)
        filter = RowFilter(parse_optional(where), "only" if kind == "photos" else "any")
        return self._blocks(FINDS[kind], filter, block, kind == "photos")

    def _blocks(self, kind: Kind, filter: RowFilter, block: int, of_photos: bool) -> Iterator[VectorBlock]:
        with self.store.read() as snapshot:
            for each in snapshot.vectors(kind, filter, block):
                yield replace(each, ids=each.photo_ids) if of_photos else each

    def annotate(
        self,
        photo: int | Iterable[Annotation],
        *,
        captions: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        rating: int | EllipsisType | None = ...,
        regions: Sequence[Region] | None = None,
    ) -> None:
        """Says something of a photo. What is given takes the place of what was there; what is not, stays.
        Searches find it at once, and indexing keeps it, also when the file was edited or the model changed.

        Args:
            photo: its photo_id; or `Annotation`s of several, which are committed at once.
            captions, tags, rating, regions: as of `Annotation`.

        Raises:
            InputError: the library has not one of the photos; something cannot be kept; or a new region needs
                a file that cannot be read. Names the photo; nothing was changed.
            ModelMismatchError: the library's vectors are of another model.
            LockedError: another process is writing.
        """
        from virtue.tasks.annotate_photos import Annotation, annotate

        said = (captions, tags, regions) != (None, None, None) or rating is not ...
        if not isinstance(photo, Iterable):
            annotations: Iterable[Annotation] = [Annotation(photo, captions, tags, rating, regions)]
        elif said:
            raise InputError("name one photo, or give Annotations that say all there is to say")
        else:
            annotations = photo
        annotate(self.store, lambda: self.embedder, annotations)

    def similar(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threshold: float | None = None,
        stop: threading.Event | None = None,
    ) -> list[list[Similar]]:
        """Finds near-duplicates in three tiers: the same bytes, the same picture (rescaled, recompressed),
        similar. `similar_groups` gives them one after the other.

        Args:
            path: a photo, in this library or not, or a folder of photos: what the library has of each. None:
                the duplicates within the library, same bytes and same picture.
            threshold: dot product of whole photos from which on they are similar, 0.8 by default.
            stop: set by another thread, it ends the work: StoppedError is raised.

        Returns:
            Groups; the first of each is what the others are compared with: the photo at `path`, or the
            largest picture.

        Raises:
            EmptyLibraryError, InputError, ModelMismatchError, PictureError.
        """
        return [*self.similar_groups(path, threshold=threshold, stop=stop)]

    def similar_groups(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threshold: float | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[list[Similar]]:
        """Yields what `similar` returns, group by group: those within a library, in the order of the paths of
        their first files, wait in a temporary file, and need no memory. What `similar` raises is raised when
        the first group is asked for."""
        from virtue.retrieval.similar import SIMILAR, similar

        limit = SIMILAR if threshold is None else threshold
        return similar(self._open(), lambda: self.embedder, path, limit, stop)

    def forget(
        self,
        paths: PathLike | Iterable[PathLike] = (),
        *,
        where: str | Sequence[str] | None = None,
        photo_ids: Iterable[int] | None = None,
        undo: bool = False,
    ) -> int:
        """Removes files, or all files below folders, from the library; or photos with all their files. The
        files themselves stay.

        Photos of which no path is left go on a list, and indexing a folder passes them by, whatever they are
        called by then. Indexing the file itself takes one off the list. A folder that was indexed by name is
        no longer indexed by itself; its photos go too, but not on the list.

        Args:
            paths: one or several.
            where: a filter; the photos that fit it go.
            photo_ids: of photos that go.
            undo: take photos off the list, by the paths they were forgotten at or where they are now, also
                below a folder; the next `index` embeds them.

        Returns:
            How many files were forgotten, or how many photos were taken off the list.

        Raises:
            InputError: the library knows nothing at one of the paths, or has not one of the photos; then
                nothing is changed. Or the filter cannot be read, or more than one of these is given.
            LockedError: another process is writing.
        """
        chosen = where is not None or photo_ids is not None
        if chosen and (undo or paths != () or None not in (where, photo_ids)):
            raise InputError("name paths, a filter or photo_ids: one of them, and undo goes with paths alone")
        if chosen:
            from virtue.tasks.forget_photos import forget_matching

            return forget_matching(self.store, where, photo_ids)
        named = [absolute(path) for path in as_list(paths)]
        if undo:
            from virtue.tasks.forget_photos import undo_forget

            return undo_forget(self.store, named)
        with self.store.write("virtue forget") as writer:
            return writer.forget(named)

    def forget_missing(self) -> MissingSummary:
        """Forgets the files that are missing, and photos that have no others. Not those that may be on a disk
        that is not mounted: below a folder that was indexed and is not there, or in one that is empty; nor
        those that may have been renamed to a file that cannot be read now; nor those that are back.

        Raises:
            LockedError: another process is writing.
        """
        from virtue.tasks.forget_photos import forget_missing

        return forget_missing(self.store)

    def roots_below(self, paths: PathLike | Iterable[PathLike]) -> list[bytes]:
        """Returns the folders that were indexed by name, at these paths or below them."""
        named = [absolute(path) for path in as_list(paths)]
        with self.store.read() as snapshot:
            roots = [root.path for root in snapshot.roots()]
        return [root for root in roots if not is_folder(root) and any(is_below(root, path) for path in named)]

    def move(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
        """Tells the library that a folder of photos, or one photo, was moved. No photo is opened, and nothing
        is embedded again.

        Args:
            old: where it was; nothing needs to be there any more.
            new: where it is.

        Returns:
            How many files that concerned.

        Raises:
            InputError: there is nothing at `new`; the library has nothing at `old`, or has something at
                `new` already; a path would be too long for it. Then nothing was changed.
            LockedError: another process is writing.
        """
        was, is_now = (absolute(path) for path in (old, new))
        if not os.path.exists(is_now):
            raise InputError(f"there is nothing at {os.fspath(new)}: name the place where the photos are now")
        with self.store.write("virtue moved") as writer:
            count = writer.move(was, is_now)
        if not count:
            raise InputError(
                f"the library has no photo at {os.fspath(old)}: name a photo or a folder that was indexed",
                hint="virtue status",
            )
        return count

    def compact(self, *, dry_run: bool = False) -> Waste:
        """Frees the space of photos that were forgotten or embedded again. Searches go on meanwhile.

        Args:
            dry_run: only tell what that would free.

        Returns:
            How many rows of how many are dropped, and the bytes that this frees.

        Raises:
            DamagedError: rows are not what was written; `verify(repair=True)` mends that.
            LockedError: another process is writing.
        """
        from virtue.tasks.add_pictures import remove_forgotten

        with self.store.write("virtue compact") as writer:
            if dry_run:
                return writer.waste()
            waste = writer.compact()
            if waste.dead:
                self._refresh_indexes(writer)
            return replace(waste, bytes=waste.bytes + remove_forgotten(self.store))

    def export_parquet(
        self,
        file: str | os.PathLike[str],
        *,
        force: bool = False,
        stop: threading.Event | None = None,
    ) -> ExportSummary:
        """Writes all photos that have vectors into one Parquet file; docs/keeping.md names its columns.

        Args:
            force: overwrite a file that is no export of virtue, such as a photo.
            stop: set by another thread, it ends the work: StoppedError is raised, and no file is written.

        Raises:
            EmptyLibraryError: nothing was ever indexed.
            DamagedError: rows are not what was written; `verify(repair=True)` mends that.
            InputError: pyarrow is not installed, or the file cannot be written, or exists and is no export.
        """
        from virtue.store.transfer.exporting import export_parquet

        return export_parquet(self.store, Path(file), force=force, stop=stop)

    def import_parquet(self, file: str | os.PathLike[str]) -> ImportSummary:
        """Adds the photos of a file that `export_parquet` wrote, without opening a photo. Photos and paths
        that this library has already stay as they are.

        Raises:
            InputError: the file is not there, or is not a complete export; then nothing was changed.
            ModelMismatchError: its vectors are of another model.
            LockedError: another process is writing.
        """
        from virtue.store.transfer.parquet import read_parquet
        from virtue.tasks.repair import text_checks

        self._require_writable("virtue import")
        manifest, photos = read_parquet(Path(file), text_checks())
        return self._take_in("virtue import", manifest, photos, str(file))

    def merge(
        self,
        other: str | os.PathLike[str],
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> ImportSummary:
        """Adds the photos of another library, in a folder or on a server, which is not changed. Photos and
        paths that this one has already stay as they are, so that a merge that was interrupted goes on.

        Args:
            progress, stop: as of `index`.

        Raises:
            InputError: it is the same library, or holds what none does; then nothing was changed.
            EmptyLibraryError: nothing was ever indexed there.
            ModelMismatchError: its vectors are of another model.
            LockedError: another process is writing here.
        """
        from virtue.store.transfer.importing import read_library
        from virtue.tasks.add_pictures import take_pictures
        from virtue.tasks.repair import text_checks

        self._require_writable("virtue merge")
        source, told = locate(other), _report_merging(with_stop(progress, stop))
        with read_library(source, self._location, text_checks(), told) as (manifest, photos):
            photos = take_pictures(photos, self._open(create=True))
            return self._take_in("virtue merge", manifest, photos, str(other))

    def _require_writable(self, command: str) -> None:
        """Raises what writing to this library would, if there is one, before anything long is read."""
        try:
            store = self._open()
        except LibraryNotFoundError:
            return
        with store.write(command):
            pass

    def _take_in(
        self, command: str, manifest: ExportManifest, photos: Iterable[PhotoExport], source: str
    ) -> ImportSummary:
        from virtue.tasks.take_in import take_in

        store = self._open(create=True)
        with store.write(command) as writer:
            summary = take_in(store, writer, manifest, photos, source)
            self._refresh_indexes(writer)
        return summary

    def verify(self, *, repair: bool = False) -> list[Fault]:
        """Checks the files of this library, and returns what is wrong, as found before any repair. An empty
        list: sound.

        `repair` drops what is damaged and embeds the photos concerned anew, from their files. If a file
        cannot be read now, nothing is changed, and a fault of the kind "photo" says so.

        Raises:
            ModelError: the model is not there, so no photo can be embedded anew.
            ModelMismatchError: it is another than the one that the library was made with.
        """
        from virtue.tasks.add_pictures import find_lost_pictures
        from virtue.tasks.repair import repair as mend
        from virtue.tasks.repair import text_checks

        faults = self.store.verify(text_checks())
        if not faults:
            faults = find_lost_pictures(self.store)
        if repair and faults:
            with self.store.write("virtue verify --repair") as writer:
                if refusal := mend(self.store, writer, self.embedder, faults):
                    return [*faults, refusal]
                self._refresh(writer)
        return faults

    @property
    def name(self) -> str:
        """What the library is called: its absolute folder, or its address on a server, without a password."""
        if self.folder is not None:
            return str(self.folder.absolute())
        return hide_secrets(str(self._location))

    @property
    def store(self) -> Store:
        return self._open()

    @property
    def embedder(self) -> Embedder:
        """The model that this library is searched with."""
        with self._opening:  # threads share one
            if self._embedder is None:
                self._embedder = self._load_own() if self._model is None else self._load(self._model)
            return self._embedder

    def _load_own(self) -> Embedder:
        """Loads the model that the library was made with, which is never downloaded."""
        from virtue.embedder import Embedder
        from virtue.embedder.families import load_model_of_library
        from virtue.torch_device import split_devices

        with self._open().read() as snapshot:
            model = snapshot.generation.model if snapshot.generation else DEFAULT_MODEL
        device, devices = split_devices(self._device, ModelError)
        return Embedder(load_model_of_library(model, dtype=self._dtype, device=device), devices)

    def _load(self, model: Embedder | str) -> Embedder:
        from virtue.embedder import Embedder

        if not isinstance(model, str):
            return model
        return Embedder.from_pretrained(model, offline=self._offline, dtype=self._dtype, device=self._device)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _open(self, *, create: bool = False) -> Store:
        with self._opening:
            if self._store is None:
                from virtue.store import open_store

                self._store = open_store(
                    self._location,
                    create=create,
                    read_only=self._read_only,
                    vectors_device=self._vectors_device,
                )
                if not self._read_only:
                    _follow_folder(self._store)
            return self._store

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _follow_folder(store: Store) -> None:
    """Notes where the pictures are that were added, if the library's folder was moved or copied with them. If
    another process is writing, a later opening does."""
    folder = None if store.folder is None else folder_of(store.folder)
    if folder is None or not os.path.isdir(folder):
        return
    with store.read() as snapshot:
        was = next((root.path for root in snapshot.roots() if is_folder(root.path)), folder)
    if was != folder:
        with suppress(LockedError), store.write("following its folder") as writer:
            writer.move(was, folder)


def as_list(paths: PathLike | Iterable[PathLike]) -> list[PathLike]:
    """Returns the paths, of which one alone may be given.

    Raises:
        InputError: one is empty, which would mean the working directory.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
    if any(path in ("", b"") for path in several):
        raise InputError("a path is empty: name a photo or a folder")
    return several


def _report_merging(progress: Callable[[Progress], None] | None) -> ProgressCallback:
    """Returns what a merge tells how far it is."""
    began = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        if progress:
            from virtue.indexer import Progress

            progress(Progress("merging", done, total, 0, time.monotonic() - began, what))

    return report


def _report_indexes(progress: Callable[[Progress], None] | None) -> ProgressCallback | None:
    """What tells `progress` what the store does for indexes."""
    if progress is None:
        return None
    from virtue.indexer import Progress

    return lambda what, done, total: progress(Progress("indexes", done, total, what=what))


def _with_say(
    progress: Callable[[Progress], None] | None, say: ProgressCallback | None
) -> Callable[[Progress], None] | None:
    """`progress` alone, or with the deprecated `say`, which was told of indexes in its place."""
    if say is None:
        return progress
    warnings.warn("say= is part of progress= now", DeprecationWarning, stacklevel=3)

    def tell(event: Progress) -> None:
        if event.stage == "indexes":
            say(event.what, event.done, event.total or 0)
        elif progress:
            progress(event)

    return tell
