"""What writes to a library: what every store does, and what all do alike with the tables."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from virtue.errors import DamagedError, InputError, StoreError
from virtue.paths import printable, quote
from virtue.store.catalogue import annotating, forgetting, queries, schema, token_tables, writes
from virtue.store.catalogue.database import WriteConnection
from virtue.store.job_queue import JobQueue
from virtue.store.records import (
    KINDS,
    LEFT_OUT,
    CaptionUpdate,
    EmbeddedPhoto,
    Fault,
    FileRecord,
    Generation,
    Kind,
    PhotoChange,
    TextChecks,
    TuningResult,
    Waste,
)
from virtue.store.vectors import row_files
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

if TYPE_CHECKING:
    from virtue.store.calibration import MakeQueries
    from virtue.store.records import ProgressCallback

log = logging.getLogger("virtue")


class Writer(ABC):
    """Writes to a library: made by `Store.write`, good until that block ends. Several threads may call it in
    turn. Every method is one commit.

    A method either commits all of what it is given or, by raising, nothing.

    Attributes:
        target: the generation that `commit` writes to: the one that `generation` returned last,
            before that the active one. None: there is none yet.
        jobs: the files that several processes work on, in a block of `sharing`; None: this one works alone.
        longest_path: as of `Store`.
    """

    target: Generation | None
    jobs: JobQueue | None = None
    longest_path: int | None = None
    _name: str
    _has_new_tokens = False

    # -- what each store does in its own way -------------------------------------------------------------

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[WriteConnection]:
        """One transaction, alone among threads and processes that write."""

    @abstractmethod
    def _append(self, connection: WriteConnection, kind: Kind, vectors: np.ndarray) -> int:
        """Adds fp16 vectors to the target's; returns the row of the first, from which the others count up."""

    @abstractmethod
    def _remove_leftovers(self) -> None:
        """Removes what belongs to no generation and to no index any more."""

    @abstractmethod
    def repair(self, checks: TextChecks | None = None) -> list[Fault]:
        """Repairs what it can, by dropping vectors that are lost, and builds lost indexes again; returns what
        was wrong.

        Args:
            checks: as of `Store.verify`.

        Raises:
            DamagedError: the catalogue itself is damaged.
        """

    @abstractmethod
    def refresh_indexes(
        self,
        *,
        max_scanned_floats: int = MAX_SCANNED_FLOATS,
        texts: Callable[[], np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        """Brings the target's indexes up to date: builds one if there are too many rows for a scan, adds new
        rows, and trains again if the training is too old. Searches use the old ones until each is complete.
        New training is tuned at once. Several commits.

        Args:
            max_scanned_floats: rows x dimensions up to which no index is made.
            texts: gives vectors (n, dim) of texts such as are searched for, to tune with; called if
                needed. None: the captions of the library stand for them.
            progress: called as (what is being done, rows done, rows in all).

        Returns:
            What tuning found, of indexes that were trained.

        Raises:
            StoreError: the disk is full, or fails.
        """

    @abstractmethod
    def tune(
        self,
        kind: Kind = "regions",
        *,
        texts: np.ndarray | None = None,
        images: np.ndarray | None = None,
        target: float = 0.95,
        progress: ProgressCallback | None = None,
    ) -> list[TuningResult]:
        """Measures how much of the index of this kind searches must read to find `target` of the ten best
        rows, and stores it, for each kind of query.

        Args:
            texts, images: (n, dim) float32, queries such as come; the first 500 are used. None: captions
                of the library stand for texts, and regions, each without the rest of its photo, for
                images. Of less than 50 nothing is learnt: then texts get twice the lists and four times
                the candidates that images need, unmeasured.
            progress: called as (what is being done, kinds of query done, kinds in all).

        Returns:
            What was found; nothing if there is no index, or none that is sound.

        Raises:
            ValueError: queries of another dimension, or not finite.
        """

    @abstractmethod
    def refresh_calibration(self, make_queries: MakeQueries) -> bool:
        """Measures how high the best hits of sample queries score, if that was never done or the library was
        a fifth smaller or larger then; returns whether anything was due.

        Args:
            make_queries: gives them, so that the store need not know the model.

        Raises:
            DamagedError: a row file is gone or too short.
        """

    @abstractmethod
    def waste(self) -> Waste:
        """Returns what `compact` would free."""

    @abstractmethod
    def compact(self) -> Waste:
        """Frees the tombstones of all generations and the unused space in the catalogue; returns what that
        freed. Indexes are dropped: `refresh_indexes` builds them again.

        Raises:
            DamagedError: rows are not what was written.
            StoreError: the disk is full, or fails.
        """

    def sharing(self, *, fills: bool) -> AbstractContextManager[None]:
        """Shares the work on files with other processes, for as long as the block lasts; a library that one
        process writes to at a time does not.

        Args:
            fills: whether this process lists files to work on.
        """
        return nullcontext()

    # -- what all do alike -------------------------------------------------------------------------------

    def generation(self, model: str, fingerprint: str, dim: int) -> Generation:
        """Returns the generation of this model, and makes it if there is none. The first ever is active at
        once, others after `activate`.

        Raises:
            DamagedError: the same model had vectors of another dimension.
        """
        with self._transaction() as connection:
            known = queries.generations(connection)
            found = next((g for g in known if g.fingerprint == fingerprint), None)
            if found is None:
                id = writes.next_id(connection, schema.generations)
                found = Generation(id, model, fingerprint, dim, active=not known)
                self._add(connection, found)
        if found.dim != dim:
            raise DamagedError(
                f"the library says that vectors of its model have {found.dim} dimensions, and they have {dim}"
            )
        self.target = found
        return found

    def _add(self, connection: WriteConnection, new: Generation) -> None:
        values = {name: getattr(new, name) for name in ("id", "model", "fingerprint", "dim", "active")}
        writes.insert(connection, schema.generations, [values])
        files = [{"generation_id": new.id, "kind": kind, "count": 0} for kind in KINDS]
        writes.insert(connection, schema.row_files, files)
        writes.count_commit(connection)

    def commit(
        self,
        embedded: Sequence[EmbeddedPhoto] = (),
        files: Sequence[FileRecord] = (),
        missing: Iterable[bytes] = (),
        captions: Sequence[CaptionUpdate] = (),
    ) -> None:
        """Stores photos with their vectors, what became of files, and new captions of photos that
        are stored already; in this order, at once.

        A photo that is named twice counts as it is named last. A photo that no path leads to when
        the writer is closed is dropped.

        Args:
            files: `hash` names a photo that is stored, perhaps by this very commit.
            missing: paths where nothing is any more; they stay until `forget`.

        Raises:
            ValueError: vectors of another dimension than the target's or not of unit length, a
                photo that is not stored, no target.
            StoreError: the disk is full, or fails.
            DamagedError: a row file is too short to go on.
        """
        photos = list({photo.info.hash: photo for photo in embedded}.values())
        updates = list({update.hash: update for update in captions}.values())
        latest = list({file.path: file for file in files}.values())
        began = time.perf_counter()
        vectors = self._encode(photos, updates)
        self._has_new_tokens = True
        with self._commit() as connection:
            if photos or updates:
                self._require(connection, self._target().id)
            self._settle_jobs(connection, photos, latest, updates)
            touched = self._put_photos(connection, photos, vectors) if photos else set()
            touched |= writes.put_files(connection, latest)
            touched |= writes.mark_missing(connection, list(missing))
            writes.settle_live(connection, touched)
            for update in updates:
                self._update_captions(connection, update)
        rows = sum(len(each) for kind in vectors.values() for each in kind)
        rows += sum(len(update.captions) for update in updates)
        seconds = time.perf_counter() - began
        log.info("%s: committed %d photos, %d rows (%.2f s)", self._name, len(photos), rows, seconds)

    def _settle_jobs(
        self,
        connection: WriteConnection,
        photos: Sequence[EmbeddedPhoto],
        files: Sequence[FileRecord],
        updates: Sequence[CaptionUpdate],
    ) -> None:
        """Ends the jobs of what is committed, where there are any."""
        return

    def annotate(self, changes: Sequence[PhotoChange]) -> None:
        """Changes what is said of photos, at once.

        Raises:
            ValueError: vectors of another dimension than the target's or not of unit length, no target.
            StoreError: the disk is full, or fails.
        """
        target = self._target()
        for each in changes:
            photo = f"photo {each.photo_id}"
            row_files.encode(each.region_vectors, len(each.region_vectors), target.dim, photo)
            row_files.encode(each.caption_vectors, len(each.caption_vectors), target.dim, photo)
        self._has_new_tokens = True
        with self._commit() as connection:
            self._require(connection, target.id)
            self._outdate(connection, [each.photo_id for each in changes])

            def append(kind: Kind, vectors: np.ndarray) -> int:
                rows = row_files.encode(vectors, len(vectors), target.dim, kind)
                return self._append(connection, kind, rows)

            for each in changes:
                annotating.change_photo(connection, target.id, each, append)

    def _encode(
        self, photos: Sequence[EmbeddedPhoto], updates: Sequence[CaptionUpdate]
    ) -> dict[Kind, list[np.ndarray]]:
        """The vectors of photos as they are stored, after all that is given was checked."""
        encoded: dict[Kind, list[np.ndarray]] = {"regions": [], "captions": []}
        if not photos and not updates:
            return encoded
        dim = self._target().dim
        for photo in photos:
            writes.check_captions(photo)
            hash = photo.info.hash.hex()
            regions = row_files.encode(photo.region_vectors, len(photo.regions), dim, f"regions of {hash}")
            encoded["regions"].append(regions)
            texts = row_files.encode(photo.caption_vectors, len(photo.captions), dim, f"captions of {hash}")
            encoded["captions"].append(texts)
        for update in updates:
            name = f"captions of {update.hash.hex()}"
            row_files.encode(update.vectors, len(update.captions), dim, name)
        return encoded

    def _put_photos(
        self,
        connection: WriteConnection,
        photos: Sequence[EmbeddedPhoto],
        vectors: dict[Kind, list[np.ndarray]],
    ) -> set[int]:
        target = self._target().id
        ids = writes.put_photos(connection, [photo.info for photo in photos])
        writes.drop_vectors(connection, target, ids.values())
        self._outdate(connection, ids.values())
        settings = [
            {"photo_id": ids[p.info.hash], "generation_id": target, "settings": p.settings} for p in photos
        ]
        writes.insert(connection, schema.embeddings, settings)
        row = self._append(connection, "regions", np.concatenate(vectors["regions"]))
        regions = writes.put_regions(
            connection, target, [(ids[photo.info.hash], photo.regions) for photo in photos], row
        )
        row = self._append(connection, "captions", np.concatenate(vectors["captions"]))
        located = []
        for photo in photos:
            own, regions = regions[: len(photo.regions)], regions[len(photo.regions) :]
            for caption in photo.captions:
                region = None if caption.region is None else own[caption.region]
                located.append((ids[photo.info.hash], caption, region))
        writes.put_captions(connection, target, located, row)
        return set(ids.values())

    def _require(self, connection: WriteConnection, generation: int) -> None:
        """Raises StoreError if another process has dropped a generation, by activating one of its own."""
        if generation not in {each.id for each in queries.generations(connection)}:
            raise StoreError(
                f"another process has given the library {self._name} another model: start again with that"
            )

    def _outdate(self, connection: WriteConnection, photos: Collection[int]) -> None:
        """Makes a generation that is being built embed these photos again, since what it has of them is older
        than what the active one has now."""
        if self._target().active:
            for generation in queries.generations(connection):
                if not generation.active:
                    writes.drop_vectors(connection, generation.id, photos)

    def _update_captions(self, connection: WriteConnection, update: CaptionUpdate) -> None:
        target = self._target()
        photo = writes.photo_ids(connection, [update.hash]).get(update.hash)
        if photo is None:
            raise ValueError(f"the photo {update.hash.hex()} was never stored")
        if any(caption.region is not None for caption in update.captions):
            raise ValueError("the captions of an update belong to the photo, not to regions")
        writes.drop_captions(connection, target.id, photo, update.sources)
        self._outdate(connection, [photo])
        vectors = row_files.encode(update.vectors, len(update.captions), target.dim, "captions")
        row = self._append(connection, "captions", vectors)
        writes.put_captions(connection, target.id, [(photo, c, None) for c in update.captions], row)
        if update.info is not None:
            writes.put_photos(connection, [update.info])
            token_tables.put_names(connection, [photo])
        if update.read_by is not None:
            writes.put_reader(connection, [photo], update.read_by)

    def activate(self, generation: Generation) -> None:
        """Makes searches use this generation, and drops all others with their files.

        Raises:
            StoreError: another process has activated one of its own, and dropped this.
        """
        with self._commit() as connection:
            self._require(connection, generation.id)
            writes.keep_user_annotations(connection, generation.id)
            others = (generation.id,)
            connection.exec_driver_sql("DELETE FROM generations WHERE id <> ?", others)
            connection.exec_driver_sql("UPDATE generations SET active = 1 WHERE id = ?", others)
            token_tables.drop_orphans(connection)
            token_tables.purge(connection)
        self.target = replace(generation, active=True)
        self._remove_leftovers()

    def remember_root(self, path: bytes, options: str) -> None:
        """Stores a folder or file that was indexed by name, with its options."""
        with self._commit() as connection:
            root = {"path": path, "options": options}
            writes.put(connection, schema.roots, [root], ["path"], ["options"])

    def leave_unread(self, hashes: Iterable[bytes]) -> None:
        """Notes that the text in these photos is not to be read."""
        with self._commit() as connection:
            writes.put_reader(connection, writes.photo_ids(connection, hashes).values(), LEFT_OUT)

    def move(self, old: bytes, new: bytes) -> int:
        """Changes the path of a file, or of a folder with all below it (absolute paths); returns how many
        files that were.

        Raises:
            InputError: the library has something else at one of the new paths, or one is too long; then
                nothing is changed.
        """
        with self._commit() as connection:
            taken = writes.in_the_way(connection, old, new)
            if taken is not None:
                raise InputError(
                    f"the library already has {printable(taken)}: if its photos were indexed there, "
                    f"forget {printable(old)}",
                    hint=f"virtue forget {quote(old)}",
                )
            moved = writes.move(connection, old, new)
            if self.longest_path and writes.longest_below(connection, new) > self.longest_path:
                raise InputError(
                    f"the library {self._name} takes no path longer than {self.longest_path:,} bytes: give "
                    f"folders at or below {printable(new)} shorter names"
                )
            token_tables.purge(connection)
            return moved

    def forget(self, paths: Iterable[bytes]) -> int:
        """Drops these paths and all below them, the roots among them, and photos that are left without a
        path that is still there; how many paths were known. Photos of files and folders that are no roots go
        on the list of `Snapshot.forgotten`, and are taken off it when a file of them is committed.

        Raises:
            InputError: the library knows nothing at one of the paths; then nothing is forgotten.
        """
        with self._commit() as connection:
            return forgetting.forget(connection, list(paths))

    def forget_photos(self, photo_ids: Collection[int]) -> int:
        """Drops photos with all their paths, which go on the list as in `forget`; how many paths there were.

        Raises:
            InputError: the library has not one of these photos; then nothing is forgotten.
        """
        with self._commit() as connection:
            return forgetting.forget_photos(connection, photo_ids)

    def unforget(self, paths: Iterable[bytes], hashes: Iterable[bytes] = ()) -> int:
        """Takes photos off the list of what was forgotten: those that lay at or below a path, and those of a
        hash; how many."""
        with self._commit() as connection:
            return forgetting.remember(connection, paths, hashes)

    def drop_paths(self, paths: Iterable[bytes]) -> None:
        """Drops paths, such as missing ones, and the photos that are left without any."""
        with self._commit() as connection:
            forgetting.drop_paths(connection, paths)

    def discard(self, hashes: Iterable[bytes]) -> None:
        """Drops the vectors of these photos in every generation, so that the next indexing embeds them again.
        The user's annotations are kept (`Snapshot.user_annotations`)."""
        with self._commit() as connection:
            writes.drop_vectors_keep_annotations(connection, writes.photo_ids(connection, hashes).values())
            self._has_new_tokens = True

    def drop_pathless_photos(self) -> None:
        """Drops the photos that no path leads to, as is done when the block of `Store.write` ends."""
        with self._transaction() as connection:
            left = writes.pathless(connection)
        if left:
            with self._commit() as connection:
                writes.drop_photos(connection, writes.pathless(connection))
                token_tables.purge(connection)
            self._has_new_tokens = False

    def purge_tokens(self) -> None:
        """Removes what captions and names no longer say from the disk, as is done when the block of
        `Store.write` ends."""
        if self._has_new_tokens:
            with self._transaction() as connection:
                token_tables.purge(connection)
            self._has_new_tokens = False

    @contextmanager
    def _commit(self) -> Iterator[WriteConnection]:
        """A transaction that makes a new version of the library."""
        with self._transaction() as connection:
            yield connection
            writes.count_commit(connection)

    def _target(self) -> Generation:
        if self.target is None:
            raise ValueError("there is no generation to write to: call generation() first")
        return self.target
