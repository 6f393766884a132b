"""What stands before every request: who may ask, from where, and how much of it.

It keeps out pages of other sites that a browser has open (DNS rebinding, CSRF), and, on other addresses than
this machine's own, whoever has no token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from virtue.service.problems import Problem

MAX_BODY = 64 << 20
"""Bytes of a request: a picture of 45 MB in base64."""
MAX_BODY_SECONDS = 60.0
"""That a request may take to arrive."""
COOKIE = "virtue_session"
MAX_SESSIONS = 64
"""Browsers that are let in at once."""
SESSION_SECONDS = 30 * 24 * 3600
OPEN_PATHS = frozenset({"/healthz", "/", "/icon.svg", "/licences.txt"})
OPEN_FOLDER = "/assets/"
"""What is answered without a token: the page, which asks for one, and nothing of the library."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(slots=True)
class Door:
    """Who may come in.

    Attributes:
        token: that they must have; None: nobody needs one.
        names: by which this machine may be called, beside its addresses and localhost.
    """

    token: str | None = None
    names: frozenset[str] = frozenset()
    sessions: dict[str, float] = field(default_factory=dict)

    def is_own_name(self, host: str) -> bool:
        """Returns whether a `Host` is one that nobody else could have made lead here. Addresses in numbers
        are, since no name was looked up."""
        name = _without_port(host).lower().rstrip(".")
        if name == "localhost" or name in self.names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return self.token is not None or name in ("127.0.0.1", "[::1]")

    def lets_in(self, headers: Headers) -> bool:
        """Returns whether a request may come in by its token, or by the cookie that was given for one."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self.token.encode())
        for cookie in headers.get("cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == COOKIE and self.sessions.get(_fingerprint(value), 0) > time.monotonic():
                return True
        return False

    def open_session(self) -> str:
        """Makes what a cookie holds in place of the token."""
        secret = secrets.token_urlsafe(32)
        while len(self.sessions) >= MAX_SESSIONS:
            del self.sessions[min(self.sessions, key=self.sessions.__getitem__)]
        self.sessions[_fingerprint(secret)] = time.monotonic() + SESSION_SECONDS
        return secret

    def close_session(self, secret: str) -> None:
        self.sessions.pop(_fingerprint(secret), None)


def _fingerprint(secret: str) -> str:
    # Looked up by its hash, so that how long that takes tells nothing of the secret.
    return hmac.new(b"virtue session", secret.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def check_origin(method: str, scheme: str, headers: Headers) -> None:
    """Raises a Problem if a page of another site sent this. Programs that are no browsers send neither
    header."""
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        raise Problem(403, "this comes from a page of another site, which may not use this service")
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return
    is_navigation = (
        headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )
    if not (method == "GET" and is_navigation):
        raise Problem(403, "this comes from a page of another site, which may not use this service")


class Safety:
    """ASGI middleware: checks each request, bounds its body, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def send_safely(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, _bounded(scope, receive), send_safely)
        except Problem as problem:
            if began:
                raise
            await problem.response(scope["path"])(scope, receive, send_safely)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._door.is_own_name(hosts[0]):
            raise Problem(421, "the Host of this request is not this machine: use its address, or localhost")
        check_origin(scope["method"], scope["scheme"], headers)
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDER)
        if not is_open and not self._door.lets_in(headers):
            raise Problem(
                401,
                "a token is needed: send it as Authorization: Bearer TOKEN",
                headers={"www-authenticate": 'Bearer realm="virtue"'},
            )
        length = headers.get("content-length")
        if length is not None and length.isascii() and length.isdigit() and int(length) > MAX_BODY:
            raise _too_large()


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Receives a body that is neither too long nor too slow."""
    read = 0
    is_whole = False
    until = time.monotonic() + MAX_BODY_SECONDS

    async def receive_bounded() -> Message:
        nonlocal read, is_whole
        if is_whole:  # what comes now is that the client is gone
            return await receive()
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0)):
                message = await receive()
        except TimeoutError:
            raise Problem(
                408, "the request took too long to arrive: send it again", headers={"connection": "close"}
            ) from None
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if read > MAX_BODY:
                raise _too_large()
        return message

    return receive_bounded


def _too_large() -> Problem:
    return Problem(
        413,
        f"the request has more than {MAX_BODY >> 20} MB: give a smaller picture",
        headers={"connection": "close"},
    )
