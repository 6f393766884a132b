"""The house is as docs/architecture.md draws it: its rooms, the way imports run, no circles."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "virtue"
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
}
# Above all rooms: `virtue` says where its public names are, `virtue.__main__` starts the command line.
DOORS = {"virtue", "virtue.__main__"}


def imports(file: Path) -> Iterator[str]:
    """What a file imports, anywhere in it: at the top, inside functions, for type checkers."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in FILES else str(node.module)


GRAPH = {module: {name for name in imports(file) if name in FILES} for module, file in FILES.items()}


def steps_from(first: str) -> list[set[str]]:
    """The way of imports on the page that begins with this room: what each step names, from the top down."""
    way = re.search(rf"^{first} -> .*(?:\n +-> .*)*", PAGE, re.M)
    assert way, f"no way begins with {first}"
    return [set(re.split(r",\s*", step.strip())) for step in way[0].split("->")]


def wrong_imports(house: str, steps: list[set[str]]) -> list[str]:
    """Imports between the rooms of a house that do not run down its steps.

    Rooms that no step names are leaves: they stand at the bottom, and may use one another.
    """
    level = {room: number for number, step in enumerate(steps) for room in step}
    wrong = []
    for module, names in GRAPH.items():
        for name in names:
            if module.startswith(f"{house}.") and name.startswith(f"{house}.") and module not in DOORS:
                upper, lower = (path.removeprefix(f"{house}.").split(".")[0] for path in (module, name))
                runs_down = level.get(upper, len(steps)) < level.get(lower, len(steps))
                is_leaf = upper not in level and lower not in level
                if upper != lower and not runs_down and not is_leaf:
                    wrong.append(f"{module} -> {name}")
    return sorted(wrong)


def test_imports_run_one_way_between_the_rooms() -> None:
    assert wrong_imports("virtue", steps_from("cli")) == []


def test_imports_run_one_way_inside_the_store() -> None:
    steps = steps_from("transfer")
    assert wrong_imports("virtue.store", steps) == []
    files = {path.stem for path in (PACKAGE / "store").iterdir() if not path.name.startswith("__")}
    assert set().union(*steps) == files, "every room and every file of the store has its step"


def test_embedder_reader_and_store_never_meet_and_only_the_command_line_displays() -> None:
    steps = steps_from("cli")
    assert steps[0] == {"cli"} and {"embedder", "reader", "store"} == steps[-1]
    for module, names in GRAPH.items():
        if module not in {"virtue.cli", *DOORS}:
            assert "virtue.cli" not in names, module
            if not module.startswith(("virtue.display", "virtue.commands")):
                assert not [name for name in names if name.startswith("virtue.display")], module


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = GRAPH.keys() - DOORS
    while ends := {m for m in left if not GRAPH[m] & left or all(m not in GRAPH[other] for other in left)}:
        left -= ends
    assert sorted(left) == []


def test_modules_take_from_the_package_itself_its_version_alone() -> None:
    for module, file in FILES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "virtue":
                names = {alias.name for alias in node.names if f"virtue.{alias.name}" not in FILES}
                assert names <= {"__version__"}, module


def test_the_package_imports_no_tests_tools_or_benchmarks() -> None:
    elsewhere = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"virtue"}
    for module, file in FILES.items():
        assert not {name.split(".")[0] for name in imports(file)} & elsewhere, module


def test_every_file_has_a_name_of_its_own() -> None:
    names = sorted(file.name for file in FILES.values() if file.name != "__init__.py")
    assert names == sorted(set(names))


def drawn_paths() -> set[str]:
    """The rooms and files in the drawing, as paths below virtue/."""
    drawing = re.search(r"^```text\nvirtue/\n(.*?)^```", PAGE, re.M | re.S)
    assert drawing, "the page has no drawing of virtue/"
    paths: set[str] = set()
    room = ""
    for line in drawing[1].splitlines():
        entry = re.match(r"(  |    )(\w+(?:/|\.py)) {2,}\S", line)
        assert entry, f"not a room or file with what it is for: {line}"
        room = entry[2] if len(entry[1]) == 2 else room
        paths.add(entry[2] if len(entry[1]) == 2 else room + entry[2])
    return paths


def contents(folder: Path) -> set[str]:
    """Rooms and files of a folder, as the drawing writes them."""
    found = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
    return {name for name in found if not name.startswith("__")} - {"py.typed"}


def test_the_drawing_shows_the_package_as_it_is() -> None:
    paths = drawn_paths()
    assert {path for path in paths if "/" not in path[:-1]} == contents(PACKAGE)
    for room in ("embedder", "store"):
        rooms = {f"{room}/{name}" for name in contents(PACKAGE / room) if name.endswith("/")}
        assert {path for path in paths if path.startswith(f"{room}/") and path != f"{room}/"} == rooms


def test_every_file_that_the_page_names_exists() -> None:
    names = re.findall(r"`([\w/]+(?:\.py|/))`", PAGE)
    assert [name for name in names if not (PACKAGE / name).exists()] == []
