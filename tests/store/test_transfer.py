"""Photos go from one library to another, through a file or straight, and are found there as here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.builders import DIM, QUERY, broken, file, filled, found, name, photo, vectors
from tests.store.hardship import POSIX
from tests.store.test_compaction import row_files
from virtue import Library
from virtue.errors import DamagedError, EmptyLibraryError, InputError, ModelMismatchError, StoreError
from virtue.geometry import Box
from virtue.store import EmbeddedPhoto, FileRecord, NewCaption, NewRegion, PhotoInfo, Store, open_store
from virtue.store import layout as names

SAID = [NewCaption("a", "sidecar"), NewCaption("b", "file", 2)]


MANY = range(50, 400)


def held(folder: Path) -> list[Any]:
    with open_store(folder) as store, store.read() as snapshot:
        return [found(snapshot), found(snapshot, "captions"), snapshot.files(), snapshot.roots()]


def rich(folder: Path) -> Store:
    """A library with something of everything."""
    store = open_store(folder, create=True)
    info = PhotoInfo(
        name(0), 100, 80, "2024-05-01T10:00:00", "Nikon", 47.5, -8.25, 4, ("a", "b"), (1 << 64) - 3
    )
    with store.write("test") as writer:
        writer.generation("mini", "fingerprint", DIM)
        writer.remember_root(b"/photos", '{"regions": "auto", "exclude": []}')
        writer.remember_root(b"/\xff", '{"regions": "none", "exclude": []}')
        writer.commit(
            [
                photo(0, given=2, captions=SAID, info=info),
                photo(1),
                photo(2),
                photo(3, captions=SAID, given=1),
            ],
            [
                FileRecord(b"/photos/0.jpg", 5, 6, "4:5:6", hash=name(0)),
                file(b"/\xff/odd\xfe.jpg", 0),
                file("/photos/1.jpg", 1),
                file("/photos/2.jpg", 2),
                file("/photos/3.jpg", 3),
                broken("/photos/4.jpg"),
            ],
        )
        writer.commit(missing=[b"/photos/2.jpg", b"/photos/0.jpg"])
        writer.commit([photo(1, seed=7)])
    return store


def test_an_exported_library_is_imported_as_it_was(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    with Library(tmp_path / "one") as one:
        exported = one.export_parquet(tmp_path / "x.parquet")
    assert (exported.photos, exported.rows, exported.left_out) == (4, 15, 0)
    with Library(tmp_path / "two") as two:
        taken = two.import_parquet(tmp_path / "x.parquet")
        assert (taken.photos, taken.known, taken.paths, taken.left_out) == (4, 0, 5, 0)
        assert two.store.verify() == []
        two.export_parquet(tmp_path / "y.parquet")
        with two.store.read() as snapshot:
            assert snapshot.user_annotations(name(0)).captions == (NewCaption("b", "file", 0),)
            assert snapshot.generation is not None and snapshot.generation.model == "mini"
    before, after = held(tmp_path / "one"), held(tmp_path / "two")
    assert before[2].pop(b"/photos/4.jpg").problem is not None
    assert after == before
    assert pq.read_table(tmp_path / "y.parquet").equals(pq.read_table(tmp_path / "x.parquet"))
    assert pq.read_schema(tmp_path / "y.parquet").metadata == pq.read_schema(tmp_path / "x.parquet").metadata


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
facts = st.builds(
    PhotoInfo,
    hash=st.just(b""),
    width=st.integers(100, 10_000),
    height=st.integers(80, 10_000),
    taken=st.none() | texts,
    camera=st.none() | texts,
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
    rating=st.none() | st.integers(-1, 5),
    tags=st.lists(texts, max_size=3, unique=True).map(tuple),
    phash=st.integers(0, (1 << 64) - 1),
    read_by=st.none() | texts,
)
boxes = st.tuples(st.floats(0, 50), st.floats(0, 40), st.floats(51, 100), st.floats(41, 80)).map(
    lambda corners: Box(*corners)
)
lines = st.builds(NewCaption, texts, st.just("ocr"), st.none(), st.none() | boxes)
regions = st.builds(
    NewRegion,
    boxes,
    st.sampled_from(["whole", "proposal", "annotation"]),
    st.none() | texts,
    st.none(),
    st.none() | st.floats(0, 1),
    st.none() | texts,
)
paths = st.binary(min_size=1, max_size=6).filter(
    lambda path: b"\0" not in path and os.path.abspath(b"/" + path) == b"/" + path
)


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[EmbeddedPhoto, list[FileRecord], list[bytes]]]:
    made = []
    free = draw(st.lists(paths, unique=True, min_size=1, max_size=10))
    for number in range(draw(st.integers(1, min(4, len(free))))):
        own = tuple(draw(st.lists(regions, min_size=1, max_size=4)))
        places = st.none() | st.sampled_from(
            [n for n, r in enumerate(own) if r.origin == "annotation"] or [None]
        )
        told = tuple(
            draw(st.lists(st.builds(NewCaption, texts, st.sampled_from(["file", "annotation"]), places)))
        )
        told += tuple(draw(st.lists(st.builds(NewCaption, texts, st.sampled_from(["sidecar", "metadata"])))))
        told += tuple(draw(st.lists(lines, max_size=3)))
        embedded = EmbeddedPhoto(
            replace(draw(facts), hash=name(number)),
            f"regions={draw(st.integers(0, 99))} annotations=- captions=-",
            own,
            vectors(len(own), number),
            told,
            vectors(len(told), 100 + number),
        )
        count = draw(st.integers(1, 3))
        at, free = [free.pop(), *free[:count]], free[count:]
        numbers = st.integers(0, 1 << 62)
        files = [
            FileRecord(b"/" + p, draw(numbers), draw(numbers), draw(st.none() | texts), name(number))
            for p in at
        ]
        missing = [each.path for each in files if draw(st.booleans())]
        made.append((embedded, files, missing))
        if not free:
            break
    return made


@settings(max_examples=40)
@given(contents())
def test_any_library_comes_back_from_a_file_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    photos: list[tuple[EmbeddedPhoto, list[FileRecord], list[bytes]]],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with Library(folder / "one") as one, Library(folder / "two") as two, Library(folder / "three") as three:
        with open_store(folder / "one", create=True) as store, store.write("test") as writer:
            writer.generation("mini", "fingerprint", DIM)
            for embedded, files, missing in photos:
                writer.commit([embedded], files, missing)
        one.export_parquet(folder / "x.parquet")
        two.import_parquet(folder / "x.parquet")
        two.export_parquet(folder / "y.parquet")
        three.merge(folder / "one")
        three.export_parquet(folder / "z.parquet")
    expected = pq.read_table(folder / "x.parquet")
    assert expected.num_rows == sum(len(e.regions) + len(e.captions) for e, _, _ in photos)
    assert pq.read_table(folder / "y.parquet").equals(expected)
    assert pq.read_table(folder / "z.parquet").equals(expected)
    assert held(folder / "one") == held(folder / "two") == held(folder / "three")


def seen(folder: Path) -> list[tuple[str, float | None, str | None]]:
    with open_store(folder) as store, store.read() as snapshot:
        records = snapshot.regions(range(snapshot.row_count("regions")))
    return [(each.origin, each.objectness, each.object) for each in records]


def test_what_a_detector_saw_goes_along_and_older_exports_do_not_know_it(tmp_path: Path) -> None:
    filled(tmp_path / "one", 1, given=1).close()
    with Library(tmp_path / "one") as one:
        one.export_parquet(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["objectness"].to_pylist() == [None, 0.5, None]
    assert table["object"].to_pylist() == [None, "dog", None]
    pq.write_table(table.drop_columns(["objectness", "object"]), tmp_path / "old.parquet")
    with Library(tmp_path / "two") as two, Library(tmp_path / "three") as three:
        two.import_parquet(tmp_path / "old.parquet")
        three.merge(tmp_path / "one")
        three.compact()
    assert seen(tmp_path / "two") == [
        ("whole", None, None),
        ("proposal", None, None),
        ("annotation", None, None),
    ]
    assert seen(tmp_path / "three") == [
        ("whole", None, None),
        ("proposal", 0.5, "dog"),
        ("annotation", None, None),
    ]


def test_what_a_library_has_stays_as_it_is(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    with filled(tmp_path / "two", 2) as store, store.write("test") as writer:
        writer.commit([photo(9)], [file("/photos/3.jpg", 9)])
        before = held(tmp_path / "two")
    with Library(tmp_path / "two") as two:
        taken = two.merge(tmp_path / "one")
        # 0 and 1 are known, of which 0 gains a path; 2 is new; where 3 lies, 9 lies here.
        assert (taken.known, taken.photos, taken.paths, taken.left_out) == (2, 1, 2, 1)
        assert "2 known already" in taken.summary() and "1 left out" in taken.summary()
        assert two.merge(tmp_path / "one").photos == 0
        assert two.store.verify() == []
    after = held(tmp_path / "two")
    assert {path: state for path, state in after[2].items() if path in before[2]} == before[2]
    assert [path for path in after[2] if path not in before[2]] == [b"/\xff/odd\xfe.jpg", b"/photos/2.jpg"]
    assert [root.path for root in after[3]] == [b"/photos", b"/\xff"]


def test_two_libraries_become_one(tmp_path: Path) -> None:
    filled(tmp_path / "one", 30, captions=SAID[:1]).close()
    with filled(tmp_path / "two", 0) as store, store.write("test") as writer:
        writer.commit(
            [photo(n) for n in range(50, 400)], [file(f"/other/{n}.jpg", n) for n in range(50, 400)]
        )
    with filled(tmp_path / "both", 30, captions=SAID[:1]) as store, store.write("test") as writer:
        writer.commit(
            [photo(n) for n in range(50, 400)], [file(f"/other/{n}.jpg", n) for n in range(50, 400)]
        )
    with Library(tmp_path / "one") as one:
        assert one.merge(tmp_path / "two").photos == 350
    assert held(tmp_path / "one") == held(tmp_path / "both")


def test_rows_of_what_was_dropped_are_not_exported(tmp_path: Path) -> None:
    with filled(tmp_path / "one", 10) as store:
        with store.write("test") as writer:
            writer.forget([b"/photos/3.jpg"])
            writer.discard([name(4)])
        with Library(tmp_path / "one") as one:
            exported = one.export_parquet(tmp_path / "x.parquet")
        assert (exported.photos, exported.rows, exported.left_out) == (8, 16, 1)


def test_others_can_read_the_file(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    with Library(tmp_path / "one") as one:
        one.export_parquet(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet", filters=[("kind", "=", "region")])
    matrix = np.stack(table["vector"].combine_chunks().to_numpy(zero_copy_only=False)).astype(np.float32)
    with open_store(tmp_path / "one") as store, store.read() as snapshot:
        expected = sorted(score for _, score in found(snapshot))
    live = [not all(gone) for gone in table["missing"].to_pylist()]
    assert sorted(round(float(score), 5) for score in (matrix @ QUERY)[live]) == expected


# -- what cannot be taken -----------------------------------------------------------------------------------


def export(folder: Path) -> Path:
    rich(folder / "one").close()
    with Library(folder / "one") as one:
        one.export_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def refused(folder: Path, error: type[Exception] = InputError) -> str:
    """The sentence, after a look at what it left."""
    with filled(folder / "mine", 1) as store:
        before = held(folder / "mine")
        with Library(folder / "mine") as mine, pytest.raises(error) as caught:
            mine.import_parquet(folder / "x.parquet")
        assert held(folder / "mine") == before
        with store.read() as snapshot:
            assert len(snapshot.roots()) == 0
    with Library(folder / "none") as none, pytest.raises(InputError):
        none.import_parquet(folder / "x.parquet")
    assert not (folder / "none").exists()
    return str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"rubbish" * 100])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    assert "is damaged, or not a complete export" in refused(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off(tmp_path: Path, share: float) -> None:
    path = export(tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "is damaged, or not a complete export" in refused(tmp_path)


def test_a_table_of_something_else(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    assert "was not exported by virtue" in refused(tmp_path)


def changed(path: Path, column: str, values: Any, type: Any = None) -> None:
    table = pq.read_table(path)
    field = table.schema.field(column) if type is None else pa.field(column, type)
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, field, pa.array(values, field.type)), path)


def test_rows_in_thousands_of_groups(tmp_path: Path) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table[:1]] * 1_200), path, row_group_size=1)
    assert "its 1,200 rows are in 1,200 row groups: write it with groups of 4,096 rows" in refused(tmp_path)


def test_columns_that_are_lacking(tmp_path: Path) -> None:
    path = export(tmp_path)
    pq.write_table(pq.read_table(path).drop_columns(["origin", "x0"]), path)
    assert "lacks the columns x0, origin" in refused(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("kind", "thing", "'thing' is none of region, caption"),
        ("origin", "heaven", "'heaven' is none of"),
        ("photo", None, "lacks a value that every photo has"),
        ("width", None, "lacks a value that every photo has"),
        ("settings", None, "lacks a value that every photo has"),
        ("paths", [b"/a", None], "lacks a value that every photo has"),
        ("paths", [b"/a", b"/b", b"/c", b"/d"], "is shorter than"),
        ("region", 7, "not numbered from 0"),
        ("x1", float("nan"), "holds nan"),
        ("x1", 5000.0, "leaves the picture"),
        ("y1", None, "float"),
    ],
)
def test_values_that_no_library_holds(tmp_path: Path, column: str, value: Any, said: str) -> None:
    path = export(tmp_path)
    values = pq.read_table(path)[column].to_pylist()
    # The last photo's, so that what comes before it is sound.
    hashes = pq.read_table(path)["photo"].to_pylist()
    place = hashes.index(hashes[-1])
    changed(path, column, [*values[:place], value, *values[place + 1 :]])
    assert said in refused(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_vectors_that_are_none(tmp_path: Path, value: float) -> None:
    path = export(tmp_path)
    values = [np.array(v) for v in pq.read_table(path)["vector"].to_pylist()]
    values[-1] = np.full(DIM, value)
    flat = pa.array(np.concatenate(values).astype(np.float16))
    table = pq.read_table(path)
    made = pa.FixedSizeListArray.from_arrays(flat, DIM)
    pq.write_table(table.set_column(table.num_columns - 1, table.schema.field("vector"), made), path)
    assert "not all of unit length" in refused(tmp_path)


def test_a_photo_that_comes_twice(tmp_path: Path) -> None:
    path = export(tmp_path)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)
    assert "are not together" in refused(tmp_path)


def test_columns_of_other_types_of_the_same_meaning(tmp_path: Path) -> None:
    path = export(tmp_path)
    expected = held(tmp_path / "one")
    changed(path, "caption", pq.read_table(path)["caption"].to_pylist(), pa.large_string())
    table = pq.read_table(path)
    pq.write_table(table.select(table.column_names[::-1]), path)
    with Library(tmp_path / "two") as two:
        two.import_parquet(path)
    assert held(tmp_path / "two")[:2] == expected[:2]


def test_another_model(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    path = export(tmp_path / "x")
    with open_store(tmp_path / "two", create=True) as store, store.write("test") as writer:
        writer.generation("clip", "other", DIM)
        writer.commit([photo(3)], [file("/3.jpg", 3)])
    before = held(tmp_path / "two")
    with Library(tmp_path / "two") as two:
        with pytest.raises(ModelMismatchError, match=r"x\.parquet holds .* 'mini'.*'clip'.*embed"):
            two.import_parquet(path)
        with pytest.raises(ModelMismatchError, match=r"one holds vectors of model 'mini'"):
            two.merge(tmp_path / "one")
    assert held(tmp_path / "two") == before


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    open_store(tmp_path / "one", create=True).close()
    with Library(tmp_path / "one") as one:
        with pytest.raises(EmptyLibraryError, match="nothing is indexed"):
            one.export_parquet(tmp_path / "x.parquet")
        with pytest.raises(InputError, match="is the library itself"):
            one.merge(tmp_path / "one")
        with pytest.raises(StoreError, match="there is no library"):
            one.merge(tmp_path / "two")
    assert not (tmp_path / "x.parquet").exists()


def test_damaged_rows_do_not_travel(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    rows = tmp_path / "one" / "regions-1.f16"
    content = bytearray(rows.read_bytes())
    content[3] ^= 1
    rows.write_bytes(content)
    (tmp_path / "x.parquet").write_text("what was here")
    with Library(tmp_path / "one") as one:
        with pytest.raises(DamagedError, match=r"one is damaged .*verify the library"):
            one.export_parquet(tmp_path / "x.parquet", force=True)
        with (
            Library(tmp_path / "two") as two,
            pytest.raises(DamagedError, match="verify the library"),
        ):
            two.merge(tmp_path / "one")
    assert (tmp_path / "x.parquet").read_text() == "what was here"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "x.parquet"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    with Library(tmp_path / "one") as one, pytest.raises(InputError, match="cannot be written"):
        one.export_parquet(tmp_path / "nowhere" / "x.parquet")


LIMITED = """
import resource, sys
from virtue import Library
from virtue.errors import VirtueError
with Library(sys.argv[1]) as library:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
    try:
        getattr(library, sys.argv[2])(sys.argv[3])
    except VirtueError as error:
        print(error)
