"""How ONNX files that come with virtue are run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virtue.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int | None) -> InferenceSession:
    """Opens an ONNX Runtime session on the CPU.

    Raises:
        ModelError: the file is missing.
    """
    if not path.is_file():
        raise ModelError(f"virtue lacks its file {path.name}: install it again")
    import onnxruntime

    # For those who imported it before virtue, and builds for Windows apps, which do not read the environment.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 1
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the cores from the workers that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Photos come in many shapes: plans kept for each would only grow. The arena does not: threads share it,
    # where malloc keeps a heap for each.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
