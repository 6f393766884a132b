"""`virtue build scar`: captions by rule, and by a model behind an endpoint that misbehaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.conftest import Run
from virtue.errors import InputError
from virtue.evaluation.scar_files import ScarQuery, read_scar
from virtue.geometry import Box
from virtue.training.scar_building import LlmSwapper, RuleSwapper, build_scar, describe_cost, read_things

NAMES = ["dog", "car", "pizza", "chair", "bottle", "apple"]
WORDS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}


@pytest.fixture
def annotated(tmp_path: Path) -> tuple[Path, Path]:
    """Four pictures with three things each, in a row; a fifth that is not there."""
    images = tmp_path / "images"
    images.mkdir()
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    for picture in range(5):
        name = f"{picture}.jpg"
        content["images"].append({"id": picture, "file_name": name, "width": 300, "height": 100})
        if picture < 4:
            Image.new("RGB", (300, 100), ("red", "green", "blue", "gray")[picture]).save(images / name)
        for place in range(3):
            box = [100 * place + 20, 20, 60, 60]
            number = len(content["annotations"]) + 1
            category = (picture + place) % len(NAMES)
            content["annotations"].append(
                {"id": number, "image_id": picture, "category_id": category, "bbox": box}
            )
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(content))
    return file, images


def test_captions_by_rule_swap_one_element_each_and_are_true(
    annotated: tuple[Path, Path], tmp_path: Path
) -> None:
    things, faults = read_things(*annotated)
    assert len(things) == 12 and [fault for fault in faults if "4.jpg" in fault and "not there" in fault]
    done = build_scar(things, RuleSwapper(things), tmp_path / "out.parquet")
    assert done.rows == 12 and not done.rejected and not done.postponed
    assert pq.read_schema(tmp_path / "out.parquet").metadata[b"virtue.maker"] == b"rules"
    rows = list(read_scar(tmp_path / "out.parquet", annotated[1]))
    for thing, row in zip(things, rows, strict=True):
        assert isinstance(row, ScarQuery) and row.box == thing.box
        assert row.swaps == (None, *["object"] * 3, *["relation"] * 3, *["scene"] * 3)
        assert len(set(row.captions)) == 10
        parts = [caption.rpartition(", ")[::2] for caption in row.captions]
        subject = f"a{'n' * (thing.category[0] in 'aeiou')} {thing.category}"
        assert parts[0][0].startswith(f"{subject} ")
        assert {scene for _, scene in parts[:7]} == {parts[0][1]} and len(
            {scene for _, scene in parts[7:]}
        ) == 3
        assert {said for said, _ in parts[7:]} == {parts[0][0]}
        rest = parts[0][0].removeprefix(subject)
        assert all(said.endswith(rest) and not said.startswith(f"{subject} ") for said, _ in parts[1:4])
        here = {thing.category, *(category for category, _ in thing.others)}
        assert all(said.removesuffix(rest).split(" ", 1)[1] not in here for said, _ in parts[1:4])
        relation = next(words for words in WORDS if rest.startswith(f" {words} "))
        axis, sign = WORDS[relation]
        boxes: dict[str, Box] = dict(thing.others)
        other = boxes[rest.removeprefix(f" {relation} ").split(" ", 1)[1]]
        assert (thing.box.xywh[axis] - other.xywh[axis]) * sign > 0
        assert all(said.startswith(f"{subject} ") and said != parts[0][0] for said, _ in parts[4:7])


GOOD = {
    "object": "a brown dog", "relation": "left of a car.", "scene": "on a road",
    "object_swaps": ["a cat", "a goat", "a fox"],
    "relation_swaps": ["on a car", "right of a car", "in a car"],
    "scene_swaps": ["at sea", "on snow", "in a barn"],
}  # fmt: skip


class StandIn(ThreadingHTTPServer):
    """An endpoint that answers by a script: for each request the next of `answers`, then by `default`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Any] = []
        self.default: Any = "check"
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text, picture = body["messages"][0]["content"]
        assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
        self.server.asked.append(text["text"])
        answer = self.server.answers.pop(0) if self.server.answers else self.server.default
        if answer == "sleep":
            time.sleep(8)
        if answer == "check":
            answer = (
                {"true": [1]}
                if text["text"].startswith("A red box marks one object in the picture. W")
                else GOOD
            )
        status = answer if isinstance(answer, int) else 200
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer if isinstance(answer, str) else json.dumps(answer),
        }
        if answer == "refuse":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        content = json.dumps(reply if status == 200 else {"error": {"message": "too many requests"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("retry-after-ms", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_model_that_misbehaves_costs_single_things(
    annotated: tuple[Path, Path], tmp_path: Path, stand_in: StandIn
) -> None:
    things = read_things(*annotated)[0]
    swapper = LlmSwapper(stand_in.url, "m", timeout=5)
    out = tmp_path / "out.parquet"
    half = json.dumps(GOOD)[:80]
    same = GOOD | {"object_swaps": ["a cat", "a cat", "a fox"]}
    told = '```json\n{"true": [1]}\n```'
    scripts: list[tuple[list[Any], str | None]] = [
        (["sleep", 429, 503, half, GOOD, told], None),
        (["refuse"], "the model refuses"),
        ([half] * 3, "the answer is no JSON"),
        ([same] * 3, "two of the object and its swaps are equal"),
        ([GOOD, {"true": [1, 5]}], "the model finds a swap true as well: a brown dog on a car, on a road"),
        ([GOOD, {"true": []}], "the model does not find its own caption true"),
    ]
    for thing, (answers, why) in zip(things, scripts, strict=False):
        stand_in.answers, stand_in.asked[:] = list(answers), []
        done = build_scar([thing], swapper, out)
        assert len(stand_in.asked) == len(answers) and not done.postponed
        assert done.rows == (why is None) and all(each.startswith(str(why)) for each in done.rejected)
        if why is None:
            row = pq.read_table(out).to_pylist()[0]
            assert row["tgt_text"][0] == "a brown dog left of a car, on a road"
            assert row["tgt_text"][4:6] == [
                "a brown dog on a car, on a road",
                "a brown dog right of a car, on a road",
            ]
            assert thing.category in stand_in.asked[0]


def test_an_interrupted_run_asks_only_for_what_is_left(
    annotated: tuple[Path, Path], tmp_path: Path, stand_in: StandIn
) -> None:
    things = read_things(*annotated)[0]
    swapper = LlmSwapper(stand_in.url, "m", timeout=5)
    out = tmp_path / "out.parquet"
    stand_in.default = 500
    done = build_scar(things, swapper, out)
    assert done.rows == 0 and done.postponed == 12 and "too many requests" in done.why
    stand_in.default = "check"
    build_scar(things[:5], swapper, tmp_path / "few.parquet")
    journal = tmp_path / "out.parquet.journal"
    first = journal.read_text()
    answers = [{"id": thing.id, "rejected": "the model refuses"} for thing in things[:7]]
    journal.write_text(first + "".join(json.dumps(answer) + "\n" for answer in answers) + '{"id": "cut o')
    stand_in.asked.clear()
    done = build_scar(things, swapper, out)
    assert len(stand_in.asked) == 2 * 5 and done.rows == 5 and done.rejected == {"the model refuses": 7}
    assert not journal.exists(), "nothing is left to go on with"
    journal.write_text(first)
    with pytest.raises(InputError, match="is of a run with another model or other annotations"):
        build_scar(things, LlmSwapper(stand_in.url, "other"), out)


def test_the_command_says_what_it_costs_and_how_captions_were_made(
    annotated: tuple[Path, Path], tmp_path: Path, stand_in: StandIn, virtue: Run
) -> None:
    words = ("build", "scar", tmp_path / "a.parquet", "--annotations", annotated[0], "--images", annotated[1])
    by_rule = virtue(*words, "--limit", 3)
    assert by_rule.returncode == 0 and b"3 things, captions by rules" in by_rule.stderr
    assert b"4.jpg: the picture is not there: left out" in by_rule.stderr
    asked = virtue(*words, "--llm", stand_in.url, "--estimate", "--prices", "2,10")
    assert asked.returncode == 0 and not stand_in.asked
    assert b"12 things in 4 pictures: about 24 requests, 36,000 tokens in and 6,000 out, 0.13" in asked.stderr
    (tmp_path / "a.parquet").write_bytes(b"a photo")
    refused = virtue(*words)
    assert refused.returncode == 2 and b"exists and is not a SCaR file" in refused.stderr
    assert describe_cost(read_things(*annotated)[0], None).endswith("6,000 out")
