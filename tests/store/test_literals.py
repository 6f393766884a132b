"""The tokens of captions and names are those of the library, whatever is written to it."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.builders import DIM, as_of, file, filled, photo, vectors
from virtue.errors import DamagedError
from virtue.store import CaptionUpdate, NewCaption, PhotoInfo, Store, open_store
from virtue.store import layout as names
from virtue.store.records import Field

SAID = NewCaption("Greek coins from Pompeii", "sidecar"), NewCaption("Anna's tabby", "file")

FIRST = file("/photos/0.jpg", 0)


def found(store: Store, field: Field, word: str) -> list[str]:
    with store.read() as snapshot:
        documents = snapshot.find_tokens(field, [word])
        assert snapshot.count_tokens(field, [word]).get(word, 0) == len(documents) or len(documents) == 0
        return [" ".join(document.tokens) for document in documents]


def holds(store: Store, text: bytes) -> bool:
    """Whether the files of the library hold these bytes, all of its log being written back."""
    with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return any(text in path.read_bytes() for path in store.folder.glob("catalogue.db*"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "library", create=True)
    with store.write("test") as writer:
        writer.generation("m", "f", DIM)
        for number in range(4):
            info = PhotoInfo(number.to_bytes(16, "big"), 100, 80, tags=(f"tag{number}x",))
            captions = SAID if number == 0 else ()
            writer.commit(
                [photo(number, captions=captions, info=info)], [file(f"/photos/{number}.jpg", number)]
            )
    return store


def sound(store: Store) -> bool:
    return store.verify() == []


def test_captions_tags_and_paths_are_found_as_soon_as_they_are_committed(store: Store) -> None:
    assert found(store, "caption", "pompeii") == ["greek coins from pompeii"]
    assert found(store, "caption", "tabby") == ["anna s tabby"]
    assert len(found(store, "name", "tag")) == 4
    assert found(store, "caption", "tag") == found(store, "name", "pompeii") == []
    assert sound(store)


def test_new_captions_take_the_place_of_old_ones(store: Store) -> None:
    new = NewCaption("Roman coins", "sidecar")
    with store.write("test") as writer:
        writer.commit(captions=[CaptionUpdate((0).to_bytes(16, "big"), (new,), vectors(1, 5))])
    assert found(store, "caption", "roman") == ["roman coins"]
    assert found(store, "caption", "pompeii") == []
    assert found(store, "caption", "tabby") == ["anna s tabby"], "a user's stays"
    assert not holds(store, b"pompeii")
    assert sound(store)


def test_a_photo_that_is_embedded_again_is_found_by_what_is_said_now(store: Store) -> None:
    info = PhotoInfo((0).to_bytes(16, "big"), 100, 80, tags=("other",))
    with store.write("test") as writer:
        writer.commit([photo(0, captions=(NewCaption("a new one", "sidecar"),), info=info)])
    assert found(store, "caption", "new") == ["a new one"]
    assert found(store, "caption", "pompeii") == []
    assert len(found(store, "name", "other")) == 1
    assert len(found(store, "name", "tag")) == 3
    assert sound(store)


def test_what_is_forgotten_is_gone_at_once(store: Store) -> None:
    path = FIRST.path
    assert holds(store, b"pompeii")
    with store.write("test") as writer:
        writer.forget([path])
        assert found(store, "caption", "pompeii") == []
        assert len(found(store, "name", "tag")) == 3
    assert not holds(store, b"pompeii")
    assert not holds(store, b"tabby")
    assert sound(store)


def test_a_missing_photo_has_no_names_until_it_is_back(store: Store) -> None:
    with store.write("test") as writer:
        writer.commit(missing=[FIRST.path])
    assert found(store, "caption", "pompeii") == []
    assert len(found(store, "name", "tag")) == 3
    assert sound(store)
    with store.write("test") as writer:
        writer.commit(files=[FIRST])
    assert found(store, "caption", "pompeii") != []
    assert len(found(store, "name", "tag")) == 4
    assert sound(store)


def test_a_photo_is_found_by_where_it_is_now(store: Store) -> None:
    old = FIRST.path
    with store.write("test") as writer:
        writer.move(old, b"/albums/Rome 2024/IMG_1.jpg")
    (name,) = found(store, "name", "rome")
    assert name.split()[:5] == ["albums", "rome", "2024", "img", "1"]
    with store.write("test") as writer:
        writer.move(b"/albums", b"/old albums")
    assert len(found(store, "name", "rome")) == len(found(store, "name", "old")) == 1
    assert sound(store)


def test_another_model_and_freed_space_keep_them(store: Store) -> None:
    with store.write("test") as writer:
        new = writer.generation("other", "g", DIM)
        captions = (NewCaption("Roman coins", "sidecar"), SAID[1])
        writer.commit([photo(0, captions=captions)], [FIRST])
        assert found(store, "caption", "pompeii") != [], "the old model's captions still answer"
        assert found(store, "caption", "roman") == []
        writer.activate(new)
    assert found(store, "caption", "roman") == ["roman coins"]
    assert found(store, "caption", "pompeii") == []
    assert not holds(store, b"pompeii")
    with store.write("test") as writer:
        writer.compact()
    assert found(store, "caption", "roman") == ["roman coins"]
    assert sound(store)


def test_a_writer_that_fails_leaves_what_there_was(store: Store) -> None:
    with pytest.raises(ValueError, match="never stored"), store.write("test") as writer:
        other = photo(9, captions=(NewCaption("never", "sidecar"),))
        writer.commit([other], [file("/photos/8.jpg", 8)])
    assert found(store, "caption", "never") == []
    assert sound(store)


def test_readers_see_all_of_a_commit_or_nothing(store: Store) -> None:
    def write() -> None:
        with open_store(store.folder) as other, other.write("test") as writer:
            for number in range(10, 30):
                captions = tuple(NewCaption(f"shared {n}", "sidecar") for n in range(3))
                writer.commit([photo(number, captions=captions)], [file(f"/photos/{number}.jpg", number)])

    thread = threading.Thread(target=write)
    thread.start()
    counts = []
    while thread.is_alive():
        counts.append(len(found(store, "caption", "shared")))
    thread.join()
    assert all(count % 3 == 0 for count in counts)
    assert counts == sorted(counts)
    assert len(found(store, "caption", "shared")) == 60


def test_a_library_that_is_only_read_is_searched_too(store: Store) -> None:
    with open_store(store.folder, read_only=True) as reader:
        assert found(reader, "caption", "pompeii") == ["greek coins from pompeii"]


def test_libraries_of_the_schema_before_get_them(tmp_path: Path) -> None:
    filled(tmp_path / "library", 3, captions=SAID).close()
    as_of("0005", tmp_path / "library")
    with open_store(tmp_path / "library") as store:
        assert len(found(store, "caption", "pompeii")) == 3
        assert sound(store)


DAMAGE = {
    "a document is gone": "DELETE FROM caption_tokens WHERE rowid = 1",
    "a document is another": "UPDATE caption_tokens SET tokens = 'roman' WHERE rowid = 1",
    "a document too many": "INSERT INTO name_tokens (rowid, tokens) VALUES (99, 'x')",
    "its text is another": "UPDATE caption_tokens_content SET c0 = 'roman' WHERE id = 1",
    "its index is gone": "DELETE FROM caption_tokens_data WHERE id > 10",
    "its structure is gone": "DELETE FROM caption_tokens_data",
    "its structure is nonsense": "UPDATE name_tokens_data SET block = x'ffffffffffffffffffff' WHERE id = 10",
    "its pages are nonsense": "UPDATE caption_tokens_data SET block = x'00000004ffff' WHERE id > 10",
    "its settings are gone": "DELETE FROM caption_tokens_config",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_mended_and_searches_go_on(store: Store, damage: str) -> None:
    with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain, plain:
        plain.execute(DAMAGE[damage])
    with open_store(store.folder) as store:
        faults = store.verify()
        assert [(fault.kind, fault.repairable) for fault in faults] == [("tokens", True)]
        if "structure" in damage or "settings" in damage:
            with pytest.raises(DamagedError, match="cannot be read") as caught, store.write("test") as writer:
                writer.forget([FIRST.path])
            assert caught.value.hint == "virtue verify --repair"
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            found(store, "caption", "pompeii")
            found(store, "name", "tag")
        with store.write("test") as writer:
            assert [fault.kind for fault in writer.repair()] == ["tokens"]
        assert sound(store)
        assert found(store, "caption", "pompeii") == ["greek coins from pompeii"]
        assert len(found(store, "name", "tag")) == 4


def test_tokens_that_cannot_be_read_are_said(store: Store) -> None:
    with closing(sqlite3.connect(store.folder / names.CATALOGUE)) as plain, plain:
        plain.execute("DELETE FROM caption_tokens_data")
    with pytest.warns(UserWarning, match=r"caption_tokens cannot be read.*virtue verify --repair"):
        assert found(store, "caption", "pompeii") == []
