"""Which folders have changed: the system tells, or, where it cannot, they are looked through now and then.

What it says is only that something changed below a folder. What that is, a run of `index` finds out.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType

from virtue.indexer.walk import may_concern
from virtue.interrupts import undivided
from virtue.paths import is_below, printable
from virtue.store.mounts import mounts_below, tells_changes

QUIET = 1.5
"""Seconds without another change after which changes are told."""
MAX_WAIT = 15.0
"""Seconds that a change waits at most, while more come."""
LOOK_EVERY = 10.0
"""Seconds between two looks through a folder of whose changes the system does not tell."""
LOOK_SHARE = 5
"""Times as long as a look takes that the next one waits at least."""
TICK = 0.5
"""Seconds that `FolderWatch.wait` takes at most when nothing happens."""
STEP = 200
"""Milliseconds in which changes are heard together."""
MANY = 5_000
"""Changes in one step from which on the system may have lost some: its queue holds 16,384 on Linux."""
MAX_TRIES = 3
LIMIT = "its limit of watches is reached; fs.inotify.max_user_watches and max_user_instances set it"

_Place = tuple[int, int, tuple[tuple[bytes, str], ...]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened: the folders to index, and sentences for the user."""

    folders: set[bytes]
    said: list[str] = field(default_factory=list)


class FolderWatch:
    """Watches folders, and single files, until it is left. Each has a thread of its own that listens to the
    system.

    Args:
        tops: absolute paths of folders and files.
        library: the library's own folder, whose changes are none; None: it has none.
        look: returns what a look through a folder finds, to be compared with what it found before.
    """

    def __init__(self, tops: Sequence[bytes], library: bytes | None, look: Callable[[bytes], object]) -> None:
        self._events: queue.SimpleQueue[tuple[_Listener, str | None]] = queue.SimpleQueue()
        own = () if library is None else (library, os.path.realpath(library))
        self._tops = [_Top(path, own, look, self._events) for path in tops]
        self._first = self._last = 0.0
        self._changed: set[bytes] = set()

    def __enter__(self) -> FolderWatch:
        try:
            for top in self._tops:
                top.begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for top in self._tops:
            top.end()

    def wait(self) -> Changes:
        """Returns what changed and has been quiet since, after a moment at most."""
        said: list[str] = []
        changed = self._listen(said)
        for top in self._tops:
            if top.is_elsewhere(said) or top.is_found_changed():
                changed.add(top.path)
        now = time.monotonic()
        if changed:
            self._first = self._first if self._changed else now
            self._last = now
            self._changed |= changed
        if not self._changed or (now - self._last < QUIET and now - self._first < MAX_WAIT):
            return Changes(set(), said)
        ready = {top.path for top in self._tops if top.path in self._changed and top.is_there}
        self._changed = set()
        return Changes(ready, said)

    def _listen(self, said: list[str]) -> set[bytes]:
        """Returns the folders that the system says have changed."""
        changed = set[bytes]()
        timeout = TICK
        while True:
            try:
                listener, failure = self._events.get(timeout=timeout)
            except queue.Empty:
                return changed
            timeout = 0.001  # what is there already
            top = listener.top
            if top.listener is not listener:  # of a listener that was ended
                continue
            if failure is not None:
                said.append(top.listen_no_more(failure))
            changed.add(top.path)


