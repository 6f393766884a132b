"""The command line, as a process, on real photos."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from tests.conftest import Run
from virtue import Library
from virtue.cli import app
from virtue.geometry import Box
from virtue.store import open_store
from virtue.store.catalogue.fields import FIELDS

KEYS = {
    "rank", "score", "percentile", "sureness", "path", "box", "width", "height",
    "kind", "caption", "region_id", "region_box", "photo_id", "via", "taken", "camera", "rating", "tags",
    "other_paths", "name", "copies", "object",
}  # fmt: skip


def hits(done: "subprocess.CompletedProcess[bytes]") -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def sentence(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The one sentence on stderr of a command that could not do what was asked."""
    assert done.returncode == 2, (done.returncode, done.stderr.decode())
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_things_have_names_boxes_and_a_filter(virtue: Run, demo_library: Path) -> None:
    person = ("--where", "object = Person", "--json", "-d", demo_library)
    found = {Path(hit["path"]).name for hit in hits(virtue("search", *person))}
    assert {"astronaut.jpg", "photographer.jpg"} <= found
    assert not found & {"cat.jpg", "coins.jpg", "pagoda.jpg", "street.jpg"}
    first, *rest = hits(virtue("search", "a man with a camera", *person))
    assert Path(first["path"]).name == "photographer.jpg"
    assert (first["kind"], first["object"]) == ("region", "person")
    assert {hit["object"] for hit in rest} == {"person"}
    x, y, w, h = first["box"]
    assert Box.from_xywh(x, y, w, h).iou(Box(3, 68, 318, 512)) > 0.85, "around him, and not his camera"
    (bicycle, *_) = hits(virtue("search", "a bicycle", "--json", "-d", demo_library))
    assert (Path(bicycle["path"]).name, bicycle["object"]) == ("street.jpg", "bicycle")


def test_words_find_the_region_not_merely_the_photo(virtue: Run, demo_library: Path) -> None:
    words = ("search", "a cup of espresso", "--find", "regions")
    first, *_ = hits(virtue(*words, "--json", "-d", demo_library))
    assert Path(first["path"]).name == "coffee.jpg"
    assert set(first) == KEYS
    assert (first["rank"], first["kind"], first["width"], first["height"]) == (1, "region", 600, 400)
    x, y, w, h = first["box"]
    assert x >= 0 and y >= 0 and x + w <= 600 and y + h <= 400
    assert w * h < 0.9 * 600 * 400
    assert x < 290 < x + w and y < 150 < y + h, "the box holds the middle of the cup, not a corner beside it"


def test_a_drawn_box_finds_the_same_thing_from_elsewhere(
    virtue: Run, demo_library: Path, gable: Path
) -> None:
    command = ("search", "--box", "250,160,190,190", gable, "--json", "-d", demo_library)
    first, *_ = hits(virtue(*command))
    assert Path(first["path"]).name == "street.jpg"
    x, y, w, h = first["box"]
    assert x < 560 < x + w and y < 270 < y + h, "the hit's box holds the gable"


def test_a_drawn_box_finds_captions(virtue: Run, demo_library: Path, example_photos: Path) -> None:
    cat = example_photos / "cat.jpg"
    command = ("search", "--box", "100,20,300,250", cat, "--find", "captions", "--json", "-d", demo_library)
    first, *_ = hits(virtue(*command))
    assert first["kind"] == "caption"
    assert "cat" in first["caption"]


def test_a_caption_leads_to_its_photo(virtue: Run, photos: Path) -> None:
    (photos / "coins.txt").write_text("Grandma's birthday")
    assert virtue("index", photos, "-d", "lib").returncode == 0
    first, *_ = hits(virtue("search", "Grandma's birthday", "--find", "photos", "--json", "-d", "lib"))
    assert Path(first["path"]).name == "coins.jpg"
    assert first["via"][0] == "caption"
    assert first["caption"] == "Grandma's birthday"
    assert first["box"] == [0, 0, first["width"], first["height"]]


def test_words_of_a_caption_find_its_photo_first(virtue: Run, demo_library: Path) -> None:
    first, *_ = hits(virtue("search", "Greek coins from Pompeii", "--json", "-d", demo_library))
    assert Path(first["path"]).name == "coins.jpg"
    assert (first["kind"], first["via"][0]) == ("photo", "caption")
    assert first["box"] == [0, 0, first["width"], first["height"]]
    region, *_ = hits(virtue("search", "a dahlia", "--find", "auto", "--json", "-d", demo_library))
    assert Path(region["path"]).name == "dahlia.jpg"


