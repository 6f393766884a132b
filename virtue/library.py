"""`Library`: the few names a program needs. It joins the rooms; it does no work of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from virtue.errors import InputError
from virtue.location import locate

if TYPE_CHECKING:
    import numpy as np

    from virtue.embedder import Embedder
    from virtue.embedder.model import Find
    from virtue.indexer import Progress, Report
    from virtue.retrieval import Hit
    from virtue.retrieval.similar import Similar
    from virtue.store import Fault, Store, Tuning
    from virtue.store.records import Kind

DEFAULT_MODEL = "mini"


class Library:
    """A folder of vectors and metadata, searched with the model that made it.

    Args:
        folder: where it lives; None: `$VIRTUE_DATABASE`, the nearest `.virtue/`, or the user's data
            folder. Made by the first `index`.
        embedder: the model, or its name. None: the one the library was made with, for a new library
            the bundled `mini`. Loaded when first needed.
        offline: download no model; use what is on this machine.
        read_only: never write, so that a library on a network share or a read-only disk can be used.

    Raises:
        LibraryNotFoundError: on any use but `index`, when there is no library in `folder`.
        StoreError: the folder cannot be used as a library; the sentence says why.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        embedder: Embedder | str | None = None,
        offline: bool = False,
        read_only: bool = False,
    ) -> None:
        self._offline = offline
        self.folder: Path = locate(folder)
        self._read_only = read_only
        self._model = embedder
        self._embedder: Embedder | None = None
        self._store: Store | None = None

    @classmethod
    def create(cls, folder: str | os.PathLike[str]) -> Library:
        """An empty library in `folder`; one that is there already is opened as it is."""
        library = cls(folder)
        library._open(create=True)
        return library

    def index(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        *,
        regions: str | int | None = None,
        exclude: Sequence[str] = (),
        annotations: str | os.PathLike[str] | None = None,
        captions: str | os.PathLike[str] | None = None,
        rehash: bool = False,
        reembed: bool = False,
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Indexes photos and folders of photos; without `paths`, all that were indexed before.

        Args:
            regions: `"auto"`, `"none"`, or the most proposals a photo may have. None: as these
                folders were last indexed.
            exclude: glob patterns of names or paths to leave out.
            annotations: a COCO JSON file whose boxes and masks become regions.
            captions: a CSV or JSONL file with path, caption and perhaps x, y, w, h.
            rehash: open files of unchanged size and time too.
            reembed: embed everything anew with this library's (new) model.
            progress: called now and then with how far it is.

        Raises:
            InputError: a path does not exist, or an option or file cannot be used.
            LockedError: another process is writing.
            ModelMismatchError: the library's vectors are of another model.
        """
        from virtue.indexer import index

        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        report = index(
            self._open(create=True),
            self.embedder,
            list(paths),
            regions=regions,
            exclude=exclude,
            annotations=annotations,
            captions=captions,
            rehash=rehash,
            reembed=reembed,
            workers=workers,
            progress=progress,
        )
        self._refresh_indexes()
        self._refresh_distributions()
        return report

    def _refresh_indexes(self) -> None:
        with self.store.read() as snapshot:
            if not snapshot.is_large():
                return
        with self.store.write("virtue index") as writer:
            writer.refresh_indexes(texts=self._tuning_texts)

    def _refresh_distributions(self) -> None:
        with self.store.read() as snapshot:
            if not snapshot.distributions_due():
                return
        from virtue.retrieval.words import SampleQueries

        with self.store.write("virtue index") as writer:
            writer.refresh_distributions(SampleQueries(self.embedder))

    def _tuning_texts(self) -> np.ndarray:
        from virtue.retrieval.words import tuning_texts

        with self.store.read() as snapshot:
            return tuning_texts(snapshot, self.embedder)

    def tune(self, *, recall: float = 0.95) -> list[Tuning]:
        """Measures how far searches must go in the indexes of this library to find that share of the
        ten best rows, for texts and for images, and makes searches go as far.

        Returns:
            What was found; nothing if the library is small enough to be read whole.

        Raises:
            InputError: the recall is not between 0 and 1.
            LockedError: another process is writing.
        """
        if not 0 < recall <= 1:
            raise InputError(f"the recall must lie between 0 and 1, not {recall}")
        with self.store.read() as snapshot:
            if not snapshot.is_large():
                return []
        texts = self._tuning_texts()
        with self.store.write("virtue tune") as writer:
            kinds: tuple[Kind, ...] = ("regions", "captions")
            return [tuned for kind in kinds for tuned in writer.tune(kind, texts=texts, target=recall)]

    def search(
        self,
        query: Any,
        *,
        without: Any = (),
        find: Find = "regions",
        top: int = 10,
        all_regions: bool = False,
        min_score: float | Literal["auto"] | None = None,
    ) -> list[Hit]:
        """The best hits for a query, best first.

        Args:
            query: a text (str); an image (path object, PIL image, array, bytes); a dict with
                `image` and any of `box` (x0, y0, x1, y1), `points` [(x, y, 1 or 0)], `mask`, `text`, or
                with `region_id` or `photo_id`, and with a `weight`; a hit; a list of these, added up; or
                a `Query`.
            without: what hits should not look like: the same kinds of things, but no `Query`.
            find: `"regions"`, `"photos"` or `"captions"`.
            top: how many hits, if the library has them.
            all_regions: more than one region of a photo.
            min_score: drop hits below it; `"auto"`: below the gap after the hits that fit. Scores of
                different kinds of query do not compare, their percentiles do.

        Raises:
            EmptyLibraryError, ModelMismatchError, PictureError, PromptError.
        """
        from virtue.retrieval import Query, search

        store = self._open()
        query = Query.of(query, without)
        return search(
            store, self.embedder, query, find=find, top=top, all_regions=all_regions, min_score=min_score
        )

    def similar(
        self, path: str | os.PathLike[str] | None = None, *, threshold: float | None = None
    ) -> list[list[Similar]]:
        """Near-duplicates in three tiers: the same bytes, the same picture (rescaled, recompressed), similar.

        Args:
            path: a photo, in this library or not, or a folder of photos: what the library has of each. None:
                the duplicates within the library, same bytes and same picture.
            threshold: dot product of whole photos from which on they are similar, 0.8 by default.

        Returns:
            Groups; the first of each is what the others are compared with: the photo at `path`, or the
            largest picture.

        Raises:
            EmptyLibraryError, InputError, ModelMismatchError, PictureError.
        """
        from virtue.retrieval.similar import SIMILAR, similar

        limit = SIMILAR if threshold is None else threshold
        return similar(self._open(), lambda: self.embedder, path, limit)

    def forget(self, paths: Iterable[str | os.PathLike[str]]) -> int:
        """Takes files, or all files below folders, out of the library; the files stay where they are.

        Returns:
            How many files were forgotten.
        """
        with self.store.write("virtue forget") as writer:
            return writer.forget([os.path.abspath(os.fsencode(path)) for path in paths])

    def verify(self, *, repair: bool = False) -> list[Fault]:
        """What is wrong with the files of this library, as found before any repair. An empty list: sound.

        `repair` drops what is damaged and embeds the photos concerned anew, from their files.
        """
        faults = self.store.verify()
        if repair and faults:
            with self.store.write("virtue verify --repair") as writer:
                writer.repair()
            self.index()
        return faults

    @property
    def store(self) -> Store:
        return self._open()

    @property
    def embedder(self) -> Embedder:
        """The model that this library is searched with."""
        if self._embedder is None:
            from virtue.embedder import Embedder

            model = self._model
            if model is None:
                with self._open().read() as snapshot:
                    model = snapshot.generation.model if snapshot.generation else DEFAULT_MODEL
            self._embedder = (
                Embedder.from_pretrained(model, offline=self._offline) if isinstance(model, str) else model
            )
        return self._embedder

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _open(self, *, create: bool = False) -> Store:
        if self._store is None:
            from virtue.store import Store

            self._store = Store.open(self.folder, create=create, read_only=self._read_only)
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
