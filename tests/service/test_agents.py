"""The tools for agents, asked by the SDK's own client over both transports."""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client as AgentClient
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from tests.conftest import EXAMPLES
from tests.service.serving import Served
from tests.service.test_searching import AS_TEXT, BOX, GABLE, XYWH
from virtue import Library

Talk = Callable[[AgentClient], Awaitable[Any]]
TOOLS = {"search_photos", "describe_photo", "similar_photos", "library_status"}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUE_", "XDG_"))}
    return {**kept, "HOME": str(home), "VIRTUE_OCR": "false"}


def over_pipes(library: Path, home: Path, talk: Talk, *options: str) -> Any:
    """What comes of talking to `virtue mcp` through its stdin and stdout."""
    command = ["-m", "virtue", "mcp", "--database", str(library), *options]
    parameters = StdioServerParameters(command=sys.executable, args=command, env=environment(home))

    async def run() -> Any:
        async with AgentClient(parameters, read_timeout_seconds=120) as client:
            return await talk(client)

    return asyncio.run(run())


def over_http(library: Path, home: Path, talk: Talk, *options: str) -> Any:
    """The same over streamable HTTP."""
    command = [
        sys.executable,
        "-m",
        "virtue",
        "mcp",
        "--database",
        str(library),
        "--http",
        "--port",
        "0",
        *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(home)
    )
    served = Served(process)
    try:

        async def run() -> Any:
            async with AgentClient(served.address, read_timeout_seconds=120) as client:
                return await talk(client)

        return asyncio.run(run())
    finally:
        assert served.end() == 0
        assert process.stderr
        process.stderr.close()


