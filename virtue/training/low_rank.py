"""Low-rank changes to the language model: LoRA (arXiv 2106.09685) and DoRA (2402.09353), by PEFT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from torch import Tensor, nn

from virtue.embedder.virtue_model.network import Network
from virtue.errors import InputError
from virtue.training.training_config import AdapterSettings

PEFT_PREFIX = "base_model.model."


class Adapter:
    """The changes that are learnt to a network's language model, whose layers it puts them into.

    Raises:
        InputError: the language model has no modules of a name that is to be changed.
    """

    def __init__(self, network: Network, settings: AdapterSettings) -> None:
        language: Any = network.language
        model = language.model
        here = {
            name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)
        }
        if unknown := sorted(set(settings.modules) - here):
            raise InputError(
                f"the language model has no modules called {', '.join(unknown)}: adapter.modules may name "
                f"{', '.join(sorted(here))}"
            )
        self._config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            use_dora=settings.kind == "dora",
            init_lora_weights="gaussian",
            target_modules=list(settings.modules),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT asks transformers by names that it is about to drop
            self._changed: Any = get_peft_model(model, self._config, autocast_adapter_dtype=False)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(network.dtype)

    def weights(self, learnt: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the changes by PEFT's names, on the processor.

        Args:
            learnt: what was learnt, in float32, by the network's names.
        """
        whole = {name.removeprefix("language.model."): value for name, value in learnt.items()}
        state = {f"{PEFT_PREFIX}{name}": whole[name] for name in whole if "lora_" in name}
        made: dict[str, Tensor] = get_peft_model_state_dict(self._changed, state_dict=state)
        return made

    def settings(self, base: str) -> dict[str, Any]:
        """Returns what PEFT's adapter_config.json says, beside the name of the base model."""
        held: Mapping[str, Any] = self._config.to_dict()
        made = {name: sorted(value) if isinstance(value, set) else value for name, value in held.items()}
        return {**made, "base_model_name_or_path": base, "inference_mode": True}
