"""Work that takes long, such as indexing: one at a time, told of as it goes on, and stopped if asked."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from virtue.errors import StoppedError
from virtue.indexer import Progress
from virtue.service.problems import Problem
from virtue.wire import progress_as_json

MAX_JOBS = 50
"""Jobs that are remembered."""
MIN_SECONDS = 0.1
"""Between two events of one job, at least."""
BEAT_SECONDS = 10.0
"""After which a listener hears that all is well, or a proxy would close the connection."""
MAX_LISTENERS = 64

State = Literal["running", "done", "failed", "cancelled"]
Work = Callable[[Callable[[Progress], None], threading.Event], dict[str, Any]]
"""Does the job: told where to report progress and what stops it, returns its report."""


@dataclass(slots=True, eq=False)
class Job:
    """A job.

    Attributes:
        version: grows with each change.
        report: what it did, once it is done.
        problem: why it failed.
    """

    kind: str
    job_id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: State = "running"
    version: int = 0
    progress: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def as_json(self) -> dict[str, Any]:
        names = ("job_id", "kind", "state", "progress", "report", "problem")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """The jobs of a service. Used by the event loop; a job itself has a thread."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends = asyncio.Event()
        self._changed = asyncio.Condition()
        self._listeners = 0

    def start(self, kind: str, work: Work) -> Job:
        """Starts a job.

        Raises:
            Problem: another one runs.
        """
        running = next((job for job in self._jobs.values() if job.state == "running"), None)
        if running is not None:
            raise Problem(
                409,
                f"the job {running.job_id} ({running.kind}) runs already: wait for its end, or cancel it",
                kind="LockedError",
            )
        job = Job(kind)
        self._jobs[job.job_id] = job
        while len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)
        self._tasks[job.job_id] = asyncio.create_task(self._run(job, work))
        return job

    def all(self) -> list[Job]:
        """Returns the jobs, the newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
            Problem: there is none of this id, or no longer.
        """
        if job_id not in self._jobs:
            raise Problem(404, "there is no such job, or no longer: GET /v1/jobs lists those there are")
        return self._jobs[job_id]

    async def events(self, job: Job) -> AsyncIterator[bytes]:
        """Yields what becomes of a job, from now to its end, as server-sent events."""
        self._listeners += 1
        try:
            told = -1
            while not self._ends.is_set():
                if job.version > told:
                    told = job.version
                    yield _event(job)
                    if job.state != "running":
                        return
                    await asyncio.sleep(MIN_SECONDS)
                elif not await self._wait_for_news(job, told):
                    yield b": still at it\n\n"
        finally:
            self._listeners -= 1

    def check_listeners(self) -> None:
        """Raises a Problem if too many listen."""
        if self._listeners >= MAX_LISTENERS:
            raise Problem(429, "too many listen to jobs already: ask for its state now and then")

    def end(self) -> None:
        """Stops all jobs, and lets listeners go."""
        self._ends.set()
        for job in self._jobs.values():
            job.stop.set()
        self._wake()

    async def wait(self) -> None:
        """Waits until all jobs have ended."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _wait_for_news(self, job: Job, told: int) -> bool:
        try:
            async with asyncio.timeout(BEAT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: job.version > told or self._ends.is_set())
                return True
        except TimeoutError:
            return False

    async def _run(self, job: Job, work: Work) -> None:
        loop = asyncio.get_running_loop()

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._note, job, progress_as_json(progress))

        done: asyncio.Future[dict[str, Any]] = loop.create_future()

        def run() -> None:
            try:
                result = work(tell, job.stop)
            except BaseException as error:  # noqa: BLE001 - it becomes the job's problem
                loop.call_soon_threadsafe(done.set_exception, error)
            else:
                loop.call_soon_threadsafe(done.set_result, result)

        threading.Thread(target=run, name=f"virtue {job.kind}").start()
        try:
            job.report = await done
            job.state = "done"
        except StoppedError:
            job.state = "cancelled"
        except Exception as error:  # noqa: BLE001 - whatever it is, the job failed by it
            job.problem = Problem.of(error).as_json()
            job.state = "failed"
        finally:
            self._tasks.pop(job.job_id, None)
            job.version += 1
            self._wake()

    def _note(self, job: Job, progress: dict[str, Any]) -> None:
        if job.state == "running":
            job.progress = progress
            job.version += 1
            self._wake()

    def _wake(self) -> None:
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        waking = asyncio.ensure_future(notify())
        _WAKING.add(waking)
        waking.add_done_callback(_WAKING.discard)


_WAKING: set[asyncio.Future[None]] = set()
"""Kept, or they might be collected before they ran."""


def _event(job: Job) -> bytes:
    name = "progress" if job.state == "running" else job.state
    return f"id: {job.version}\nevent: {name}\ndata: {json.dumps(job.as_json())}\n\n".encode("ascii")