class _Top:
    """A folder or a file that is watched."""

    def __init__(
        self,
        path: bytes,
        own: tuple[bytes, ...],
        look: Callable[[bytes], object],
        events: queue.SimpleQueue[tuple[_Listener, str | None]],
    ) -> None:
        self.path, self.own = path, own
        self.listener: _Listener | None = None
        self.is_there = True
        self._look_through, self._events = look, events
        self._place = _find_place(path)
        self._seen: object = None
        self._next_look = 0.0

    def begin(self) -> None:
        """Begins to listen, or else takes a first look."""
        self.end()
        if os.path.isdir(self.path) and tells_changes(self.path):
            self.listener = _Listener(self, self._events)
        else:
            self._look()

    def end(self) -> None:
        if self.listener is not None:
            self.listener.end()
            self.listener = None

    def listen_no_more(self, why: str) -> str:
        """Goes over to looking; returns what to say about it."""
        self.end()
        self._look()
        return (
            f"the system does not tell of changes in {printable(self.path)} ({why}): it is looked through "
            f"every {LOOK_EVERY:.0f} seconds instead"
        )

    def is_elsewhere(self, said: list[str]) -> bool:
        """Returns whether there is another folder in this place now: it came back, its drive was mounted, or
        it was replaced. One that is gone, or an empty one left by an unmounted drive, is waited for."""
        place, before = _find_place(self.path), self._place
        if place == before and self.is_there:
            return False
        if place is None or (before is not None and place[0] != before[0] and _is_empty(self.path)):
            if self.is_there:
                said.append(f"{printable(self.path)} is not there any more: this waits until it is back")
            self.is_there = False
            self.end()
            if place is None and before is not None:
                self._place = (before[0], 0, ())  # the device stays known
            return False
        if not self.is_there:
            said.append(f"{printable(self.path)} is back")
        self.is_there, self._place = True, place
        self.begin()
        return True

    def is_found_changed(self) -> bool:
        """Takes a look if that is due, and returns whether something is not as it was."""
        if self.listener is not None or not self.is_there or time.monotonic() < self._next_look:
            return False
        before = self._seen
        self._look()
        if self._seen == before:
            return False
        self._next_look = min(self._next_look, time.monotonic() + QUIET / 2)  # whether it still changes
        return True

    def _look(self) -> None:
        started = time.monotonic()
        self._seen = self._look_through(self.path)
        ended = time.monotonic()
        self._next_look = ended + max(LOOK_EVERY, LOOK_SHARE * (ended - started))


class _Listener:
    """A thread that tells a queue when the system says that something changed, or why it cannot say so."""

    def __init__(self, top: _Top, events: queue.SimpleQueue[tuple[_Listener, str | None]]) -> None:
        self.top = top
        self._events = events
        self._is_ready, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="virtue-watch", daemon=True)
        self._thread.start()
        with undivided():
            self._is_ready.wait()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            failure = self._listen()
            if failure is not None:
                self._events.put((self, failure))
        finally:
            self._is_ready.set()

    def _listen(self) -> str | None:
        """Listens until it is to end, or cannot any more; returns why."""
        tries = 0
        while not self._is_over.is_set():
            try:
                self._listen_once()
                tries = 0
            # RuntimeError: what the library has for errors of its own, such as a name in no encoding.
            except (OSError, RuntimeError, UnicodeError) as error:
                tries += 1
                what = str(error)
                if "limit" in what or "Too many open files" in what:
                    return LIMIT
                if tries == MAX_TRIES or not os.path.isdir(self.top.path):
                    return " ".join(what.split())
                self._is_over.wait(1)
        return None

    def _listen_once(self) -> None:
        """Listens until it is to end, or so much happened at once that the system may have lost some."""
        from watchfiles import watch

        heard = watch(
            os.fsdecode(self.top.path),
            watch_filter=None,
            step=STEP,
            rust_timeout=STEP,
            yield_on_timeout=True,
            stop_event=self._is_over,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=False,
        )
        with closing(heard):
            is_first = True
            try:
                for changes in heard:
                    # What happened before it listened was not heard.
                    is_missed = is_first and self._is_ready.is_set()
                    if is_missed or any(self._concerns(path) for _, path in changes):
                        self._events.put((self, None))
                    self._is_ready.set()
                    is_first = False
                    if len(changes) >= MANY:
                        return
            except RuntimeError:
                if is_first:
                    raise
                self._events.put((self, None))
                self._is_over.wait(1)

    def _concerns(self, changed: str) -> bool:
        path = os.fsencode(changed)
        return not any(is_below(path, own) for own in self.top.own) and may_concern(path, self.top.path)


def _find_place(path: bytes) -> _Place | None:
    """Returns which folder or file is there, and what is mounted in it; None: nothing that can be reached."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    mounts = mounts_below(path) if stat.S_ISDIR(status.st_mode) else {}
    return status.st_dev, status.st_ino, tuple(sorted(mounts.items()))


def _is_empty(folder: bytes) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False
