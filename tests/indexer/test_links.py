"""Links that lead out of an indexed folder are followed only if asked for, and those to parents never."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.indexer.colours import ColourModel
from tests.indexer.shelf import Shelf
from virtue.errors import InputError
from virtue.indexer import reindex


@pytest.fixture
def linked(shelf: Shelf) -> Shelf:
    """A folder with a photo, and with links to a folder, a photo and a text that lie elsewhere."""
    shelf.photo("own.png", "red")
    elsewhere = shelf.folder / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (80, 60), "blue").save(elsewhere / "one.png")
    Image.new("RGB", (80, 60), "green").save(elsewhere / "two.png")
    (elsewhere / "secret.txt").write_text("a red door")
    (shelf.photos / "folder").symlink_to(elsewhere)
    (shelf.photos / "photo.png").symlink_to(elsewhere / "two.png")
    (shelf.photos / "own.txt").symlink_to(elsewhere / "secret.txt")
    return shelf


def paths(shelf: Shelf) -> list[str]:
    with shelf.store.read() as snapshot:
        found = [path for path, state in snapshot.files().items() if state.hash and not state.missing]
    return sorted(os.path.relpath(path, os.fsencode(shelf.photos)).decode() for path in found)


def test_links_that_lead_out_are_followed_only_if_asked_for(linked: Shelf) -> None:
    report = linked.index()
    assert (report.indexed, report.problems, paths(linked)) == (1, [], ["own.png"])
    assert linked.captions() == set()
    told, caption = sorted(report.warnings)[::-1]
    assert told.startswith("2 links that lead out of what is indexed") or caption.startswith("2 links")
    assert any("own.txt: a link that leads out" in warning for warning in report.warnings)
    report = linked.index(follow_links=True)
    assert (report.indexed, report.warnings) == (2, [])
    everything = ["folder/one.png", "folder/two.png", "own.png", "photo.png"]
    assert paths(linked) == everything
    assert linked.captions() == {("own.png", "sidecar", "a red door")}
    Image.new("RGB", (80, 60), "white").save(linked.folder / "elsewhere" / "new.png")
    report = linked.index()
    assert (report.indexed, report.unchanged, report.warnings) == (1, 4, []), "the choice is kept"


def with_options_of_before(shelf: Shelf) -> None:
    with shelf.store.write("test") as writer:
        writer.remember_root(os.fsencode(shelf.photos), '{"regions": "auto", "exclude": []}')


def turned_off(shelf: Shelf) -> None:
    shelf.index(follow_links=False)


@pytest.mark.parametrize("change", [with_options_of_before, turned_off])
def test_what_the_library_has_behind_them_is_kept(linked: Shelf, change: Callable[[Shelf], None]) -> None:
    linked.index(follow_links=True)
    before = paths(linked)
    change(linked)
    for _ in range(2):
        report = linked.index()
        assert (report.missing, report.problems, report.recaptioned) == (0, [], 0)
        assert "3 photos of the library behind kept as they were" in " ".join(report.warnings)
        assert paths(linked) == before
        assert linked.captions() == {("own.png", "sidecar", "a red door")}
    with pytest.raises(InputError, match="lies behind a link that leads out"):
        reindex(linked.store, ColourModel("colours-2"), workers=1)
    report = linked.index(follow_links=True)
    assert (report.unchanged, report.recaptioned, report.warnings) == (3, 1, [])
    reindex(linked.store, ColourModel("colours-2"), workers=1)
    assert paths(linked) == before


def test_no_link_is_followed_to_a_folder_above(shelf: Shelf) -> None:
    shelf.photo("own.png", "red")
    Image.new("RGB", (80, 60), "blue").save(shelf.folder / "beside.png")
    deep = shelf.folder / "elsewhere" / "deep"
    deep.mkdir(parents=True)
    Image.new("RGB", (80, 60), "green").save(deep / "deep.png")
    Image.new("RGB", (80, 60), "white").save(deep.parent / "above.png")
    (deep / "up").symlink_to("..")
    (deep / "loop").symlink_to(".")
    (deep / "root").symlink_to("/")
    (shelf.photos / "up").symlink_to("..")
    (shelf.photos / "root").symlink_to("/")
    (shelf.photos / "deep").symlink_to(deep)
    report = shelf.index(follow_links=True)
    assert (report.problems, report.warnings) == ([], [])
    assert paths(shelf) == ["deep/deep.png", "own.png"]


def test_links_within_the_folder_are_followed_whatever_it_is_called(shelf: Shelf) -> None:
    shelf.photo("2023/a.png", "red")
    shelf.photo("2024/b.png", "blue")
    (shelf.photos / "2024" / "last").symlink_to(shelf.photos / "2023")
    (shelf.photos / "2024" / "best.png").symlink_to("../2023/a.png")
    name = shelf.folder / "name"
    name.symlink_to(shelf.photos)
    report = shelf.index(name)
    assert (report.indexed, report.relinked, report.warnings) == (2, 1, [])
    assert sorted(paths(shelf)) == ["../name/2023/a.png", "../name/2024/b.png", "../name/2024/best.png"]
    inner = shelf.index(name / "2024", regions=3)
    assert (inner.reembedded, inner.relinked, inner.warnings) == (1, 1, []), "2023 is indexed too"
    assert "../name/2024/last/a.png" in paths(shelf)


def test_a_link_that_is_named_is_a_folder_of_its_own(linked: Shelf) -> None:
    linked.index()
    (linked.folder / "elsewhere" / "again.png").symlink_to("one.png")
    assert linked.index(linked.photos / "folder").indexed == 2
    everything = ["folder/again.png", "folder/one.png", "folder/two.png", "own.png"]
    assert paths(linked) == everything
    for again in (linked.index(), linked.index(linked.photos)):
        assert (again.unchanged, again.missing) == (4, 0)
    assert paths(linked) == everything


def test_a_photo_that_is_named_may_be_a_link(linked: Shelf) -> None:
    report = linked.index(linked.photos / "photo.png")
    assert (report.indexed, report.warnings, paths(linked)) == (1, [], ["photo.png"])


def test_on_the_command_line(virtue: Run, photos: Path, tmp_path: Path) -> None:
    for path in sorted(photos.iterdir()):
        if path.name not in ("cat.jpg", "dog.jpg"):
            path.unlink()
    (tmp_path / "elsewhere").mkdir()
    (photos / "folder").symlink_to(tmp_path / "elsewhere")
    (photos / "dog.jpg").rename(tmp_path / "elsewhere" / "dog.jpg")
    first = virtue("index", photos, "--regions", "none", "-d", "lib").stderr.decode()
    assert "photos: 1 indexed;" in first
    assert f"a link that leads out of what is indexed, such as {photos / 'folder'}: not followed;" in first
    second = virtue("index", photos, "--follow-links", "-d", "lib").stderr.decode()
    assert "photos: 1 indexed, 1 unchanged;" in second
    assert "photos: 2 unchanged;" in virtue("index", "-d", "lib").stderr.decode()
    assert virtue("merge", "lib", "-d", "other").returncode == 0
    merged = virtue("index", "-d", "other").stderr.decode()
    assert "1 photo of the library behind kept as they were" in merged, "the choice is no part of a merge"
    off = virtue("index", photos, "--no-follow-links", "-d", "lib").stderr.decode()
    assert "photos: 1 unchanged;" in off
    assert "1 photo of the library behind kept as they were" in off
