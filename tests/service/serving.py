"""A service as people start it: `virtue serve` as a process of its own, on a port of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

START_SECONDS = 60


class Served:
    """A running service.

    Attributes:
        address: such as "http://127.0.0.1:40123/".
        notes: what it printed to stderr so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.notes: list[str] = []
        assert process.stdout and process.stderr
        self._reading = threading.Thread(target=self._read, args=(process.stderr,))
        self._reading.start()
        self.address = process.stdout.readline().strip()
        if not self.address:
            process.wait(START_SECONDS)
            self._reading.join()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.notes.append(line)

    @property
    def said(self) -> str:
        return "".join(self.notes)

    def hear(self, pattern: str) -> list[str]:
        """Waits until it has said something like this, to stderr, and finds all of that."""
        until = time.monotonic() + START_SECONDS
        while not (found := re.findall(pattern, self.said, re.M)) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def client(self, **settings: object) -> httpx.Client:
        settings = {"base_url": self.address, "timeout": 60, "trust_env": False, **settings}
        return httpx.Client(**settings)  # type: ignore[arg-type]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(60)
        self._reading.join()
        assert self.process.stdout
        self.process.stdout.close()
        return status


@contextmanager
def serve(library: Path, *options: object, home: Path, **environment: str) -> Iterator[Served]:
    """Starts `virtue serve` on a free port, and ends it after the block."""
    command = [sys.executable, "-m", "virtue", "serve", "--database", str(library), "--port", "0"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUE_", "XDG_"))}
    process = subprocess.Popen(
        [*command, "--no-browser", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "HOME": str(home), **environment},
    )
    served = Served(process)
    try:
        yield served
    finally:
        served.end()
        assert process.stderr
        process.stderr.close()
