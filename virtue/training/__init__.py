"""Data and training of models: scenes with exact truth, SCaR files of one's own, and what learns from them.

    from virtue.training import read_config, train

    report = train(read_config("train.yaml"))

The names load on first use, since PyTorch comes with them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtue.training.estimating import Estimate, estimate
    from virtue.training.examples import Example, Side, Source
    from virtue.training.gradient_caching import backward_in_chunks
    from virtue.training.losses import Temperature, contrastive_loss, nested_loss
    from virtue.training.trainer import Trainer, TrainingReport, train
    from virtue.training.training_config import TrainingConfig, read_config

_HOMES = {
    "Estimate": "estimating",
    "Example": "examples",
    "Side": "examples",
    "Source": "examples",
    "Temperature": "losses",
    "Trainer": "trainer",
    "TrainingConfig": "training_config",
    "TrainingReport": "trainer",
    "backward_in_chunks": "gradient_caching",
    "contrastive_loss": "losses",
    "estimate": "estimating",
    "nested_loss": "losses",
    "read_config": "training_config",
    "train": "trainer",
}

__all__ = [
    "Estimate",
    "Example",
    "Side",
    "Source",
    "Temperature",
    "Trainer",
    "TrainingConfig",
    "TrainingReport",
    "backward_in_chunks",
    "contrastive_loss",
    "estimate",
    "nested_loss",
    "read_config",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'virtue.training' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"virtue.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
