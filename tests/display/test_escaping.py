"""What strangers wrote, on its way to a terminal: in every command, in errors, warnings, the log and the
report. Exact in pipes and in JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.conftest import Run
from tests.display.test_html_report import Page
from tests.display.test_terminal import VARIABLES
from tests.embedder.stand_in_hub import running
from virtue.errors import VirtueError
from virtue.escaping import EscapingFile, draw_on, escape
from virtue.paths import quote

NASTY = "\x1b]0;owned\x07\x1b[5mX\x9b2J\u202eY\u2028\u200b\x7f[red]:smile:\r\n\tZ"
RAW = NASTY.encode() + b"\xff"
"""As much as a file name can hold: OSC, CSI, C1, direction, separators, the unseen, markup, no encoding."""
ESCAPED = r"\x1b]0;owned\x07\x1b[5mX\u009b2J\u202eY\u2028\u200b\u007f[red]:smile:\r\n\tZ"

LIVING = "👩\u200d👧 ❤\ufe0f \u0645\u06cc\u200c\u062e\u0648 \u05e9\u05dc e\u0301 日本\u3000"
"""A family in one emoji, Persian with its joiner, Hebrew, an accent, a wide space: text that stays."""

Terminal = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog", "a dog"),
        ("\x1b]52;c;cm0=\x07", r"\x1b]52;c;cm0=\x07"),
        ("a\r\n\tb\x00\x7f", r"a\r\n\tb\x00\u007f"),
        ("\x85\x9b31m", r"\u0085\u009b31m"),
        ("gpj\u202e.exe", r"gpj\u202e.exe"),
        ("\u061c\u200e\u200f\u2066\u2069\u2028\u2029", r"\u061c\u200e\u200f\u2066\u2069\u2028\u2029"),
        ("a\u200b\xad\ufeff\u3164b\U000e0041", r"a\u200b\u00ad\ufeff\u3164b\U000e0041"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("ad\u200cmin \u200d", r"ad\u200cmin \u200d"),
        (LIVING, LIVING),
        (r"C:\new [red]:smile:", r"C:\new [red]:smile:"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, expected: str) -> None:
    assert escape(text) == expected


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = escape(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not {unicodedata.bidirectional(c) for c in shown} & turning
    assert escape(shown) == shown
    assert escape(text, keep=text) == text


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 3))
def test_a_stream_escapes_in_pieces_of_any_size(text: str, size: int) -> None:
    text = text[:500] + "\x9bé👩\n"
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8", newline="") as shown:
        stream = EscapingFile(writer, "utf-8")
        data = text.encode()
        for start in range(0, len(data), size):
            assert stream.write(data[start : start + size]) == len(data[start : start + size])
        os.close(writer)
        assert re.sub(r"\\[ux]\w+", "", shown.read()) == re.sub(r"\\[ux]\w+", "", escape(text, "\n\t\0"))


def test_a_terminal_of_another_encoding_gets_no_control_characters_either() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as shown:
        EscapingFile(writer, "latin-1").write(b"caf\xe9 \x9b2J")
        os.close(writer)
        assert shown.read() == b"caf\xe9 \\u009b2J"


def test_errors_and_the_log_are_escaped_for_programs_too(caplog: pytest.LogCaptureFixture) -> None:
    assert str(VirtueError(f"there is no {NASTY}")) == f"there is no {ESCAPED}"
    with caplog.at_level(logging.INFO, "virtue"):
        logging.getLogger("virtue").info("%d photos in %s", 3, Path(NASTY))
    assert caplog.messages == [f"3 photos in {ESCAPED}"]


def test_a_quoted_name_is_typed_as_it_is_and_does_not_mislead() -> None:
    for name in (b"a b", b"-x", RAW, "a\u3164b".encode()):
        shown = quote(name)
        assert escape(shown) == shown
        said = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
        assert said.stdout.removeprefix(b"./") == name


def test_drawing_goes_beside_the_escapes_of_a_stream_and_in_order() -> None:
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(EscapingFile(writer, "utf-8")), "utf-8")
    stream.write("\x1b[1m ")
    with draw_on(stream) as drawing:
        drawing.write("\x1b[1m ")
    stream.write("\x1b[1m")
    stream.close()
    os.close(writer)
    with open(reader, "rb") as shown:
        assert shown.read() == b"\\x1b[1m \x1b[1m \\x1b[1m"


# -- commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(home: Path) -> Terminal:
    """Runs `virtue` on a terminal and gives its exit status and what the terminal got."""
    surroundings = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    surroundings["TERM"] = "xterm-256color"

    def run(
        *words: object, typed: bytes = b"", program: tuple[str, ...] = ("-m", "virtue"), **environment: str
    ) -> tuple[int, str]:
        ours, theirs = os.openpty()
        given = [os.fsencode(word) if isinstance(word, (bytes, Path)) else str(word) for word in words]
        with subprocess.Popen(
            [sys.executable, *program, *given],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=surroundings | environment,
        ) as running:
            os.close(theirs)
            os.write(ours, typed)
            told = b""
            try:
                while part := os.read(ours, 65536):
                    told += part
            except OSError:  # the end, on Linux
                pass
        os.close(ours)
        return running.returncode, told.decode("utf-8", "surrogateescape").replace("\r\n", "\n")

    return run


OURS = re.compile(r"\x1b\[(?:\?25[lh]|[0-9;]*m|[0-9]*[AK])|\r")
"""What our own bars and previews use: colours, the cursor up, hidden and shown, a line erased."""


def check(told: str, drawing: bool = False) -> str:
    assert "\x1b[5m" not in told and "\x1b]" not in told
    text = OURS.sub("", told) if drawing else told
    assert escape(text, "\n\t\0") == text
    return text


@pytest.fixture
def photos(tmp_path: Path) -> bytes:
    """A folder of names that are as nasty as can be, its photos' metadata and captions too."""
    folder = os.fsencode(tmp_path) + b"/folder" + RAW
    os.mkdir(folder)

    def paint(name: bytes, form: str, seed: int, **settings: object) -> None:
        cells = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        with open(folder + b"/" + name, "wb") as file:
            Image.fromarray(cells).resize((160, 120)).save(file, form, **settings)

    described = Image.Exif()
    for tag in (0x10E, 0x10F, 0x110, 0x132, 0x13B):
        described[tag] = NASTY
    paint(b"a" + RAW + b".jpg", "JPEG", 1, exif=described)
    paint(b"same" + RAW + b".jpg", "JPEG", 1)
    text = PngInfo()
    text.add_itxt("Description", NASTY)
    paint(b"b" + RAW + b".png", "PNG", 2, pnginfo=text)
    with open(folder + b"/b" + RAW + b".txt", "wb") as file:
        file.write(b"beside " + NASTY.encode())
    with open(folder + b"/broken" + RAW + b".jpg", "wb") as file:
        file.write(b"no picture " + RAW)
    return folder


