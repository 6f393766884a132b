"""A folder in a published layout, or a training checkpoint -> one complete folder of virtue's own."""

from __future__ import annotations

from pathlib import Path

from virtue.embedder.virtue_model.load_virtue import load, stored_dtype
from virtue.embedder.virtue_model.saving import save


def convert(source: str | Path, destination: str | Path, *, licence: str = "", offline: bool = False) -> Path:
    """Converts a folder in a published layout (or a training checkpoint) to one safetensors folder, in the
    precision of its weights. Vectors and fingerprint stay the same.

    Raises:
        ModelError: the source is not a VIRTUE model, or the destination cannot be written.
    """
    model = load(source, device="cpu", offline=offline, dtype=stored_dtype(Path(source)))
    return save(model.network, model.tokenizer, destination, licence=licence)
