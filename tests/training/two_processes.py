"""What each of two processes does that torchrun started: trains as a JSON argument says, on the processor."""

import json
import os
import signal
import sys
from contextlib import suppress

import torch

from virtue.training import TrainingConfig, train


def tell_one(*_: object) -> None:
    """Tells the first process alone to stop."""
    if os.environ["RANK"] == "0":
        signal.raise_signal(signal.SIGTERM)


torch.set_num_threads(1)
arguments = json.loads(sys.argv[1])
for output, is_told in arguments["runs"]:
    config = TrainingConfig.model_validate({**arguments["config"], "output": output})
    with suppress(SystemExit, KeyboardInterrupt):
        train(config, device="cpu", on_step=tell_one if is_told else None)
