"""A small Milvus for tests: milvus-lite as a server of its own, on loopback alone."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres_server import free_port

SECRET = "topsecret-too"


class SmallMilvus:
    """A running server."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.port = free_port()
        self.start()

    def start(self) -> None:
        with open(self._place / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "milvus_lite", "server", "--data-dir", self._place / "data",
                 "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError((self._place / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        # Told to end, it first writes down what nobody will read.
        self.process.kill()
        self.process.wait()

    def extend(self, database: str) -> str:
        """Returns the address of a library whose catalogue is in this database, and its vectors here."""
        return f"{database}?vectors=milvus://tester:{SECRET}@127.0.0.1:{self.port}"


@contextmanager
def running_milvus() -> Iterator[SmallMilvus]:
    place = Path(tempfile.mkdtemp(prefix="virtue-milvus-"))
    try:
        server = SmallMilvus(place)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place)
