"""Keeping folders up to date while a program runs: what changed is indexed, again and again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from virtue.errors import InputError, LockedError, StoppedError
from virtue.indexer import Report
from virtue.indexer.folder_watch import FolderWatch
from virtue.indexer.roots import Options, Roots
from virtue.indexer.walk import Walk, walk
from virtue.paths import changed_at, is_below, status_changed_at
from virtue.stopping import check_stop

if TYPE_CHECKING:
    from virtue.store import Store

SETTLED = 5
"""Seconds for which a file that cannot be read must stay as it is before that is told: it may still be
written."""
TRY_AGAIN = 2.0
"""Seconds after which a library that another process was writing is tried again."""

Run = Callable[[Sequence[bytes] | None], Report]


def watch_folders(
    store: Store, named: Sequence[bytes], run: Run, stop: threading.Event | None = None
) -> Generator[Report]:
    """Indexes folders, and then, until the caller stops it, those that changed. Yields what each run did, and
    in between, as warnings of a report that is empty otherwise, what keeps it from its work.

    Args:
        named: absolute paths of folders and files; none: all that the library has.
        run: indexes these paths; None: those that were named, with all options.

    Raises:
        InputError, StoreError, ModelError: as the first run raises them. Later ones raise no InputError for
            what is gone, and none waits for another writer in vain.
    """
    library = None if store.folder is None else os.path.realpath(os.fsencode(store.folder))
    tops = list(dict.fromkeys(named)) or _find_tops(store, library)
    late, told = _LateProblems(store), set[str]()
    due: set[bytes] | None = None  # all
    is_due, tried, is_waiting = True, -TRY_AGAIN, False

    def look(path: bytes) -> object:
        return _look(store, path, lambda: check_stop(stop))

    with FolderWatch(tops, library, look) as folders:
        while stop is None or not stop.is_set():
            if is_due and time.monotonic() - tried >= TRY_AGAIN:
                tried = time.monotonic()
                try:
                    report = run(None if due is None else sorted(due))
                except LockedError as error:
                    if not is_waiting:
                        yield Report(warnings=[f"{error}; meanwhile this waits"])
                    is_waiting = True
                except StoppedError:
                    return
                except InputError:
                    if due is None or all(map(os.path.exists, due)):
                        raise
                    is_due = False  # it vanished meanwhile, which is told below
                else:
                    due, is_due, is_waiting, tried = set(), False, False, -TRY_AGAIN
                    late.hold_back(report)
                    report.warnings = [warning for warning in report.warnings if warning not in told]
                    told.update(report.warnings)
                    yield report
            try:
                changes = folders.wait()
            except StoppedError:
                return
            if changes.said:
                yield Report(warnings=changes.said)
            if changes.folders:
                is_due = True
                if due is not None:
                    due |= changes.folders
            if problems := late.find_settled():
                yield Report(problems=problems)


def _find_tops(store: Store, library: bytes | None) -> list[bytes]:
    """Returns the folders that were indexed by name, and files that lie in none of them."""
    with store.read() as snapshot:
        roots = Roots(snapshot.roots())
        files = [
            path for path, state in snapshot.files().items() if roots.of(path) is None and not state.missing
        ]
    return [path for path in (*roots, *files) if library is None or not is_below(path, library)]


def _look(store: Store, path: bytes, tick: Callable[[], None]) -> object:
    """Returns something that is equal as long as a run would find the same in a folder."""
    found = Walk()
    try:
        if os.path.isdir(path):
            with store.read() as snapshot:
                roots = Roots(snapshot.roots())
            exclude = (roots.of(path) or Options()).exclude
            walk(path, exclude, found, links=roots.link_rule(path), tick=tick)
        else:
            walk(path, into=found)
    except InputError as error:
        return str(error)
    # A number, since a folder may hold a million files.
    return hash((frozenset(found.files.values()), frozenset(found.problems.items())))


class _LateProblems:
    """Files that could not be read and changed a moment ago. A program may still be writing them, and then
    they are indexed when it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[bytes, tuple[tuple[int, int, int], float]] = {}

    def hold_back(self, report: Report) -> None:
        """Takes those files out of a report."""
        now, kept = time.time(), []
        for path, reason in report.problems:
            state = _stamp(path)
            if state is not None and now - max(state[1:]) / 1e9 < SETTLED:
                self._held[path] = state, time.monotonic() + SETTLED
            else:
                kept.append((path, reason))
        report.problems = kept

    def find_settled(self) -> list[tuple[bytes, str]]:
        """Returns those that have stayed as they are, and still cannot be read."""
        now = time.monotonic()
        settled = set()
        for path, (before, due) in list(self._held.items()):
            if now < due:
                continue
            state = _stamp(path)
            if state is not None and state != before:
                self._held[path] = state, now + SETTLED
            else:
                del self._held[path]
                settled.add(path)
        if not settled:
            return []
        with self._store.read() as snapshot:
            return [(path, reason) for path, reason in snapshot.problems() if path in settled]


def _stamp(path: bytes) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, changed_at(status), status_changed_at(status)
