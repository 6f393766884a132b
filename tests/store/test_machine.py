"""Any sequence of commits, against a plain dictionary."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.store.builders import DIM, broken, file, found, name, photo, scored, vectors
from virtue.errors import InputError
from virtue.paths import is_below
from virtue.store import CaptionUpdate, EmbeddedPhoto, NewCaption, open_store

PHOTOS = st.integers(0, 5)
PATHS = st.sampled_from([b"/a/1.jpg", b"/a/2.jpg", b"/a/b/3.jpg", b"/ab/4.jpg", b"/c/\xff\n5.jpg"])
FOLDERS = st.sampled_from([b"/a", b"/a/", b"/a/b", b"/c", b"/", b"/nowhere"])


@dataclass
class Photo:
    settings: str
    regions: np.ndarray
    captions: np.ndarray
    found_captions: np.ndarray
    given: int


@dataclass
class Model:
    """What the store should hold. A path has a photo's number or a problem, and may be missing."""

    photos: dict[int, Photo] = field(default_factory=dict)
    embedded: set[int] = field(default_factory=set)
    paths: dict[bytes, int | str] = field(default_factory=dict)
    missing: set[bytes] = field(default_factory=set)

    def home(self, number: int) -> bytes | None:
        """The first path where the photo still is."""
        return min((p for p, n in self.paths.items() if n == number and p not in self.missing), default=None)

    def drop_pathless(self) -> None:
        for number in set(self.photos) - set(self.paths.values()):
            del self.photos[number]
            self.embedded.discard(number)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_store(self.folder / "library", create=True)
        self.model = Model()
        self.seed = 0

    @initialize()
    def begin(self) -> None:
        with self.store.write("begin") as writer:
            writer.generation("mini", "first", DIM)

    def _new(self, number: int, regions: int, captions: int, given: int) -> EmbeddedPhoto:
        self.seed += 1
        told = [NewCaption(f"found {n}", "sidecar") for n in range(captions)]
        told += [NewCaption(f"given {n}", "annotation", region=regions + 1 + n) for n in range(given)]
        made = photo(number, self.seed, regions, given, told, settings=f"settings {self.seed}")
        self.model.photos[number] = Photo(
            made.settings,
            made.region_vectors,
            made.caption_vectors[captions:],
            made.caption_vectors[:captions],
            given,
        )
        self.model.embedded.add(number)
        return made

    def _link(self, path: bytes, what: int | str) -> None:
        self.model.paths[path] = what
        self.model.missing.discard(path)

    @rule(
        items=st.lists(st.tuples(PATHS, PHOTOS), max_size=5),
        regions=st.integers(0, 3),
        captions=st.integers(0, 2),
        given=st.integers(0, 2),
        gone=st.sets(PATHS, max_size=2),
    )
    def index(
        self, items: list[tuple[bytes, int]], regions: int, captions: int, given: int, gone: set[bytes]
    ) -> None:
        """What indexing does: embeds what is not known, links what is."""
        with self.store.write("index") as writer:
            with self.store.read() as snapshot:
                known = snapshot.known_photos(name(number) for _, number in items)
            new = {number for _, number in items if name(number) not in known}
            embedded = [self._new(number, regions, captions, given) for number in sorted(new)]
            gone -= {path for path, _ in items}
            writer.commit(embedded, [file(path, number) for path, number in items], gone)
        for path, number in items:
            self._link(path, number)
        self.model.missing |= gone & set(self.model.paths)
        self.model.drop_pathless()

    @rule(number=PHOTOS, regions=st.integers(0, 3), captions=st.integers(0, 2), given=st.integers(0, 1))
    def embed_again(self, number: int, regions: int, captions: int, given: int) -> None:
        with self.store.write("index") as writer:
            writer.commit([self._new(number, regions, captions, given)])
        self.model.drop_pathless()

    @rule(number=PHOTOS, captions=st.integers(0, 3))
    def tell_again(self, number: int, captions: int) -> None:
        self.seed += 1
        told = tuple(NewCaption(f"found {n}", "metadata") for n in range(captions))
        update = CaptionUpdate(name(number), told, vectors(captions, self.seed))
        with self.store.write("index") as writer:
            if number in self.model.photos:
                writer.commit(captions=[update])
                self.model.photos[number].found_captions = update.vectors
            else:
                with pytest.raises(ValueError, match="never stored"):
                    writer.commit(captions=[update])

    @rule(path=PATHS)
    def spoil(self, path: bytes) -> None:
        with self.store.write("index") as writer:
            writer.commit(files=[broken(path)])
        self._link(path, "it ends too early")
        self.model.drop_pathless()

    @rule(paths=st.sets(st.one_of(PATHS, FOLDERS), max_size=2))
    def forget(self, paths: set[bytes]) -> None:
        tops = [path.rstrip(b"/") for path in paths]
        lost = [p for p in self.model.paths if any(p == top or p.startswith(top + b"/") for top in tops)]
        with self.store.write("forget") as writer:
            if any(not any(is_below(p, top) for p in self.model.paths) for top in tops):
                with pytest.raises(InputError, match="nothing at"):
                    writer.forget(paths)
                return
            there = {self.model.paths[p] for p in lost if p not in self.model.missing}
            left = {n for p, n in self.model.paths.items() if p not in lost and p not in self.model.missing}
            # The other names of a photo whose last is forgotten go with it.
            lost += [
                p
                for p, what in self.model.paths.items()
                if p not in lost and what in there - left and isinstance(what, int)
            ]
            assert writer.forget(paths) == len(lost)
        for path in lost:
            del self.model.paths[path]
            self.model.missing.discard(path)
        self.model.drop_pathless()

    @rule(numbers=st.sets(PHOTOS, max_size=3))
    def discard(self, numbers: set[int]) -> None:
        with self.store.write("repair") as writer:
            writer.discard(name(number) for number in numbers)
        self.model.embedded -= numbers

    @rule(path=PATHS, number=PHOTOS)
    def refused_commits_change_nothing(self, path: bytes, number: int) -> None:
        made = photo(number, seed=5)
        with self.store.write("index") as writer, pytest.raises(ValueError, match="never stored"):
            writer.commit([made], [file(path, number), file(path + b"x", 1234)])

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.folder / "library")

    @rule()
    def change_model(self) -> None:
        """All photos are embedded anew, while the old vectors stay in use until the end."""
        self.seed += 1
        with self.store.write("index") as writer:
            target = writer.generation("mini", f"model {self.seed}", DIM)
            for number in sorted(self.model.embedded):
                given = self.model.photos[number].given
                writer.commit([self._new(number, 1, 1, given)])
            writer.activate(target)

    @invariant()
    def finds_what_it_should(self) -> None:
        model = self.model
        regions: list[tuple[bytes, float]] = []
        captions: list[tuple[bytes, float]] = []
        for number in model.embedded:
            home, kept = model.home(number), model.photos[number]
            if home is not None:
                regions += scored(home, kept.regions)
                captions += scored(home, kept.captions) + scored(home, kept.found_captions)
        with self.store.read() as snapshot:
            # A caption that is told of a photo without vectors has one all the same.
            assert sorted(found(snapshot)) == sorted(regions)
            told = sorted(found(snapshot, "captions"))
            counts = snapshot.counts()
            assert len(regions) == counts.regions
            assert len(told) == counts.captions
            if model.embedded == set(model.photos):
                assert told == sorted(captions)

    @invariant()
    def knows_what_it_should(self) -> None:
        model = self.model
        with self.store.read() as snapshot:
            files = snapshot.files()
            assert set(files) == set(model.paths)
            for path, what in model.paths.items():
                state = files[path]
                assert state.missing == (path in model.missing)
                if isinstance(what, str):
                    assert (state.hash, state.problem, state.settings) == (None, what, None)
                else:
                    settings = model.photos[what].settings if what in model.embedded else None
                    assert (state.hash, state.problem, state.settings) == (name(what), None, settings)
            known = snapshot.known_photos(name(number) for number in range(10))
            assert known == {name(n): model.photos[n].settings for n in model.embedded}
            for number, kept in model.photos.items():
                handed = snapshot.user_annotations(name(number))
                assert [region.category for region in handed.regions] == [
                    f"thing {n}" for n in range(kept.given)
                ]
                assert [caption.region for caption in handed.captions] == list(range(kept.given))

    @invariant()
    def is_sound(self) -> None:
        assert self.store.verify() == []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=20)
