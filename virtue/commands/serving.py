"""Commands that go on until they are ended: the HTTP service, and tools for agents."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from virtue.commands.options import FOUND, Database, Debug, Device, Dtype, Offline, ReadOnly, flag, option
from virtue.display.streams import note
from virtue.errors import InputError

Host = Annotated[
    str,
    option("--host", metavar="ADDRESS", help="Where to listen. Any but this machine's own needs a token."),
]
Port = Annotated[int, option("--port", metavar="N", min=0, max=65535, help="0: any that is free.")]
TokenFile = Annotated[
    Path | None,
    option(
        "--token-file",
        metavar="FILE",
        help="Holds the token that requests must have. None: one is made and shown, where one is needed.",
    ),
]
AllowUrls = Annotated[
    bool, flag("--allow-urls", help="Images may be addresses on the net, of public hosts alone.")
]
Roots = Annotated[
    list[Path] | None,
    option("--root", metavar="FOLDER", help="A folder that may be indexed over the service; repeatable."),
]


def serve(
    database: Database = None,
    port: Port = 8427,
    host: Host = "127.0.0.1",
    token_file: TokenFile = None,
    read_only: ReadOnly = False,
    root: Roots = None,
    allow_urls: AllowUrls = False,
    max_requests: Annotated[
        int,
        option("--max-requests", metavar="N", min=1, help="Answered or waiting at once; more are refused."),
    ] = 256,
    no_browser: Annotated[bool, option("--no-browser", help="Open no browser.")] = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Serve the library over HTTP, until it is ended (Ctrl-C)."""
    _require("serve")
    from virtue.service.app import make_app
    from virtue.service.heap import share_heaps
    from virtue.service.server import run, take_place
    from virtue.service.service import Options, Service

    share_heaps()
    place = take_place(host, port, token_file)
    options = Options(
        read_only=read_only,
        offline=offline,
        dtype=dtype,
        device=device,
        allow_urls=allow_urls,
        roots=_read_roots(root or ()),
        max_requests=max_requests,
    )
    with place.stream:
        service = Service(database, options)
        if place.is_made:
            note(f"token: {place.door.token}")
        note(f"serving {service.library.name}; Ctrl-C ends it")
        print(place.address, flush=True)
        if not no_browser and sys.stdout.isatty():
            _open_browser(place.address)
        run(make_app(service, place.door), place.stream, service.jobs.end)
    return FOUND


def mcp(
    database: Database = None,
    http: Annotated[
        bool, option("--http", help="Serve streamable HTTP at /mcp, not stdin and stdout.")
    ] = False,
    port: Port = 8428,
    host: Host = "127.0.0.1",
    token_file: TokenFile = None,
    allow_index: Annotated[
        bool, flag("--allow-index", help="Agents may index folders that were indexed, and those of --root.")
    ] = False,
    root: Roots = None,
    allow_urls: AllowUrls = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Give agents tools that search the library (Model Context Protocol), until they are done."""
    _require("serve")
    import asyncio

    from virtue.service.agent_tools import make_tools, make_tools_app, run_on_pipes
    from virtue.service.heap import share_heaps
    from virtue.service.server import run, take_place
    from virtue.service.service import Options, Service

    share_heaps()
    options = Options(
        read_only=not allow_index,
        offline=offline,
        dtype=dtype,
        device=device,
        allow_urls=allow_urls,
        roots=_read_roots(root or ()),
    )
    if not http:
        service = Service(database, options)
        asyncio.run(run_on_pipes(make_tools(service, allow_index=allow_index), service))
        return FOUND
    place = take_place(host, port, token_file)
    with place.stream:
        service = Service(database, options)
        if place.is_made:
            note(f"token: {place.door.token}")
        note(f"tools for {service.library.name}; Ctrl-C ends it")
        print(f"{place.address}mcp", flush=True)
        tools = make_tools(service, allow_index=allow_index)
        run(make_tools_app(tools, service, place.door), place.stream, service.jobs.end)
    return FOUND


def _require(extra: str) -> None:
    """Raises InputError if the packages of an extra are not there."""
    from importlib.util import find_spec

    from virtue.distribution import install_hint

    needed = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "mcp")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise InputError(
            f"the service needs packages that are not installed ({', '.join(missing)}): {install_hint(extra)}"
        )


def _read_roots(folders: list[Path] | tuple[Path, ...]) -> tuple[bytes, ...]:
    from virtue.paths import absolute

    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: name one that exists")
    return tuple(map(absolute, folders))


def _open_browser(address: str) -> None:
    """Opens a page in a browser with a window; one in the terminal would take that."""
    import webbrowser

    if sys.platform not in ("win32", "darwin") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return
    webbrowser.open(address)
