"""What a program gives by mistake is refused in a sentence; numbers of NumPy's are numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from virtue import Annotation, Library
from virtue.errors import InputError

Call = Callable[[Any], Any]
"""A call of a library; it takes wrong things on purpose."""

REFUSED: dict[str, tuple[Call, str]] = {
    "top": (lambda library: library.search("dog", top="3"), "top must be a whole number, not '3'"),
    "top that is none": (lambda library: library.search("dog", top=None), "top must be a whole number"),
    "half a top": (lambda library: library.search("dog", top=2.5), "top must be a whole number, not 2.5"),
    "no top": (lambda library: library.search("dog", top=0), "top must be at least 1, not 0"),
    "top when browsing": (lambda library: library.search(where="size > 1", top="3"), "top must be a whole"),
    "offset": (lambda library: library.search("dog", offset=2**64), "offset must be at most"),
    "lowest score": (lambda library: library.search("dog", min_score=[]), "a number, or auto, not \\[\\]"),
    "one text as many": (lambda library: library.search_many("dog"), "list of them, not str.*`search`"),
    "one dict as many": (lambda library: library.search_many({"text": "dog"}), "list of them, not dict"),
    "one picture as many": (lambda library: library.search_many(Path("a.jpg")), "list of them, not Posix"),
    "nothing as many": (lambda library: library.search_many(None), "list of them, not NoneType"),
    "filter": (lambda library: library.search("dog", where=5), "a filter is a text, .*, not int"),
    "bytes as a filter": (lambda library: library.count(b"size > 1"), "a filter is a text, .*, not int"),
    "one of two filters": (
        lambda library: library.photos(["size > 1", 5]),
        "a filter is a text, .*, not int",
    ),
    "place in a list": (lambda library: library.photos(offset=10**30), "offset must be at most"),
    "half a limit": (lambda library: library.photos(limit=2.5), "limit must be a whole number, not 2.5"),
    "limit": (lambda library: library.photos(limit="5"), "limit must be a whole number, not '5'"),
    "block": (lambda library: library.vectors(block=2.5), "block must be a whole number, not 2.5"),
    "huge region": (lambda library: library.search({"region_id": 10**30}), "region_id .* at most"),
    "region": (lambda library: library.search({"region_id": "1"}), "region_id .* whole number, not '1'"),
    "huge photo": (lambda library: library.annotate(10**30, rating=1), "photo_id must be at most"),
    "half a photo": (lambda library: library.annotate(1.5, rating=1), "photo_id must be a whole number"),
    "no annotation": (lambda library: library.annotate([1]), "virtue.Annotations, not int"),
    "huge photo to forget": (lambda library: library.forget(photo_ids=[10**30]), "photo_id must be at most"),
    "photo to forget": (lambda library: library.forget(photo_ids=["1"]), "photo_id must be a whole number"),
    "true to forget": (lambda library: library.forget(photo_ids=[True]), "must be a whole number, not True"),
    "one photo to forget": (lambda library: library.forget(photo_ids=1), "photo_ids are a list, not int"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_number_text_or_list_is_refused(library: Library, case: str) -> None:
    call, says = REFUSED[case]
    with pytest.raises(InputError, match=says):
        call(library)
    assert library.count() == 4


def test_the_ids_of_vectors_name_regions_and_photos(library: Library) -> None:
    (block,) = library.vectors("photos")
    photo = block.ids[0]
    assert isinstance(photo, np.integer)
    library.annotate(photo, tags=["first"])  # type: ignore[arg-type]
    library.annotate([Annotation(block.ids[1], tags=["second"])])
    assert library.count("tag in (first, second)") == 2
    (regions,) = library.vectors("regions")
    (like, *_) = library.search({"region_id": regions.ids[0]}, top=np.int64(1))  # type: ignore[arg-type]
    assert like.photo_id != regions.photo_ids[0]
    assert library.forget(photo_ids=block.ids[:1])
    assert library.count("tag in (first, second)") == 1
