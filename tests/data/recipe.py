"""How the inputs and parameters behind reference_embeddings.json were made.

Nothing here is learnt: every parameter is drawn from a generator seeded by its own name, so that a
checkpoint in the published layout can be rebuilt anywhere without shipping weights.
"""

import zlib

import numpy as np
from PIL import Image


def parameter(key: str, shape: list[int]) -> np.ndarray:
    """The float32 value of the parameter called `key` ("vlm.…" or "sam.…", as listed in the JSON)."""
    values = (
        np.random.RandomState(zlib.crc32(key.encode())).standard_normal(size=tuple(shape)).astype(np.float32)
    )
    leaf = key.rsplit(".", 1)[-1]
    if len(shape) == 1 and leaf == "weight":  # scales of norms
        return (1 + 0.1 * values).astype(np.float32)
    if len(shape) <= 1 or leaf == "bias":
        return (0.05 * values).astype(np.float32)
    if leaf == "weight" and shape[0] > 8:
        return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    return (0.5 * values).astype(np.float32)


def picture(seed: int, width: int, height: int) -> Image.Image:
    """A smooth RGB picture (sums of sines), the same on every machine."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    pixels = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(6):
            fx, fy, phase, amplitude = (
                random.uniform(0.5, 6),
                random.uniform(0.5, 6),
                random.uniform(0, 6.28),
                random.uniform(10, 40),
            )
            pixels[..., channel] += amplitude * np.sin(2 * np.pi * (fx * x / width + fy * y / height) + phase)
    return Image.fromarray(np.clip(pixels + 127, 0, 255).astype(np.uint8))


def tokens(seed: int, length: int) -> list[int]:
    """Token ids of a text."""
    return np.random.RandomState(seed).randint(5, 490, size=length).tolist()
