"""What the commands of `virtue evaluate` share: their options, and how they print what was found."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtue.commands.options import option
from virtue.display.streams import note
from virtue.paths import printable

if TYPE_CHECKING:
    from virtue.embedder import Embedder
    from virtue.evaluation.findings import Findings
    from virtue.evaluation.tables import Table

ModelOfEvaluation = Annotated[
    str, option("--model", metavar="NAME", help="The model: its name, or its folder.")
]
EvaluationAsJson = Annotated[bool, option("--json", help="Print JSON, and no tables in Markdown.")]
Report = Annotated[
    Path | None,
    option(
        "--report",
        metavar="FOLDER",
        callback=lambda value: prepare_report(value),
        help="Also write the tables, JSON and a plot there.",
    ),
]
Cache = Annotated[
    Path | None,
    option(
        "--cache",
        metavar="FOLDER",
        help="Where results are kept, to go on after an interruption. Default: the user's cache.",
    ),
]
Fresh = Annotated[bool, option("--fresh", help="Compute anew what is known, and keep nothing.")]


def cache_folder(given: Path | None, fresh: bool) -> Path | None:
    from virtue.evaluation.outcomes import default_folder

    return None if fresh else given or default_folder()


def command_line(context: typer.Context) -> str:
    """Returns the command as it was given, without what is as by default."""
    words: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or value is False or value == parameter.default:
            continue
        if parameter.param_type_name == "option":
            words.append(next(name for name in parameter.opts if name.startswith("--")))
        if value is not True:
            words.append(str(value))
    return f"{context.command_path} {shlex.join(words)}".strip()


def describe_run(embedder: Embedder, settings: dict[str, Any], command: str) -> dict[str, Any]:
    """Returns what a figure needs to be measured again: the model, how it was used, and the command."""
    return {
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "dtype": embedder.dtype,
        "settings": settings,
        "command": command,
    }


def print_findings(
    found: Findings, about: dict[str, Any], *, as_json: bool, report: Path | None = None
) -> None:
    if found.bad:
        some = "; ".join(f"{name}: {why}" for name, why in found.bad[:3])
        note(f"virtue: warning: {len(found.bad)} are left out: {some}")
    present(found.name, [found.as_table()], [found.as_json()], about, as_json=as_json, report=report)


def warn_of_rows(name: str, bad: Sequence[tuple[int, str]], rows: int) -> None:
    """Says which rows of a file are left out, if any are."""
    if bad:
        some = "; ".join(f"row {row}: {why}" for row, why in bad[:3])
        note(f"virtue: warning: {len(bad)} of {rows} rows of {name} are left out: {some}")


def present(
    name: str,
    tables: Sequence[Table],
    objects: Sequence[dict[str, Any]],
    about: dict[str, Any],
    *,
    as_json: bool,
    report: Path | None,
    printed: int = 0,
) -> None:
    """Prints what was found, as tables or as JSON lines, and writes the report that was asked for.

    Args:
        printed: how many of the objects were printed before, as they were found.
    """
    from virtue.evaluation.written_report import describe_settings, write_report

    if as_json:
        for each in objects[printed:]:
            print_object(each, about)
    else:
        for table in tables:
            print(table.as_markdown())
        print(describe_settings(about), end="")
    if report:
        write_report(report, name, tables, [each | about for each in objects], about)
        note(f"wrote {name}.md, {name}.jsonl and {name}.svg into {printable(os.fspath(report))}")


def print_object(found: dict[str, Any], about: dict[str, Any]) -> None:
    """Prints one JSON object, so that whoever reads along has it at once."""
    print(json.dumps(found | about), flush=True)


def prepare_report(folder: Path | None) -> Path | None:
    """Checks the folder of `--report` before anything is measured."""
    if folder is not None:
        from virtue.evaluation.written_report import check_report

        check_report(folder)
    return folder
