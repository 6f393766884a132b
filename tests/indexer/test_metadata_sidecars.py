"""Metadata in files beside photos: XMP of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from tests.indexer import written_xmp as xmp
from tests.indexer.shelf import Shelf
from virtue.store.records import Photo


def photo(shelf: Shelf, path: Path) -> Photo:
    with shelf.store.read() as snapshot:
        ids = snapshot.photo_ids()
        (found,) = [each for each in snapshot.photos(ids) if os.fsencode(path) in each.raw_paths]
    return found


def embedded() -> dict[str, Any]:
    """What the photo says itself."""
    made = Image.Exif()
    made[ExifTags.Base.ImageDescription] = "a red square"
    made[ExifTags.Base.Model] = "Camera"
    made[0x4746] = 1
    made[ExifTags.Base.XPKeywords] = "square".encode("utf-16-le")
    made[ExifTags.Base.XPTitle] = "Square".encode("utf-16-le")
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2001:02:03 04:05:06"
    return {"exif": made}


def test_what_lightroom_writes_goes_before_what_the_photo_says(shelf: Shelf) -> None:
    path = shelf.photo("IMG_1.JPG", **embedded())
    (shelf.photos / "IMG_1.xmp").write_text(xmp.lightroom())
    assert shelf.index().warnings == []
    found = photo(shelf, path)
    assert found.captions == ("Grandma blows out the candles", "Birthday")
    assert found.tags == ("Germany", "Köln", "Places", "family")
    assert (found.rating, found.taken, found.camera) == (4, "2019-05-04T15:02:01", "Camera")
    assert (found.latitude, found.longitude) == (pytest.approx(50.938055), pytest.approx(6.959))
    assert (found.width, found.height) == (80, 60)  # Orientation in XMP turns nothing


def test_what_darktable_writes(shelf: Shelf) -> None:
    path = shelf.photo("IMG_2.jpg")
    (shelf.photos / "IMG_2.jpg.xmp").write_text(xmp.DARKTABLE)
    shelf.index()
    found = photo(shelf, path)
    assert found.captions == ("the lighthouse on the pier", "Mole")
    assert found.tags == ("building", "lighthouse", "sea", "things")
    assert (found.rating, found.taken) == (3, "2022-03-12T09:10:11")


def test_fields_that_a_sidecar_lacks_are_the_photos_own(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", **embedded())
    (shelf.photos / "a.jpg.XMP").write_text(xmp.digikam())
    shelf.index()
    found = photo(shelf, path)
    assert found.captions == ("a red square", "Square")
    assert (found.tags, found.rating) == (("Anna Müller", "People"), 2)
    assert found.taken == "2001-02-03T04:05:06"


def test_a_sidecar_of_the_stem_is_that_of_all_its_photos_and_the_whole_name_wins(shelf: Shelf) -> None:
    one, two, other = shelf.photo("a.jpg"), shelf.photo("a.png", "blue"), shelf.photo("b.jpg", "green")
    (shelf.photos / "a.xmp").write_text(xmp.lightroom("of the stem"))
    (shelf.photos / "a.jpg.xmp").write_text(xmp.lightroom("of the name"))
    shelf.index()
    assert photo(shelf, one).captions[0] == "of the name"
    assert photo(shelf, two).captions[0] == "of the stem"
    assert photo(shelf, other).captions == ()


def test_a_sidecar_comes_changes_and_goes_without_embedding_the_photo(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", **embedded())
    shelf.photo("b.jpg", "blue")
    before, sidecar = shelf.index(), shelf.photos / "a.xmp"
    assert (before.indexed, photo(shelf, path).rating) == (2, 1)

    sidecar.write_text(xmp.lightroom("red"))
    report = shelf.index()
    assert (shelf.model.pictures, report.recaptioned, report.unchanged) == (0, 1, 1)
    found = photo(shelf, path)
    assert (found.captions, found.rating) == (("red", "Birthday"), 4)
    with shelf.store.read() as snapshot:
        assert len(snapshot.photo_ids()) == 2
    assert report.summary().startswith("photos: 1 with new captions, 1 unchanged")

    sidecar.write_text(xmp.lightroom("quite blue", keywords=["sea"], paths=[], rating=5))
    shelf.index()
    found = photo(shelf, path)
    assert (shelf.model.pictures, shelf.model.texts) == (0, ["quite blue", "Birthday"])
    assert (found.captions, found.tags, found.rating) == (("quite blue", "Birthday"), ("sea",), 5)

    sidecar.unlink()
    shelf.index()
    found = photo(shelf, path)
    assert shelf.model.pictures == 0
    assert (found.captions, found.tags, found.rating) == (("a red square", "Square"), ("square",), 1)
    assert shelf.index().unchanged == 2


def test_a_sidecar_that_was_only_touched_changes_nothing(shelf: Shelf) -> None:
    shelf.photo("a.jpg", **embedded())
    sidecar = shelf.photos / "a.xmp"
    sidecar.write_text(xmp.lightroom())
    shelf.index()
    os.utime(sidecar, ns=(1, 1))
    report = shelf.index()
    assert (report.unchanged, report.recaptioned, shelf.model.texts) == (1, 0, [])
    assert shelf.index().unchanged == 1


def test_text_and_metadata_beside_a_photo_are_apart(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    text, sidecar = shelf.photos / "a.txt", shelf.photos / "a.xmp"
    text.write_text("a note")
    sidecar.write_text(xmp.lightroom("a description", ""))
    shelf.index()
    assert photo(shelf, path).captions == ("a note", "a description")
    text.write_text("another note")
    assert shelf.index().recaptioned == 1
    assert set(photo(shelf, path).captions) == {"another note", "a description"}
    sidecar.write_text(xmp.lightroom("another description", ""))
    text.unlink()
    assert shelf.index().recaptioned == 1
    assert photo(shelf, path).captions == ("another description",)


def test_a_photo_moves_with_its_sidecar(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg")
    (shelf.photos / "a.xmp").write_text(xmp.lightroom())
    shelf.index()
    (shelf.photos / "new").mkdir()
    moved = path.rename(shelf.photos / "new" / "a.jpg")
    (shelf.photos / "a.xmp").rename(shelf.photos / "new" / "a.xmp")
    report = shelf.index()
    assert (report.relinked, report.recaptioned, shelf.model.pictures) == (1, 0, 0)
    assert photo(shelf, moved).rating == 4
    assert shelf.index().unchanged == 1


def test_copies_share_what_lies_beside_any_of_them(shelf: Shelf) -> None:
    for number in range(6):
        path = shelf.photo(f"{number}/a.jpg")
    (shelf.photos / "3" / "a.xmp").write_text(xmp.lightroom())
    (shelf.photos / "5" / "a.jpg.json").write_text('{"title": "a.jpg", "people": [{"name": "Ben"}]}')
    report = shelf.index()
    assert (report.indexed, report.relinked, shelf.model.pictures) == (1, 5, 1)
    found = photo(shelf, path)
    assert found.tags == ("Ben", "Germany", "Köln", "Places", "family")
    assert found.rating == 4
    assert shelf.index().unchanged == 6
    (shelf.photos / "0" / "a.xmp").write_text(xmp.lightroom(rating=2))
    assert shelf.index().recaptioned == 1
    assert photo(shelf, path).rating == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF", "no XMP that can be read"),
        (b"", "no XMP that can be read"),
        (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
            "it declares entities",
        ),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "it declares entities"),
        pytest.param(b"<a>" + b" " * 10_000_000 + b"</a>", "more than 10 MB", id="large"),
    ],
)
def test_a_broken_sidecar_is_told_and_costs_itself(shelf: Shelf, content: bytes, reason: str) -> None:
    path, other = shelf.photo("a.jpg", **embedded()), shelf.photo("b.jpg", "blue")
    (shelf.photos / "a.xmp").write_bytes(content)
    (shelf.photos / "b.xmp").write_text(xmp.lightroom())
    (warning,) = shelf.index().warnings
    assert warning.startswith(f"{shelf.photos / 'a.xmp'}: ") and reason in warning
    assert photo(shelf, path).captions == ("a red square", "Square")
    assert photo(shelf, other).rating == 4
    assert shelf.index().warnings == []
    (shelf.photos / "a.xmp").write_text(xmp.lightroom())
    shelf.index()
    assert (photo(shelf, path).rating, shelf.model.pictures) == (4, 0)


def test_a_sidecar_that_cannot_be_read_now_keeps_what_is_known(shelf: Shelf) -> None:
    path = shelf.photo("a.jpg", **embedded())
    sidecar = shelf.photos / "a.xmp"
    regions = xmp.lightroom_regions((80, 60), ("Anna", 0.5, 0.5, 0.25, 0.5))
    sidecar.write_text(xmp.lightroom(regions=regions))
    shelf.index()
    known = photo(shelf, path)
    assert (known.rating, known.regions[0].captions) == (4, ("Anna",))
    sidecar.rename(shelf.folder / "away.xmp")
    sidecar.symlink_to(sidecar)  # a circle, which nobody can read
    report = shelf.index()
    assert len(report.warnings) == 1 and str(sidecar) in report.warnings[0]
    assert shelf.model.pictures == 0 and photo(shelf, path) == known
    again = shelf.index()
    assert (again.warnings, again.unchanged) == ([], 1)
    # Not even when the photo is embedded anew.
    shelf.index(regions=2)
    kept = photo(shelf, path)
    assert (kept.tags, kept.captions, kept.rating) == (known.tags, known.captions, known.rating)
    assert [(region.box, region.captions) for region in kept.regions] == [(known.regions[0].box, ("Anna",))]
    sidecar.unlink()
    (shelf.folder / "away.xmp").rename(sidecar)
    shelf.index()
    assert photo(shelf, path).rating == 4


def test_what_code_gave_outlives_a_sidecar(shelf: Shelf) -> None:
    """Ratings and tags that `annotate` set are not those of a file."""
    from virtue.tasks.annotate_photos import Annotation, annotate

    path = shelf.photo("a.jpg")
    shelf.index()
    said = Annotation(photo(shelf, path).photo_id, captions=["by code"], rating=3)
    annotate(shelf.store, lambda: shelf.model, [said])  # type: ignore[arg-type,return-value]
    (shelf.photos / "a.xmp").write_text(xmp.lightroom())
    shelf.index()
    found = photo(shelf, path)
    assert found.rating == 3
    assert found.tags == ("Germany", "Köln", "Places", "family")
    assert set(found.captions) == {"by code", "Grandma blows out the candles", "Birthday"}


def test_no_pipe_beside_a_photo_is_waited_for(shelf: Shelf) -> None:
    shelf.photo("a.jpg")
    os.mkfifo(shelf.photos / "a.xmp")
    os.mkfifo(shelf.photos / "a.jpg.json")
    assert shelf.index().indexed == 1
    assert shelf.index(shelf.photos / "a.jpg").unchanged == 1


def test_single_files_have_their_sidecars(shelf: Shelf) -> None:
    paths = [shelf.photo(f"{name}.jpg", name) for name in ("red", "blue")]
    for path in paths:
        path.with_suffix(".Xmp").write_text(xmp.lightroom(f"something {path.stem}", ""))
    shelf.index(*paths)
    assert photo(shelf, paths[0]).captions == ("something red",)
    assert photo(shelf, paths[1]).captions == ("something blue",)
    assert shelf.index(*paths).unchanged == 2
