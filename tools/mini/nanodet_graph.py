"""NanoDet's graph as TensorFlow.js has it: run as it is written, operation by operation, and written as an
ONNX model that gives the same.

The graph came from ONNX: tensors have their channels first, and around each convolution, maximum and change
of size stand transpositions to channels last and back. In the ONNX model, all have their channels first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

OPSET = 17
IR_VERSION = 8
START = "input_1"
SCORES = ("Identity", "Identity_1", "Identity_2")
SIDES = ("Identity_3", "Identity_4", "Identity_5")
"""The graph's outputs at the strides 8, 16 and 32: (1, cells, 80) and (1, cells, 44)."""
STRIDES = (8, 16, 32)
BINS = 11
"""Distances of a box's side from the centre of its cell, in strides: each has a likelihood."""
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
"""Of red, green and blue; the graph itself takes blue, green and red."""
SMALLEST = 1000
"""Numbers from which on weights are stored as integers of 8 bits."""


@dataclass(frozen=True)
class Graph:
    """Its nodes in their order, without constants, and what is constant, by name."""

    nodes: list[dict[str, Any]]
    constants: dict[str, np.ndarray]


def read_graph(path: Path) -> Graph:
    """Reads a model.json and the weights beside it."""
    model = json.loads(path.read_text())
    (group,) = model["weightsManifest"]
    content = b"".join((path.parent / name).read_bytes() for name in group["paths"])
    constants, place = {}, 0
    for weight in group["weights"]:
        stored = np.dtype(weight.get("quantization", weight)["dtype"]).newbyteorder("<")
        count = int(np.prod(weight["shape"]))
        values = np.frombuffer(content, stored, count, place).reshape(weight["shape"])
        constants[weight["name"]] = values.astype(weight["dtype"])
        place += stored.itemsize * count
    assert place == len(content), "all weights are described"
    nodes = [node for node in model["modelTopology"]["node"] if node["op"] != "Const"]
    for node in nodes:
        inputs = [constants.get(name) for name in node.get("input", [])]
        if node["op"] == "SparseToDense":  # of no values: what is added to a shape to change nothing of it
            constants[node["name"]] = np.full(inputs[1], inputs[3])
        elif node["op"] == "AddV2":
            constants[node["name"]] = inputs[0] + inputs[1]
    return Graph([node for node in nodes if node["name"] not in constants], constants)


def _attribute(node: dict[str, Any], name: str) -> Any:
    value = node["attr"][name]
    if "list" in value:
        return [int(each) for each in value["list"]["i"]]
    return base64.b64decode(value["s"]).decode() if "s" in value else value["f"]


# -- as it is written ---------------------------------------------------------------------------------------


def run_as_written(graph: Graph, picture: np.ndarray) -> dict[str, Any]:
    """Runs every operation as TensorFlow defines it; returns all tensors by name.

    Args:
        picture: (1, 3, 416, 416) float32, channels blue, green, red, normalised.
    """
    known: dict[str, Any] = {name: torch.tensor(value) for name, value in graph.constants.items()}
    known[START] = torch.tensor(picture)
    with torch.no_grad():
        for node in graph.nodes[1:]:
            made = _run(node, [known[name] for name in node["input"]])
            known |= {f"{node['name']}:{place}": tensor for place, tensor in enumerate(made)}
            known[node["name"]] = made[0]
    return known


