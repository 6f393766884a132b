"""What the HTTP service costs, and what it bears: `python -m benchmarks.service`.

Prints one JSON object.

`numbers`: on a library of made-up regions, at several numbers of clients: requests a second, milliseconds
(p50, p95, p99), and the processor time of the server a request beside that of the bare library for the same
work in the same run. Texts; the second box on a kept picture, beside `Library.search` with a prepared one;
embeddings of 32 texts, beside `Embedder.encode` of as many. The bare library is called by one thread, and by
as many at once as there are cores. The clients' own processor time is counted apart.
`soak`: many clients of all kinds while decoders are killed and an index runs: wrong answers, statuses of 500
and more, memory and descriptors before and after. `contract`: schemathesis against the OpenAPI document.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.cold_search import WORDS, fill
from virtue import Library

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURE = (EXAMPLES / "query" / "gable.jpg").read_bytes()
AS_TEXT = base64.b64encode(PICTURE).decode()
TICKS = os.sysconf("SC_CLK_TCK")
BATCH = 32
"""Texts of a request for embeddings."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
)
TOLERANCE = 2e-6
"""Of scores, which are rounded to six digits."""


# -- a served library ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """A service as a process of its own."""

    process: subprocess.Popen[str]
    host: str

    @property
    def seconds(self) -> float:
        """The processor time of the process, and of its decoders that live."""
        return sum(cpu_seconds(pid) for pid in (self.process.pid, *children(self.process.pid)))

    @property
    def memory(self) -> int:
        """Bytes in memory, without the decoders."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    @property
    def descriptors(self) -> Counter[str]:
        """What is open, without the two pipes of each decoder that lives."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        kinds: Counter[str] = Counter()
        for number in os.listdir(folder):
            with suppress(OSError):
                target = os.readlink(folder / number)
                kinds[target if target.startswith("/") else target.partition(":")[0]] += 1
        kinds["pipe"] -= 2 * len(children(self.process.pid))
        return kinds


@contextmanager
def served(library: Path, *options: str) -> Iterator[Server]:
    """Serves a library on a free port of this machine."""
    command = [sys.executable, "-m", "virtue", "serve", "-d", library, "--port", "0", "--no-browser"]
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "VIRTUE_OCR": "false", "XDG_CACHE_HOME": f"{home}/cache"}
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            yield Server(process, address.removeprefix("http://").rstrip("/"))
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(120)
            process.stdout.close()
        assert status == 0, status


def cpu_seconds(pid: int) -> float:
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / TICKS


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(folder.name))
    return found


class Asker:
    """One client with one connection."""

    def __init__(self, host: str) -> None:
        self._connection = HTTPConnection(host, timeout=300)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Makes a request; returns its status, and its answer if that is JSON."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        answer = response.read()
        is_json = "json" in (response.headers["content-type"] or "")
        return response.status, json.loads(answer) if is_json and answer else answer

    def close(self) -> None:
        self._connection.close()


# -- numbers ------------------------------------------------------------------------------------------------


def text_of(number: int) -> str:
    return f"{WORDS[number % len(WORDS)]} {number}"


def box_of(number: int) -> tuple[int, int, int, int]:
    return 10 + number % 90, 20 + number % 70, 300 + number % 50, 310 + number % 40


def texts_of(number: int) -> list[str]:
    return [text_of(BATCH * number + n) for n in range(BATCH)]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        fill(library, options.regions)
        with Library(library, read_only=True) as bare, served(library, "--read-only") as server:
            asker = Asker(server.host)
            status, kept = asker.ask("POST", "/v1/pictures", {"image": AS_TEXT})
            assert status == 201, kept
            picture_id = kept["picture_id"]
            prepared = bare.embedder.prepare(PICTURE)

            def xywh(number: int) -> list[int]:
                x0, y0, x1, y1 = box_of(number)
                return [x0, y0, x1 - x0, y1 - y0]

            works: dict[str, tuple[Callable[[int], Any], Callable[[int], tuple[str, Any]]]] = {
                "text": (
                    lambda n: bare.search(text_of(n)),
                    lambda n: ("/v1/search", {"text": text_of(n)}),
                ),
                "second_box": (
                    lambda n: bare.search({"image": prepared, "box": box_of(n)}),
                    lambda n: ("/v1/search", {"picture_id": picture_id, "box": xywh(n)}),
                ),
                "embeddings": (
                    lambda n: bare.embedder.encode(texts_of(n)),
                    lambda n: ("/v1/embeddings", {"input": texts_of(n), "encoding_format": "base64"}),
                ),
            }
            return {
                name: {
                    str(count): compare(server, options, count, bare_work, request)
                    for count in options.clients
                }
                for name, (bare_work, request) in works.items()
            }