"""


@POSIX
@pytest.mark.parametrize("does", ["export_parquet", "import_parquet", "merge"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, does: str) -> None:
    with filled(tmp_path / "large", 300, proposals=19) as store:
        pass
    with Library(tmp_path / "large") as large:
        large.export_parquet(tmp_path / "x.parquet")
    filled(tmp_path / "small", 0).close()
    what = {"export_parquet": "y.parquet", "import_parquet": "x.parquet", "merge": "large"}[does]
    library = "large" if does == "export_parquet" else "small"
    command = [sys.executable, "-c", LIMITED, tmp_path / library, does, tmp_path / what, "60000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "cannot be written" if does == "export_parquet" else "all that was committed is safe"
    ) in done.stdout
    assert not (tmp_path / "y.parquet").exists() and not (tmp_path / "y.parquet.part").exists()
    with Library(tmp_path / "small") as small:
        assert small.store.verify() == []
        assert small.merge(tmp_path / "large").photos >= 99
        with store.read() as snapshot, small.store.read() as taken:
            assert sorted(found(taken)) == sorted(found(snapshot))
    assert row_files(store) == {"regions-1.f16"}


def test_a_library_that_cannot_be_written_gives_and_does_not_take(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    filled(tmp_path / "two", 1).close()
    with Library(tmp_path / "one", read_only=True) as one:
        one.export_parquet(tmp_path / "x.parquet")
        with pytest.raises(StoreError, match="read-only"):
            one.merge(tmp_path / "two")
        with pytest.raises(StoreError, match="read-only"):
            one.import_parquet(tmp_path / "x.parquet")
        with pytest.raises(StoreError, match="read-only"):
            one.compact()
    assert names.row_files_in(tmp_path / "one") != []


def test_without_pyarrow_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    rich(tmp_path / "one").close()
    program = """
import sys
sys.modules["pyarrow"] = None
from virtue import Library
from virtue.errors import InputError
for does in ("export_parquet", "import_parquet"):
    try:
        getattr(Library(sys.argv[1]), does)("x.parquet")
    except InputError as error:
        print(error)
"""
    command = [sys.executable, "-c", program, tmp_path / "one"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == 2 * [
        "Parquet files need pyarrow, which is not installed: pip install 'virtue-search[parquet]'"
    ]
