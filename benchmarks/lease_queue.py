"""How far the queue of jobs in PostgreSQL carries: a simulation of 1 to 1,000 processes.

    python -m benchmarks.lease_queue [--photos 1000000] [--ms-a-photo 5 50] [--hours-between-failures 4]

First the real queue is measured, on a server of the tests: a lease, and commits of few and of many photos
(ten regions of 256 columns each), which follow one another. Then processes are simulated that lease, embed,
commit beside the next files, and end at random moments (exponential; a new one starts after a
minute): what one had leased and not committed is embedded again, by whoever leases it when 30 seconds have
passed.

For each number of processes: photos a second, the share of what as many processes would do without a queue
and failures, the share of photos that were embedded again, and the share of time that commits took.

Prints one JSON object; what it is at goes to stderr.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import time
from typing import Any

from benchmarks.machines import Data, make_file, make_photo, say
from tests.postgres_server import running_server
from virtue.store import open_store
from virtue.store.job_queue import Job
from virtue.store.postgres.server_jobs import LEASE_SECONDS, MAX_LEASED, MIN_LEASED

PROCESSES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RESTART_SECONDS = 60.0
FEW, MANY = 8, 256
"""Photos of the commits that are measured."""
REPEATS = 12


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--ms-a-photo", type=float, nargs="+", default=[5.0, 50.0], help="of one process")
    parser.add_argument("--hours-between-failures", type=float, default=4.0, help="of one process")
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    costs = measure()
    say(f"measured: {costs}")
    runs = []
    for milliseconds in options.ms_a_photo:
        for count in options.processes:
            say(f"{count:,} processes, {milliseconds:g} ms a photo")
            runs.append(
                {"ms_a_photo": milliseconds, "processes": count}
                | Simulation(
                    options.photos,
                    count,
                    milliseconds / 1000,
                    3600 * options.hours_between_failures,
                    costs,
                    random.Random(options.seed),
                ).run()
            )
    print(json.dumps({"photos": options.photos, "measured": costs, "runs": runs}, indent=1))
    return 0


def measure() -> dict[str, float]:
    """Returns the seconds of a lease, of a commit without photos, and of a photo in a commit."""
    data = Data(REPEATS * (FEW + MANY) * 10, 256, 1)
    vectors = next(data.rows())
    with running_server(shared_buffers="256MB") as server:
        place = server.make_database()
        with open_store(place, create=True) as store, store.write("benchmark") as writer:
            writer.generation("made up", "made up", data.dim)
            number, seconds = 0, dict.fromkeys((FEW, MANY), 0.0)
            for count in (FEW, MANY) * REPEATS:
                photos = [make_photo(number + n, vectors[10 * n : 10 * n + 10], data) for n in range(count)]
                began = time.perf_counter()
                writer.commit(photos, [make_file(photo) for photo in photos])
                seconds[count] += (time.perf_counter() - began) / REPEATS
                number += count
            with writer.sharing(fills=True):
                assert writer.jobs is not None
                writer.jobs.add("embed", (Job(b"/%d.jpg" % n) for n in range(20_000)))
                began = time.perf_counter()
                for _ in range(50):
                    writer.jobs.lease("embed")
                lease = (time.perf_counter() - began) / 50
    photo = (seconds[MANY] - seconds[FEW]) / (MANY - FEW)
    return {
        "lease_s": round(lease, 5),
        "commit_s": round(max(0.0, seconds[FEW] - FEW * photo), 5),
        "photo_s": round(photo, 5),
    }


class Simulation:
    """Events in the order of their times: a process is free, or a lease of one that ended has run out."""

    def __init__(
        self,
        photos: int,
        processes: int,
        embedding: float,
        between_failures: float,
        costs: dict[str, float],
        chance: random.Random,
    ) -> None:
        self._left, self._photos, self._processes = photos, photos, processes
        self._embedding, self._between, self._costs, self._chance = embedding, between_failures, costs, chance
        self._commits_free = 0.0
        self._committing = self._again = self._end = 0.0
        self._done = 0
        self._order = 0
        self._events: list[tuple[float, int, str, float]] = []
        self._dies = [chance.expovariate(1 / between_failures) for _ in range(processes)]

    def run(self) -> dict[str, Any]:
        for number in range(self._processes):
            self._at(0.0, "free", number)
        while self._done < self._photos:
            now, _, what, value = heapq.heappop(self._events)
            if what == "back":
                self._left += int(value)
            elif self._left:
                self._work(now, int(value))
            else:
                self._at(now + 1.0, "free", value)  # waits for what others have leased
        rate = self._photos / self._end
        return {
            "photos_a_second": round(rate, 1),
            "of_what_they_could": round(rate * self._embedding / self._processes, 3),
            "embedded_again": round(self._again / self._photos, 5),
            "time_that_commits_took": round(self._committing / self._end, 3),
        }

    def _at(self, time: float, what: str, value: float) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, what, value))

    def _work(self, now: float, number: int) -> None:
        """A process leases files, embeds them, and has them committed while it goes on."""
        count = min(self._left, max(MIN_LEASED, min(MAX_LEASED, self._left // (2 * self._processes))))
        self._left -= count
        embedded = now + self._costs["lease_s"] + count * self._embedding
        spent = self._costs["commit_s"] + count * self._costs["photo_s"]
        committed = max(embedded, self._commits_free) + spent
        dies = self._dies[number]
        if dies < committed:
            self._again += min(count, max(0.0, (dies - now) / self._embedding))
            self._at(max(now, dies) + LEASE_SECONDS, "back", count)
            self._dies[number] = dies + RESTART_SECONDS + self._chance.expovariate(1 / self._between)
            self._at(max(now, dies) + RESTART_SECONDS, "free", number)
            return
        self._commits_free = committed
        self._committing += spent
        self._done += count
        self._end = max(self._end, committed)
        # The next files are embedded beside this commit, but for those that would be the third to wait.
        self._at(max(embedded, committed - count * self._embedding), "free", number)


if __name__ == "__main__":
    sys.exit(main())
