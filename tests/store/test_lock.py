"""One writer at a time."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.builders import filled
from virtue.errors import LockedError
from virtue.store import layout as names
from virtue.store import open_store

HOLDING = """
import sys, time
from virtue.store import Store, open_store
with open_store(sys.argv[1]) as store, store.write("virtue index /photos"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with filled(folder) as store, open_store(folder) as other, store.write("virtue forget /x"):
        with pytest.raises(LockedError) as caught, other.write("virtue index"):
            pass
        with other.read() as snapshot:
            assert snapshot.counts().photos == 3
    said = str(caught.value)
    assert f"process {os.getpid()} on {platform.node()} (virtue forget /x) since 20" in said


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDING, store.folder], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "held\n"
            said = rf"process {holder.pid} on .* \(virtue index /photos\)"
            with pytest.raises(LockedError, match=said), store.write("test"):
                pass
        finally:
            holder.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            holder.wait()
            holder.stdout.close()
        assert (store.folder / names.LOCK_NOTE).exists()
        with store.write("test") as writer:
            assert writer.forget([b"/photos"]) == 3
        assert not (store.folder / names.LOCK_NOTE).exists()


def test_a_note_that_cannot_be_read_is_no_hindrance(tmp_path: Path) -> None:
    with filled(tmp_path / "library") as store, store.write("test"):
        (store.folder / names.LOCK_NOTE).write_text("[]")
        with pytest.raises(LockedError, match="another process"), store.write("test"):
            pass
