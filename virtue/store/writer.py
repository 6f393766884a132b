"""The one writer of a library. Every method is one commit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Engine, insert
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Connection

from virtue.errors import DamagedError, InputError
from virtue.paths import printable, quote
from virtue.store import layout as names
from virtue.store.ann import segments
from virtue.store.catalogue import annotating, database, forgetting, queries, schema, token_tables, writes
from virtue.store.catalogue.database import translate_errors
from virtue.store.disk import translate_disk_errors
from virtue.store.overwritten import LibraryStamp
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
)
from virtue.store.vectors import row_files
from virtue.store.vectors.exact import MAX_SCANNED_FLOATS

if TYPE_CHECKING:
    from virtue.store.calibration import MakeQueries
    from virtue.store.compaction import Waste
    from virtue.store.records import ProgressCallback

log = logging.getLogger("virtue")


class Writer:
    """Writes to a library: made by `Store.write`, good until that block ends. Several threads may call it in
    turn.

    A method either commits all of what it is given or, by raising, nothing.

    Attributes:
        target: the generation that `commit` writes to: the one that `generation` returned last,
            before that the active one. None: there is none yet.
    """

    target: Generation | None

    def __init__(self, folder: Path, engine: Engine, identity: tuple[int, int]) -> None:
        self._folder = folder
        self._identity = identity
        self._engine = engine
        self._turn = threading.Lock()
        self._stamp: LibraryStamp | None = None
        self._has_new_tokens = False
        with self._transaction() as connection:
            self.target = queries.active(connection)
        self._remove_leftovers()

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

    def _add(self, connection: Connection, new: Generation) -> None:
        values = {name: getattr(new, name) for name in ("id", "model", "fingerprint", "dim", "active")}
        connection.execute(insert(schema.generations).values(values))
        files = [{"generation_id": new.id, "kind": kind, "count": 0} for kind in KINDS]
        connection.execute(insert(schema.row_files), files)
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
            touched = self._put_photos(connection, photos, vectors) if photos else set()
            touched |= writes.put_files(connection, latest)
            touched |= writes.mark_missing(connection, list(missing))
            writes.settle_live(connection, touched)
            for update in updates:
                self._update_captions(connection, update)
        rows = sum(len(each) for kind in vectors.values() for each in kind)
        rows += sum(len(update.captions) for update in updates)
        seconds = time.perf_counter() - began
        log.info("%s: committed %d photos, %d rows (%.2f s)", self._folder, len(photos), rows, seconds)

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
        self, connection: Connection, photos: Sequence[EmbeddedPhoto], vectors: dict[Kind, list[np.ndarray]]
    ) -> set[int]:
        target = self._target().id
        ids = writes.put_photos(connection, [photo.info for photo in photos])
        writes.drop_vectors(connection, target, ids.values())
        self._outdate(connection, ids.values())
        settings = [
            {"photo_id": ids[p.info.hash], "generation_id": target, "settings": p.settings} for p in photos
        ]
        connection.execute(insert(schema.embeddings), settings)
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

    def _outdate(self, connection: Connection, photos: Collection[int]) -> None:
        """Makes a generation that is being built embed these photos again, since what it has of them is older
        than what the active one has now."""
        if self._target().active:
            for generation in queries.generations(connection):
                if not generation.active:
                    writes.drop_vectors(connection, generation.id, photos)

    def _update_captions(self, connection: Connection, update: CaptionUpdate) -> None:
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
        if update.read_by is not None:
            writes.put_reader(connection, [photo], update.read_by)

    def _append(self, connection: Connection, kind: Kind, vectors: np.ndarray) -> int:
        """Adds vectors to the target's row file; returns the row of the first."""
        target = self._target().id
        count = queries.row_count(connection, target, kind)
        if not len(vectors):
            return count
        key = {"generation_id": target, "kind": kind}
        last = "SELECT crc FROM checksums WHERE generation_id = ? AND kind = ? AND block = ?"
        crc = connection.exec_driver_sql(last, (target, kind, count // row_files.BLOCK)).scalar() or 0
        path = self._folder / names.row_file(kind, target)
        sums = row_files.append(path, count, crc, vectors, self._require_same)
        if self._stamp:
            self._stamp = self._stamp.with_rows(path)
        writes.put_checksums(connection, target, kind, sums)
        connection.execute(schema.row_files.update().filter_by(**key).values(count=count + len(vectors)))
        return count

    def activate(self, generation: Generation) -> None:
        """Makes searches use this generation, and drops all others with their files."""
        with self._commit() as connection:
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
            new = upsert(schema.roots).values(path=path, options=options)
            connection.execute(new.on_conflict_do_update(index_elements=["path"], set_={"options": options}))

    def leave_unread(self, hashes: Iterable[bytes]) -> None:
        """Notes that the text in these photos is not to be read."""
        with self._commit() as connection:
            writes.put_reader(connection, writes.photo_ids(connection, hashes).values(), LEFT_OUT)

    def move(self, old: bytes, new: bytes) -> int:
        """Changes the path of a file, or of a folder with all below it (absolute paths); returns how many
        files that were.

        Raises:
            InputError: the library has something else at one of the new paths; then nothing is changed.
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

    def repair(self, checks: TextChecks | None = None) -> list[Fault]:
        """Repairs what it can, by dropping vectors that are lost, and builds lost indexes again; returns what
        was wrong.

        Args:
            checks: as of `Store.verify`.

        Raises:
            DamagedError: the catalogue itself is damaged.
        """
        from virtue.store.verify import repair

        with self._commit() as connection:
            found = repair(connection, self._folder, checks)
        self._remove_leftovers()
        if any(fault.kind == "index" for fault in found):
            self.refresh_indexes()
        return found

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
        kinds = self._indexed_kinds(max_scanned_floats)
        if not kinds:
            return []
        from virtue.store.ann.manager import IndexManager

        indexes = IndexManager(self._folder, self._target(), self._transaction, self._commit)
        trained = [kind for kind in kinds if indexes.refresh(kind, max_scanned_floats, progress)]
        self._remove_leftovers()
        vectors = texts() if trained and texts is not None else None
        return [tuning for kind in trained for tuning in indexes.tune(kind, vectors, progress=progress)]

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
        if kind not in self._indexed_kinds():
            return []
        from virtue.store.ann.manager import IndexManager

        indexes = IndexManager(self._folder, self._target(), self._transaction, self._commit)
        return indexes.tune(kind, texts, images, target, progress)

    def refresh_calibration(self, make_queries: MakeQueries) -> bool:
        """Measures how high the best hits of sample queries score, if that was never done or the library was
        a fifth smaller or larger then; returns whether anything was due.

        Args:
            make_queries: gives them, so that the store need not know the model.

        Raises:
            DamagedError: a row file is gone or too short.
        """
        from virtue.store import calibration

        if self.target is None:
            return False
        target = self.target
        with self._transaction() as connection:
            finds = calibration.finds_due(connection, target.id)
            if not finds:
                return False
            stored = {
                kind: row_files.map_generation(connection, self._folder, target, kind) for kind in KINDS
            }
            found = calibration.measure(connection, target.id, finds, stored, make_queries)
        with self._commit() as connection:
            calibration.save(connection, target.id, found)
        return True

    def _indexed_kinds(self, max_scanned_floats: int = MAX_SCANNED_FLOATS) -> list[Kind]:
        """Returns the kinds that have an index, or should have one."""
        if self.target is None:
            return []
        target = self.target
        with self._transaction() as connection:
            return [
                kind
                for kind in KINDS
                if queries.row_count(connection, target.id, kind) * target.dim > max_scanned_floats
                or segments.find_index(connection, target.id, kind) is not None
            ]

    def waste(self) -> Waste:
        """Returns what `compact` would free."""
        from virtue.store.compaction import waste

        with self._transaction() as connection:
            return waste(connection, queries.generations(connection))

    def compact(self) -> Waste:
        """Frees the tombstones of all generations and the unused space in the catalogue; returns what that
        freed. Indexes are dropped: `refresh_indexes` builds them again.

        Raises:
            DamagedError: rows are not what was written.
            StoreError: the disk is full, or fails.
        """
        from virtue.store.compaction import compact, waste

        with self._transaction() as connection:
            generations = queries.generations(connection)
            found = waste(connection, generations)
            wasteful = [each for each in generations if waste(connection, [each]).dead]
        for generation in wasteful:
            with self._commit() as connection:
                id = compact(connection, self._folder, generation)
            if self.target is not None and self.target.id == generation.id:
                self.target = replace(generation, id=id)
            self._remove_leftovers()
        if wasteful:
            self._require_same()
            # The copy that a migration made names rows that are gone now, and what was forgotten since.
            (self._folder / names.BACKUP).unlink(missing_ok=True)
        self._require_same()
        freed = database.vacuum(self._folder)
        self._stamp = LibraryStamp.take(self._folder)
        return replace(found, bytes=found.bytes + freed)

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
    def _transaction(self) -> Iterator[Connection]:
        """One transaction, alone among threads and processes that write."""
        with translate_disk_errors(self._folder), self._turn, translate_errors(self._folder):
            self._require_same()
            try:
                with self._engine.begin() as connection:
                    yield connection
            finally:
                # Also after an error: SQLite may have copied pages of its log.
                self._stamp = LibraryStamp.take(self._folder)

    @contextmanager
    def _commit(self) -> Iterator[Connection]:
        """A transaction that makes a new version of the library."""
        with self._transaction() as connection:
            yield connection
            writes.count_commit(connection)

    def _require_same(self) -> None:
        """Raises StoreError if another library lies in the folder now: files there are not ours."""
        names.require_same(self._folder, self._identity)
        if self._stamp:
            self._stamp.require_same(self._folder)

    def _target(self) -> Generation:
        if self.target is None:
            raise ValueError("there is no generation to write to: call generation() first")
        return self.target

    def _remove_leftovers(self) -> None:
        """Cuts off what unfinished writes left behind the rows, and removes row files that belong
        to no generation and index files that belong to no index."""
        with self._transaction() as connection:
            counted = queries.row_counts(connection)
            indexed = [file.id for _, _, file in segments.all_segments(connection)]
        kept = {self._folder / names.index_file(id) for id in indexed}
        self._require_same()
        for generation, kind, count in counted:
            path = self._folder / names.row_file(kind, generation.id)
            kept.add(path)
            # Windows neither cuts nor removes a file that a reader has mapped; then another writer
            # will, and appending does not depend on it.
            with suppress(PermissionError):
                row_files.truncate(path, count, generation.dim)
        for path in [*names.row_files_in(self._folder), *names.index_files_in(self._folder)]:
            if path not in kept:
                with suppress(PermissionError):
                    path.unlink(missing_ok=True)
        self._stamp = LibraryStamp.take(self._folder)
