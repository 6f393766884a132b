"""Makes the files of the reader from the package that carries its networks.

    pip install -r tools/mini/requirements.txt
    pip download --no-deps rapidocr==3.10.0
    python -m tools.reader.export_reader OUT --package rapidocr-3.10.0-py3-none-any.whl

PP-OCRv6 small, Apache-2.0. No network is trained: weights become integers of 8 bits, pixels go in as they
are, and of each place in a line the best character comes out. Writes detection.onnx, recognition.onnx and
the package's notice into OUT, reads rendered lines with both the new files and the old, and prints as JSON
how many are the same.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from PIL import Image, ImageDraw, ImageFont

from tools.int8_weights import store_as_int8

MODELS = {
    "detection.onnx": "rapidocr/models/PP-OCRv6_det_small.onnx",
    "recognition.onnx": "rapidocr/models/PP-OCRv6_rec_small.onnx",
}
NOTICE = "MODEL_LICENSES.md"

WORDS = (
    "parking", "Straße", "EXIT", "Château", "Total 12.50", "receipt", "No. 4711", "Ausgang", "WARNING",
    "hello@example.org", "Crème brûlée", "São Paulo", "2026-11-26", "quick brown fox", "LAZY DOG", "f(x) = y",
)  # fmt: skip
SIZES = (14, 20, 32, 60)


def export(out: Path, package: Path) -> dict[str, object]:
    """Writes the files and compares them with those they were made from."""
    out.mkdir(parents=True, exist_ok=True)
    originals: dict[str, bytes] = {}
    with zipfile.ZipFile(package) as wheel:
        for name, source in MODELS.items():
            originals[name] = wheel.read(source)
        notice = next(name for name in wheel.namelist() if name.endswith(NOTICE))
        (out / NOTICE).write_bytes(wheel.read(notice))
    for name, content in originals.items():
        model = onnx.load_from_string(content)
        _take_pixels(model)
        _clear_denormals(model)
        if name == "recognition.onnx":
            _give_best(model)
        else:
            _rename_output(model, "text")
        store_as_int8(model)
        onnx.checker.check_model(model)
        onnx.save(model, out / name)
    return compare(out, originals) | {
        "megabytes": {name: round((out / name).stat().st_size / 1e6, 2) for name in MODELS}
    }


def _take_pixels(model: onnx.ModelProto) -> None:
    """Makes the input uint8 RGB (n, h, w, 3), named "pixels"; it was float32 BGR (n, 3, h, w), -1 to 1."""
    graph = model.graph
    old = graph.input[0]
    name, dims = old.name, old.type.tensor_type.shape.dim
    sizes = [(dims[axis].dim_value or dims[axis].dim_param) for axis in (0, 2, 3)]
    first = next(node for node in graph.node if name in node.input)
    assert first.op_type == "Conv"
    for tensor in graph.initializer:
        if tensor.name == first.input[1]:
            flipped = np.ascontiguousarray(numpy_helper.to_array(tensor)[:, ::-1])
            tensor.CopyFrom(numpy_helper.from_array(flipped, tensor.name))
    graph.initializer.append(numpy_helper.from_array(np.float32(127.5), "pixels_half"))
    graph.initializer.append(numpy_helper.from_array(np.float32(1), "pixels_one"))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels_float", "pixels_half"], ["pixels_scaled"]),
        helper.make_node("Sub", ["pixels_scaled", "pixels_one"], ["pixels_centred"]),
        helper.make_node("Transpose", ["pixels_centred"], [name], perm=[0, 3, 1, 2]),
        *graph.node,
    ]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, [*sizes, 3]))


def _give_best(model: onnx.ModelProto) -> None:
    """Makes the outputs the best character of each place and its probability; they were those of all."""
    graph = model.graph
    name = graph.output[0].name
    graph.node.append(helper.make_node("ArgMax", [name], ["characters"], axis=2, keepdims=0))
    graph.node.append(helper.make_node("ReduceMax", [name], ["probabilities"], axes=[2], keepdims=0))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("characters", TensorProto.INT64, ["n", "t"]))
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "t"]))


def _rename_output(model: onnx.ModelProto, name: str) -> None:
    last = model.graph.node[-1]
    last.output[0] = model.graph.output[0].name = name


def _clear_denormals(model: onnx.ModelProto) -> None:
    """Makes numbers zero that are too small to be normal: processors take many times as long for them."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            cleared = np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)
            tensor.CopyFrom(numpy_helper.from_array(cleared, tensor.name))


# -- comparing --------------------------------------------------------------------------------------------


def compare(out: Path, originals: dict[str, bytes]) -> dict[str, object]:
    """Compares both networks on rendered lines: how far text is where it was, and how many lines read the
    same."""
    old = {name: InferenceSession(content) for name, content in originals.items()}
    new = {name: InferenceSession(str(out / name)) for name in originals}
    same = count = 0
    worst = 0.0
    for line in _lines():
        page = np.full((96, -(-line.shape[1] // 32) * 32 + 32, 3), line[0, 0], np.uint8)
        page[24:72, 16 : 16 + line.shape[1]] = line
        (before,) = old["detection.onnx"].run(None, {"x": _as_it_was(page)})
        (after,) = new["detection.onnx"].run(None, {"pixels": page[None]})
        worst = max(worst, float(np.mean((before > 0.3) != (after > 0.3))))
        (odds,) = old["recognition.onnx"].run(None, {"x": _as_it_was(line)})
        characters, _ = new["recognition.onnx"].run(None, {"pixels": line[None]})
        same += _collapse(odds.argmax(axis=2)[0]) == _collapse(characters[0])
        count += 1
    return {"lines": count, "read_the_same": same, "worst_share_of_pixels_that_changed": round(worst, 5)}


def _lines() -> Iterator[np.ndarray]:
    """Yields pictures of words, (48, w, 3) uint8, dark on light and light on dark."""
    for word in WORDS:
        for size in SIZES:
            for ink, ground in (("black", "white"), ("#eee", "#246")):
                font = ImageFont.load_default(size)
                x0, y0, x1, y1 = font.getbbox(word)
                picture = Image.new("RGB", (int(x1 - x0) + size, int(y1 - y0) + size // 2), ground)
                ImageDraw.Draw(picture).text((size / 2 - x0, size / 4 - y0), word, ink, font)
                width = max(16, round(picture.width * 48 / picture.height))
                yield np.asarray(picture.resize((width, 48), Image.Resampling.BICUBIC))


def _as_it_was(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((pixels[None, :, :, ::-1] / np.float32(127.5) - 1).transpose(0, 3, 1, 2))


def _collapse(characters: np.ndarray) -> list[int]:
    kept = np.concatenate([[True], characters[1:] != characters[:-1]]) & (characters > 0)
    found: list[int] = characters[kept].tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--package", type=Path, required=True, help="the wheel of rapidocr")
    given = parser.parse_args()
    print(json.dumps(export(given.out, given.package), indent=2))


if __name__ == "__main__":
    main()
