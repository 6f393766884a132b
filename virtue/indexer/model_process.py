"""A process that holds a model on a device of its own: `python -m virtue.indexer.model_process`, spoken to
through pipes in pickles, by `model_processes`. It opens no photos: what it gets was decoded."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from threadpoolctl import threadpool_limits

from virtue.embedder import Embedder
from virtue.errors import VirtueError
from virtue.indexer.embedding import embed_photos


def main() -> None:
    # Whatever a library prints must not get between the pickles.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for name in ("SIGINT", "SIGHUP"):  # the parent decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings: list[str] = []
    embedder = None
    while True:
        try:
            task = pickle.load(incoming)
        except EOFError:
            return
        warnings.clear()
        answer: object
        try:
            if embedder is None:
                embedder = Embedder.from_pretrained(**task)
                answer = embedder.fingerprint
            else:
                answer = embed_photos(embedder, task, warnings.append)
        except VirtueError as error:
            answer = error
        try:
            pickle.dump((answer, warnings), outgoing, protocol=5)
            outgoing.flush()
        except BrokenPipeError:
            return


if __name__ == "__main__":
    # As in the parent: sums that more threads share can differ in their last bit.
    with threadpool_limits(1, user_api="blas"):
        main()
    sys.exit(0)
