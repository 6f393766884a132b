"""Pictures from the net, where that was allowed: from public addresses only, within limits.

A name is resolved once; what it resolves to is checked, and that very address is connected to. So a name
cannot lead elsewhere between the check and the connection. Every redirect is checked anew.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from virtue.errors import InputError

MAX_SECONDS = 10.0
"""For one picture, all redirects together."""
MAX_REDIRECTS = 3
PORTS = {"http": 80, "https": 443}
"""The only ports that are connected to."""
CHUNK = 1 << 16

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that gateways turn into the IPv4 address in their last four bytes (RFC 6052)."""


def is_public(address: Address) -> bool:
    """Returns whether an address is one of the open net: none of this machine, of a local network, of a
    cloud's metadata service, and none that leads to such a one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def fetch_picture(
    url: str,
    limit: int,
    *,
    allows: Callable[[Address], bool] = is_public,
    ports: dict[str, int] | None = None,
) -> bytes:
    """Gets the content of an address.

    Args:
        limit: bytes that it may have.
        allows: which addresses may be connected to.
        ports: the port of each scheme; None: `PORTS`.

    Raises:
        InputError: it may not be fetched, or cannot be.
    """
    until = time.monotonic() + MAX_SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(url, limit, until, allows, PORTS if ports is None else ports)
        if isinstance(answer, bytes):
            return answer
        url = urljoin(url, answer)
    raise InputError(f"the address redirects more than {MAX_REDIRECTS} times: give the last one")


def _ask(
    url: str, limit: int, until: float, allows: Callable[[Address], bool], ports: dict[str, int]
) -> bytes | str:
    """Gets the content of an address, or where it redirects to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError("this is no address") from None
    if parts.scheme not in ports or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError("this is no address of http or https")
    if parts.username is not None or port not in (None, ports[parts.scheme]):
        raise InputError("an address with a user or a port of its own is not fetched")
    address = _resolve(host, ports[parts.scheme], allows)
    connection = _Pinned(parts.scheme, host, str(address), ports[parts.scheme], until)
    target = parts.path or "/"
    # Timeouts of sockets start anew with each byte; this one does not.
    watch = threading.Timer(max(until - time.monotonic(), 0.001), connection.abort)
    watch.daemon = True
    watch.start()
    try:
        connection.request(
            "GET",
            f"{target}?{parts.query}" if parts.query else target,
            headers={"accept": "image/*", "accept-encoding": "identity", "user-agent": "virtue"},
        )
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return response.getheader("location") or "/"
        if response.status != 200:
            raise InputError(f"the address answers with {response.status}: give one of a picture")
        return _read(response, limit, until)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"the address cannot be fetched ({error or type(error).__name__})") from None
    finally:
        watch.cancel()
        connection.close()


def _resolve(host: str, port: int, allows: Callable[[Address], bool]) -> Address:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"there is no host called {host[:200]}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(map(allows, addresses)):
        raise InputError("the address leads into a private network, which is not fetched from")
    return addresses[0]


def _read(response: http.client.HTTPResponse, limit: int, until: float) -> bytes:
    content = bytearray()
    while True:
        chunk = response.read1(CHUNK)
        if time.monotonic() > until:
            raise InputError(f"fetching it took more than {MAX_SECONDS:g} seconds")
        if not chunk:
            return bytes(content)
        content += chunk
        if len(content) > limit:
            raise InputError(f"the picture has more than {limit >> 20} MB: give a smaller copy")


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name that it has in the URL."""

    def __init__(self, scheme: str, host: str, address: str, port: int, until: float) -> None:
        super().__init__(host, port)
        self._scheme, self._address, self._until = scheme, address, until
        self.default_port = port
        self._stream: socket.socket | None = None

    def connect(self) -> None:
        left = max(self._until - time.monotonic(), 0.001)
        self._stream = self.sock = socket.create_connection((self._address, self.port), timeout=left)
        if self._scheme == "https":
            context = ssl.create_default_context()
            self._stream = self.sock = context.wrap_socket(self.sock, server_hostname=self.host)

    def abort(self) -> None:
        """Has whoever reads from it read the end."""
        if self._stream is not None:
            with suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
