"""What to install. The distribution is called `virtue-search`; the one called `virtue` is a test runner of
other people, which is imported and called by the same name."""

from __future__ import annotations

from pathlib import Path

NAME = "virtue-search"
FOLDER = Path(__file__).parent

_STRANGER = "_cli.py"
"""A file of the stranger's that we do not have."""


def install_hint(extra: str) -> str:
    """Returns the command that installs an extra, such as "torch"."""
    return f"pip install '{NAME}[{extra}]'"


def describe_mix_up() -> str | None:
    """Says whether the other `virtue` was installed into our folder, and what to do; None: it was not."""
    if not (FOLDER / _STRANGER).exists():
        return None
    return (
        "the distribution 'virtue' (a test runner, another project) is installed too and shares the folder "
        f"{FOLDER}: pip uninstall virtue {NAME}, then pip install {NAME}"
    )


def explain_import(error: ImportError) -> bool:
    """Adds to the error's message why, and what to do, if it is one of our own modules that failed to be
    imported; gives back whether it is."""
    is_ours = (error.name or "").partition(".")[0] == "virtue"
    if is_ours:
        way_out = describe_mix_up() or f"the installation is incomplete: pip install --force-reinstall {NAME}"
        error.msg = f"{error}: {way_out}"
    return is_ours
