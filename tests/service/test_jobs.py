"""Indexing over the service: told of as it goes on, cancelled, and only below the roots."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import EXAMPLES
from tests.service.serving import Served, serve
from tests.service.test_searching import AS_TEXT, ask
from virtue import Library
from virtue.wire import report_from_json

Event = tuple[str, dict[str, Any]]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """A service of a library of its own, empty at first, that may index `photos`."""
    photos = Path(shutil.copytree(EXAMPLES / "photos", tmp_path / "photos"))
    Library.create(tmp_path / "library").close()
    with serve(tmp_path / "library", "--root", photos, home=tmp_path, VIRTUE_OCR="false") as served:
        yield served, photos


def listen(http: httpx.Client, job_id: str) -> list[Event]:
    """All events of a job, to its end."""
    found: list[Event] = []
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            kind, _, value = line.partition(": ")
            if kind == "event":
                name = value
            elif kind == "data":
                found.append((name, json.loads(value)))
    return found


def index(http: httpx.Client, **body: Any) -> tuple[str, list[Event]]:
    answer = http.post("/v1/index", json={"ocr": False, **body})
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    return job_id, listen(http, job_id)


def test_a_folder_is_indexed_told_of_and_found(own: tuple[Served, Path]) -> None:
    served, photos = own
    (photos / "broken.jpg").write_bytes(b"no picture")
    with served.client() as http:
        empty = http.post("/v1/search", json={"text": "a cat"})
        assert empty.status_code == 409 and "nothing is indexed" in empty.json()["detail"]
        assert http.get("/v1/photos").json() == {"photos": [], "total": 0}
        assert http.get("/v1/roots").json()["roots"] == [{"path": str(photos), "indexed": False}]
        job_id, events = index(http, paths=[str(photos)], regions=4)
        names = [name for name, _ in events]
        assert set(names[:-1]) == {"progress"} and names[-1] == "done" and len(names) > 2
        told = [job["progress"] for _, job in events if job["progress"]]
        assert {each["stage"] for each in told} >= {"indexing"}
        assert [each["done"] for each in told if each["stage"] == "indexing"][-1] > 0
        job = events[-1][1]
        assert job["state"] == "done" and job["problem"] is None
        report = report_from_json(job["report"])
        assert report.indexed == 13
        assert report.problems == [(os.fsencode(photos / "broken.jpg"), report.problems[0][1])]
        assert http.get(f"/v1/jobs/{job_id}").json() == job == http.get("/v1/jobs").json()["jobs"][0]
        assert http.get("/v1/roots").json()["roots"] == [{"path": str(photos), "indexed": True}]
        assert Path(ask(http, text="a cat")[0]["path"]).name == "cat.jpg"
        # Without paths: what was indexed before.
        (photos / "cat.jpg").unlink()
        _, events = index(http)
        assert report_from_json(events[-1][1]["report"]).missing == 1
        assert "cat.jpg" not in [Path(hit["path"]).name for hit in ask(http, text="a cat")]


def test_a_job_is_cancelled_and_another_refused_meanwhile(own: tuple[Served, Path]) -> None:
    served, photos = own
    for n in range(10):
        for photo in (EXAMPLES / "photos").glob("*.jpg"):
            (photos / f"{photo.stem}{n}.jpg").write_bytes(photo.read_bytes() + b"%d" % n)
    with served.client() as http:
        job = http.post("/v1/index", json={"paths": [str(photos)], "regions": "none"}).json()
        second = http.post("/v1/index", json={})
        assert second.status_code == 409 and job["job_id"] in second.json()["detail"]
        until = time.monotonic() + 60
        while not (http.get(f"/v1/jobs/{job['job_id']}").json()["progress"] or {}).get("done"):
            assert time.monotonic() < until
        assert http.delete(f"/v1/jobs/{job['job_id']}").status_code == 202
        events = listen(http, job["job_id"])
        assert events[-1][0] == events[-1][1]["state"] == "cancelled"
        assert http.get("/v1/jobs/none").status_code == 404
        assert http.delete("/v1/jobs/none").status_code == 404
        # Nothing is locked, and the next one goes on.
        _, events = index(http, paths=[str(photos / "cat.jpg")], regions="none")
        assert events[-1][0] == "done"


def test_only_what_lies_below_the_roots_is_indexed(own: tuple[Served, Path], tmp_path: Path) -> None:
    served, photos = own
    outside = Path(shutil.copytree(EXAMPLES / "query", tmp_path / "outside"))
    (photos / "out").symlink_to(outside)
    with served.client() as http:
        for path in (outside, "/", "/etc", photos / ".." / "outside", photos / "out", f"{photos}x"):
            answer = http.post("/v1/index", json={"paths": [str(path)]})
            assert answer.status_code == 403, path
            assert answer.json()["errors"][0]["pointer"] == "#/paths/0"
        for path in ("photos", "", "~", "a\0b"):
            assert http.post("/v1/index", json={"paths": [str(photos), path]}).status_code == 422
        for body in ({"paths": "x"}, {"regions": []}, {"workers": 3}, {"annotations": "/etc/passwd"}):
            assert http.post("/v1/index", json=body).status_code == 422
        assert http.get("/v1/jobs").json()["jobs"] == []
        # What `Library.index` itself refuses, the job tells.
        _, events = index(http, paths=[str(photos / "none")])
        assert events[-1][0] == "failed" and events[-1][1]["problem"]["status"] == 422


def test_nothing_is_written_read_only(http: httpx.Client) -> None:
    for path, body in (
        ("index", {}),
        ("add", {"pictures": [{"name": "a", "image": AS_TEXT}]}),
        ("annotations", {"annotations": [{"photo_id": 1, "rating": 1}]}),
        ("forget", {"photo_ids": [1]}),
    ):
        answer = http.post(f"/v1/{path}", json=body)
        assert answer.status_code == 403 and "read-only" in answer.json()["detail"]


def test_sigterm_stops_a_job_and_keeps_what_was_done(own: tuple[Served, Path], tmp_path: Path) -> None:
    served, photos = own
    for n in range(10):
        for photo in (EXAMPLES / "photos").glob("*.jpg"):
            (photos / f"{photo.stem}{n}.jpg").write_bytes(photo.read_bytes() + b"%d" % n)
    with served.client() as http:
        job = http.post("/v1/index", json={"paths": [str(photos)], "regions": "none"}).json()
        with http.stream("GET", f"/v1/jobs/{job['job_id']}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data") and (json.loads(line[6:])["progress"] or {}).get("done"):
                    break
            assert served.end() == 0
    with Library(tmp_path / "library") as library:
        assert library.verify() == []
        assert library.count() < 143
