"""The model that training starts from, with the layout that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from virtue.embedder import hub
from virtue.embedder.model_folder import check_folder
from virtue.embedder.torch_runtime import place_weights
from virtue.embedder.virtue_model.assembling import assemble, is_plain_qwen
from virtue.embedder.virtue_model.load_virtue import is_model_folder, load_network
from virtue.embedder.virtue_model.network import Network
from virtue.embedder.virtue_model.tokenizer import TextTokenizer
from virtue.embedder.virtue_model.virtue_model import VirtueModel
from virtue.errors import InputError
from virtue.training.training_config import TrainingConfig

CHANGEABLE = ("layout", "segmentation_tokens", "max_pixels", "matryoshka")


def load_start(config: TrainingConfig, device: torch.device, dtype: torch.dtype) -> VirtueModel:
    """Loads the model, closed to gradients. Its connector is new if the model has none, or one for another
    number of segmentation tokens.

    Raises:
        ModelError: it cannot be had, or is damaged.
        InputError: it is no model that can be trained.
    """
    folder = Path(config.model) if Path(config.model).is_dir() else hub.get_folder(config.model)
    check_folder(folder)
    torch.manual_seed(config.seed)
    if is_plain_qwen(folder):
        network = assemble(folder, config.segmenter, dtype, offline=False)
    elif is_model_folder(folder):
        network = load_network(folder, dtype, offline=False)
    else:
        raise InputError(f"the model {config.model} is neither a VIRTUE nor a Qwen2-VL: name one of these")
    network = _change(network, config)
    vocabulary = network.language.config["text_config"]["vocab_size"]
    tokenizer = TextTokenizer(folder / "tokenizer.json", network.configuration.max_text_tokens, vocabulary)
    place_weights(network, device, dtype)
    return VirtueModel(config.model, "in training", network, tokenizer)


def _change(network: Network, config: TrainingConfig) -> Network:
    wanted: dict[str, Any] = {name: getattr(config, name) for name in CHANGEABLE if getattr(config, name)}
    if config.matryoshka and max(config.matryoshka) > network.language.hidden:
        raise InputError(
            f"matryoshka names {max(config.matryoshka)}, and vectors have {network.language.hidden}"
        )
    configuration = replace(network.configuration, dim=None, **wanted)
    if configuration.segmentation_tokens == network.configuration.segmentation_tokens:
        network.configuration = configuration
        return network
    return Network(configuration, network.segmentation, network.vision, network.language)
