"""Photos that lie elsewhere now stay what they are in the library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexer.shelf import Shelf
from tests.store.builders import DIM, file, filled, found, photo
from virtue import Library
from virtue.errors import InputError
from virtue.store import open_store


def paths(folder: Path) -> list[bytes]:
    with open_store(folder) as store, store.read() as snapshot:
        return sorted(snapshot.files())


def roots(folder: Path) -> list[bytes]:
    with open_store(folder) as store, store.read() as snapshot:
        return [root.path for root in snapshot.roots()]


def test_a_moved_folder_is_known_without_opening_a_photo(shelf: Shelf) -> None:
    shelf.photo("a.png", "red")
    shelf.photo("below/b.png", "blue")
    (shelf.photos / "a.txt").write_text("red")
    (shelf.photos / os.fsdecode(b"odd\xff")).mkdir()
    shelf.photo(os.fsdecode(b"odd\xff/c\xfe.png"), "green")
    shelf.index(regions=2)
    shelf.index(shelf.photos / "below", regions=1)
    new = shelf.folder / "a place with a longer name"
    shutil.move(shelf.photos, new)
    with Library(shelf.folder / "library") as library:
        assert library.move(shelf.photos, new) == 3
    assert roots(library.folder) == [os.fsencode(new), os.fsencode(new / "below")]
    report = shelf.index(new)
    assert (report.unchanged, report.recaptioned, report.relinked, report.missing) == (3, 0, 0, 0)
    assert shelf.model.pictures == 0 and shelf.model.texts == []
    assert set(shelf.captions()) == {("a.png", "sidecar", "red")}


def test_a_part_of_a_library_can_move_into_another_part(shelf: Shelf) -> None:
    for name in ("a/1.png", "a/deep/2.png", "b/3.png", "ab/4.png"):
        shelf.photo(name, (len(name), 0, ord(name[0])))
    shelf.index()
    (shelf.photos / "b" / "deep").mkdir()
    shutil.move(shelf.photos / "a", shelf.photos / "b" / "deep" / "a")
    with Library(shelf.folder / "library") as library:
        assert library.move(shelf.photos / "a", shelf.photos / "b" / "deep" / "a") == 2
    assert shelf.index().unchanged == 4


def test_into_itself_and_out_again(shelf: Shelf) -> None:
    shelf.photo("1.png")
    shelf.photo("photos/1.png", "blue")
    shelf.index()
    before = paths(shelf.folder / "library")
    inner = shelf.photos / "photos"
    with Library(shelf.folder / "library") as library:
        assert library.move(shelf.photos, inner) == 2
        assert paths(library.folder) == [
            os.fsencode(inner / "1.png"), os.fsencode(inner / "photos" / "1.png")
        ]  # fmt: skip
        assert library.move(inner, shelf.photos) == 2
    assert paths(shelf.folder / "library") == before
    assert roots(shelf.folder / "library") == [os.fsencode(shelf.photos)]


def test_one_photo(shelf: Shelf) -> None:
    old = shelf.photo("1.png")
    shelf.index()
    new = shelf.photos / "2.png"
    old.rename(new)
    with Library(shelf.folder / "library") as library:
        assert library.move(old, new) == 1
    assert shelf.index().unchanged == 1


def test_what_cannot_be_is_refused_and_changes_nothing(shelf: Shelf) -> None:
    shelf.photo("a/1.png")
    shelf.photo("b/1.png", "blue")
    shelf.index()
    before = paths(shelf.folder / "library")
    with Library(shelf.folder / "library") as library:
        for old, new, said in [
            ("a", "b", r"already has .*/b/1\.png: .*forget"),
            ("a", "c", "there is nothing at"),
            ("c", "b", "has no photo at"),
        ]:
            with pytest.raises(InputError, match=said):
                library.move(shelf.photos / old, shelf.photos / new)
        shelf.index(shelf.photos / "a", regions=1)
        (shelf.photos / "b" / "1.png").unlink()
        library.forget([shelf.photos / "b" / "1.png"])
        shelf.index(shelf.photos / "b", regions=1)
        with pytest.raises(InputError, match=r"already has .*/b: "):
            library.move(shelf.photos / "a", shelf.photos / "b")
    assert paths(shelf.folder / "library") == before[:1]


names = st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & set(b"/\0"))
places = st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts))


@settings(max_examples=40)
@given(st.lists(places, unique=True, min_size=1, max_size=8), places, places)
def test_paths_of_any_bytes_move_as_python_would_move_them(
    tmp_path_factory: pytest.TempPathFactory, lying: list[bytes], old: bytes, new: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "library"
    with filled(folder, 0) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.commit([photo(n) for n in range(len(lying))], [file(path, n) for n, path in enumerate(lying)])
        inside = [path for path in lying if path == old or path.startswith(old + b"/")]
        moved = [new + path[len(old) :] for path in inside]
        if set(moved) & (set(lying) - set(inside)):
            with pytest.raises(InputError, match="already"):
                writer.move(old, new)
            assert paths(folder) == sorted(lying)
        else:
            assert writer.move(old, new) == len(inside)
            assert paths(folder) == sorted([*moved, *(set(lying) - set(inside))])
        with store.read() as snapshot:
            assert len(found(snapshot)) == 2 * len(lying)


def test_the_top_of_a_disk(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store, store.write("test") as writer:
        writer.remember_root(b"/", "{}")
        assert writer.move(b"/", b"/mnt/disk") == 3
        assert paths(store.folder)[0] == b"/mnt/disk/photos/0.jpg"
        assert roots(store.folder) == [b"/mnt/disk"]
        assert writer.move(b"/mnt/disk", b"/") == 3
        assert paths(store.folder)[0] == b"/photos/0.jpg"
        assert roots(store.folder) == [b"/"]
