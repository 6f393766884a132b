"""Filters, against plain Python that looks at every region and caption by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.store.builders import DIM, every_vector, file, matching, name
from tests.store.clustered import RECALL, REGIONS, indexed, no_warnings, recall, vectors
from tests.store.shots import BOXES, FILTERS, NASTY, Shot, embedded, holds, rows, shots, stored, written
from virtue.errors import InputError
from virtue.geometry import Box
from virtue.store import FileRecord, NewCaption, NewRegion, PhotoInfo, Store, open_store
from virtue.store.catalogue.fields import FIELDS
from virtue.store.catalogue.filters import RowFilter, parse
from virtue.store.records import KINDS, Kind, SearchParams


@pytest.fixture(scope="module", params=[1, 2, 3])
def known(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, list[Shot]]]:
    made = shots(request.param)
    with stored(tmp_path_factory.mktemp("where") / "library", made) as store:
        yield store, made


@settings(max_examples=150)
@given(data=st.data())
def test_a_filter_allows_what_plain_python_says(known: tuple[Store, list[Shot]], data: st.DataObject) -> None:
    store, made = known
    node = data.draw(FILTERS)
    text = written(node, data.draw)
    with store.read() as snapshot:
        for kind in KINDS:
            expected = [bool(row.shot.there) and holds(node, row) for row in rows(made, kind)]
            allowed = matching(snapshot, kind, text)
            assert allowed.dtype == bool
            assert allowed.tolist() == expected


def test_the_metadata_that_filters_are_tried_on_has_everything(known: tuple[Store, list[Shot]]) -> None:
    """Or the test above would promise little."""
    store, made = known
    with store.read() as snapshot:
        for kind in KINDS:
            assert len(rows(made, kind)) == snapshot.row_count(kind) > 20
            for text in (
                "rating >= 3", "taken < 2025", "gps in (-90, -180, 90, 180)", "tag ~ *", "camera ~ canon*",
                "category = dog", "area < 20%", "caption ~ *beach*", "path ~ 2024/", "size > 1MB",
            ):  # fmt: skip
                assert 0 < matching(snapshot, kind, text).sum() < len(rows(made, kind)), (kind, text)


def test_several_filters_must_all_hold(known: tuple[Store, list[Shot]]) -> None:
    store, _ = known
    with store.read() as snapshot:
        several = matching(snapshot, "regions", ["rating >= 4 or rating <= 1", "camera ~ *n*"])
        one = matching(snapshot, "regions", "(rating >= 4 or rating <= 1) and camera ~ *n*")
        assert several.tolist() == one.tolist()
        assert several.any()


def test_and_binds_more_than_or_and_not_most(known: tuple[Store, list[Shot]]) -> None:
    store, _ = known
    with store.read() as snapshot:

        def same(one: str, other: str) -> bool:
            return (
                matching(snapshot, "regions", one).tolist() == matching(snapshot, "regions", other).tolist()
            )

        assert same("rating = 5 or width = 100 and area < 30%", "rating = 5 or (width = 100 and area < 30%)")
        assert not same(
            "rating = 5 or width = 100 and area < 30%", "(rating = 5 or width = 100) and area < 30%"
        )
        assert same("not width = 100 and area < 30%", "(not width = 100) and area < 30%")
        assert not same("not width = 100 and area < 30%", "not (width = 100 and area < 30%)")


# -- one photo at a time ----------------------------------------------------------------------------------


def single(folder: Path, path: bytes = b"/photos/a.jpg", size: int = 1000, **info: Any) -> Store:
    photo = PhotoInfo(name(1), 100, 80, **info)
    shot = Shot(photo, size, [path], [NewRegion(Box(0, 0, 100, 80), "whole")], [])
    return stored(folder, [shot])


def test_what_a_photo_does_not_have_is_false_and_not_of_it_true(tmp_path: Path) -> None:
    with single(tmp_path / "library") as store, store.read() as snapshot:
        for text in ("rating = 3", "rating != 3", "camera != x", "taken < 3000", "tag ~ *", "category ~ *"):
            assert matching(snapshot, "regions", text).tolist() == [False]
            assert matching(snapshot, "regions", f"not {text}").tolist() == [True]
            assert matching(snapshot, "regions", f"not not {text}").tolist() == [False]


def test_a_box_across_the_antimeridian(tmp_path: Path) -> None:
    with single(tmp_path / "library", latitude=-17.8, longitude=178.0) as store, store.read() as snapshot:
        for box, inside in {
            "(-20, 170, -10, -170)": True,
            "(-20, -170, -10, 170)": False,
            "(-20, 179, -10, -179)": False,
            "(-20, 178, -10, 178)": True,
        }.items():
            assert matching(snapshot, "regions", f"gps in {box}").tolist() == [inside]


def test_a_path_in_no_encoding(tmp_path: Path) -> None:
    path = b"/photos/\xff\xfe/caf\xe9.jpg"
    with single(tmp_path / "library", path) as store, store.read() as snapshot:
        for pattern, fits in {
            "*.jpg": True,
            "caf?.JPG": True,
            os.fsdecode(path): True,
            os.fsdecode(b"caf\xe9.jpg"): True,
            os.fsdecode(b"caf\xe8.jpg"): False,
            os.fsdecode(b"\xff\xfe/*"): True,
            "café.jpg": False,
        }.items():
            assert matching(snapshot, "regions", f"path ~ '{pattern}'").tolist() == [fits], ascii(pattern)
            assert matching(snapshot, "regions", f"tag ~ '{pattern}'").tolist() == [False]


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1500", 1500),
        ("1.5k", 1500),
        ("2kB", 2000),
        ("2KB", 2000),
        ("2MB", 2_000_000),
        ("1G", 10**9),
        ("7b", 7),
    ],
)
def test_sizes_of_files(tmp_path: Path, written: str, size: int) -> None:
    with single(tmp_path / "library", size=size) as store, store.read() as snapshot:
        assert matching(snapshot, "regions", f"size = {written}").tolist() == [True]
        assert matching(snapshot, "regions", f"size > {written}").tolist() == [False]


# -- what is written meanwhile ----------------------------------------------------------------------------


def test_a_filter_sees_what_was_committed_since(tmp_path: Path) -> None:
    made = shots(4, 6)
    with stored(tmp_path / "library", made) as store:
        with store.read() as before:
            first = matching(before, "regions", "path ~ new*")
            assert not first.any()
            with store.write("test") as writer:
                writer.commit(files=[FileRecord(b"/photos/new.jpg", 1, 1, None, hash=made[0].info.hash)])
                with store.read() as snapshot:
                    allowed = matching(snapshot, "regions", "path ~ new*")
                    assert allowed.tolist() == [row.shot is made[0] for row in rows(made, "regions")]
                writer.forget([b"/photos/new.jpg", *made[0].paths])
            assert matching(before, "regions", "path ~ new*").tolist() == first.tolist()
        with store.read() as snapshot:
            assert not matching(snapshot, "regions", "path ~ new*").any()


def test_only_the_active_generation_counts(tmp_path: Path) -> None:
    def shot(number: int, thing: str) -> Shot:
        whole, part = NewRegion(Box(0, 0, 100, 80), "whole"), NewRegion(BOXES[0], "annotation", thing)
        told = [NewCaption(f"a {thing}", "annotation", 1), NewCaption(f"the {thing}", "sidecar")]
        info = PhotoInfo(name(number), 100, 80)
        return Shot(info, 1000, [b"/photos/%d.jpg" % number], [whole, part], told)

    with (
        stored(tmp_path / "library", [shot(0, "dog"), shot(1, "dog")]) as store,
        store.write("test") as writer,
    ):

        def allowed(kind: Kind, text: str) -> list[bool]:
            with store.read() as snapshot:
                found: list[bool] = matching(snapshot, kind, text).tolist()
                return found

        new = writer.generation("other", "other fingerprint", DIM)
        writer.commit([embedded(shot(1, "cat"))])
        for kind in KINDS:
            for text in ("category = cat", "caption ~ *cat"):
                assert allowed(kind, text) == [False] * 4
        assert allowed("regions", "category = dog") == [False, True] * 2
        assert allowed("captions", "category = dog") == [True, False] * 2
        writer.activate(new)
        # What was given for photo 0 is kept without a vector, until it is embedded again.
        for kind in KINDS:
            for text in ("category = dog", "caption ~ *dog"):
                assert allowed(kind, text) == [False, False]
            assert allowed(kind, "width = 100") == [True, True]
        assert allowed("regions", "category = cat") == [False, True]
        assert allowed("captions", "category = cat") == [True, False]


def test_whole_photos_count_or_not_beside_other_regions(tmp_path: Path) -> None:
    whole = NewRegion(Box(0, 0, 100, 80), "whole")
    alone = Shot(PhotoInfo(name(1), 100, 80), 1000, [b"/photos/1.jpg"], [whole], [])
    part = NewRegion(BOXES[0], "proposal")
    other = Shot(
        PhotoInfo(name(2), 100, 80), 1000, [b"/photos/2.jpg"], [whole, part], [NewCaption("a", "sidecar")]
    )
    with stored(tmp_path / "library", [alone, other]) as store, store.read() as snapshot:
        assert matching(snapshot, "regions", "area > 95%").tolist() == [True, True, False]
        assert matching(snapshot, "regions", "area > 95%", full_images="single").tolist() == [
            True,
            False,
            False,
        ]
        assert matching(snapshot, "regions", "width = 100 or rating = 1", full_images="single").tolist() == [
            True,
            False,
            True,
        ]
        assert matching(snapshot, "captions", "area > 95%", full_images="single").tolist() == [True]


def test_an_empty_library_allows_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path / "library", create=True) as store, store.read() as snapshot:
        assert matching(snapshot, "regions", "rating = 3").tolist() == []


def test_a_filter_used_again_after_many_others_gives_the_same(tmp_path: Path) -> None:
    with single(tmp_path / "library", rating=3) as store, store.read() as snapshot:
        for number in range(30):
            assert matching(snapshot, "regions", f"rating = {number}").tolist() == [number == 3]
        assert matching(snapshot, "regions", "rating = 3").tolist() == [True]


# -- the documentation ------------------------------------------------------------------------------------


def test_every_field_and_example_of_the_docs(known: tuple[Store, list[Shot]]) -> None:
    page = (ROOT / "docs" / "search.md").read_text().split("## Filters")[1].split("\n## ")[0]
    table = re.findall(r"^\| (`.*?) \|.*\| (.*) \|$", page, re.M)
    assert {field for names, _ in table for field in re.findall(r"\w+", names)} == set(FIELDS)
    store, made = known
    with store.read() as snapshot:
        for names, examples in table:
            for example in re.findall(r"`(.*?)`", examples):
                assert set(example.split()) & set(re.findall(r"\w+", names))
                assert len(matching(snapshot, "regions", example)) == len(rows(made, "regions"))


# -- what is no filter ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ratng >= 4", "character 1: there is no field 'ratng'; the fields are area, camera, .*width$"),
        ("rating >= 4 and", "character 16: expected a field, found the end; the fields are area"),
        ("", "'' cannot be read at character 1: expected a field, found the end"),
        ("'rating' = 4", "expected a field, found 'rating'"),
        ("rating", "character 7: rating takes =, !=, <, <=, >, >=, in, not the end"),
        ("rating ~ 4", "rating takes .*, not '~'"),
        ("tag != x", "tag takes =, ~, in, not '!='; write `not tag = ...` for photos without one"),
        ("gps = 4", "gps takes in, not '='"),
        ("rating >= ", "character 11: expected a value for rating, found the end"),
        ("tag = and", "expected a value for tag, found 'and' \\(in quotes, if it is meant as text\\)"),
        ("rating >= four", "character 11: 'four' is not a number"),
        ("rating >= '4; --'", "'4; --' is not a number"),
        ("rating >= 1e5", "'1e5' is not a number"),
        ("rating >= nan", "'nan' is not a number"),
        ("rating >= ٤", "is not a number"),
        ("area > 0.1", "'0.1' is not a share of the photo: write 10%"),
        ("size > 2TB", "'2TB' is not a file size: write 500kB, 2MB"),
        ("size > ' '", "' ' is not a file size"),
        ("taken > 2024-13", "'2024-13' is not a date: write 2024, 2024-06,"),
        ("taken > 2023-02-29", "is not a date"),
        ("taken > yesterday", "is not a date"),
        ("taken > '2024-06-01T12:30:00+02:00'", "is not a date"),
        ("tag = sea side", "character 11: expected `and`, `or` or the end, found 'side' .*in quotes"),
        ("(rating = 4", "character 12: expected '\\)', found the end"),
        ("rating = 4)", "character 11: expected `and`, `or` or the end, found '\\)'$"),
        ("tag = 'sea", "character 7: a quote is not closed"),
        ("rating ! 4", "character 8: '!' is not an operator"),
        ("tag in 'a'", "expected '\\(', found 'a'"),
        ("tag in ()", "expected a value for tag, found '\\)'"),
        ("gps in (1, 2, 3)", "character 5: gps in needs four numbers: \\(south, west, north, east\\)"),
        ("gps in (50, 0, 40, 1)", "must not lie north"),
        ("gps in (-91, 0, 40, 1)", "must not lie north"),
        ("gps in (0, 200, 1, 1)", "between -180 and 180"),
        ("(" * 10_000 + "rating = 4" + ")" * 10_000, "more than 10 parentheses or `not`s"),
        ("not " * 10_000 + "rating = 4", "more than 10 parentheses or `not`s"),
        ("(" * 10_000, "more than 10 parentheses"),
        (" or ".join(["rating = 4"] * 201), "more than 200 comparisons"),
        (f"tag in ({','.join('abcde' * 50)})", "more than 200 comparisons"),
    ],
)
def test_what_is_no_filter_is_said_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with single(tmp_path / "library") as store, store.read() as snapshot:
        with pytest.raises(InputError, match=says) as caught:
            matching(snapshot, "regions", text)
        assert str(caught.value).startswith("the filter '") or str(caught.value).startswith('the filter "')
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)


def test_no_filters_and_too_many(tmp_path: Path) -> None:
    with single(tmp_path / "library") as store, store.read() as snapshot:
        with pytest.raises(InputError, match="there is no filter"):
            matching(snapshot, "regions", [])
        with pytest.raises(InputError, match="more than 200 comparisons"):
            matching(snapshot, "regions", ["rating = 4"] * 201)
        assert matching(snapshot, "regions", ["width = 100"] * 200).tolist() == [True]


@pytest.mark.parametrize(
    "comparison", ["caption ~ *a*", "gps in (0,0,1,1)", "tag = a", "area < 1%", "category = x"]
)
def test_the_largest_filters_are_answered(tmp_path: Path, comparison: str) -> None:
    with single(tmp_path / "library") as store, store.read() as snapshot:
        for kind in KINDS:
            long = f" or not {comparison} and ".join([comparison] * 100)
            deep = comparison
            for _ in range(10):
                deep = f"({comparison} or {comparison} and {deep} or {comparison})"
            denied = comparison
            for _ in range(5):
                denied = f"{comparison} and not ({denied})"
            for text in (long, deep, denied):
                assert not matching(snapshot, kind, text).any()


# -- nothing of a filter is ever run ----------------------------------------------------------------------

EVIL = [
    NASTY,
    "x' OR '1'='1",
    "x'); DELETE FROM regions; --",
    '" OR ""="',
    "x\0' OR 1=1",
    "?1",
    ":a",
    "/* */ --",
    "\\' OR 1=1 --",
    "\u02bc OR 1=1",
    "\udcff",
    "\U0001f600",
    "%_",
    "*" * 5000 + "b",
    "a*" * 2000 + "b",
    "[" * 300,
    "{0}{}",
]


@pytest.mark.parametrize("evil", EVIL, ids=lambda evil: ascii(evil[:12]))
def test_values_are_only_ever_values(tmp_path: Path, evil: str) -> None:
    harmless = evil.encode("utf-8", "replace").decode().replace("\0", "")
    with single(tmp_path / "library", tags=("other", f"<{harmless}>")) as store:
        for asked in ("tag", "camera", "category", "caption", "path"):
            for operator in ("=", "~"):
                for quote in "'\"":
                    text = f"{asked} {operator} {quote}{evil.replace(quote, 2 * quote)}{quote}"
                    with store.read() as snapshot:
                        assert not matching(snapshot, "regions", text).any()
                        assert not matching(snapshot, "captions", text).any()
        with store.read() as snapshot:
            exactly = "<" + harmless.replace("'", "''") + ">"
            assert matching(snapshot, "regions", f"tag = '{exactly}'").tolist() == [True]
            assert snapshot.faults() == []
            assert (snapshot.counts().photos, snapshot.counts().regions) == (1, 1)


PIECES = st.sampled_from(
    ["rating", "tag", "gps", "taken", "(", ")", "=", "<", "~", "in", "not", "and", "or", ",", "'", '"', " ",
     "4", "2024", "10%", ";", "--", "\\", "?", ":x", "{}", "\0", "\udc80", "é", "[", "*", "%", "!="]
)  # fmt: skip


@settings(max_examples=200)
@given(
    text=st.lists(PIECES, max_size=15).map(" ".join) | st.lists(PIECES, max_size=15).map("".join) | st.text()
)
def test_any_text_is_a_filter_or_an_error_that_says_so(known: tuple[Store, list[Shot]], text: str) -> None:
    store, made = known
    with store.read() as snapshot:
        try:
            allowed = matching(snapshot, "regions", text)
        except InputError as error:
            assert "cannot be read at character" in str(error)
            assert str(error).isprintable()
        else:
            assert len(allowed) == len(rows(made, "regions"))


# -- with an index ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """8,000 regions of photos 0.jpg to 399.jpg, with an index."""
    with no_warnings(), indexed(tmp_path_factory.mktemp("where") / "large", 400) as store:
        yield store


@pytest.mark.parametrize(
    ("text", "share", "exact"),
    [
        ("path ~ *7.jpg", 0.1, True),
        ("path in (3.jpg, 40.jpg)", 0.005, True),
        ("path ~ '*[0-3].jpg'", 0.4, False),
        ("not path ~ *7.jpg", 0.9, False),
    ],
)
def test_few_rows_are_read_and_many_are_found_by_the_index(
    large: Store, text: str, share: float, exact: bool
) -> None:
    with large.read() as snapshot:
        allowed = matching(snapshot, "regions", text)
        assert allowed.sum() == share * 400 * REGIONS
        filter = RowFilter(parse(text))
        assert recall(snapshot, vectors(40, 970), filter=filter) >= (1 if exact else RECALL)
        least = [
            snapshot.search("regions", q, 10, filter, params=SearchParams(1, 1)) for q in vectors(40, 971)
        ]
        assert all(len(ranked.rows) == 10 and allowed[ranked.rows].all() for ranked in least)
        best = [snapshot.exact("regions", q[None], 10, filter) for q in vectors(40, 971)]
        # At the least effort an index misses rows, and a scan none.
        assert exact == all(a.rows.tolist() == b.rows.tolist() for a, b in zip(least, best, strict=True))


def test_hits_are_those_that_plain_arithmetic_finds(large: Store) -> None:
    with large.read() as snapshot:
        allowed = matching(snapshot, "regions", "path ~ *7.jpg")
        stored = every_vector(snapshot, "regions")
        for query in vectors(10, 972):
            scores = np.where(allowed, stored @ query, -np.inf)
            ranked = snapshot.search("regions", query, 10, RowFilter(parse("path ~ *7.jpg")))
            assert ranked.rows.tolist() == np.argsort(-scores, kind="stable")[:10].tolist()
            assert {record.path[-5:] for record in snapshot.regions(ranked.rows)} == {b"7.jpg"}


def test_a_file_of_the_builders_is_what_filters_call_a_thousand_bytes(large: Store) -> None:
    assert file("/photos/0.jpg", 0).size == 1000
    with large.read() as snapshot:
        assert matching(snapshot, "regions", "size = 1kB").all()
