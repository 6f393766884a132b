"""The options that several commands have, and the statuses that they exit with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from virtue.errors import InputError

if TYPE_CHECKING:
    from virtue.library import Library

FOUND, NOTHING, ERROR, INTERRUPTED = 0, 1, 2, 130


class Group(TyperGroup):
    """A group of commands whose help says each in whole sentences; Typer's cuts them off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, " ".join((command.help or "").split())) for name, command in named if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def option(*names: str, **settings: Any) -> Any:
    """Makes a `typer.Option` that the environment variable VIRTUE_NAME sets too."""
    long = next(name for name in names if name.startswith("--"))
    variable = "VIRTUE_" + long.split("/")[0].lstrip("-").replace("-", "_").upper()
    return typer.Option(*names, envvar=variable, show_envvar=False, **settings)


def flag(*names: str, **settings: Any) -> Any:
    """A `typer.Option` that is never taken from the environment, since it may lose something."""
    return typer.Option(*names, **settings)


def named_before(context: typer.Context, value: str | None) -> str | None:
    """Returns the library that was named after the command, else before it, else by the environment."""
    if is_on_command_line(context):
        return value
    above = context.parent
    while above is not None:
        if is_on_command_line(above):
            return str(above.params["database"])
        above = above.parent
    return value


def is_on_command_line(context: Any, name: str = "database") -> bool:
    """Returns whether a parameter was given there, and not by the environment or by default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def takes_database(context: typer.Context) -> bool:
    """Returns whether the command that was called, or one below it, takes a library, if that was named on the
    command line."""

    def takes(command: Any) -> bool:
        if any(parameter.name == "database" for parameter in command.params):
            return True
        return any(map(takes, getattr(command, "commands", {}).values()))

    group: Any = context.command
    return not is_on_command_line(context) or takes(group.commands[context.invoked_subcommand])


Database = Annotated[
    str | None,
    option(
        "--database",
        "-d",
        callback=named_before,
        metavar="FOLDER|postgresql://HOST/NAME",
        help="The library. Default: $VIRTUE_DATABASE, else the nearest .virtue/ from here up, "
        "else the user's data folder.",
    ),
]
Force = Annotated[bool, flag("--force", help="Overwrite FILE, whatever it is.")]
ReadOnly = Annotated[bool, option("--read-only", help="Never write: for network shares and read-only disks.")]
Offline = Annotated[bool, option("--offline", help="Download nothing; use the models that are here.")]
DTYPES = Literal["auto", "fp32", "bf16", "fp16"]
Dtype = Annotated[
    DTYPES, option("--dtype", help="What a larger model computes with. auto: as suits the device.")
]
Device = Annotated[
    str | None,
    option(
        "--device",
        metavar="NAME",
        help="Where a larger model works: cpu, cuda, cuda:1; cuda:0,cuda:1 for both at once.",
    ),
]
MaxPixels = Annotated[
    int | None,
    option(
        "--max-pixels",
        metavar="N",
        min=1,
        help="Pixels at which VIRTUE sees a photo, with --model: fewer are faster.",
    ),
]
Workers = Annotated[
    int | None,
    option("--workers", metavar="N", min=1, help="Processes that decode. Default: by the machine."),
]
SummaryAsJson = Annotated[bool, option("--json", help="Print the summary as JSON.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="No progress, no summary.")]
AsJson = Annotated[bool, option("--json", help="One JSON object a line.")]
Debug = Annotated[bool, option("--debug", help="Show the traceback of an error.")]


def choose_model(name: str | None, max_pixels: int | None) -> str | None:
    """Returns the name of the model that was asked for, with its variant."""
    if max_pixels is None:
        return name
    if name is None:
        raise InputError(
            "--max-pixels makes another model of one: name that too", hint="--model NAME --max-pixels N"
        )
    from virtue.embedder.model_names import ModelName

    wanted = ModelName.parse(name).with_variant(f"max-pixels={max_pixels}", f"--max-pixels {max_pixels}")
    return str(wanted)


def library_at(location: str | None, **settings: Any) -> Library:
    from virtue.library import Library

    return Library(location, **settings)
