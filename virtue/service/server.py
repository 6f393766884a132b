"""The process that serves: where it listens, who may ask, how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from virtue.errors import InputError
from virtue.service.protocol import ProblemProtocol
from virtue.service.safety import Door

LOG = logging.getLogger("virtue.service")

HOST, PORT = "127.0.0.1", 8427
MIN_TOKEN, MAX_TOKEN = 16, 1_000
"""Characters of a token."""
BACKLOG = 512
"""Connections that wait to be taken."""
KEEP_ALIVE_SECONDS = 30
"""For which a connection without a request stays open."""
GRACE_SECONDS = 20
"""That requests have to end once the service is told to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service listens, and the token that it wants; `is_made`: it was made just now."""

    stream: socket.socket
    address: str
    door: Door
    is_made: bool


def take_place(host: str, port: int, token_file: Path | None) -> Place:
    """Binds a port, and chooses a token where one is needed: anywhere but on this machine's own address.

    Raises:
        InputError: the port is taken, the host is none, or the token cannot be used.
    """
    token = None if token_file is None else read_token(token_file)
    stream = _listen(host, port)
    is_made = token is None and not is_own_address(host)
    if is_made:
        token = secrets.token_urlsafe(32)
    shown = f"[{host}]" if ":" in host else host
    names = frozenset({host.lower(), socket.gethostname().lower()}) if token else frozenset()
    address = f"http://{shown}:{stream.getsockname()[1]}/"
    return Place(stream, address, Door(token, names), is_made)


def is_own_address(host: str) -> bool:
    """Returns whether only this machine reaches that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path) -> str:
    """Reads a token: the one line of a file that nobody else may read.

    Raises:
        InputError: it is none, or others may read it.
    """
    try:
        status = file.stat()
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"the token cannot be read from {file} ({reason.lower()})") from None
    if os.name == "posix" and status.st_mode & 0o077:
        raise InputError(f"others may read the token in {file}: chmod 600 it")
    if not (
        MIN_TOKEN <= len(token) <= MAX_TOKEN and token.isascii() and token.isprintable() and " " not in token
    ):
        raise InputError(
            f"the token in {file} must be one word of {MIN_TOKEN} to {MAX_TOKEN} ASCII characters"
        )
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(
            f"there is no address {host} on this machine: give one of its own to --host"
        ) from None
    stream = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.bind(place)
        stream.listen(BACKLOG)
    except OSError as error:
        stream.close()
        if isinstance(error, PermissionError):
            raise InputError(
                f"port {port} needs rights that you do not have: choose one from 1024 on"
            ) from None
        if error.errno in (98, 48, 10048):
            raise InputError(
                f"port {port} of {host} is taken, perhaps by another virtue: choose another",
                hint="--port 0 takes a free one",
            ) from None
        raise InputError(f"{host} cannot be listened on ({(error.strerror or '').lower()})") from None
    return stream


def run(app: ASGIApp, stream: socket.socket, ends: Callable[[], None]) -> None:
    """Serves until a signal ends it; requests that began are answered. `ends` is told when it begins to
    end."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=ProblemProtocol,
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    asyncio.run(_Server(config, ends).serve(sockets=[stream]))


class _Server(uvicorn.Server):
    """A server that ends with status 0 when a signal asks it to."""

    def __init__(self, config: uvicorn.Config, ends: Callable[[], None]) -> None:
        super().__init__(config)
        self._ends = ends

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self.handle_exit, number, None)
            except NotImplementedError:  # Windows
                signal.signal(number, self.handle_exit)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(RuntimeError):
            self._ends()
        await super().shutdown(sockets)
