"""Devices that torch has here: what runs on a GPU is tested on the CPU too, by the same code."""

import torch

DEVICES = ["cpu", *["cuda"][: torch.cuda.is_available()]]
