"""The parameters that are learnt, in float32 beside the precision that the network computes with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from virtue.training.ranks import sum_over_ranks, world_size
from virtue.training.training_config import TrainingConfig

MOMENTS = ("exp_avg", "exp_avg_sq")


class MasterWeights:
    """Float32 copies that gradients are added up in and that AdamW works on, so that neither hundreds of
    chunks nor small steps are lost to rounding. The network's own parameters follow them.

    Args:
        parameters: all that is learnt, by name.
        shared: names of those whose gradient every process has in full already.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], config: TrainingConfig, shared: Sequence[str] = ()
    ) -> None:
        self._parameters, self._config, self._shared = dict(parameters), config, shared
        self.masters = {
            name: nn.Parameter(parameter.detach().to(torch.float32, copy=True))
            for name, parameter in parameters.items()
        }
        for name, parameter in parameters.items():
            parameter.register_post_accumulate_grad_hook(self._collector(self.masters[name]))
        connector = [master for name, master in self.masters.items() if name.startswith("connector.")]
        rest = [master for name, master in self.masters.items() if not name.startswith("connector.")]
        rates = (config.learning_rate, config.connector_learning_rate or config.learning_rate)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": part, "peak": rate}
                for part, rate in zip((rest, connector), rates, strict=True)
                if part
            ],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.clear()

    @staticmethod
    def _collector(master: nn.Parameter) -> Callable[[Tensor], None]:
        def collect(parameter: Tensor) -> None:
            if parameter.grad is not None and master.grad is not None:
                master.grad += parameter.grad
            parameter.grad = None

        return collect

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    def clear(self) -> None:
        for master in self.masters.values():
            master.grad = torch.zeros_like(master)

    def update(self, step: int) -> float:
        """Takes a step with the gradients of all processes, which are summed up first.

        Returns:
            The norm of the gradient, before it is clipped.
        """
        for name in self._shared:
            gradient = self.masters[name].grad
            if gradient is not None:
                gradient /= world_size()
        sum_over_ranks(master.grad for master in self.masters.values() if master.grad is not None)
        norm = nn.utils.clip_grad_norm_(self.masters.values(), self._config.clip)
        share = schedule(step, self._config)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self._optimizer.step()
        self._copy()
        self.clear()
        return float(norm)

    @torch.no_grad()
    def _copy(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(self.masters[name])

    def state(self) -> dict[str, Tensor]:
        """Returns all that a later run needs to go on exactly, but for the number of the step."""
        made = {f"master.{name}": master.detach().cpu() for name, master in self.masters.items()}
        for name, master in self.masters.items():
            for moment in MOMENTS:
                held = self._optimizer.state[master].get(moment, torch.zeros_like(master))
                made[f"{moment}.{name}"] = held.detach().cpu()
        return made

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Takes what `state` returned after so many steps."""
        for name, master in self.masters.items():
            master.copy_(state[f"master.{name}"])
            moments = {moment: state[f"{moment}.{name}"].to(master.device).clone() for moment in MOMENTS}
            self._optimizer.state[master] = {"step": torch.tensor(float(step)), **moments}
        self._copy()


def schedule(step: int, config: TrainingConfig) -> float:
    """Returns the share of the learning rate for a step, counted from 0: it rises over the warm-up, and then
    falls to 0 at the last step, in a line or a cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "constant":
        return 1.0
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
