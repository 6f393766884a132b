"""What comes from strangers, an export or a library, is checked before anything of it is taken in."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.store.builders import DIM, MASK, SETTINGS, file, filled, name, photo, vectors
from tests.store.test_transfer import held, rich
from virtue import Library
from virtue.errors import ModelMismatchError, VirtueError
from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo, open_store

METADATA = b"virtue"


def export(folder: Path) -> Path:
    rich(folder / "one").close()
    with Library(folder / "one") as one:
        one.export_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def refused(folder: Path, take: Callable[[Library], Any]) -> str:
    """The sentence, after a look at what the library was left with."""
    filled(folder / "mine", 1).close()
    before = held(folder / "mine")
    with Library(folder / "mine") as mine, pytest.raises(VirtueError) as caught:
        take(mine)
    assert held(folder / "mine") == before
    with Library(folder / "none") as none, pytest.raises(VirtueError):
        take(none)
    assert not (folder / "none").exists()
    said = str(caught.value)
    assert "\n" not in said
    return said


# -- exports -------------------------------------------------------------------------------------------------

MANIFESTS: dict[str, tuple[Any, str]] = {
    "a list": ([], "is damaged"),
    "deep": ("[" * 100_000, "is damaged"),
    "no JSON": ("{", "is damaged"),
    "from the future": ({"format": 99}, "was written by a newer virtue"),
    "a format in words": ({"format": "one"}, "is damaged"),
    "too many dimensions": ({"dim": 10**12}, "its vectors have 1000000000000 dimensions"),
    "half a dimension": ({"dim": 0.5}, "its vectors have 0.5 dimensions"),
    "dimensions in words": ({"dim": "8"}, "its vectors have '8' dimensions"),
    "true dimensions": ({"dim": True}, "its vectors have True dimensions"),
    "other dimensions": ({"dim": 7}, "is damaged"),
    "a model that is a number": ({"model": 3}, "its model has no name"),
    "a model of half a letter": ({"model": "\ud800"}, "its model has no name"),
    "a long fingerprint": ({"fingerprint": "x" * 10_000}, "its model has no name"),
    "the whole disk": ({"roots": [{"path": "/", "options": "{}"}]}, "a whole disk"),
    "a root with a zero": ({"roots": [{"path": "/a\0", "options": "{}"}]}, "is no whole path"),
    "a relative root": ({"roots": [{"path": "a", "options": "{}"}]}, "is no whole path"),
    "a root that climbs": ({"roots": [{"path": "/a/../..", "options": "{}"}]}, "is no whole path"),
    "a root of half a letter": ({"roots": [{"path": "/\ud800", "options": "{}"}]}, "is damaged"),
    "options that are none": ({"roots": [{"path": "/a", "options": "{}"}]}, "cannot be read"),
    "options of a list": ({"roots": [{"path": "/a", "options": []}]}, "cannot be read"),
    "regions in words": (
        {"roots": [{"path": "/a", "options": '{"regions": "3", "exclude": []}'}]},
        "cannot be read",
    ),
    "roots that are a number": ({"roots": 3}, "is damaged"),
}


@pytest.mark.parametrize("odd", MANIFESTS)
def test_what_an_export_says_of_itself_is_checked(tmp_path: Path, odd: str) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    change, said = MANIFESTS[odd]
    if isinstance(change, dict):
        change = json.dumps(json.loads(table.schema.metadata[METADATA]) | change)
    text = change if isinstance(change, str) else json.dumps(change)
    pq.write_table(table.replace_schema_metadata({METADATA: text.encode()}), path)
    assert said in refused(tmp_path, lambda library: library.import_parquet(path))


def test_other_dimensions_of_the_same_model_are_another_model(tmp_path: Path) -> None:
    with open_store(tmp_path / "wide", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", 2 * DIM)
        writer.commit([photo(0, dim=2 * DIM)], [file("/0.jpg", 0)])
    with Library(tmp_path / "wide") as wide:
        wide.export_parquet(tmp_path / "x.parquet")
    filled(tmp_path / "mine", 1).close()
    with Library(tmp_path / "mine") as mine:
        with pytest.raises(ModelMismatchError):
            mine.import_parquet(tmp_path / "x.parquet")
        with pytest.raises(ModelMismatchError):
            mine.merge(tmp_path / "wide")


COLUMNS: dict[str, tuple[str, Callable[[list[Any]], Any], str]] = {
    "no hash": (
        "photo",
        lambda old: pa.array([b"" if each == old[-1] else each for each in old]),
        "has no hash",
    ),
    "a long hash": (
        "photo",
        lambda old: pa.array([b"x" * 100 if each == old[-1] else each for each in old]),
        "has no hash",
    ),
    "no width": ("width", lambda old: pa.array([0] * len(old), pa.int32()), "a photo of 0 x"),
    "a relative path": ("paths", lambda old: pa.array([[b"a.jpg"]] * len(old)), "is no whole path"),
    "a zero in a path": ("paths", lambda old: pa.array([[b"/a\0"]] * len(old)), "is no whole path"),
    "a path that climbs": ("paths", lambda old: pa.array([[b"/../a"]] * len(old)), "is no whole path"),
    "no north": ("latitude", lambda old: pa.array([np.nan] * len(old)), "no place is at nan"),
    "far north": ("latitude", lambda old: pa.array([91.0] * len(old)), "no place is at 91"),
    "a rating": ("rating", lambda old: pa.array([6] * len(old), pa.int32()), "a rating of 6"),
    "an objectness": ("objectness", lambda old: pa.array([1.5] * len(old)), "an objectness of 1.5"),
    "no objectness": ("objectness", lambda old: pa.array([np.nan] * len(old)), "an objectness of nan"),
    "an object that is a number": ("object", lambda old: pa.array([[7]] * len(old)), "is damaged"),
    "a corner alone": ("x0", lambda old: pa.array([1.0] * len(old)), "is damaged"),
    "a reader": ("read_by", lambda old: pa.array(["x" * 2_000_000] * len(old)), "too long"),
    "settings": ("settings", lambda old: pa.array(["none"] * len(old)), "settings of a photo"),
    "a mask": ("mask", lambda old: pa.array(["[]"] * len(old)), "a mask cannot be read"),
    "a mask of another size": (
        "mask",
        lambda old: pa.array([MASK.replace("[80, 100]", "[100, 80]")] * len(old)),
        "a mask cannot be read",
    ),
    "words for numbers": ("width", lambda old: pa.array(["wide"] * len(old)), "is damaged"),
    "a structure": ("width", lambda old: pa.array([{"x": 1}] * len(old)), "is damaged"),
    "lists": ("settings", lambda old: pa.array([["x"]] * len(old)), "is damaged"),
    "one path for all": ("paths", lambda old: pa.array([b"/a"] * len(old)), "is damaged"),
    "a tag twice": ("tags", lambda old: pa.array([["a", "a"]] * len(old)), "a tag twice"),
    "a long tag": ("tags", lambda old: pa.array([["a" * 2_000_000]] * len(old)), "too long"),
    "sizes below zero": (
        "sizes",
        lambda old: pa.array([[-1] * len(each) for each in old], pa.list_(pa.int64())),
        "has no size or time",
    ),
}


@pytest.mark.parametrize("odd", COLUMNS)
def test_columns_of_an_export_are_checked(tmp_path: Path, odd: str) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    column, made, said = COLUMNS[odd]
    at = table.schema.get_field_index(column)
    lists = ["sizes", "mtimes_ns", "sidecars", "missing"] if column == "paths" else []
    table = table.set_column(at, column, made(table[column].to_pylist()))
    for other in lists:
        first = [each[:1] for each in table[other].to_pylist()]
        field = table.schema.field(other)
        at = table.schema.get_field_index(other)
        table = table.set_column(at, field, pa.array(first, field.type))
    pq.write_table(table, path)
    assert said in refused(tmp_path, lambda library: library.import_parquet(path))


def test_an_export_that_expands_beyond_memory_is_refused(tmp_path: Path) -> None:
    """15 kB that hold a text of half a gigabyte, of which there are copies on the way."""
    path = export(tmp_path)
    table = pq.read_table(path)
    at = table.schema.get_field_index("settings")
    bomb = pa.array(["x" * 500_000_000], pa.string())
    pq.write_table(table[:1].set_column(at, "settings", bomb), path, compression="zstd", use_dictionary=False)
    del bomb, table
    assert "more than 1 GB of memory" in refused(tmp_path, lambda library: library.import_parquet(path))


def test_an_export_of_more_rows_than_it_has_room_for_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)[:1]
    many = pa.concat_tables([table] * 100_000).combine_chunks()
    pq.write_table(many, path, compression="zstd")
    assert "no room for the vectors" in refused(tmp_path, lambda library: library.import_parquet(path))


def test_lists_of_more_than_any_library_has_are_refused(tmp_path: Path) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    at = table.schema.get_field_index("missing")
    many = pa.ListArray.from_arrays(
        pa.array(range(0, 1_000_000 * (len(table) + 1), 1_000_000), pa.int32()),
        pa.array(np.zeros(1_000_000 * len(table), bool)),
    )
    pq.write_table(table.set_column(at, "missing", many), path, compression="zstd")
    assert "paths and tags" in refused(tmp_path, lambda library: library.import_parquet(path))


def test_two_photos_at_one_path_are_one_there(tmp_path: Path) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    lists = {"paths": [b"/one.jpg"], "sizes": [1], "mtimes_ns": [1], "sidecars": [None], "missing": [False]}
    for column, value in lists.items():
        field = table.schema.field(column)
        values = pa.array([value] * len(table), field.type)
        table = table.set_column(table.schema.get_field_index(column), field, values)
    pq.write_table(table, path)
    with Library(tmp_path / "two") as two:
        taken = two.import_parquet(path)
        assert (taken.photos, taken.left_out) == (1, 3)
        assert two.verify() == []


# -- libraries -----------------------------------------------------------------------------------------------

STATEMENTS = [
    "UPDATE files SET path = 'a.jpg' || hex(path)",
    "UPDATE files SET path = CAST('a.jpg' || hex(path) AS BLOB)",
    "UPDATE files SET path = CAST(path || x'00' AS BLOB)",
    "UPDATE files SET size = -1",
    "UPDATE files SET sidecar = x'ff'",
    "UPDATE OR IGNORE roots SET path = x'2f'",
    "UPDATE OR IGNORE roots SET path = x'61'",
    "UPDATE OR IGNORE roots SET options = '[]'",
    "UPDATE photos SET hash = CAST('a' || id AS TEXT)",
    "UPDATE photos SET width = 'x'",
    "UPDATE photos SET width = 1",
    "UPDATE photos SET latitude = 9e999",
    "UPDATE photos SET rating = 10",
    "UPDATE photos SET camera = x'00'",
    "UPDATE OR IGNORE tags SET tag = x'00'",
    "UPDATE regions SET x1 = 1e6",
    "UPDATE regions SET x1 = x0",
    "UPDATE regions SET origin = x'00'",
    "UPDATE regions SET objectness = -0.5",
    "UPDATE regions SET object = x'00'",
    "UPDATE regions SET mask = '{}'",
    "UPDATE regions SET mask = replace(hex(zeroblob(50000)), '00', '[')",
    "UPDATE captions SET text = x'ff'",
    "UPDATE captions SET region_id = 1",
    "UPDATE captions SET region_id = 99999 WHERE region_id IS NOT NULL",
    "UPDATE captions SET region_id = (SELECT id FROM regions WHERE regions.photo_id <> captions.photo_id)",
    "UPDATE captions SET x0 = 0, y0 = 0, x1 = 1000, y1 = 10 WHERE region_id IS NULL",
    "UPDATE captions SET x0 = 0, y0 = 0, x1 = 10, y1 = 10 WHERE region_id IS NOT NULL",
    "UPDATE captions SET x0 = 0, y0 = 0, x1 = 10",
    "UPDATE photos SET read_by = x'00'",
    "UPDATE embeddings SET settings = 'none'",
    "UPDATE generations SET model = ''",
    "UPDATE generations SET dim = 1000000000000",
    "UPDATE generations SET dim = 4",
    "UPDATE row_files SET count = 1000",
    "UPDATE regions SET row = row + 1000",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER t BEFORE INSERT ON files BEGIN SELECT 1; END",
]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_what_is_merged_is_checked_as_what_is_imported(tmp_path: Path, sql: str) -> None:
    rich(tmp_path / "one").close()
    with closing(sqlite3.connect(tmp_path / "one" / "catalogue.db")) as plain, plain:
        plain.execute(sql)
    refused(tmp_path, lambda library: library.merge(tmp_path / "one"))


def of_vectors(rows: np.ndarray) -> EmbeddedPhoto:
    box = NewRegion(Box(0, 0, 100, 80), "whole")
    return EmbeddedPhoto(PhotoInfo(name(0), 100, 80), SETTINGS, (box,), rows, (), vectors(0, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_vectors_that_are_none_are_not_merged(tmp_path: Path, value: float) -> None:
    """With a checksum that fits them."""
    with open_store(tmp_path / "one", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.commit([of_vectors(vectors(1, 1))], [file("/0.jpg", 0)])
    rows = np.full((1, DIM), value, "<f2")
    (tmp_path / "one" / "regions-1.f16").write_bytes(rows.tobytes())
    with closing(sqlite3.connect(tmp_path / "one" / "catalogue.db")) as plain, plain:
        plain.execute("UPDATE checksums SET crc = ?", (zlib.crc32(rows.tobytes()),))
    assert "unit length" in refused(tmp_path, lambda library: library.merge(tmp_path / "one"))


def test_what_a_library_holds_is_merged(tmp_path: Path) -> None:
    """Odd, but sound: names in no encoding, a file of before 1970, an empty text."""
    embedded = replace(
        photo(0, given=1, captions=[NewCaption("", "sidecar"), NewCaption("b", "file", 2)]),
        info=PhotoInfo(name(0), 100, 80, "", "\u202e", -90.0, 180.0, 0, ("", "x" * 1000), (1 << 64) - 1),
    )
    with open_store(tmp_path / "one", create=True) as store, store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.commit([embedded], [FileRecord(b"/\xff\n/\x1b", 0, -(1 << 63), "", name(0))])
    with Library(tmp_path / "two") as two:
        assert two.merge(tmp_path / "one").photos == 1
        assert two.verify() == []
    assert held(tmp_path / "two") == held(tmp_path / "one")
