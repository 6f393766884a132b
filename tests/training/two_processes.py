"""What each of two processes does that torchrun started: trains as a JSON argument says, on the processor."""

import json
import sys

import torch

from virtue.training import TrainingConfig, train

torch.set_num_threads(1)
arguments = json.loads(sys.argv[1])
for output, until in arguments["runs"]:
    config = TrainingConfig.model_validate({**arguments["config"], "output": output})
    train(config, device="cpu", until=until)
