"""Composes pictures on a device, many at once: as `composition.compose` does, to within rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from virtue.training.scenes.composition import Composition


@torch.inference_mode()
def compose_on_device(compositions: Sequence[Composition], device: torch.device) -> list[np.ndarray]:
    """Lays layers over grounds, and lights all of it: (size, size, 3) uint8 each."""
    grounds = np.stack([each.ground for each in compositions])
    count, size = grounds.shape[:2]
    pictures = torch.from_numpy(grounds).to(device).float()
    for depth in range(max(len(each.layers) for each in compositions)):
        sheets = np.zeros((count, size, size, 4), np.uint8)
        gains = np.ones((count, 1, 1, 3), np.float32)
        for number, each in enumerate(compositions):
            if depth < len(each.layers):
                layer = each.layers[depth]
                sheets[number, layer.rows, layer.columns] = layer.pixels
                gains[number] = each.placements[depth].gains
        laid = torch.from_numpy(sheets).to(device).float()
        pictures *= 1 - laid[..., 3:] * (1 / 255)
        pictures += laid[..., :3] * torch.from_numpy(gains).to(device)
    lights = np.array([(each.light.middle, *each.light.slope) for each in compositions], np.float32)
    middle, across, down = torch.from_numpy(lights).to(device).T[..., None, None]
    along = torch.linspace(-0.5, 0.5, size, device=device)
    factors = middle + across * along + down * along[:, None]
    pictures *= factors[..., None]
    return list(pictures.clamp(max=255).to(torch.uint8).cpu().numpy())