def test_commands_escape_what_they_show(terminal: Terminal, photos: bytes, tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    library = here + b"/library" + RAW
    at = ("-d", library)
    photo = photos + b"/a" + RAW + b".jpg"

    def told(*words: object, status: int = 0, drawing: bool = False, typed: bytes = b"") -> str:
        got, text = terminal(*words, typed=typed)
        assert got == status, text
        return check(text, drawing)

    captions = here + b"/captions" + RAW + b".csv"
    with open(captions, "wb") as file:
        file.write(b'path,caption\n"nowhere' + RAW + b'.jpg",a caption\n')
    shown = told("index", photos, "--captions", captions, *at, drawing=True)
    assert f"broken{ESCAPED}\\xff.jpg: not a picture" in shown and f"nowhere{ESCAPED}" in shown
    shown = told("search", "holiday", *at)
    first = {f"/{name}{ESCAPED}\\xff.jpg\t" in shown for name in ("a", "same")}  # the same picture
    assert first == {True, False} and f"beside {escape(' '.join(NASTY.split()))}" in shown
    assert f"/a{ESCAPED}\\xff.jpg\n" in told("search", NASTY, "-f", *at)
    assert f"/a{ESCAPED}\\xff.jpg\0" in told("search", NASTY, "-0", *at)
    shown = told(
        "search", photo, "--preview", "--html", here + b"/report" + RAW + b".html", *at, drawing=True
    )
    assert "▀" in shown or "▌" in shown or "▄" in shown
    assert f"wrote {tmp_path}/report{ESCAPED}\\xff.html" in shown
    assert f"\t{tmp_path}/folder{ESCAPED}" in told("similar", *at)
    assert f"virtue: warning: {tmp_path}/folder{ESCAPED}" in told("similar", photos, *at)
    shown = told("status", *at)
    assert f"library      {tmp_path}/library{ESCAPED}\\xff\n" in shown
    assert f"root         {tmp_path}/folder{ESCAPED}\\xff\n" in shown
    assert f"broken{ESCAPED}\\xff.jpg\tnot a picture" in told("status", "--problems", *at)
    told("verify", *at)
    told("tune", *at, drawing=True)
    exported = here + b"/exported" + RAW + b".parquet"
    assert f"exported{ESCAPED}\\xff.parquet" in told("export", exported, *at)
    told("import", exported, "-d", here + b"/other" + RAW)
    told("merge", library, "-d", here + b"/other" + RAW, drawing=True)
    assert "[y/N]" in told("forget", photos, *at, typed=b"n\n", status=2)
    told("forget", photos + b"/same" + RAW + b".jpg", *at)
    assert f"/same{ESCAPED}\\xff.jpg\t" in told("status", "--forgotten", *at)
    os.remove(photos + b"/b" + RAW + b".png")
    told("index", *at, drawing=True)
    assert f"/b{ESCAPED}\\xff.png\n" in told("status", "--missing", *at)
    told("forget", "--missing", *at)


DURING = """
import logging, sys, warnings
from virtue.cli import main
from virtue.indexer import Progress, Report
from virtue.library import Library
def index(library, *_, progress, **__):
    nasty = sys.argv[2]
    progress(Progress("indexing", 3, 7, what="shown " + nasty))
    warnings.warn("warned " + nasty)
    logging.getLogger("a library").error("logged %s", nasty)
    print("begun " + nasty, file=sys.stderr, end="", flush=True)
    sys.stderr.buffer.write(b"bytes " + nasty.encode())
    return Report(problems=[(b"/x", "found " + nasty)], warnings=["reported " + nasty])
Library.index = index
main(["index", "-d", "library"])
"""


def test_what_is_printed_beside_a_bar_is_escaped(terminal: Terminal) -> None:
    for kind in ("xterm-256color", "dumb"):
        status, told = terminal("x", NASTY, program=("-c", DURING), TERM=kind, COLUMNS="400")
        text = check(told, drawing=kind != "dumb")
        assert all(f"{where} {ESCAPED}" in text for where in ("warned", "found", "reported"))
        line = ESCAPED.partition(r"\n")[0]  # what is not ours may have lines
        assert f"logged {line}" in text and f"begun {line}" in text
        assert r"bytes \x1b]0;owned" in text and "0:smile:" not in text
        assert ("3/7" in text) is (kind != "dumb") and status == 0
        assert rf"shown {ESCAPED[:12]}" in text or kind == "dumb"


def test_a_download_escapes_what_the_hub_says_and_clears_its_bars(
    terminal: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = home / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(1000))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with running({"some/model": model}) as hub:
        hub.licence = NASTY
        status, told = terminal("models", "pull", "some/model", HF_ENDPOINT=hub.address, HF_HOME=str(home))
    text = check(told, drawing=True)
    assert status == 0 and f"licence: {ESCAPED}\n" in text and "Fetching 1 files" in text
    assert re.search(r"\r */\S+/snapshots/\w+\n$", told), "the bars are gone before the result"


@pytest.mark.parametrize(
    "words",
    [
        [NASTY],
        ["search", "--" + NASTY],
        ["search", "--find", NASTY, "x"],
        ["search", NASTY + ".jpg"],
        ["search", "x", "--where", NASTY, "-d", "LIBRARY"],
        ["search", "x", "-d", NASTY, "--debug"],
        ["similar", NASTY, "-d", "LIBRARY"],
        ["merge", NASTY, "-d", "LIBRARY", "--quiet"],
        ["import", NASTY, "-d", "LIBRARY"],
        ["forget", NASTY, "-d", "LIBRARY"],
        ["models", "pull", NASTY],
        ["init", NASTY],
        ["evaluate", "texts", NASTY, "--quiet"],
        ["evaluate", "scar", NASTY],
        ["-m", "virtue.evaluation.sample_photos", ".", "--packages", ".", NASTY],
    ],
    ids=lambda words: words[words[0] == "-m"] if words[0] != NASTY else "command",
)
def test_errors_escape_what_they_quote(terminal: Terminal, words: list[str], demo_library: Path) -> None:
    given = [str(demo_library) if word == "LIBRARY" else word for word in words]
    is_command = words[0] != "-m"
    status, told = terminal(*given, program=("-m", "virtue") if is_command else ())
    assert status == 2 if is_command else status
    assert r"\x1b]0;owned\x07\x1b[5mX" in check(told)
    assert "--debug" in words or told.count("\n") == 1 or not is_command


def test_pipes_and_json_are_exact(virtue: Run, terminal: Terminal, photos: bytes, tmp_path: Path) -> None:
    noted = virtue("index", photos, "-d", "library").stderr.decode()  # to a file notes go escaped too
    assert escape(noted, "\n") == noted and f"broken{ESCAPED}\\xff.jpg: not a picture" in noted
    names = {photos + b"/" + name + RAW + b".jpg" for name in (b"a", b"same")} | {
        photos + b"/b" + RAW + b".png"
    }
    search = ("search", NASTY, "-d", "library")
    shown = {*virtue(*search, "-0").stdout.split(b"\0")} - {b""}
    assert shown == names
    listed, plain = virtue(*search, "-f").stdout, virtue(*search, "--html", "report.html").stdout
    assert all(name + b"\n" in listed and b"\t" + name in plain for name in shown)
    status, told = terminal(*search, "--json")
    hits = [json.loads(line) for line in check(told).splitlines()]
    assert status == 0 and {os.fsencode(hit["path"]) for hit in hits} == shown
    assert shown | {os.fsencode(path) for hit in hits for path in hit["copies"]} == names
    assert told.encode() == virtue(*search, "--json").stdout.replace(b"\x7f", b"\\u007f")
    assert "beside " + " ".join(NASTY.split()) in {hit["caption"] for hit in hits}

    # A report neither runs nor misleads.
    text = (tmp_path / "report.html").read_text("utf-8")
    assert escape(text, "\n\t") == text
    page = Page(text)
    assert {f"a{ESCAPED}\\xff.jpg", f"same{ESCAPED}\\xff.jpg"} & {*page.text_of("a")}
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy.split("; ")[0] == "default-src 'none'" and "script" not in policy