def compare(
    server: Server,
    options: argparse.Namespace,
    count: int,
    bare_work: Callable[[int], Any],
    request: Callable[[int], tuple[str, Any]],
) -> dict[str, Any]:
    """The service with so many clients, and the bare library before and after that."""
    requests = max(options.requests, count)
    at_once = min(count, os.cpu_count() or 1)
    costs: dict[str, list[float]] = {"bare": [], "bare_at_once": []}
    for is_after in (False, True):
        if is_after:
            figures = load(server, count, requests, request)
        costs["bare"].append(bare_cost(bare_work, options.requests // 2, 1))
        costs["bare_at_once"].append(bare_cost(bare_work, options.requests // 2, at_once))
    for name, label in (("bare", "ratio"), ("bare_at_once", "ratio_at_once")):
        cost = 1000 * statistics.fmean(costs[name])
        figures[f"{name}_cpu_ms"] = round(cost, 2)
        figures[label] = round(figures["server_cpu_ms"] / cost, 3)
    return figures


def bare_cost(work: Callable[[int], Any], count: int, at_once: int) -> float:
    """The processor time of one piece of work, done by so many threads of one program."""
    with threadpool_limits(1):  # as every command of ours has it
        work(0)
        began = time.process_time()
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(work, range(count)))
        return (time.process_time() - began) / count


def load(
    server: Server, count: int, requests: int, request: Callable[[int], tuple[str, Any]]
) -> dict[str, Any]:
    numbers = iter(range(requests))
    taking = threading.Lock()
    seconds: list[float] = []
    statuses: Counter[int] = Counter()

    def run(_: int) -> None:
        asker = Asker(server.host)
        asker.ask("GET", "/healthz")
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                asker.close()
                return
            began = time.perf_counter()
            status, _ = asker.ask("POST", *request(number))
            seconds.append(time.perf_counter() - began)
            statuses[status] += 1

    warm = Asker(server.host)
    warm.ask("POST", *request(0))  # as `bare_cost` has it
    warm.close()
    own, theirs, began = time.process_time(), server.seconds, time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(run, range(count)))
    wall = time.perf_counter() - began
    p50, p95, p99 = (1000 * float(np.percentile(seconds, each)) for each in (50, 95, 99))
    return {
        "requests_a_second": round(requests / wall, 1),
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "p99_ms": round(p99, 1),
        "p99_to_p50": round(p99 / p50, 2),
        "server_cpu_ms": round(1000 * (server.seconds - theirs) / requests, 2),
        "client_cpu_ms": round(1000 * (time.process_time() - own) / requests, 2),
        "statuses": dict(statuses),
    }


# -- soak ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Soak:
    """What many clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    killed: int = 0
    indexed: int = 0


def soak(seconds: float, clients: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        album, other = Path(place, "album"), Path(place, "other")
        album.mkdir()
        other.mkdir()
        for photo in (EXAMPLES / "photos").glob("*.*"):
            (album / photo.name).write_bytes(photo.read_bytes())
        make_pictures(other, 0)
        library = Path(place, "library")
        with Library(library) as opened:
            opened.index(album, regions=8, ocr=False)
        with served(library, "--root", str(other)) as server:
            wanted = {kind: ask(Asker(server.host), kind)[1] for kind in KINDS}
            warm = Soak()
            run_soak(server, seconds / 2, clients, wanted, warm, other)
            time.sleep(2)
            memory, descriptors = server.memory, server.descriptors
            seen = Soak()
            run_soak(server, seconds, clients, wanted, seen, other)
            time.sleep(2)
            grown = server.memory / memory - 1
            left = server.descriptors - descriptors
    return {
        "clients": clients,
        "seconds": seconds,
        "statuses": dict(warm.statuses + seen.statuses),
        "server_errors": sum(n for status, n in (warm.statuses + seen.statuses).items() if status >= 500),
        "wrong": len(warm.wrong + seen.wrong),
        "what": (warm.wrong + seen.wrong)[:5],
        "decoders_killed": warm.killed + seen.killed,
        "index_runs": warm.indexed + seen.indexed,
        "memory_mb": round(memory / 1e6, 1),
        "memory_grown": round(grown, 3),
        "descriptors_left": dict(left),
    }


ALBUM = "path ~ */album/*"
KINDS: dict[str, tuple[str, str, Any]] = {
    "text": ("POST", "/v1/search", {"text": "a cat", "where": ALBUM}),
    "captions": ("POST", "/v1/search", {"text": "a dog", "find": "captions", "where": ALBUM}),
    "box": ("POST", "/v1/search", {"image": AS_TEXT, "box": [250, 160, 190, 190], "where": ALBUM}),
    "whole": ("POST", "/v1/search", {"image": AS_TEXT, "where": ALBUM}),
    "many": ("POST", "/v1/search", {"queries": ["a cup", "a rocket"], "where": ALBUM, "top": 3}),
    "embeddings": ("POST", "/v1/embeddings", {"input": ["a cat", "a dog"]}),
    "photos": ("GET", "/v1/photos?limit=5&where=path%20~%20*%2Falbum%2F*", None),
    "file": ("GET", "/v1/photos/1/file", None),
    "thumbnail": ("GET", "/v1/photos/2/thumbnail?box=10,10,100,100", None),
    "wrong": ("POST", "/v1/search", {"image": "AAAA"}),
}


def ask(asker: Asker, kind: str) -> tuple[int, Any]:
    status, answer = asker.ask(*KINDS[kind])
    return status, essence(answer)


def essence(answer: Any) -> Any:
    """What must stay the same while other photos come: not percentiles, which are of the whole library."""
    if isinstance(answer, list):
        return [essence(each) for each in answer]
    if isinstance(answer, dict):
        changing = ("percentile", "sureness", "total")
        return {key: essence(value) for key, value in answer.items() if key not in changing}
    return answer


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) <= TOLERANCE
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def run_soak(
    server: Server, seconds: float, clients: int, wanted: dict[str, Any], seen: Soak, other: Path
) -> None:
    ends = threading.Event()
    until = time.monotonic() + seconds
    noting = threading.Lock()

    def run(number: int) -> None:
        asker = Asker(server.host)
        names = list(KINDS)
        while time.monotonic() < until:
            kind = names[number % len(names)]
            number += 1
            try:
                status, answer = ask(asker, kind)
            except (OSError, ValueError) as error:
                with noting:
                    seen.wrong.append(f"{kind}: {type(error).__name__} {error}")
                asker = Asker(server.host)
                continue
            with noting:
                seen.statuses[status] += 1
                if status < 500 and status != 429 and not is_same(answer, wanted[kind]):
                    seen.wrong.append(f"{kind}: {status} {str(answer)[:200]}")
        asker.close()

    def kill() -> None:
        while not ends.wait(0.5):
            for pid in children(server.process.pid)[:1]:
                try:
                    is_decoder = b"virtue.service.decoder" in Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                if is_decoder:
                    os.kill(pid, signal.SIGKILL)
                    seen.killed += 1

    def index() -> None:
        asker = Asker(server.host)
        while not ends.is_set():
            make_pictures(other, seen.indexed)
            status, job = asker.ask("POST", "/v1/index", {"paths": [str(other)], "regions": 2, "ocr": False})
            assert status == 202, job
            while job["state"] == "running":
                time.sleep(0.2)
                _, job = asker.ask("GET", f"/v1/jobs/{job['job_id']}")
            assert job["state"] == "done", job
            seen.indexed += 1
        asker.close()

    beside = [threading.Thread(target=work) for work in (kill, index)]
    for thread in beside:
        thread.start()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(run, range(clients)))
    ends.set()
    for thread in beside:
        thread.join()


def make_pictures(folder: Path, seed: int) -> None:
    """Writes four pictures that look like nothing in the album, in place of those before."""
    rng = np.random.default_rng(seed)
    for number in range(4):
        coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")


# -- contract -----------------------------------------------------------------------------------------------


def check_contract(seconds: int, phases: str) -> dict[str, Any]:
    """Runs schemathesis for so long at most: what it found, and how many cases it tried. Of an address longer
    than 128 kB, which it makes now and then, no server reads the end: it calls that a network error."""
    with tempfile.TemporaryDirectory() as place:
        album = Path(place, "album")
        album.mkdir()
        for name in ("cat.jpg", "dog.jpg"):
            (album / name).write_bytes((EXAMPLES / "photos" / name).read_bytes())
        with Library(Path(place, "library")) as library:
            library.index(album, regions=2, ocr=False)
        tool = Path(sys.executable).with_name("st")
        with served(Path(place, "library")) as server:
            command = [
                tool, "run", f"http://{server.host}/openapi.json", "--checks", CHECKS, "--no-color",
                "--phases", phases, "--max-time", str(seconds), "--request-timeout", "60",
                "--exclude-path", "/v1/session", "--suppress-health-check", "all",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False)
    said = done.stdout
    cases = re.search(r"(\d+) generated", said)
    faults = re.findall(r"^ +❌ (.*)", said.rpartition("Failures:")[2], re.M) if "Failures:" in said else []
    errors = re.findall(r"^ +🚫 (.*): \d+$", said.rpartition("Errors:")[2], re.M) if "Errors:" in said else []
    where = re.findall(r"^_+ ((?:GET|POST|PUT|DELETE) .*?) _+$", said, re.M)
    return {
        "seconds": seconds,
        "cases": int(cases[1]) if cases else 0,
        "faults": faults,
        "errors": [line for line in errors if line != "Network Error"],
        "where": where,
        "said": [line[:300] for line in said.splitlines() if re.search("^- ST|Error|Allow|curl", line)][:20],
        "status": done.returncode,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("numbers", "soak", "contract"))
    parser.add_argument("--regions", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200, help="of each kind and number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--soak-seconds", type=float, default=60)
    parser.add_argument("--soak-clients", type=int, default=64)
    parser.add_argument("--contract-seconds", type=int, default=600)
    parser.add_argument("--contract-phases", default="coverage,fuzzing", help="of schemathesis")
    options = parser.parse_args()
    figures: dict[str, Any] = {"benchmark": "service"}
    if options.only in (None, "numbers"):
        figures |= {"regions": options.regions, "batch": BATCH, "numbers": measure(options)}
    if options.only in (None, "soak"):
        figures["soak"] = soak(options.soak_seconds, options.soak_clients)
    if options.only in (None, "contract"):
        figures["contract"] = check_contract(options.contract_seconds, options.contract_phases)
    figures |= {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