def test_pages_are_parts_of_one_ranking(virtue: Run, demo_library: Path) -> None:
    for query in ("an animal", "food"):
        whole = virtue("search", query, "--json", "-n", 9, "-d", demo_library).stdout.splitlines()
        for first, top in ((0, 1), (1, 3), (4, 5)):
            page = virtue("search", query, "--json", "-n", top, "--offset", first, "-d", demo_library)
            assert page.stdout.splitlines() == whole[first : first + top]
    beyond = virtue("search", "food", "--offset", 1000, "-d", demo_library)
    assert (beyond.returncode, beyond.stdout, beyond.stderr) == (1, b"", b"nothing more was found\n")
    refused = virtue("search", "food", "--offset", "-1", "-d", demo_library)
    assert refused.returncode == 2


@pytest.mark.parametrize("find", ["auto", "regions", "photos", "captions"])
def test_top_is_kept_and_scores_fall(virtue: Run, demo_library: Path, find: str) -> None:
    found = hits(virtue("search", "an animal", "--find", find, "-n", 9, "--json", "-d", demo_library))
    assert [hit["rank"] for hit in found] == list(range(1, 10))
    scores = [hit["score"] for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert len({hit["photo_id"] for hit in found}) == 9


def test_all_regions_gives_several_of_one_photo(virtue: Run, demo_library: Path) -> None:
    found = hits(virtue("search", "a cat", "--all-regions", "-n", 12, "--json", "-d", demo_library))
    assert len({hit["region_id"] for hit in found}) == 12
    assert len({hit["photo_id"] for hit in found}) < 12


def test_a_picture_with_words_and_without_things(virtue: Run, demo_library: Path, gable: Path) -> None:
    with_words = hits(virtue("search", gable, "a dog", "--json", "-d", demo_library))
    plain = hits(virtue("search", "a dog", "--json", "-d", demo_library))
    less = hits(virtue("search", "a dog", "--without", "a dog on a blanket", "--json", "-d", demo_library))
    assert Path(plain[0]["path"]).name == "dog.jpg"
    assert [h["score"] for h in with_words] != [h["score"] for h in plain]
    assert [h["score"] for h in less] != [h["score"] for h in plain]


def test_min_score_cuts_and_nothing_found_is_status_1(virtue: Run, demo_library: Path) -> None:
    done = virtue("search", "a dog", "--min-score", 0.99, "-d", demo_library)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"nothing found\n"


def test_where_leaves_only_what_fits(virtue: Run, demo_library: Path) -> None:
    def found(*options: str, **settings: Any) -> list[str]:
        done = virtue("search", "a dog", "-f", *options, "-d", demo_library, **settings)
        assert done.returncode == 0, done.stderr
        return [Path(os.fsdecode(path)).name for path in done.stdout.splitlines()]

    wide = {"dahlia.jpg", "galaxies.jpg", "pagoda.jpg", "rocket.jpg", "street.jpg"}
    assert set(found("--where", "width > 600")) == wide
    both = ("--where", "width > 600", "--where", "path ~ [p-r]* or path = cat.jpg")
    assert set(found(*both)) == {"pagoda.jpg", "rocket.jpg"}
    assert set(found(env={"VIRTUE_WHERE": "width > 600 and height > 500"})) == {"galaxies.jpg", "street.jpg"}


def test_where_nothing_fits_is_status_1_and_what_is_no_filter_2(virtue: Run, demo_library: Path) -> None:
    done = virtue("search", "a dog", "--where", "rating >= 4", "-d", demo_library)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"no photo matches the filter\n"
    wide = ("--where", "width > 600", "--min-score", 0.99)
    assert virtue("search", "a dog", *wide, "-d", demo_library).stderr == b"nothing found\n"
    refused = virtue("search", "a dog", "--where", "ratng >= 4", "-d", demo_library)
    assert sentence(refused).startswith(
        "virtue: the filter 'ratng >= 4' cannot be read at character 1: there is no field 'ratng'; the"
    )


@pytest.mark.parametrize("command", [(), ("models",)])
def test_help_says_whole_sentences_in_80_columns(
    virtue: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = virtue(*command, "--help").stdout.decode()
    assert "..." not in shown.replace("[ARGS]...", "")
    assert max(map(len, shown.splitlines())) <= 80
    group = typer.main.get_command(app)
    group = group.commands[command[0]] if command else group  # type: ignore[attr-defined]
    for each in group.commands.values():  # type: ignore[attr-defined]
        assert " ".join(each.help.split()) in " ".join(shown.split())


def test_without_words_it_says_which_there_are(virtue: Run) -> None:
    done = virtue()
    assert (done.returncode, done.stdout) == (2, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("Usage: virtue ")
    assert {"search", "index", "similar", "status"} <= {line.split()[0] for line in lines if line.strip()}


def test_a_new_user_is_led(virtue: Run, tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    for told in (b"made my photos/.virtue", b"there is a library in my photos/.virtue"):
        assert virtue("init", "my photos").stderr == told + b"; next: virtue index 'my photos'\n"
    assert virtue("status", "-d", "my photos/.virtue").stderr.endswith(b"next: virtue index FOLDER\n")
    done = virtue("index", "my fotos", "-d", "my photos/.virtue")
    assert b"my fotos: no such file or directory; correct the path" in done.stderr
    assert virtue("similar", "-q").stderr == b"virtue: No such option: -q\n"
    assert b"search -- -40 degrees" in virtue("search", "-40 degrees").stderr
    assert b"[QUERY]...\n" in virtue("search", "--help").stdout


def test_help_names_the_fields_of_filters(virtue: Run) -> None:
    shown = " ".join(virtue("search", "--help").stdout.decode().split())
    assert f"Fields: {', '.join(FIELDS)}." in shown


def test_a_percentile_says_how_good_a_score_is(virtue: Run, demo_library: Path) -> None:
    found = hits(virtue("search", "a cup of espresso", "--json", "-d", demo_library))
    percentiles = [hit["percentile"] for hit in found]
    assert percentiles == sorted(percentiles, reverse=True)
    assert percentiles[0] > 99
    assert 0 <= percentiles[-1] < 50
    assert [hit["sureness"] for hit in (found[0], found[-1])] == ["likely", "unsure"]


@pytest.mark.parametrize("thing", ["a submarine", "a horse", "a pizza", "an airplane"])
def test_what_is_not_there_is_unsure(virtue: Run, demo_library: Path, thing: str) -> None:
    assert {hit["sureness"] for hit in hits(virtue("search", thing, "--json", "-d", demo_library))} == {
        "unsure"
    }


def test_plain_output_says_how_sure_a_hit_is(virtue: Run, demo_library: Path) -> None:
    done = virtue("search", "a cup of espresso", "-n", "3", "-d", demo_library)
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [line[2] for line in lines] == ["likely", "unsure", "unsure"]
    assert lines[0][4].endswith("coffee.jpg")
    assert b"nothing sure" not in done.stderr


@pytest.mark.parametrize("how", [(), ("--json",), ("--files",)])
def test_where_nothing_is_sure_the_nearest_are_shown(
    virtue: Run, demo_library: Path, how: tuple[str, ...]
) -> None:
    done = virtue("search", "a submarine", "-n", "3", "-d", demo_library, *how)
    assert done.returncode == 0
    assert done.stderr == b"nothing sure; the nearest are:\n"
    assert len(done.stdout.splitlines()) == 3
    cut = virtue("search", "a submarine", "--min-score", "auto", "-d", demo_library, *how)
    assert (cut.returncode, cut.stdout, cut.stderr) == (1, b"", b"nothing found\n")


def test_a_caption_word_for_word_is_likely(virtue: Run, demo_library: Path) -> None:
    first = hits(virtue("search", "Greek coins from Pompeii", "--json", "-d", demo_library))[0]
    assert Path(first["path"]).name == "coins.jpg"
    assert (first["sureness"], first["percentile"]) == ("likely", 100)


def test_auto_leaves_what_fits(virtue: Run, demo_library: Path) -> None:
    everything = hits(virtue("search", "a dog", "--json", "-d", demo_library))
    fits = hits(virtue("search", "a dog", "--json", "--min-score", "auto", "-d", demo_library))
    assert Path(fits[0]["path"]).name == "dog.jpg"
    boxes = {hit["photo_id"]: (hit["box"], hit["score"], hit["percentile"]) for hit in everything}
    assert {
        hit["photo_id"]: (hit["box"], hit["score"], hit["percentile"]) for hit in fits
    }.items() < boxes.items()


def test_more_like_one_hit_and_less_like_another(virtue: Run, demo_library: Path) -> None:
    found = hits(virtue("search", "an animal", "--json", "-d", demo_library))
    first, last = found[0], found[-1]
    like = ("search", "--like", first["region_id"], "--json", "-n", 20, "-d", demo_library)
    more, less = hits(virtue(*like)), hits(virtue(*like, "--unlike", last["region_id"]))
    assert first["photo_id"] not in {hit["photo_id"] for hit in more}
    assert {hit["photo_id"] for hit in more} - {hit["photo_id"] for hit in less} == {last["photo_id"]}
    assert "has no region 100000" in sentence(virtue("search", "--like", 100000, "-d", demo_library))


def test_paths_alone_and_options_from_the_environment(virtue: Run, demo_library: Path) -> None:
    env = {"VIRTUE_DATABASE": str(demo_library), "VIRTUE_TOP": "2"}
    lines = virtue("search", "a dog", "-f", env=env).stdout.splitlines()
    assert len(lines) == 2 and Path(os.fsdecode(lines[0])).name == "dog.jpg"
    zeros = virtue("search", "a dog", "-0", env=env).stdout
    assert zeros.split(b"\0") == [*lines, b""]


def test_the_nearest_library_up_the_tree_is_used(virtue: Run, photos: Path, monkeypatch: Any) -> None:
    assert virtue("init", photos).returncode == 0
    (photos / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(photos / "deep" / "down")
    assert virtue("index", photos).returncode == 0
    status = json.loads(virtue("status", "--json").stdout)
    assert status["library"] == str(photos / ".virtue")
    assert status["photos"] == 13
    assert status["captions"] == 13


def test_an_html_report_holds_the_pictures(virtue: Run, demo_library: Path, gable: Path) -> None:
    command = ("search", "--box", "250,160,190,190", gable, "--html", "report.html", "-d", demo_library)
    assert virtue(*command).returncode == 0
    page = Path("report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 11
    assert "street.jpg" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch.jpg"], "nosuch.jpg"),
        (["/no/such/thing"], "/no/such/thing"),
        (["--box", "700,0,100,100", "GABLE"], "leaves the picture"),
        (["--box", "10,10,0,5", "GABLE"], "no size"),
        (["--box", "10,10,5", "GABLE"], "x,y,w,h"),
        (["--point", "900,10", "GABLE"], "outside"),
        (["--point", "9", "GABLE"], "x,y"),
        (["--box", "1,1,5,5", "a dog"], "picture"),
        (["--box", "1,1,5,5", "GABLE", "GABLE"], "@x,y,w,h"),
        (["--mask", "nosuch.png", "GABLE"], "nosuch.png"),
        (["--find", "cats", "a dog"], "'regions', 'photos', 'captions'"),
        (["."], "virtue index"),
        ([], "words"),
        (["-40 degrees"], "--"),
        (["--image", "nosuch"], "nosuch"),
        (["--top", "0", "a dog"], "top"),
        (["--min-score", "high", "a dog"], "a number, or auto, not 'high'"),
    ],
)
def test_what_cannot_be_asked_gets_one_sentence(
    virtue: Run, demo_library: Path, gable: Path, arguments: list[str], says: str
) -> None:
    words = [str(gable) if word == "GABLE" else word for word in arguments]
    assert says in sentence(virtue("search", "-d", demo_library, *words))


def test_a_picture_that_is_none_gets_one_sentence(virtue: Run, demo_library: Path) -> None:
    Path("bad.jpg").write_bytes(b"\xff\xd8 not a picture")
    assert "bad.jpg" in sentence(virtue("search", "bad.jpg", "-d", demo_library))


def test_no_library_and_an_empty_one_say_what_to_do(virtue: Run, home: Path) -> None:
    assert "virtue index" in sentence(virtue("search", "a dog"))
    assert "virtue index" in sentence(virtue("status", "-d", "nowhere"))
    assert virtue("init").returncode == 0
    assert "virtue index" in sentence(virtue("search", "a dog"))
    assert "nosuch" in sentence(virtue("index", "nosuch"))
    assert "regions" in sentence(virtue("index", ".", "--regions", "many"))


def test_an_unknown_model_is_named(virtue: Run, photos: Path) -> None:
    assert "nosuch-model" in sentence(virtue("index", photos, "--model", "nosuch-model", "-d", "lib"))


def test_debug_shows_the_traceback(virtue: Run, home: Path) -> None:
    done = virtue("search", "nosuch.jpg", "--debug")
    assert done.returncode != 0 and b"Traceback" in done.stderr


def test_a_closed_pipe_is_silent(virtue: Run, demo_library: Path) -> None:
    command = (
        f"{sys.executable} -m virtue search 'a dog' -n 400 --all-regions --json -d {demo_library} | true"
    )
    done = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert done.stderr == b""


def test_names_in_no_encoding_are_indexed_found_and_printed(virtue: Run, photos: Path) -> None:
    name = os.fsencode(photos) + b"/caf\xe9 \xff.jpg"
    os.rename(os.fsencode(photos / "dog.jpg"), name)
    assert virtue("index", photos, "-d", "lib").returncode == 0
    assert virtue("search", "a dog", "-n", 1, "-0", "-d", "lib").stdout == name + b"\0"
    (first,) = hits(virtue("search", "a dog", "-n", 1, "--json", "-d", "lib"))
    assert os.fsencode(first["path"]) == name
    assert name in virtue("search", "a dog", "-n", 1, "-d", "lib").stdout
    assert hits(virtue("search", name, "-n", 1, "--json", "-d", "lib"))[0]["path"] == os.fsdecode(name)


def test_bad_files_are_named_and_cost_themselves_alone(virtue: Run, photos: Path) -> None:
    whole = (photos / "cat.jpg").read_bytes()
    (photos / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").write_bytes(b"")
    done = virtue("index", photos, "-d", "lib")
    assert done.returncode == 0
    assert b"half.jpg" in done.stderr and b"empty.png" in done.stderr
    problems = [
        json.loads(line) for line in virtue("status", "--problems", "--json", "-d", "lib").stdout.splitlines()
    ]
    assert {Path(p["path"]).name for p in problems} == {"half.jpg", "empty.png"}
    assert all(p["reason"] for p in problems)
    assert json.loads(virtue("status", "--json", "-d", "lib").stdout)["photos"] == 13
    assert virtue("index", photos, "--strict", "-d", "lib").returncode == 2


def test_ctrl_c_keeps_what_is_done_and_exits_130(photos: Path, home: Path) -> None:
    for path in list(photos.glob("*.jpg")):
        for number in range(20):  # what follows the end of a JPEG is not looked at, but makes another photo
            path.with_name(f"{number}-{path.name}").write_bytes(path.read_bytes() + bytes([number]))
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from virtue.cli import main; main(['index', 'photos', '-d', 'lib'])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        while not committed(Path("lib")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert process.stderr.read().endswith(b"interrupted; what was done is kept\n")
    assert process.returncode == 130
    with open_store("lib") as store, store.read() as snapshot:
        kept = snapshot.counts().photos
    assert 0 < kept < 21 * 13
    with Library("lib") as library:
        report = library.index()
    assert (report.unchanged, report.indexed) == (kept, 21 * 13 - kept)


def committed(library: Path) -> bool:
    if not (library / "catalogue.db").exists():
        return False
    with open_store(library) as store, store.read() as snapshot:
        return snapshot.counts().photos > 0


def test_what_may_lose_something_is_never_taken_from_the_environment() -> None:
    def options(command: Any, name: str = "virtue") -> Iterator[tuple[str, Any]]:
        for parameter in command.params:
            yield name, parameter
        for word, below in getattr(command, "commands", {}).items():
            yield from options(below, f"{name} {word}")

    found = set()
    for command, parameter in options(typer.main.get_command(app)):
        typed = {"--yes", "--force", "--undo", "--missing", "--repair"}.intersection(parameter.opts)
        if typed:
            assert parameter.envvar is None, (command, parameter.opts)
            found |= typed
    assert found == {"--yes", "--force", "--undo", "--missing", "--repair"}


def test_forgetting_a_root_asks_on_a_terminal(virtue: Run, photos: Path) -> None:
    for path in sorted(photos.glob("*.jpg"))[2:]:
        path.unlink()
    virtue("index", photos, "-d", "lib")
    for answer, left in ((b"\n", 2), (b"n\n", 2), (b"\x04", 2), (b"y\n", 0)):
        ours, theirs = os.openpty()
        os.write(ours, answer)
        command = [sys.executable, "-m", "virtue", "forget", photos, "-d", "lib"]
        done = subprocess.run(command, stdin=theirs, capture_output=True, check=False)
        os.close(ours)
        os.close(theirs)
        assert b"with all its photos? [y/N]" in done.stderr
        assert (done.returncode, done.stdout) == (2 if left else 0, b"")
        status = json.loads(virtue("status", "--json", "-d", "lib").stdout)
        assert (status["photos"], status["forgotten"]) == (left, 0)


def test_forget_takes_photos_out_and_leaves_the_files(virtue: Run, photos: Path) -> None:
    virtue("index", photos, "-d", "lib")
    assert virtue("forget", photos / "dog.jpg", "-d", "lib").returncode == 0
    found = hits(virtue("search", "a dog", "-n", 50, "--json", "-d", "lib"))
    assert len(found) == 12 and "dog.jpg" not in {Path(hit["path"]).name for hit in found}
    assert (photos / "dog.jpg").exists()
    assert "nothing was forgotten" in sentence(virtue("forget", "nosuch", "-d", "lib"))


def test_a_flipped_byte_is_found_and_repaired(virtue: Run, photos: Path) -> None:
    virtue("index", photos, "-d", "lib")
    before = hits(virtue("search", "a dog", "--json", "-d", "lib"))
    assert virtue("verify", "-d", "lib").returncode == 0
    (rows,) = [path for path in Path("lib").rglob("*region*") if path.is_file()]
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 0x40
    rows.write_bytes(content)
    damaged = virtue("verify", "-d", "lib")
    assert damaged.returncode == 1
    assert b"not what was written (13 photos)\n" in damaged.stdout
    assert virtue("verify", "--repair", "-d", "lib").returncode == 0
    assert virtue("verify", "-d", "lib").returncode == 0
    after = hits(virtue("search", "a dog", "--json", "-d", "lib"))
    assert [(h["path"], h["box"]) for h in after] == [(h["path"], h["box"]) for h in before]


def test_a_read_only_library_can_be_searched(virtue: Run, demo_library: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(demo_library, tmp_path / "frozen")
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert hits(virtue("search", "a dog", "--json", "--read-only", "-d", copy))
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


def test_a_model_is_tried_on_one_photo(virtue: Run, photos: Path) -> None:
    done = virtue("models", "try", "mini", photos / "dog.jpg", "a dog", "--json", "--top", 40)
    trial = json.loads(done.stdout)
    assert (trial["model"], trial["dim"]) == ("mini", 784)
    scores = [region["score"] for region in trial["regions"]]
    assert scores == sorted(scores, reverse=True) and 10 < len(scores) <= 33
    assert [region["box"] for region in trial["regions"]].count(None) == 1
    assert set(trial["seconds"]) == {"model", "picture", "regions", "words"}
    shown = virtue("models", "try", "mini", photos / "dog.jpg", "a dog")
    assert len(shown.stdout.splitlines()) == 10
    assert b"mini, " in shown.stderr and b" ms" in shown.stderr
    assert "none.jpg" in sentence(virtue("models", "try", "mini", photos / "none.jpg", "a dog"))


def test_models_are_listed_with_their_licence(virtue: Run) -> None:
    listed = [json.loads(line) for line in virtue("models", "--json").stdout.splitlines()]
    (mini,) = [model for model in listed if model["installed"]]
    assert (mini["name"], mini["licence"], mini["dim"]) == ("mini", "Apache-2.0", 784)
    assert all(model["licence"] and model["size"] for model in listed)


def test_a_search_imports_nothing_it_does_not_need(demo_library: Path) -> None:
    program = (
        "import sys, virtue; assert 'numpy' not in sys.modules\n"
        "from virtue.cli import main\n"
        "try: main(['search', 'a dog', '-d', sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'sqlalchemy', 'alembic', 'faiss', 'rich', 'transformers', 'PIL'}\n"
        "heavy |= {'multiprocessing', 'concurrent.futures'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, demo_library], capture_output=True, check=True, text=True
    )
    assert done.stderr == "[]\n"


def test_a_box_on_a_turned_photo_is_where_a_viewer_shows_it(virtue: Run, photos: Path) -> None:
    """The same pixels stored lying, with an EXIF tag that turns them upright, get the same boxes."""
    upright = Image.open(photos / "street.jpg")
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    lying.save("turned.png", exif=exif)
    upright.save("upright.png")
    virtue("index", photos, "-d", "lib")
    box = ("--box", "500,150,150,250")
    found = [
        hits(virtue("search", *box, name, "--json", "-d", "lib")) for name in ("turned.png", "upright.png")
    ]
    assert [hit["box"] for hit in found[0]] == [hit["box"] for hit in found[1]]
    # Shrinking before or after turning rounds differently in the last bit of a pixel.
    assert [hit["score"] for hit in found[0]] == pytest.approx([hit["score"] for hit in found[1]], abs=0.01)


def test_near_duplicates_are_named_with_their_tier(virtue: Run, photos: Path) -> None:
    twice = photos / os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(photos / "cat.jpg", twice)
    with Image.open(photos / "street.jpg") as street:
        street.resize((street.width // 2, street.height // 2)).save(photos / "small.jpg")
    assert virtue("index", photos, "--regions", "none", "-d", "lib", "-q").returncode == 0
    plain = virtue("similar", "-d", "lib")
    groups = [[line.split(b"\t") for line in group.splitlines()] for group in plain.stdout.split(b"\n\n")]
    assert [[(tier, os.path.basename(path)) for tier, _, _, path in group] for group in groups] == [
        [(b"-", b"caf\xe9.jpg"), (b"same-bytes", b"cat.jpg")],
        [(b"-", b"street.jpg"), (b"same-picture", b"small.jpg")],
    ]
    told = hits(virtue("similar", photos / "small.jpg", "--json", "-d", "lib"))
    assert [(each["group"], each["tier"], Path(each["path"]).name) for each in told[:2]] == [
        (1, None, "small.jpg"),
        (1, "same-picture", "street.jpg"),
    ]
    assert set(told[0]) == {
            "group", "tier", "score", "distance", "path", "width", "height", "photo_id", "same_file_as",
            "removable",
        }  # fmt: skip
    none = virtue("similar", photos / "coins.jpg", "-d", "lib")
    assert (none.returncode, none.stdout, none.stderr) == (1, b"", b"nothing found\n")
    assert "nosuch" in sentence(virtue("similar", "nosuch", "-d", "lib"))


def test_a_small_library_needs_no_tuning(virtue: Run, demo_library: Path) -> None:
    done = virtue("tune", "-d", demo_library)
    assert done.returncode == 0
    assert b"reads all of it" in done.stderr
    refused = virtue("tune", "--recall", "1.5", "-d", demo_library)
    assert refused.returncode == 2
    assert b"between 0 and 1" in refused.stderr


@pytest.fixture
def indexed_library(demo_library: Path, tmp_path: Path) -> Path:
    """As if its few hundred rows were too many to be read one by one."""
    folder = Path(shutil.copytree(demo_library, tmp_path / "indexed.virtue"))
    with open_store(folder) as store, store.write("test") as writer:
        writer.refresh_indexes(max_scanned_floats=0)
    return folder


def test_a_damaged_index_is_one_sentence_and_searches_go_on(virtue: Run, indexed_library: Path) -> None:
    sound = virtue("search", "a dog", "--json", "-d", indexed_library)
    assert sound.stderr == b""
    index = indexed_library / "index-1.faiss"
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    done = virtue("search", "a dog", "--json", "-d", indexed_library)
    assert hits(done)[0] == hits(sound)[0]
    (line,) = done.stderr.decode().splitlines()
    what, way_out = line.split(": searches read the rows it covers one by one ")
    assert (
        what == f"virtue: warning: the index file index-1.faiss of the library {indexed_library} is damaged"
    )
    assert way_out == "until `virtue verify --repair` rebuilds it"


@pytest.mark.skipif(os.name != "posix", reason="terminals as POSIX has them")
def test_a_terminal_shows_what_is_done_for_indexes(home: Path, indexed_library: Path) -> None:
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "virtue", "tune", "-d", indexed_library]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end) as running:
        os.close(end)
        shown = b"".join(iter(lambda: _read(terminal), b""))
        printed, _ = running.communicate(timeout=300)
    os.close(terminal)
    assert running.returncode == 0
    assert b"tuning searches of regions by images" in shown
    assert printed.startswith(b"regions\timage\t1\t")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # so Linux says that the other end is closed
        return b""
