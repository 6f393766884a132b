"""What Google Takeout puts beside photos."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from tests.indexer.shelf import Shelf
from tests.indexer.test_metadata_sidecars import photo
from virtue.indexer.sidecar_files import EDITED, SUPPLEMENT, SidecarNames


def takeout(title: str = "IMG_1.jpg", **fields: Any) -> str:
    """The JSON of a photo, as Google writes it."""
    nowhere = dict.fromkeys(["latitude", "longitude", "altitude", "latitudeSpan", "longitudeSpan"], 0.0)
    content = {
        "title": title,
        "description": "",
        "imageViews": "8",
        "creationTime": {"timestamp": "1551165960", "formatted": "Feb 26, 2019, 7:26:00 AM UTC"},
        "photoTakenTime": {"timestamp": "1551123684", "formatted": "Feb 25, 2019, 7:41:24 PM UTC"},
        "geoData": nowhere,
        "geoDataExif": nowhere,
        "url": "https://photos.google.com/photo/AF1Qip",
        "googlePhotosOrigin": {"mobileUpload": {"deviceType": "IOS_PHONE"}},
    }
    return json.dumps(content | fields, indent=2)


HAVANA = {
    "latitude": 23.1308,
    "longitude": -82.41,
    "altitude": 3.0,
    "latitudeSpan": 0.0,
    "longitudeSpan": 0.0,
}


def test_a_photo_of_google(shelf: Shelf) -> None:
    path = shelf.photo("IMG_1.jpg")
    said = takeout(
        description="Street in Havana\nat night",
        people=[{"name": "Anna Müller"}, {"name": "Ben"}],
        geoData=HAVANA,
        favorited=True,
    )
    (shelf.photos / "IMG_1.jpg.supplemental-metadata.json").write_text(said)
    assert shelf.index().warnings == []
    found = photo(shelf, path)
    assert found.captions == ("Street in Havana at night",)
    assert found.tags == ("Anna Müller", "Ben", "favorite")
    assert (found.latitude, found.longitude) == (23.1308, -82.41)
    assert (found.taken, found.rating) == ("2019-02-25T19:41:24Z", None)


def test_nowhere_is_no_place_and_the_place_of_exif_counts(shelf: Shelf) -> None:
    one, two = shelf.photo("1.jpg"), shelf.photo("2.jpg", "blue")
    (shelf.photos / "1.jpg.json").write_text(takeout("1.jpg"))
    (shelf.photos / "2.jpg.json").write_text(takeout("2.jpg", geoDataExif=HAVANA))
    shelf.index()
    assert photo(shelf, one).latitude is None
    assert photo(shelf, two).latitude == 23.1308


def test_the_time_is_that_of_the_cameras_clock_where_both_are_known(shelf: Shelf) -> None:
    made = Image.Exif()
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2019:02:25 14:41:24"
    one = shelf.photo("1.jpg", exif=made)
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2001:01:01 00:00:00"
    two = shelf.photo("2.jpg", exif=made)
    for name in ("1.jpg", "2.jpg"):
        (shelf.photos / f"{name}.json").write_text(takeout(name))
    shelf.index()
    assert photo(shelf, one).taken == "2019-02-25T14:41:24-05:00"
    assert photo(shelf, two).taken == "2019-02-25T19:41:24Z"  # it was set right in Google Photos


def test_people_come_beside_the_tags_of_the_photo(shelf: Shelf) -> None:
    made = Image.Exif()
    made[ExifTags.Base.XPKeywords] = "beach".encode("utf-16-le")
    path = shelf.photo("IMG_1.jpg", exif=made)
    (shelf.photos / "IMG_1.jpg.json").write_text(takeout(people=[{"name": "Ben"}, {}, None, {"name": 3}]))
    shelf.index()
    assert photo(shelf, path).tags == ("Ben", "beach")


@pytest.mark.parametrize(
    "content",
    [
        '{"title": "Cuba", "description": "an album", "access": "protected", "date": {"timestamp": "0"}}',
        '{"version": "5.0", "shapes": [], "imagePath": "metadata.jpg", "description": "labels"}',
        "[]",
        '"text"',
        "3",
        '{"title": "other.jpg", "description": "of another photo"}',
    ],
)
def test_other_json_says_nothing(shelf: Shelf, content: str) -> None:
    """Such as that of an album, which is `metadata.json`."""
    path = shelf.photo("metadata.jpg")
    (shelf.photos / "metadata.json").write_text(content)
    (shelf.photos / "metadata.jpg.json").write_text(content)
    assert shelf.index().warnings == []
    assert photo(shelf, path).captions == ()


def test_json_that_is_cut_off_is_told(shelf: Shelf) -> None:
    shelf.photo("IMG_1.jpg")
    (shelf.photos / "IMG_1.jpg.json").write_text(takeout()[:-9])
    (shelf.photos / "IMG_1.json").write_text("{")  # of something else, it seems
    assert shelf.index().warnings == [
        f"{shelf.photos / 'IMG_1.jpg.json'}: no JSON that can be read: not used"
    ]
    (shelf.photos / "IMG_1.jpg.json").write_text("[" * 100_000)
    assert len(shelf.index().warnings) == 1


REAL = [
    ("IMG_20200920_131207.jpg", "IMG_20200920_131207.jpg.supplemental-metadata.json"),
    ("IMG_20200920_131207.jpg", "IMG_20200920_131207.jpg.json"),
    ("Screenshot_2017-07-05-10-05-26.png", "Screenshot_2017-07-05-10-05-26.png.supplementa.json"),
    ("D7157814-D2D5-4A62-AFCE-9CF465CB7D66.jpeg", "D7157814-D2D5-4A62-AFCE-9CF465CB7D66.jpeg.supp.json"),
    ("4A62-AFCE-9CF465CB7D66-D7157814-D2D5-4A62.jpg", "4A62-AFCE-9CF465CB7D66-D7157814-D2D5-4A62.jpg..json"),
    ("IMG_1(1).jpg", "IMG_1.jpg(1).json"),
    ("IMG_1(12).jpg", "IMG_1.jpg.supplemental-metadata(12).json"),
    ("IMG_1-edited.jpg", "IMG_1.jpg.json"),
    ("IMG_1-edited(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
    ("IMG_1-bearbeitet.jpg", "IMG_1.jpg.supplemental-metadata.json"),
    ("IMG_1-modifie\u0301.jpg", "IMG_1.jpg.json"),
]


@pytest.mark.parametrize(("name", "beside"), REAL)
def test_names_that_google_gives(shelf: Shelf, name: str, beside: str) -> None:
    path = shelf.photo(name)
    shelf.photo("other.jpg", "blue")
    (shelf.photos / beside).write_text(takeout("another title.jpg", description="found"))
    shelf.index()
    assert photo(shelf, path).captions == ("found",)
    assert photo(shelf, shelf.photos / "other.jpg").captions == ()


@pytest.mark.parametrize(
    ("name", "beside", "title"),
    [
        (
            "Urlaub in Knaufspesch in der Schneifel (38).JPG",
            "Urlaub in Knaufspesch in der Schneifel (38).JP.json",
            "Urlaub in Knaufspesch in der Schneifel (38).JPG",
        ),
        (
            "Screenshot_20220207_102421_com.snapchat.androi.jpg",
            "Screenshot_20220207_102421_com.snapchat.androi.json",
            "Screenshot_20220207_102421_com.snapchat.android.jpg",
        ),
        ("What_s up.jpg", "What_s up.json", "What's up"),
        ("IMG_1.jpg", "IMG_1.json", "IMG_1"),
    ],
)
def test_names_that_google_cut(shelf: Shelf, name: str, beside: str, title: str) -> None:
    path = shelf.photo(name)
    (shelf.photos / beside).write_text(takeout(title, description="found"))
    shelf.index()
    assert photo(shelf, path).captions == ("found",)
    (shelf.photos / beside).write_text(takeout("Something else.jpg", description="found"))
    shelf.index()
    assert photo(shelf, path).captions == ()


def test_names_cut_to_the_same_are_told_apart_by_their_titles(shelf: Shelf) -> None:
    begin = "a very long name of a photo that was taken at"
    photos = {
        last: shelf.photo(f"{begin} {last}.jpg", colour) for last, colour in (("A", "red"), ("B", "blue"))
    }
    for last, number in (("A", "(1)"), ("B", "")):
        (shelf.photos / f"{begin} {number}.json").write_text(
            takeout(f"{begin} {last} in the morning.jpg", description=f"at {last}")
        )
    shelf.index()
    assert {last: photo(shelf, path).captions for last, path in photos.items()} == {
        "A": ("at A",),
        "B": ("at B",),
    }


def test_a_changed_json_embeds_texts_alone(shelf: Shelf) -> None:
    path, beside = shelf.photo("IMG_1.jpg"), shelf.photos / "IMG_1.jpg.json"
    beside.write_text(takeout(description="red"))
    shelf.index()
    beside.write_text(takeout(description="green", people=[{"name": "Ben"}]))
    report = shelf.index()
    assert (report.recaptioned, shelf.model.pictures, shelf.model.texts) == (1, 0, ["green"])
    assert (photo(shelf, path).captions, photo(shelf, path).tags) == (("green",), ("Ben",))
    beside.unlink()
    assert shelf.index().recaptioned == 1
    assert (photo(shelf, path).captions, photo(shelf, path).tags) == ((), ())


words = st.text("abcXYZ09_- éжя(", min_size=1, max_size=70).map(str.strip).filter(lambda name: name)


def cut(name: str) -> str:
    """What Takeout leaves of the name of a JSON, without ".json"."""
    return name[:46]


@settings(max_examples=300)
@given(
    words,
    st.sampled_from([".jpg", ".JPG", ".heic"]),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from(("", *EDITED)),
)
def test_every_json_finds_its_photo(stem: str, ending: str, number: int, is_new: bool, edited: str) -> None:
    """Names as Takeout makes them: the JSON of 46 characters, the photo of 47 before its ending, the number
    of those of the same name at the end of each."""
    counter = f"({number})" if number else ""
    title = stem + ending
    beside = cut(title + (SUPPLEMENT if is_new else "")) + counter + ".json"
    photo = (stem[:47] if len(title) > 51 else stem) + edited + counter + ending
    others = [f"{stem[:3]}.other.json", f"x{stem[:40]}.jpg.json", "metadata.json"]
    found = SidecarNames(map(os.fsencode, [beside, *others])).of(os.fsencode(photo))
    assert os.fsencode(beside) in [each.name for each in found]
    if len(title) <= 46:
        assert [(each.name, each.is_certain) for each in found] == [(os.fsencode(beside), True)]


@settings(max_examples=200)
@given(words, words)
def test_no_json_is_certain_to_be_of_another_photo(one: str, other: str) -> None:
    names = SidecarNames([os.fsencode(f"{other}.jpg.json")])
    found = names.of(os.fsencode(f"{one}.jpg"))
    if any(each.is_certain for each in found):
        assert one == other or one.startswith(f"{other}-")


def test_names_in_no_encoding(shelf: Shelf) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(shelf.photos), b"\xff.jpg")))
    shelf.photo("a.jpg").rename(path)
    Path(f"{path}.json").write_text(takeout(description="found"))
    shelf.index()
    assert photo(shelf, path).captions == ("found",)
