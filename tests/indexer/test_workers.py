"""Worker processes that die, hang or meet what they cannot read cost one file each."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.indexer.shelf import Shelf
from virtue.errors import VirtueError
from virtue.indexer.messages import Channel, Decoded, Hashed, Refused, Task
from virtue.indexer.walk import Found, walk
from virtue.indexer.workers import Outcome, Pool


def read_all(folder: Path, workers: int = 2, timeout: float = 30.0, side: int | None = 64) -> list[Outcome]:
    files = walk(os.fsencode(folder)).files.values()
    with Pool(list(files), side, lambda found, hashed: True, workers, timeout) as outcomes:
        return [outcome for outcome in outcomes if outcome is not None]


def photos(folder: Path, count: int) -> None:
    for number in range(count):
        Image.new("RGB", (100 + number, 50), (number, 0, 0)).save(folder / f"{number:03}.png")


def test_pictures_come_back_reduced_with_hash_and_metadata(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    outcomes = sorted(read_all(tmp_path), key=lambda outcome: outcome.found.path)
    assert [outcome.problem for outcome in outcomes] == [None] * 3
    decoded = outcomes[2].decoded
    assert decoded and outcomes[2].hashed
    assert (decoded.picture.width, decoded.picture.height) == (102, 50)
    assert decoded.picture.pixels.shape == (31, 64, 3)
    assert np.abs(decoded.picture.pixels.astype(int) - [2, 0, 0]).max() <= 1
    assert len({outcome.hashed.hash for outcome in outcomes if outcome.hashed}) == 3


def test_what_is_not_wanted_is_not_decoded(tmp_path: Path) -> None:
    photos(tmp_path, 3)
    files = list(walk(os.fsencode(tmp_path)).files.values())
    with Pool(files, 64, lambda found, hashed: b"001" in found.path, 1) as outcomes:
        decoded = {o.found.path: o.decoded is not None for o in outcomes if o}
    assert [wanted for _, wanted in sorted(decoded.items())] == [False, True, False]


def test_a_killed_worker_costs_one_file(tmp_path: Path) -> None:
    photos(tmp_path, 12)
    files = list(walk(os.fsencode(tmp_path)).files.values())

    def wanted(found: Found, hashed: Hashed) -> bool:
        if b"005" in found.path:
            for child in children():
                os.kill(child, signal.SIGKILL)
            time.sleep(0.1)
        return True

    with Pool(files, 64, wanted, 1) as outcomes:
        found = {o.found.path[-7:]: o.problem for o in outcomes if o}
    assert len(found) == 12
    assert found.pop(b"005.png") == "reading it ended the decoder (SIGKILL)"
    assert set(found.values()) == {None}


def children() -> list[int]:
    """The processes that read photos; other children (of `multiprocessing`, in other tests) stay alone."""
    found: list[int] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that ended
            found += map(int, listed.read_text().split())
    return [child for child in found if b"virtue.indexer.worker" in command(child)]


def command(process: int) -> bytes:
    with suppress(OSError):  # it ended
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


@pytest.mark.parametrize("killed", [1, 2])
def test_a_worker_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    photos(tmp_path, 3)
    files = list(walk(os.fsencode(tmp_path)).files.values())
    kill_as_they_start(killed, tmp_path, monkeypatch)
    with Pool(files, 64, lambda found, hashed: True, 1) as outcomes:
        assert [o.problem for o in outcomes if o] == [None] * 3


def test_a_worker_that_is_always_killed_ends_the_run_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path, 3)
    files = list(walk(os.fsencode(tmp_path)).files.values())
    kill_as_they_start(3, tmp_path, monkeypatch)
    with (
        pytest.raises(VirtueError, match=r"^the process that reads photos did not start: SIGKILL$"),
        Pool(files, 64, lambda found, hashed: True, 1) as outcomes,
    ):
        list(outcomes)


def kill_as_they_start(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first so many workers are killed while Python starts in them."""
    place = folder / "starts"
    (folder / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'virtue.indexer.worker' in sys.orig_argv:\n"
        f"    with open({str(place)!r}, 'a') as file:\n"
        "        file.write('x')\n"
        f"    if os.path.getsize({str(place)!r}) <= {count}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(folder)


def test_a_worker_that_hangs_is_ended_and_costs_one_file(tmp_path: Path) -> None:
    photos(tmp_path, 6)
    files = list(walk(os.fsencode(tmp_path)).files.values())

    def wanted(found: Found, hashed: Hashed) -> bool:
        if b"002" in found.path:
            for child in children():
                os.kill(child, signal.SIGSTOP)
        return True

    with Pool(files, 64, wanted, 1, timeout=1.0) as outcomes:
        found = {o.found.path[-7:]: o.problem for o in outcomes if o}
    assert found.pop(b"002.png") == "reading it took more than 1 seconds"
    assert len(found) == 5
    assert set(found.values()) == {None}


def test_leaving_early_does_not_wait_for_a_worker_that_hangs(tmp_path: Path) -> None:
    photos(tmp_path, 6)
    files = list(walk(os.fsencode(tmp_path)).files.values())

    def wanted(found: Found, hashed: Hashed) -> bool:
        if b"002" in found.path:
            for child in children():
                os.kill(child, signal.SIGSTOP)
        return True

    with pytest.raises(KeyboardInterrupt), Pool(files, 64, wanted, 1, timeout=86_400) as outcomes:
        for outcome in outcomes:
            if outcome is None:  # nothing came for a while
                raise KeyboardInterrupt
    assert children() == []


def test_an_error_of_the_caller_is_not_lost(tmp_path: Path) -> None:
    photos(tmp_path, 2)
    files = list(walk(os.fsencode(tmp_path)).files.values())

    def wanted(found: Found, hashed: Hashed) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Pool(files, 64, wanted, 2) as outcomes:
        list(outcomes)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    path = os.fsencode(tmp_path / "000.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "virtue.indexer.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    channel = Channel(process.stdout, process.stdin)
    assert channel.receive() == "ready"
    channel.send(Task(path, 64, 30.0))
    assert isinstance(channel.receive(), Hashed)
    os.utime(path, ns=(5, 5))
    channel.send(True)
    assert channel.receive() == Refused("it changed while it was read: index again")
    channel.send(Task(path, 64, 30.0))
    channel.receive()
    channel.send(True)
    assert isinstance(channel.receive(), Decoded)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("suffix", ["png", "webp", "avif"])
def test_want_of_memory_is_no_verdict(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large.{suffix}"
    Image.new("RGB", (6000, 6000)).save(path)
    limited = "from virtue.indexer import confinement as c, worker; c.MAX_MEMORY = 330_000_000; worker.main()"
    with subprocess.Popen(
        [sys.executable, "-c", limited], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        channel = Channel(process.stdout, process.stdin)
        assert channel.receive() == "ready"
        channel.send(Task(os.fsencode(path), 6000, 30.0))
        answer = channel.receive()
        while not isinstance(answer, Refused | Decoded):
            channel.send(True)
            answer = channel.receive()
        process.kill()
    assert isinstance(answer, Refused)
    assert not answer.is_verdict


def test_very_large_pictures_are_read_one_at_a_time(shelf: Shelf) -> None:
    for number in range(3):
        shelf.photo(f"{number}.png", "red", (6000, 4000 + number), compress_level=1)
    assert shelf.index().indexed == 3


CONFINED = """
import errno, os, resource, socket, subprocess, sys
from virtue.indexer.confinement import confine
confine()
for attempt in (
    lambda: socket.socket(),
    lambda: socket.socket(socket.AF_UNIX),
    lambda: subprocess.run([sys.executable, "--version"]),
    lambda: os.execv(sys.executable, [sys.executable, "--version"]),
    lambda: os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b"stolen"),
    lambda: bytearray(3 << 30),
):
    try:
        print(attempt())
    except (OSError, MemoryError) as error:
        print(errno.errorcode[error.errno] if isinstance(error, OSError) else "no memory")
print(open(sys.argv[2]).read(), resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_worker_can_read_files_and_nothing_else(tmp_path: Path) -> None:
    """No network, no programs, no files of its own, no core dump, no more memory than it needs."""
    (tmp_path / "read").write_text("as before")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, tmp_path / "written", tmp_path / "read"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    refused = ["EPERM", "EPERM", "EPERM", "EPERM", "EFBIG", "no memory"]
    assert done.stdout.splitlines() == [*refused, "as before (0, 0)"]
    assert (tmp_path / "written").read_bytes() == b""


class Foreign:
    """What a worker might send that a file took over."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    "stream", [pickle.dumps(Foreign()), b"\x80\x05K\x01\x93.", b"cnumpy\nno_such\n.", b"R.", b""]
)
def test_messages_run_no_code(stream: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        Channel(io.BytesIO(stream), io.BytesIO()).receive()
    assert list(tmp_path.iterdir()) == []
