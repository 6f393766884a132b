"""What a program says of photos: found at once, kept by whatever indexes them again."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.backend.conftest import write_photo
from virtue import Annotation, Box, Library, Photo, Region
from virtue.errors import InputError, LockedError


def photo_of(library: Library, name: str) -> Photo:
    (photo,) = library.photos(f"path ~ {name}.jpg")
    return photo


def test_captions_are_added_changed_and_removed(library: Library) -> None:
    coins = photo_of(library, "coins").photo_id
    library.annotate(coins, captions=["a hoard from the wreck of the Antelope", "drawer 12"])
    assert library.search("a hoard from the wreck of the Antelope", find="captions")[0].photo_id == coins
    assert library.search("a hoard from the wreck of the Antelope", find="photos")[0].photo_id == coins
    beside, _, drawer = photo_of(library, "coins").captions
    library.annotate(coins, captions=[beside, drawer, "drawer 13"])
    assert photo_of(library, "coins").captions == (beside, "drawer 12", "drawer 13")
    library.annotate(coins, captions=[])
    assert photo_of(library, "coins").captions == (beside,)
    assert library.verify() == []


def test_tags_and_ratings_take_the_place_of_the_photos_own(library: Library) -> None:
    cat = photo_of(library, "cat").photo_id
    library.annotate(cat, tags=["tabby", "home"], rating=2)
    assert (photo_of(library, "cat").tags, photo_of(library, "cat").rating) == (("home", "tabby"), 2)
    assert library.count("tag = tabby") == 1 and library.count("tag = animal") == 1
    assert library.search("a cat", where="rating = 2")[0].tags == ("home", "tabby")
    library.annotate(cat, rating=None)
    assert (photo_of(library, "cat").tags, photo_of(library, "cat").rating) == (("home", "tabby"), None)
    library.annotate(cat, tags=[])
    assert photo_of(library, "cat").tags == () and library.count("tag ~ *") == 2


def test_regions_are_added_changed_and_removed(library: Library) -> None:
    rocket = photo_of(library, "rocket")
    new = [
        Region(Box(300, 50, 360, 300), "tower", ("the launch tower of Baikonur",)),
        Region(Box(0, 0, 100, 100)),
    ]
    library.annotate(rocket.photo_id, regions=new)
    tower, _ = photo_of(library, "rocket").regions
    assert (tower.box, tower.category, tower.captions) == (new[0].box, "tower", new[0].captions)
    (hit,) = library.search(where="category = tower", find="regions")
    assert (hit.region_id, hit.box) == (tower.region_id, tower.box)
    said = library.search("the launch tower of Baikonur", find="captions")[0]
    assert (said.photo_id, said.box) == (rocket.photo_id, tower.box)
    query = {"image": Path(rocket.paths[0]), "box": (300, 50, 360, 300)}
    assert any(hit.region_id == tower.region_id for hit in library.search(query, all_regions=True, top=3))

    library.annotate(rocket.photo_id, regions=[replace(tower, category="gantry", captions=())])
    (gantry,) = photo_of(library, "rocket").regions
    assert gantry == replace(tower, category="gantry", captions=())
    assert library.count("category = gantry") == 1 and library.count("category = tower") == 0
    library.annotate(rocket.photo_id, regions=[replace(gantry, box=Box(10, 10, 50, 60))])
    (moved,) = photo_of(library, "rocket").regions
    assert moved.box == Box(10, 10, 50, 60) and moved.region_id != gantry.region_id
    library.annotate(rocket.photo_id, regions=[])
    assert photo_of(library, "rocket").regions == ()
    assert library.verify() == []


@pytest.fixture
def own(tmp_path: Path) -> Library:
    """A library with two photos of its own, one of them with much said of it."""
    for name in ("cat", "dog"):
        write_photo(tmp_path / "own" / f"{name}.jpg", name)
    library = Library(tmp_path / "own.virtue")
    library.index(tmp_path / "own", regions=2, ocr=False)
    library.annotate(
        photo_of(library, "cat").photo_id,
        captions=["whiskers of the west wing"],
        tags=["west wing"],
        rating=1,
        regions=[Region(Box(20, 20, 90, 90), "ear", ("a pricked ear",))],
    )
    return library


def check(library: Library) -> None:
    cat = photo_of(library, "cat")
    assert "whiskers of the west wing" in cat.captions
    assert (cat.tags, cat.rating) == (("west wing",), 1)
    assert [(each.box, each.category, each.captions) for each in cat.regions] == [
        (Box(20, 20, 90, 90), "ear", ("a pricked ear",))
    ]
    found = library.search("whiskers of the west wing", find="captions")[0]
    assert found.photo_id == cat.photo_id
    assert library.verify() == []


def test_what_was_said_outlasts_indexing_of_every_kind(own: Library, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    with own as library:
        library.index(rehash=True)
        check(library)
        (folder / "cat.txt").write_text("another caption beside it")
        assert library.index().recaptioned == 1
        check(library)
        assert library.index(regions=5).reembedded == 2
        check(library)
        captions = tmp_path / "captions.csv"
        captions.write_text("path,caption\nown/cat.jpg,from a file\n")
        assert library.index(folder, captions=captions).reembedded == 1
        check(library)
        assert "from a file" in photo_of(library, "cat").captions
        with Image.open(folder / "cat.jpg") as image:
            edited = image.copy()
        edited.putpixel((0, 0), (255, 0, 0))
        before = photo_of(library, "cat").hash
        edited.save(folder / "cat.jpg", quality=80)
        assert library.index().reembedded == 1
        assert photo_of(library, "cat").hash != before
        check(library)


def test_what_was_said_outlasts_reindexing_repair_compaction_export_and_merge(
    own: Library, tmp_path: Path
) -> None:
    from tests.indexer.colours import ColourModel
    from virtue import Embedder

    with own as library:
        library.compact()
        check(library)
        library.export_parquet(tmp_path / "own.parquet")
        with Library(tmp_path / "imported") as other:
            other.import_parquet(tmp_path / "own.parquet")
            check(other)
        with Library(tmp_path / "merged") as other:
            other.merge(library.folder)
            check(other)
            other.index(tmp_path / "own", regions=5)
            check(other)
        library.reindex(Embedder(ColourModel()))
    with Library(tmp_path / "own.virtue", embedder=Embedder(ColourModel())) as library:
        assert photo_of(library, "cat").rating == 1 and len(photo_of(library, "cat").regions) == 1
    with Library(tmp_path / "own.virtue") as library:
        library.reindex("mini")
        rows = tmp_path / "own.virtue" / f"regions-{library.store.verify() or 3}.f16"
        content = bytearray(rows.read_bytes())
        content[:200] = bytes(200)
        rows.write_bytes(content)
        assert library.verify(repair=True)
        check(library)


def test_several_photos_are_annotated_at_once_or_not_at_all(library: Library) -> None:
    ids = [photo.photo_id for photo in library.photos(order="path")]
    library.annotate(Annotation(id, tags=[f"number {id}"], captions=[f"item {id}"]) for id in ids)
    assert all(library.count(f"tag = 'number {id}'") == 1 for id in ids)
    with library.store.read() as snapshot:
        version = snapshot.version
    with pytest.raises(InputError, match=r"^photo 999: this library has no such photo"):
        library.annotate([Annotation(ids[0], rating=0), Annotation(999, rating=5)])
    with pytest.raises(InputError, match="annotated twice"):
        library.annotate([Annotation(ids[0], rating=0), Annotation(ids[0], rating=5)])
    with library.store.read() as snapshot:
        assert snapshot.version == version
    with Library(library.folder) as other, other.store.write("another program"), pytest.raises(LockedError):
        library.annotate(ids[0], rating=1)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"rating": 6}, "a rating is a whole number from 0 to 5"),
        ({"rating": True}, "a rating is a whole number"),
        ({"tags": "beach"}, "tags are a list of texts"),
        ({"tags": ["x" * 2000]}, "longer than 1,000"),
        ({"captions": [" \n"]}, "is empty"),
        ({"captions": [7]}, "captions are texts, not int"),
        ({"regions": [Region(Box(0, 0, 10_000, 10))]}, "10000"),
        ({"regions": [(0, 0, 5, 5)]}, "a region is a virtue.Region, not tuple"),
        ({"regions": [Region(Box(0, 0, 5, 5), region_id=1)]}, "it has no region 1 that was given"),
        ({"regions": [Region(Box(0, 0, 5, 5), mask="{}")]}, "no run-length encoding"),
    ],
)
def test_what_cannot_be_kept_is_a_sentence(library: Library, said: dict[str, object], why: str) -> None:
    photo = photo_of(library, "cat")
    with pytest.raises(InputError, match=rf"^photo {photo.photo_id}: .*{why}"):
        library.annotate(photo.photo_id, **said)  # type: ignore[arg-type]
    assert photo_of(library, "cat") == photo


def test_words_need_no_file_and_a_new_region_does(own: Library, tmp_path: Path) -> None:
    with own as library:
        shutil.rmtree(tmp_path / "own")
        cat = photo_of(library, "cat")
        library.annotate(cat.photo_id, captions=["gone"], tags=["gone"])
        assert library.search("gone", find="captions")[0].photo_id == cat.photo_id
        (ear,) = cat.regions
        library.annotate(cat.photo_id, regions=[replace(ear, category="a lost ear")])
        with pytest.raises(InputError, match=r"a new region needs the photo's file, and .*cat.jpg cannot be"):
            library.annotate(cat.photo_id, regions=[ear, Region(Box(0, 0, 9, 9))])
        assert photo_of(library, "cat").regions == (replace(ear, category="a lost ear"),)


def test_what_was_given_and_cannot_be_read_is_mended_and_not_imported(
    library: Library, tmp_path: Path
) -> None:
    cat = photo_of(library, "cat")
    library.annotate(cat.photo_id, rating=2)
    library.close()
    with closing(sqlite3.connect(library.folder / "catalogue.db")) as catalogue, catalogue:
        catalogue.execute('UPDATE given SET content = \'{"rating": "high"}\'')
    with Library(library.folder) as opened:
        (fault,) = opened.verify()
        assert "ratings and tags that were given for 1 photos cannot be read" in fault.what
        with Library(tmp_path / "other") as other, pytest.raises(InputError, match="what was given"):
            other.merge(library.folder)
        opened.verify(repair=True)
        assert opened.verify() == [] and opened.count() == 4
