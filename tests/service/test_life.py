"""How a service lives: it tells how it is, survives its decoders, and ends when it is asked to."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.service.serving import Served, serve
from tests.service.test_searching import AS_TEXT, BOX, GABLE, XYWH, same
from virtue import Client, Library


def decoders(served: Served) -> list[int]:
    """The processes that decode for a service."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == served.process.pid and b"virtue.service.decoder" in command:
            found.append(int(folder.name))
    return found


def test_it_tells_how_it_is(http: httpx.Client, library: Library) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok"}
    status = http.get("/v1/status").json()
    assert status["model"] == "mini" and status["photos"] == library.count() == 5
    assert status["dim"] == library.embedder.dim and status["read_only"] is True


def test_it_counts_for_prometheus(http: httpx.Client) -> None:
    def metric(line: str) -> float:
        text = http.get("/metrics").text
        return next(
            (float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line)), 0
        )

    asked = 'virtue_requests_total{method="POST",route="/v1/search",status="200"}'
    refused = 'virtue_requests_total{method="POST",route="/v1/search",status="422"}'
    before = metric(asked), metric(refused), metric("virtue_batch_size_count")
    assert http.post("/v1/search", json={"text": "a cat"}).status_code == 200
    assert http.post("/v1/search", json={"text": ""}).status_code == 422
    assert http.get("/<script>").status_code == 404
    assert metric(asked) == before[0] + 1
    assert metric(refused) == before[1] + 1
    assert metric("virtue_batch_size_count") > before[2]
    assert metric("process_resident_memory_bytes") > 1e7
    assert "<script" not in http.get("/metrics").text


def test_the_same_hits_while_decoders_are_killed(served: Served, library: Library) -> None:
    wanted = library.search({"image": GABLE, "box": BOX})
    ends, answered = threading.Event(), threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        while not ends.wait(0.3):
            if not answered.wait(0.1):  # a slow machine has none ready yet
                continue
            answered.clear()
            for pid in decoders(served)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed += 1

    with served.client() as http:
        http.post("/v1/search", json={"image": AS_TEXT, "box": XYWH})  # which starts a decoder
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            until = time.monotonic() + 4
            while time.monotonic() < until or killed < 3:
                answer = http.post("/v1/search", json={"image": AS_TEXT, "box": XYWH})
                assert answer.status_code == 200, answer.text
                same(answer.json()["hits"], wanted)
                answered.set()
        finally:
            ends.set()
            killer.join()


def test_a_client_that_is_gone_is_dropped(http: httpx.Client, served: Served) -> None:
    def dropped() -> float:
        lines = http.get("/metrics").text.splitlines()
        return float(
            next(line for line in lines if line.startswith("virtue_requests_dropped_total ")).split()[1]
        )

    before = dropped()
    queries = {"queries": [{"image": AS_TEXT, "box": [n, 10, 100, 100]} for n in range(200)]}
    with pytest.raises(httpx.ReadTimeout), served.client(timeout=0.3) as hasty:
        hasty.post("/v1/search", json=queries)
    until = time.monotonic() + 30
    while dropped() == before and time.monotonic() < until:
        time.sleep(0.05)
    assert dropped() == before + 1
    admitted = [
        line for line in http.get("/metrics").text.splitlines() if "virtue_requests_admitted " in line
    ]
    assert admitted[-1] == "virtue_requests_admitted 0.0"


def test_queries_go_through_the_model_together(http: httpx.Client) -> None:
    def batches() -> tuple[float, float]:
        lines = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if line[0] != "#")
        return float(lines["virtue_batch_size_count"]), float(lines["virtue_batch_size_sum"])

    count, items = batches()
    assert http.post("/v1/search", json={"queries": [f"a thing {n}" for n in range(64)]}).status_code == 200
    count, items = batches()[0] - count, batches()[1] - items
    assert items >= 64 and count < 48  # those of a client that is gone may end meanwhile


def test_more_requests_than_there_is_room_for_are_refused_for_a_while(place: Path, tmp_path: Path) -> None:
    with (
        serve(place / "library", "--read-only", "--max-requests", 2, home=tmp_path) as served,
        served.client() as http,
        Client(served.address) as client,
    ):
        slow = {"queries": [f"a thing {n}" for n in range(200)]}
        answers: list[httpx.Response] = []

        def ask() -> None:
            with served.client() as own:
                answers.append(own.post("/v1/search", json=slow))

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        while "virtue_requests_admitted 2.0" not in http.get("/metrics").text:
            assert any(thread.is_alive() for thread in asking)
        refused = http.post("/v1/search", json={"text": "a cat"})
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert refused.json()["status"] == 429
        for thread in asking:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert client.search("a cat", top=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_began_end_when_it_is_told_to(
    place: Path, tmp_path: Path, library: Library, number: signal.Signals
) -> None:
    answers: list[Any] = []
    with serve(place / "library", "--read-only", home=tmp_path) as served:
        texts = [f"a thing numbered {n}" for n in range(150)]

        def ask() -> None:
            with served.client() as http:
                answers.append(http.post("/v1/search", json={"queries": texts}))

        with served.client() as http:
            asking = threading.Thread(target=ask)
            asking.start()
            until = time.monotonic() + 30
            while (
                "virtue_requests_admitted 1.0" not in http.get("/metrics").text and time.monotonic() < until
            ):
                pass
        assert served.end(number) == 0
        asking.join()
        assert "Traceback" not in served.said
    (answer,) = answers
    assert answer.status_code == 200
    for text, result in zip(texts, answer.json()["results"], strict=True):
        same(result["hits"], library.search(text))


def test_a_library_of_another_model_and_one_that_is_newer(place: Path, tmp_path: Path) -> None:
    import sqlite3

    def refused(change: str) -> str:
        folder = Path(shutil.copytree(place / "library", tmp_path / str(len(os.listdir(tmp_path)))))
        with sqlite3.connect(folder / "catalogue.db") as connection:
            connection.execute(change)
        connection.close()
        command = [sys.executable, "-m", "virtue", "serve", "-d", folder, "--port", "0", "--no-browser"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
        return done.stderr

    assert "another version of the model 'mini'" in refused("UPDATE generations SET fingerprint = 'x'")
    gone = refused("UPDATE generations SET model = '/no/such/model', fingerprint = 'x'")
    assert "/no/such/model" in gone
    assert "newer" in refused("UPDATE alembic_version SET version_num = '9999'")


def test_plain_commands_import_none_of_it() -> None:
    code = (
        "import sys\n"
        "from virtue.cli import main\n"
        "try: main(['search', 'a cat', '-d', '/nowhere'])\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'mcp', 'prometheus_client', 'httpx'}\n"
        "own = [name for name in sys.modules if name.startswith('virtue.service')]\n"
        "print(sorted(heavy & set(sys.modules)), own)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[] []"