@pytest.fixture(params=[over_pipes, over_http])
def over(request: pytest.FixtureRequest, place: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(talk: Talk, *options: str) -> Any:
        return request.param(place / "library", tmp_path, talk, *options)

    return run


def value(result: CallToolResult) -> dict[str, Any]:
    """What an answer says; its text is the same as its structured content."""
    assert not result.is_error, result.content
    first = result.content[0]
    assert isinstance(first, TextContent) and result.structured_content is not None
    said: dict[str, Any] = json.loads(first.text)
    assert said.keys() == result.structured_content.keys()
    return said


def pictures(result: CallToolResult) -> list[tuple[int, int]]:
    """The sizes of the pictures of an answer."""
    found = [each for each in result.content if isinstance(each, ImageContent)]
    assert all(each.mime_type == "image/jpeg" for each in found)
    return [Image.open(io.BytesIO(base64.b64decode(each.data))).size for each in found]


def test_agents_find_and_describe_photos(over: Callable[..., Any], library: Library) -> None:
    async def talk(client: AgentClient) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        assert all(tool.description for tool in tools)
        found = await client.call_tool("search_photos", {"text": "a cat", "top": 2})
        hits = value(found)["hits"]
        wanted = library.search("a cat", top=2)
        assert [hit["photo_id"] for hit in hits] == [hit.photo_id for hit in wanted]
        assert hits[0]["box"] == wanted[0].as_json()["box"]
        assert len(pictures(found)) == 2 and all(max(size) == 256 for size in pictures(found))
        filtered = await client.call_tool("search_photos", {"where": "tag = night"})
        assert [Path(hit["path"]).stem for hit in value(filtered)["hits"]] == ["rocket"]

        cat = hits[0]["photo_id"]
        described = await client.call_tool("describe_photo", {"photo_id": cat})
        said = value(described)
        assert said["captions"] and said["rating"] == 5 and said["tags"] == ["animal", "home"]
        assert said["taken"].startswith("2024-06-01") and said["camera"] == "Canon X1"
        assert said["text"] is None and isinstance(said["things"], dict)
        assert len(pictures(described)) == 1
        alike = value(await client.call_tool("similar_photos", {"photo_id": cat, "top": 3}))["hits"]
        assert len(alike) == 3 and cat not in [hit["photo_id"] for hit in alike]
        status = value(await client.call_tool("library_status", {}))
        assert status["photos"] == 5 and status["model"] == "mini" and len(status["roots"]) == 2

        # A box on a picture of one's own, and on a photo of the library.
        drawn = await client.call_tool("search_photos", {"image": AS_TEXT, "box": XYWH, "top": 1})
        (hit,) = library.search({"image": GABLE, "box": BOX}, top=1)
        assert value(drawn)["hits"][0]["region_id"] == hit.region_id
        pointed = {"photo_id": cat, "points": [[200, 100, 1]], "text": "fur", "top": 1}
        assert value(await client.call_tool("search_photos", pointed))["hits"]
        both = value(await client.call_tool("search_photos", {"photo_id": cat, "text": "at night"}))["hits"]
        assert both[0]["photo_id"] != cat

    over(talk)


def test_what_agents_do_wrong_is_told_to_them(over: Callable[..., Any]) -> None:
    async def talk(client: AgentClient) -> None:
        for tool, asked, words in (
            ("search_photos", {}, "nothing to search for"),
            ("search_photos", {"text": "a", "where": "colour = 1"}, "no field 'colour'"),
            ("search_photos", {"image": "/etc/passwd"}, "not a path"),
            ("search_photos", {"image": "http://169.254.169.254/"}, "not fetched"),
            ("search_photos", {"image": AS_TEXT, "box": [0, 0, 9999, 9]}, "leaves the picture"),
            ("search_photos", {"text": "a", "top": 1000}, "less than or equal to 50"),
            ("describe_photo", {"photo_id": 999}, "no photo 999"),
            ("similar_photos", {"photo_id": 999}, "no photo 999"),
        ):
            result = await client.call_tool(tool, asked)
            assert result.is_error, (tool, asked)
            first = result.content[0]
            assert isinstance(first, TextContent) and words in first.text, first.text
            assert "Traceback" not in first.text
        result = await client.call_tool("search_photos", {"text": "a cat"})
        assert not result.is_error

    over(talk)


def test_agents_index_only_where_that_was_allowed(tmp_path: Path) -> None:
    photos = Path(shutil.copytree(EXAMPLES / "photos", tmp_path / "photos"))
    Library.create(tmp_path / "library").close()

    async def talk(client: AgentClient) -> None:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS | {"index_photos"}
        done = value(await client.call_tool("index_photos", {"paths": [str(photos)]}))
        assert done["state"] == "done" and done["report"]["indexed"] == 13
        assert value(await client.call_tool("search_photos", {"text": "a cat"}))["hits"]
        outside = await client.call_tool("index_photos", {"paths": ["/etc"]})
        assert outside.is_error and "roots" in outside.content[0].text  # type: ignore[union-attr]

    over_pipes(tmp_path / "library", tmp_path, talk, "--allow-index", "--root", str(photos))


def test_tools_over_http_are_guarded_as_all_else(place: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple")
    token.chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "virtue",
        "mcp",
        "-d",
        place / "library",
        "--http",
        "--port",
        "0",
        "--token-file",
        token,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    served = Served(process)
    try:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accepts = {"accept": "application/json, text/event-stream"}
        right = {**accepts, "authorization": "Bearer correct-horse-battery-staple"}
        with httpx.Client(trust_env=False, timeout=60) as http:
            assert http.post(served.address, json=asked, headers=accepts).status_code == 401
            assert http.post(served.address, json=asked, headers=right).status_code == 200
            evil = {**right, "origin": "http://evil.example"}
            assert http.post(served.address, json=asked, headers=evil).status_code == 403
            assert (
                http.post(served.address, json=asked, headers={**right, "host": "evil.example"}).status_code
                == 421
            )
    finally:
        assert served.end() == 0
        assert process.stderr
        process.stderr.close()


def test_a_library_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "virtue", "mcp", "-d", tmp_path / "none"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2 and not done.stdout
    assert "there is no library" in done.stderr and done.stderr.count("\n") == 1
