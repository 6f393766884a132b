"""Exports, annotations and captions that lie: sound ones, of which something was changed."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.bad_files import cut, flip, move
from benchmarks.hostile_models import places

Chance = random.Random

NUMBERS: tuple[Any, ...] = (
    None, 0, -1, 1, 2**31 - 1, 2**31, 2**63, -(2**63), 2**64, 10**12, 10**400, 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "", " ", "\0", "a\0b", "\ud800", "\x1b]52;c;eA==\a", "\u202e", "x" * 200_000, "../" * 500 + "etc/passwd",
    "/", "//", ".", "~", "C:\\", "file:///etc/passwd", "1e999", "nan", "{}", "[]", "[" * 5000, "' OR 1=1 --",
    "regions=-1 annotations=- captions=-", "regions=1e9 annotations= captions=",
    '{"regions": 1e400, "exclude": []}', '{"regions": "auto", "exclude": ["["]}', '{"size": [1, 1]}',
    '{"size": [60000, 60000], "counts": [3600000000]}', "whole", "annotation", "region", "file", "sidecar",
)  # fmt: skip


def deep(depth: int) -> Any:
    value: Any = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


NESTED: tuple[Any, ...] = (
    [], {}, [[]], [None] * 1000, {"": {}}, [1, 2], ["a"], deep(50), deep(400), deep(900),
    [[0, 0, 1e9, 0, 0, 1e9]], [[0, 0, 9, 0, 9, 9]] * 2000,
    {"size": [10_000, 18_000], "counts": [0, 180_000_000]}, {"size": [4, 4], "counts": "0" * 100_000},
    {"size": [10**9, 10**9], "counts": [10**18]}, {"size": [1, 1], "counts": [[1]]},
    [[n % 97 * (n % 2 or 3) for n in range(20_000)]],
)  # fmt: skip
VALUES = (*NUMBERS, *TEXTS, *NESTED)


def change_bytes(content: bytes, chance: Chance) -> bytes:
    """Bits flipped, cut off, moved, repeated or put in."""
    harm = chance.choice(("flip", "flip", "cut", "move", "repeat", "insert", "zeros"))
    place, length = chance.randrange(len(content)), chance.choice((1, 2, 8, 100, 5000))
    match harm:
        case "flip":
            return flip(content, chance)
        case "cut":
            return cut(content, chance)
        case "move":
            return move(content, chance)
        case "repeat":
            piece = content[place : place + length]
            return content[:place] + piece * chance.choice((2, 10, 1000)) + content[place:]
        case "insert":
            return content[:place] + chance.randbytes(length) + content[place:]
        case _:
            return content[:place] + bytes(length) + content[place + length :]


# -- Parquet -------------------------------------------------------------------------------------------------


def hostile_parquet(sound: Path, path: Path, chance: Chance) -> str:
    """Writes an export of which something was changed; says what."""
    if chance.random() < 0.25:
        path.write_bytes(change_bytes(sound.read_bytes(), chance))
        return "bytes"
    table = pq.read_table(sound)
    told = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        change = chance.choice(
            (_manifest, _manifest, _values, _values, _values, _type, _columns, _rows, _vectors)
        )
        try:
            table = change(table, chance)
            told.append(change.__name__.strip("_"))
        except (
            ValueError,
            TypeError,
            OverflowError,
            NotImplementedError,
            KeyError,
            AttributeError,
            pa.ArrowException,
        ):
            told.append("nothing")
    try:
        settings: dict[str, Any] = {
            "compression": chance.choice(("zstd", "snappy", "none", "gzip")),
            "use_dictionary": chance.random() < 0.5,
            "row_group_size": chance.choice((1, 5, 1_000_000)),
            "data_page_version": chance.choice(("1.0", "2.0")),
            "store_schema": chance.random() < 0.8,
        }
        pq.write_table(table, path, **settings)
    except (ValueError, OSError, NotImplementedError, pa.ArrowException):
        path.write_bytes(change_bytes(sound.read_bytes(), chance))
        told.append("bytes")
    return "+".join(told)


def _manifest(table: pa.Table, chance: Chance) -> pa.Table:
    metadata = dict(table.schema.metadata)
    content = json.loads(metadata[b"virtue"])
    holder, key, _ = chance.choice(places(content))
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    text = json.dumps(content)
    if chance.random() < 0.1:
        text = chance.choice(("", "null", "[]", "[" * 100_000, '"', "\x00", text[:30], text * 2))
    return table.replace_schema_metadata({b"virtue": text.encode("utf-8", "surrogatepass")})


def _values(table: pa.Table, chance: Chance) -> pa.Table:
    """Other values of the same type in one column: in one row, in some, or in all."""
    at = chance.randrange(table.num_columns - 1)
    field = table.schema.field(at)
    old = table.column(at).to_pylist()
    share = chance.choice((0.1, 0.5, 1.0))
    values = [_odd(field.type, chance) if chance.random() < share else value for value in old]
    if share == 1.0 and values:
        values = [values[0]] * len(values)
    return table.set_column(at, field, pa.array(values, field.type))


def _odd(type: pa.DataType, chance: Chance) -> Any:
    if pa.types.is_list(type):
        count = chance.choice((0, 1, 1, 2, 3, 50_000))
        return chance.choice((None, [_odd(type.value_type, chance)] * count))
    if pa.types.is_boolean(type):
        return chance.choice((None, True, False))
    if pa.types.is_integer(type):
        return chance.choice((None, 0, -1, 1, 5, 10**9, 2**31 - 1, 2**63 - 1 if type.bit_width == 64 else 7))
    if pa.types.is_floating(type):
        return chance.choice((None, 0.0, -1.0, 1e308, float("nan"), float("inf"), -1e308, 50.0))
    text = chance.choice((None, *(text for text in TEXTS if text.isascii())))
    return text.encode() if text is not None and pa.types.is_binary(type) else text


def _type(table: pa.Table, chance: Chance) -> pa.Table:
    """A column of another type."""
    at, rows = chance.randrange(table.num_columns), table.num_rows
    name = table.schema.field(at).name
    makes: tuple[Callable[[], Any], ...] = (
        lambda: pa.array(["x"] * rows),
        lambda: pa.array(["1"] * rows).dictionary_encode(),
        lambda: table.column(at).combine_chunks().dictionary_encode(),
        lambda: pa.array([{"a": 1}] * rows),
        lambda: pa.array([[{"a": [1]}]] * rows),
        lambda: pa.nulls(rows),
        lambda: pa.array([2**60] * rows),
        lambda: pa.array([b"\xff\xfe"] * rows),
        lambda: pa.array([b"\xff"] * rows).cast(pa.string(), safe=False),
        lambda: pa.array([1] * rows, pa.timestamp("ns")),
        lambda: pa.array([1] * rows, pa.decimal128(38, 5)),
        lambda: pa.array([[("k", 1)]] * rows, pa.map_(pa.string(), pa.int64())),
        lambda: pa.array([1.5] * rows, pa.float16()),
        lambda: table.column(at).cast(pa.large_string()),
        lambda: table.column(at).cast(pa.large_list(table.schema.field(at).type.value_type)),
        lambda: pa.array([[0.5] * 8] * rows, pa.list_(pa.float64())),
        lambda: pa.array([["a" * 100_000] * 20] * rows),
    )
    return table.set_column(at, name, chance.choice(makes)())


def _columns(table: pa.Table, chance: Chance) -> pa.Table:
    names = table.column_names
    match chance.choice(("drop", "double", "rename", "order", "many")):
        case "drop":
            return table.drop_columns(chance.sample(names, chance.choice((1, 3))))
        case "double":
            at = chance.randrange(len(names))
            return table.append_column(names[at], table.column(at))
        case "rename":
            first, second = chance.sample(range(len(names)), 2)
            names[first], names[second] = names[second], names[first]
            return table.rename_columns(names)
        case "order":
            chance.shuffle(names)
            return table.select(names)
        case _:
            for number in range(500):
                table = table.append_column(f"c{number}", pa.nulls(table.num_rows))
            return table


def _rows(table: pa.Table, chance: Chance) -> pa.Table:
    match chance.choice(("none", "some", "order", "twice", "many")):
        case "none":
            return table[:0]
        case "some":
            return table.take(sorted(chance.sample(range(table.num_rows), table.num_rows // 2)))
        case "order":
            return table.take(chance.sample(range(table.num_rows), table.num_rows))
        case "twice":
            return pa.concat_tables([table, table])
        case _:
            return pa.concat_tables([table[:1]] * 20_000).combine_chunks()


def _vectors(table: pa.Table, chance: Chance) -> pa.Table:
    at, rows = table.schema.get_field_index("vector"), table.num_rows
    dim = table.schema.field(at).type.list_size
    if chance.random() < 0.3:
        other = chance.choice((1, dim - 1, dim + 1, 2 * dim))
        flat = np.full(rows * other, 0.5, np.float16)
        return table.set_column(at, "vector", pa.FixedSizeListArray.from_arrays(pa.array(flat), other))
    values = np.stack([np.array(each, np.float32) for each in table.column(at).to_pylist()])
    share = chance.choice((1, rows))
    values[:share] = chance.choice((np.nan, np.inf, 0, 1e-8, 1, 6e4))
    kind = chance.choice((np.float16, np.float32, np.float64))
    flat = values.astype(kind).ravel()
    return table.set_column(at, "vector", pa.FixedSizeListArray.from_arrays(pa.array(flat), dim))


# -- annotations and captions --------------------------------------------------------------------------------


def sound_coco(names: list[str]) -> dict[str, Any]:
    """Boxes, outlines, masks and captions of photos of 160 x 120 pixels."""
    run = {"size": [120, 160], "counts": [100, 5000, 14_100]}
    forms: list[dict[str, Any]] = [
        {"bbox": [10, 10, 50, 40], "category_id": 1},
        {"bbox": [5, 5, 20, 30], "segmentation": [[5, 5, 25, 5, 25, 35]], "category_id": 2},
        {"segmentation": run, "category_id": 1},
        {"bbox": [60, 60, 30, 30], "caption": "a thing"},
    ]
    return {
        "info": {"version": "1"},
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "plate"}],
        "images": [
            {"id": number, "file_name": name, "width": 160, "height": 120}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": 10 * number + place, "image_id": number, **form}
            for number in range(len(names))
            for place, form in enumerate(forms)
        ],
    }


def hostile_coco(names: list[str], path: Path, chance: Chance) -> str:
    content = sound_coco(names)
    for _ in range(chance.choice((1, 1, 2, 10))):
        holder, key, _ = chance.choice(places(content))
        match chance.choice(("value", "value", "value", "gone", "double")):
            case "value":
                holder[key] = json.loads(json.dumps(chance.choice(VALUES)))
            case "gone":
                del holder[key]
            case _ if isinstance(holder, list) and len(holder) < 100:
                holder.extend([holder[key]] * chance.choice((1, 100)))
    text = json.dumps(content).encode("utf-8", "surrogatepass")
    return _write_text(text, path, chance)


def hostile_captions(names: list[str], path: Path, chance: Chance) -> str:
    rows: list[dict[str, Any]] = [
        {"path": name, "caption": f"text {number}", "x": 1, "y": 2, "w": 30, "h": 40} if number % 2 else
        {"path": name, "caption": f"text {number}"}
        for number, name in enumerate(names * 3)
    ]  # fmt: skip
    for _ in range(chance.choice((1, 1, 2, 5))):
        row = chance.choice(rows)
        row[chance.choice(("path", "caption", "x", "y", "w", "h", "other"))] = chance.choice(VALUES)
    if chance.random() < 0.5:
        text = "\n".join(map(json.dumps, rows)).encode("utf-8", "surrogatepass")
    else:
        stream = io.StringIO()
        columns = ["path", "caption", "x", "y", "w", "h", "other"]
        chance.shuffle(columns)
        writer = csv.writer(stream, delimiter=chance.choice((",", ",", ";", "\t")))
        writer.writerow(columns)
        writer.writerows([[row.get(column) for column in columns] for row in rows])
        text = stream.getvalue().encode("utf-8", "surrogatepass")
    return _write_text(text, path, chance)


def _write_text(text: bytes, path: Path, chance: Chance) -> str:
    """Writes the text, or harms it once more."""
    harms: dict[str, Callable[[], bytes]] = {
        "values": lambda: text,
        "bytes": partial(change_bytes, text, chance),
        "UTF-16": lambda: text.decode("utf-8", "replace").encode("utf-16"),
        "deep": lambda: b"[" * 200_000,
        "deep objects": lambda: b'{"images":' * 50_000,
        "a long line": lambda: text + b"x" * 5_000_000,
        "zeros": lambda: bytes(100_000),
        "noise": lambda: chance.randbytes(5000),
        "commas": lambda: b"path,caption\n" + b'"\n",' * 400_000,
        "lists": lambda: b'{"images": [' + b"[]," * 3_000_000 + b"[]]}",
        "digits": lambda: text.replace(b"160", b"9" * 100_000),
    }
    weights = [20, 6, *([1] * (len(harms) - 2))]
    (kind,) = chance.choices(list(harms), weights)
    path.write_bytes(harms[kind]())
    return kind
