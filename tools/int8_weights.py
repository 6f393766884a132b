"""Stores the weights of an ONNX model as integers of 8 bits, a quarter of the bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

MIN_WEIGHTS = 1000
"""Numbers that a tensor must have to be stored so; the rest weigh nothing."""


def store_as_int8(model: onnx.ModelProto) -> None:
    """Replaces large weights by Mul(Cast(integers), scales), a scale for each output channel. ONNX Runtime
    computes that once, when the model is opened; DequantizeLinear it would compute at every run."""
    graph = model.graph
    axes = _output_axes(graph)
    nodes: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        if tensor.name not in axes or np.prod(tensor.dims) < MIN_WEIGHTS:
            continue
        weights = numpy_helper.to_array(tensor).astype(np.float32)
        others = tuple(axis for axis in range(weights.ndim) if axis != axes[tensor.name])
        scales = np.abs(weights).max(axis=others, keepdims=True) / 127
        # A scale below the least normal number would make weights that processors are slow with.
        scales[scales < np.finfo(np.float32).tiny] = 1
        integers = np.round(weights / scales).astype(np.int8)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(integers, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), f"{name}_scale"))
        nodes.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_float"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Returns the names of weights with the axis of their output channels."""
    axes = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}
    found = {node.input[1]: axes[node.op_type] for node in graph.node if node.op_type in axes}
    tensors = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return {name: axis % tensors[name] for name, axis in found.items() if name in tensors}
