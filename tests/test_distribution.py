"""What our package says when a stranger of the same name was installed into its folder, or parts are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import virtue as package
from tests.conftest import Run


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(folder)},
        cwd=folder,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of our package, to take files out of and to put files in."""
    folder = tmp_path / "site" / "virtue"
    folder.mkdir(parents=True)
    for path in Path(package.__file__).parent.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def test_the_version_says_where_it_runs_from(virtue: Run, installed: Path) -> None:
    done = virtue("--version")
    here = Path(package.__file__).parent
    assert (done.returncode, done.stdout.decode()) == (0, f"virtue {package.__version__} in {here}\n")
    assert done.stderr == b""
    moved = run(installed.parent, "-m", "virtue", "--version")
    assert moved.stdout == f"virtue {package.__version__} in {installed}\n"


def test_a_stranger_in_our_folder_is_named(installed: Path) -> None:
    sentence = (
        "the distribution 'virtue' (a test runner, another project) is installed too and shares the folder "
        f"{installed}: pip uninstall virtue virtue-search, then pip install virtue-search\n"
    )
    (installed / "_cli.py").touch()
    both = run(installed.parent, "-m", "virtue", "--version")
    assert both.returncode == 0
    assert both.stderr == f"virtue: {sentence}"
    (installed / "library.py").unlink()
    program = run(installed.parent, "-c", "from virtue import Library")
    assert program.stderr.endswith(f"ModuleNotFoundError: No module named 'virtue.library': {sentence}")
    command = run(installed.parent, "-m", "virtue", "status")
    assert (command.returncode, command.stderr) == (
        2,
        f"virtue: No module named 'virtue.library': {sentence}",
    )
    (installed / "cli.py").unlink()
    assert run(installed.parent, "-m", "virtue").stderr.endswith(f"No module named 'virtue.cli': {sentence}")


def test_our_command_works_beside_the_strangers_names(installed: Path) -> None:
    """Who installs the stranger last replaces our `__init__` and `__main__`; `virtue.cli` is still ours."""
    (installed / "_cli.py").touch()
    for name in ("__init__.py", "__main__.py"):
        (installed / name).unlink()
        (installed / name).touch()
    done = run(installed.parent, "-c", "from virtue.cli import main; main(['--version'])")
    assert done.returncode == 2
    assert "cannot import name '__version__' from 'virtue'" in done.stderr
    assert "pip uninstall virtue virtue-search, then pip install virtue-search" in done.stderr


def test_what_is_missing_without_a_stranger_is_to_be_installed_again(installed: Path) -> None:
    (installed / "library.py").unlink()
    done = run(installed.parent, "-c", "import virtue; virtue.Library")
    assert done.stderr.endswith(
        "No module named 'virtue.library': the installation is incomplete: "
        "pip install --force-reinstall virtue-search\n"
    )


def test_a_dependency_that_is_missing_is_not_blamed_on_us(installed: Path) -> None:
    done = run(installed.parent, "-c", "import sys; sys.modules['PIL'] = None; from virtue import Embedder")
    assert "installation is incomplete" not in done.stderr


def test_the_extras_are_of_the_distribution_that_messages_name() -> None:
    import tomllib

    from virtue.distribution import NAME, install_hint

    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["name"] == NAME
    assert install_hint("torch") == "pip install 'virtue-search[torch]'"
    own = [need for extra in project["optional-dependencies"].values() for need in extra if "virtue" in need]
    assert own and all(need.startswith(f"{NAME}[") for need in own)