def _run(node: dict[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    first = inputs[0]
    match node["op"]:
        case "Transpose":
            return [first.permute(*inputs[1].tolist())]
        case "Pad" | "PadV2":
            sides = [side for pair in reversed(inputs[1].tolist()) for side in pair]
            return [functional.pad(first, sides, value=float(inputs[2]) if len(inputs) > 2 else 0)]
        case "Conv2D":
            kernel, strides = inputs[1].permute(3, 2, 0, 1), _attribute(node, "strides")[1:3]
            made = functional.conv2d(first.permute(0, 3, 1, 2), kernel, stride=strides)
            return [made.permute(0, 2, 3, 1)]
        case "MaxPool":
            size, strides = _attribute(node, "ksize")[1:3], _attribute(node, "strides")[1:3]
            return [functional.max_pool2d(first.permute(0, 3, 1, 2), size, strides).permute(0, 2, 3, 1)]
        case "Add":
            return [first + inputs[1]]
        case "LeakyRelu":
            return [torch.where(first > 0, first, first * _attribute(node, "alpha"))]
        case "Sigmoid":
            return [torch.sigmoid(first)]
        case "ConcatV2":
            return [torch.cat(list(inputs[:-1]), int(inputs[-1]))]
        case "SplitV":
            return list(torch.split(first, inputs[1].tolist(), int(inputs[2])))
        case "Reshape":
            return [first.reshape(inputs[1].tolist())]
        case "Identity":
            return [first]
        case "ResizeBilinear":
            return [_resize(first, inputs[1].tolist())]
    raise NotImplementedError(node["op"])


def _resize(x: Any, size: Sequence[int]) -> Any:
    """Bilinear between the two nearest pixels of each axis, whose centres are at halves."""
    for axis, length in ((1, size[0]), (2, size[1])):
        count = x.shape[axis]
        centres = ((torch.arange(length) + 0.5) * (count / length) - 0.5).clamp(0, count - 1)
        low = centres.floor().long()
        high = (low + 1).clamp(max=count - 1)
        shape = [1, 1, 1, 1]
        shape[axis] = length
        share = (centres - low).reshape(shape)
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


# -- as ONNX ------------------------------------------------------------------------------------------------


@dataclass
class _Writer:
    """Nodes and weights of an ONNX model, as far as they are written."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def add(
        self, op: str, inputs: Sequence[str | np.ndarray], count: int = 1, **attributes: Any
    ) -> list[str]:
        """Writes a node; returns its outputs."""
        outputs = [f"{op}_{len(self.nodes)}_{place}" for place in range(count)]
        names = [self.weight(each) if isinstance(each, np.ndarray) else each for each in inputs]
        self.nodes.append(helper.make_node(op, names, outputs, **attributes))
        return outputs

    def weight(self, values: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights[name] = values
        return name

    def rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.output[:] = [new if name == old else name for name in node.output]


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """Writes the graph for pictures (1, h, w, 3) uint8 RGB whose sides are multiples of 32. Its outputs are
    "scores" (1, n, 80), the likelihood of each class, and "sides" (1, n, 4), how far left, top, right and
    bottom are from the centre of the cell, in pixels; cells come row by row, of the strides 8, 16, 32."""
    writer = _Writer()
    (pixels,) = writer.add("Cast", ["pixels"], to=TensorProto.FLOAT)
    (scaled,) = writer.add("Mul", [pixels, 1 / STD])
    (normal,) = writer.add("Add", [scaled, -MEAN / STD])
    (start,) = writer.add("Transpose", [normal], perm=[0, 3, 1, 2])
    held = _write_nodes(writer, graph, start)
    (scores,) = writer.add("Concat", [held[name] for name in SCORES], axis=1)
    writer.rename(scores, "scores")
    sides = [_write_sides(writer, held[name], stride) for name, stride in zip(SIDES, STRIDES, strict=True)]
    (joined,) = writer.add("Concat", sides, axis=1)
    writer.rename(joined, "sides")
    shape = [1, "height", "width", 3]
    return helper.make_model(
        helper.make_graph(
            writer.nodes,
            "nanodet-g",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
            [
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "cells", 80]),
                helper.make_tensor_value_info("sides", TensorProto.FLOAT, [1, "cells", 4]),
            ],
            [numpy_helper.from_array(value, name) for name, value in writer.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _write_nodes(writer: _Writer, graph: Graph, start: str) -> dict[str, str]:
    """Writes all nodes; returns which ONNX tensor holds each tensor of the graph."""
    # Sides are fixed in the graph; in ONNX they are to vary, so resizing is by a factor.
    shapes = run_as_written(graph, np.zeros((1, 3, 416, 416), np.float32))
    held, pads = {START: start}, {START: [0, 0]}
    biased = {node["input"][0]: node for node in graph.nodes if _is_bias(graph, node)}
    for node in graph.nodes[1:]:
        name, (first, *more) = node["name"], node["input"]
        source, made = held[first], []
        match node["op"]:
            case "Transpose" if len(graph.constants[more[0]]) == 4:
                made, pads[name] = [source], pads.get(first, [0, 0])
            case "Transpose":
                made = writer.add("Transpose", [source], perm=graph.constants[more[0]].tolist())
            case "Pad" | "PadV2":  # what a maximum is padded with is less than any value
                made, pads[name] = [source], graph.constants[more[0]][2:, 0].tolist()
            case "Conv2D":
                kernel = graph.constants[more[0]].transpose(3, 2, 0, 1)
                if source == start:
                    kernel = kernel[:, ::-1]  # red, green, blue
                bias = graph.constants[biased[name]["input"][1]]
                strides = _attribute(node, "strides")[1:3]
                around = pads.get(first, [0, 0]) * 2
                inputs = [source, np.ascontiguousarray(kernel), bias]
                made = writer.add("Conv", inputs, strides=strides, pads=around)
            case "MaxPool":
                size, strides = _attribute(node, "ksize")[1:3], _attribute(node, "strides")[1:3]
                around = pads.get(first, [0, 0]) * 2
                made = writer.add("MaxPool", [source], kernel_shape=size, strides=strides, pads=around)
            case "Add":
                made = [source] if _is_bias(graph, node) else writer.add("Add", [source, held[more[0]]])
            case "LeakyRelu":
                made = writer.add("LeakyRelu", [source], alpha=_attribute(node, "alpha"))
            case "Sigmoid":
                made = writer.add("Sigmoid", [source])
            case "ConcatV2":
                together = [source, *(held[each] for each in more[:-1])]
                made = writer.add("Concat", together, axis=int(graph.constants[more[-1]]))
            case "SplitV":
                sizes = graph.constants[more[0]].astype(np.int64)
                made = writer.add("Split", [source, sizes], len(sizes), axis=int(graph.constants[more[1]]))
            case "Reshape":
                made = writer.add("Reshape", [source, graph.constants[more[0]].astype(np.int64)])
            case "Identity":
                made = [source]
            case "ResizeBilinear":
                ratio = shapes[name].shape[1] / shapes[first].shape[1]
                scales = np.array([1, 1, ratio, ratio], np.float32)
                made = writer.add("Resize", [source, "", scales], mode="linear")
            case other:
                raise NotImplementedError(other)
        held |= {f"{name}:{place}": each for place, each in enumerate(made)}
        held[name] = made[0]
    return held


def _is_bias(graph: Graph, node: dict[str, Any]) -> bool:
    return node["op"] == "Add" and node["input"][1] in graph.constants


def _write_sides(writer: _Writer, bins: str, stride: int) -> str:
    """Writes the mean of the distances, weighted by their likelihoods."""
    (split,) = writer.add("Reshape", [bins, np.array([1, -1, 4, BINS])])
    (odds,) = writer.add("Softmax", [split], axis=3)
    (means,) = writer.add("MatMul", [odds, stride * np.arange(BINS, dtype=np.float32)])
    return means


def as_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores large weights as integers of 8 bits with a scale for each output channel. They are turned into
    floats by a Cast and a product, which ONNX Runtime computes once, when it opens the file (it does not for
    DequantizeLinear, which takes 1.7 times as long)."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    large = {name: values for name, values in weights.items() if values.size >= SMALLEST}
    del small.graph.initializer[:]
    nodes = []
    for name, values in weights.items():
        if name not in large:
            small.graph.initializer.append(numpy_helper.from_array(values, name))
            continue
        scale = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / 127
        whole = np.round(values / np.maximum(scale, 1e-12)).astype(np.int8)
        small.graph.initializer.append(numpy_helper.from_array(whole, f"{name}_int8"))
        small.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))
    nodes += small.graph.node
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small
