"""Ctrl-C and SIGTERM end the work wherever they find it: no lock stays held that another thread waits for,
and nothing is lost that was handed over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
from PIL import Image

from virtue.indexer import commit_queue
from virtue.indexer.commit_queue import CommitQueue
from virtue.indexer.walk import Found
from virtue.indexer.workers import Outcome, Pool, _Room
from virtue.interrupts import ending_by_exit, stopping_softly, undivided, wait_for
from virtue.store import FileRecord, Writer


def is_interrupted(work: Callable[[], object], event: int, *functions: Callable[..., object]) -> bool:
    """Runs work and sends SIGTERM at so manieth call, line or return in these functions and what they call;
    returns whether it came so far."""
    names, left, depth = {function.__name__ for function in functions}, event, 0

    def trace(frame: FrameType, what: str, value: object) -> Any:
        nonlocal left, depth
        if what == "call" and frame.f_code.co_name in names:
            depth += 1
        if depth:
            left -= 1
            if not left:
                signal.raise_signal(signal.SIGTERM)
        if what == "return" and frame.f_code.co_name in names:
            depth -= 1
        return trace

    before = sys.gettrace()
    with ending_by_exit():
        sys.settrace(trace)
        try:
            work()
        except SystemExit as ended:
            assert ended.code == 128 + signal.SIGTERM
        finally:
            sys.settrace(before)
    return left <= 0


class Noting:
    """What is committed, in the place of a writer."""

    def __init__(self) -> None:
        self.files: list[FileRecord] = []

    def commit(self, embedded: Sequence[object], files: Sequence[FileRecord], *_: object) -> None:
        self.files += files


def test_whatever_was_added_is_committed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_queue, "MAX_FILES", 2)
    for event in count(1):
        writer, added = Noting(), list[FileRecord]()

        def work(writer: Noting = writer, added: list[FileRecord] = added) -> None:
            with CommitQueue(cast(Writer, writer)) as queue, stopping_softly(queue.finish):
                for number in range(5):
                    file = FileRecord(b"%d" % number, 1, 1, None, problem="empty")
                    queue.add(files=[file])
                    added.append(file)
                queue.finish()

        has_come = is_interrupted(work, event, CommitQueue.add, CommitQueue.finish)
        assert writer.files[: len(added)] == added and len(writer.files) <= len(added) + 1, event
        if not has_come:
            assert len(writer.files) == 5 and event > 100
            break


def test_a_thread_ends_whose_result_was_waited_for() -> None:
    for event in count(1):
        threads = ThreadPoolExecutor(1)

        def work(threads: ThreadPoolExecutor = threads) -> None:
            for number in range(2):
                with undivided():
                    future = threads.submit(str, number)
                assert wait_for(future) == str(number)

        has_come = is_interrupted(work, event, wait_for)
        assert threads.submit(str, 3).result(10) == "3", event
        threads.shutdown()
        if not has_come:
            assert event > 50
            break


def test_workers_end_that_waited_for_room(tmp_path: Path) -> None:
    files = []
    for number in range(8):
        Image.new("RGB", (10 + number, 10)).save(tmp_path / f"{number}.png")
        files.append(Found(bytes(tmp_path / f"{number}.png"), 1, 1, None))

    def work() -> None:
        with Pool(files, 64, lambda found, hashed: True, 1) as outcomes:
            assert len([outcome for outcome in outcomes if isinstance(outcome, Outcome)]) == 8

    for event in range(1, 31):
        assert is_interrupted(work, event, _Room.give_back), event
