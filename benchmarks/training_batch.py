"""What a large batch takes with gradient caching: python -m benchmarks.training_batch [--batch 1024]

A small random VIRTUE takes one step on the processor, with pictures of coloured squares, nine hard negatives
each, two pictures and 64 texts at a time. Prints JSON: seconds, and by how many MB the process grew at most
beyond what it held before the step.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from tests.training.conftest import scar_rows, write_parquet, write_words
from virtue.training import Trainer, TrainingConfig

PICTURES = 256


def main() -> None:
    from tests.embedder.virtue_model.checkpoints import own_folder

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1024)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = own_folder(folder / "small", min_pixels=3136, max_pixels=30_000)
        write_words(model / "tokenizer.json")
        rows = write_parquet(folder / "squares.parquet", scar_rows(folder, PICTURES, 0))
        config = TrainingConfig.model_validate(
            {
                "output": folder / "run", "model": str(model), "steps": 1, "batch": given.batch, "warmup": 1,
                "sources": [{"kind": "scar", "path": rows, "images": folder}], "cache": folder / "cache",
            }
        )  # fmt: skip
        trainer = Trainer(config, device="cpu")
        trainer.load_batch(0)  # fills the cache
        before, start = _peak(), time.monotonic()
        trainer.run()
        seconds = time.monotonic() - start
        grown = (_peak() - before) / 1e6
        print(json.dumps({"batch": given.batch, "seconds": round(seconds, 1), "grown_mb": round(grown)}))


def _peak() -> int:
    """Bytes that this process held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
