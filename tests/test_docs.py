"""The README and the docs are run: every command and every program in them, in their order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image, ImageDraw

from tests.conftest import EXAMPLES, ROOT
from virtue.cli import app
from virtue.distribution import NAME
from virtue.store.catalogue.fields import FIELDS
from virtue.store.catalogue.filters import parse

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SERVER = "postgresql://photos@db.example/photos"
"""What the pages call a library in PostgreSQL."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture
def place(home: Path, tmp_path: Path, photos: Path, demo_library: Path) -> dict[str, str]:
    """A working directory as the pages assume it: `photos`, `img.jpg`, `mask.png`, a library."""
    shutil.copy(EXAMPLES / "query" / "gable.jpg", tmp_path / "img.jpg")
    mask = Image.new("L", Image.open("img.jpg").size)
    ImageDraw.Draw(mask).rectangle((250, 160, 440, 350), fill=255)
    mask.save("mask.png")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    shutil.copytree(demo_library, tmp_path / "library")
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": bin_folder + os.pathsep + os.environ["PATH"],
        "VIRTUE_DATABASE": str(tmp_path / "library"),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_pages_works(
    page: Path, place: dict[str, str], request: pytest.FixtureRequest
) -> None:
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            command = line.split("   #")[0].strip()
            if SERVER in command:
                command = command.replace(SERVER, request.getfixturevalue("database"))
            done = subprocess.run(command, shell=True, env=place, capture_output=True, check=False)
            # Nothing found (1) is an answer too; an error (2) is a page that lies.
            assert done.returncode in (0, 1), f"{page.name}: {command}\n{done.stderr.decode()}"
            assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_of_the_pages_works(page: Path, place: dict[str, str]) -> None:
    for program in blocks(page, "python"):
        done = subprocess.run([sys.executable, "-c", program], env=place, capture_output=True, check=False)
        assert done.returncode == 0, f"{page.name}\n{done.stderr.decode()}"


def test_every_command_and_option_is_documented_and_has_help() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    commands = dict(typer.main.get_command(app).commands)
    for group in ("models", "build", "evaluate"):
        commands |= {f"{group} {name}": command for name, command in commands[group].commands.items()}
    for name, command in commands.items():
        assert f"virtue {name}" in text, f"virtue {name} is on no page"
        assert command.help, f"virtue {name} has no help"
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                long = next(o for o in parameter.opts if o.startswith("--"))
                assert long in text, f"virtue {name} {long} is on no page"


def test_what_the_pages_install_is_ours() -> None:
    texts = [page.read_text() for page in PAGES]
    named = [name for text in texts for name in re.findall(r"pip install [^`\n]*?(virtue[\w-]*)", text)]
    assert set(named) == {NAME}


def test_the_pages_name_only_fields_of_filters_that_exist() -> None:
    search = (ROOT / "docs" / "search.md").read_text()
    table = re.search(r"^\| field \|.*?\n\n", search, re.M | re.S)
    assert table
    rows = [re.findall(r"`([^`]+)`", cell) for cell in re.findall(r"^\| (`.*?) \|", table[0], re.M)]
    assert sorted(field for row in rows for field in row) == sorted(FIELDS)
    examples = re.findall(r"`(\w+ [^`]*)`", table[0])
    for page in PAGES:
        text = page.read_text()
        examples += re.findall(r'(?:--where |where=|\.count\(|\.photos\()"([^"]+)"', text)
    assert len(examples) > 30
    for example in examples:
        assert parse(example), example


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"
