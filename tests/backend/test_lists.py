"""Photos, their number and their vectors, as a program asks for them."""

from pathlib import Path

import numpy as np
import pytest

from virtue import Library, Photo
from virtue.errors import EmptyLibraryError, InputError


def names(photos: list[Photo]) -> list[str]:
    return [Path(photo.paths[0]).stem for photo in photos]


def test_photos_come_with_all_that_is_known(library: Library, described: Path) -> None:
    (cat,) = library.photos("path ~ cat.jpg")
    assert (cat.taken, cat.camera, cat.rating) == ("2024-06-01T10:00:00", "Canon X1", 5)
    assert cat.tags == ("animal", "home")
    assert cat.captions == ("Chelsea, our tabby cat",)
    assert cat.paths == (str(described / "album" / "cat.jpg"), str(described / "copies" / "again.jpg"))
    assert cat.size == (described / "album" / "cat.jpg").stat().st_size
    assert len(cat.hash) == 32 and cat.latitude is None and cat.regions == ()


def test_photos_are_ordered_and_paged(library: Library) -> None:
    assert names(library.photos(order="-taken")) == ["rocket", "cat", "dog", "coins"]
    assert names(library.photos(order="taken", offset=1, limit=2)) == ["dog", "cat"]
    assert names(library.photos(order="-rating")) == ["cat", "rocket", "dog", "coins"]
    assert names(library.photos(order="path")) == ["cat", "coins", "dog", "rocket"]
    sizes = [photo.size for photo in library.photos(order="-size")]
    assert sizes == sorted(sizes, reverse=True)
    assert names(library.photos("tag = animal and rating > 3")) == ["cat"]
    assert library.photos(offset=4) == [] and library.photos(limit=0) == []
    with pytest.raises(InputError, match="by 'colour': choose one of photo_id"):
        library.photos(order="colour")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="offset must be at least 0, not -1"):
        library.photos(offset=-1)


def test_count(library: Library) -> None:
    assert library.count() == 4
    assert library.count("camera = 'Canon X1'") == 2
    assert library.count(["tag = animal", "rating > 3"]) == 1
    assert library.count("rating = 0") == 0
    with pytest.raises(InputError, match="there is no field 'colour'"):
        library.count("colour = red")


def test_an_empty_library_has_empty_lists(tmp_path: Path) -> None:
    with Library.create(tmp_path / "new") as new:
        assert (new.photos(), new.count(), list(new.vectors()), new.search_many([])) == ([], 0, [], [])
        assert new.forget(where="rating > 0") == 0
        with pytest.raises(EmptyLibraryError, match="nothing is indexed"):
            new.search(where="rating > 0")
        with pytest.raises(InputError, match=r"^photo 1: this library has no such photo"):
            new.annotate(1, rating=3)
        with pytest.raises(InputError, match="cannot be read"):
            new.photos("")


def test_vectors_come_in_blocks_with_their_ids(library: Library) -> None:
    blocks = list(library.vectors(block=3))
    assert all(len(block.ids) <= 3 for block in blocks)
    ids = np.concatenate([block.ids for block in blocks])
    vectors = np.concatenate([block.vectors for block in blocks])
    boxes = np.concatenate([block.boxes for block in blocks])
    assert vectors.dtype == np.float32 and vectors.shape == (len(ids), 784) and ids.dtype == np.int64
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
    hits = library.search("a cat", top=4, find="regions", all_regions=True)
    query = library.embedder.query("a cat")
    for hit in hits:
        (place,) = np.flatnonzero(ids == hit.region_id)
        assert hit.score == pytest.approx((vectors[place] @ query.T).max(), abs=1e-6)
        assert hit.region_box and tuple(boxes[place]) == pytest.approx(hit.region_box.corners)


def test_vectors_of_photos_and_captions(library: Library) -> None:
    (whole,) = library.vectors("photos")
    photos = library.photos()
    assert whole.ids.tolist() == [photo.photo_id for photo in photos] == whole.photo_ids.tolist()
    assert whole.boxes[0].tolist() == [0, 0, photos[0].width, photos[0].height]
    (captions,) = library.vectors("captions", where="tag = animal")
    assert len(captions.ids) == 2 and np.isnan(captions.boxes).all()
    assert list(library.vectors("captions", where="rating = 0")) == []
    with pytest.raises(InputError, match="there are no vectors of 'names'"):
        library.vectors("names")  # type: ignore[arg-type]


def test_vectors_are_those_of_the_moment_they_were_asked_for(library: Library) -> None:
    blocks = library.vectors("photos", block=1)
    first = next(blocks)
    library.forget(where="rating > 0")
    assert library.count() == 0
    assert len([first, *blocks]) == 4
