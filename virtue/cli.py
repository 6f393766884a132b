"""The command line: parses, calls the library, prints. Nothing is decided here.

Results go to stdout, everything else to stderr. Exit status: 0 found or done, 1 nothing found or
damage found, 2 error, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperOption

from virtue.commands import building, evaluating, keeping, model_commands, serving, training_command
from virtue.commands.options import (
    ERROR,
    FOUND,
    INTERRUPTED,
    NOTHING,
    AsJson,
    Database,
    Debug,
    Device,
    Dtype,
    Force,
    Group,
    MaxPixels,
    Offline,
    Quiet,
    ReadOnly,
    SummaryAsJson,
    Workers,
    choose_model,
    flag,
    is_on_command_line,
    library_at,
    option,
    takes_database,
)
from virtue.display.streams import OutputError, ReaderGone, guard_streams, note, silence_stdout
from virtue.errors import InputError, VirtueError
from virtue.paths import printable, quote

if TYPE_CHECKING:
    from virtue.library import IndexOptions

Goal = Literal["auto", "regions", "photos", "captions"]

app = typer.Typer(
    name="virtue",
    cls=Group,
    help="Finds things in pictures: by words, by a picture, or by a box drawn on one.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


OF_LISTING = (
    "paths", "regions", "exclude", "follow_links", "ocr", "annotations", "captions", "rehash", "watch",
    "model", "max_pixels",
)  # fmt: skip
"""What `index` takes that lists photos, and `index --join` does not."""


def one_expression(context: typer.Context, value: list[str] | None) -> list[str] | None:
    """Reads $VIRTUE_WHERE as one expression. Typer would split the variable of a repeatable option at its
    spaces."""
    source = context.get_parameter_source("where")
    in_environment = source is not None and source.name == "ENVIRONMENT"
    return [os.environ["VIRTUE_WHERE"]] if in_environment else value


class SearchCommand(TyperCommand):
    """Names the fields of filters in its help. Not before it is asked for, since numpy comes with them."""

    def format_options(self, context: Any, formatter: Any) -> None:
        from virtue.store.catalogue.fields import FIELDS

        for parameter in self.params:
            if isinstance(parameter, TyperOption) and parameter.name == "where" and parameter.help:
                parameter.help = parameter.help.format(fields=", ".join(FIELDS))
        super().format_options(context, formatter)


def print_version(wanted: bool) -> None:
    if wanted:
        from virtue import __version__
        from virtue.distribution import FOLDER, describe_mix_up

        print(f"virtue {__version__} in {FOLDER}")
        if sentence := describe_mix_up():
            note(f"virtue: {sentence}")
        raise typer.Exit


@app.callback()
def every_command(
    context: typer.Context,
    database: Database = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=print_version, help="Which virtue this is, and where."
        ),
    ] = False,
) -> None:
    """Finds things in pictures: by words, by a picture, or by a box drawn on one."""
    if database is not None and not takes_database(context):
        raise InputError(f"virtue {context.invoked_subcommand} takes no --database: leave it out")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where photos are.")] = Path("."),
    debug: Debug = False,
) -> int:
    """Make a library in FOLDER/.virtue, found from every folder below."""
    from virtue.library import Library
    from virtue.location import NAME

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name one that exists")
    is_new = not (folder / NAME).exists()
    with Library.create(folder / NAME):
        made = "made" if is_new else "there is a library in"
        note(f"{made} {printable(os.fspath(folder / NAME))}; next: virtue index {quote(os.fspath(folder))}")
    return FOUND


@app.command()
def index(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Photos, or folders of photos. None: those indexed before."),
    ] = None,
    database: Database = None,
    model: Annotated[
        str | None, option("--model", metavar="NAME", help="The model of a new library.")
    ] = None,
    regions: Annotated[
        str | None,
        option(
            "--regions",
            metavar="auto|N|none",
            help="Regions a photo. Default: as indexed before, else auto.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        option(
            "--exclude", metavar="GLOB", help='Names or paths to leave out; repeatable; "": none any more.'
        ),
    ] = None,
    follow_links: Annotated[
        bool | None,
        option(
            "--follow-links/--no-follow-links",
            help="Follow links that lead out of the folders. Default: as indexed before, else not.",
        ),
    ] = None,
    ocr: Annotated[
        bool | None,
        option(
            "--ocr/--no-ocr",
            help="Read the text in photos, after all else. Default: as indexed before, else read it.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None, option("--annotations", metavar="FILE", help="COCO JSON with boxes, masks, captions.")
    ] = None,
    captions: Annotated[
        Path | None,
        option("--captions", metavar="FILE", help="CSV or JSONL: path, caption, optional x, y, w, h."),
    ] = None,
    rehash: Annotated[bool, option("--rehash", help="Open files of unchanged size and time too.")] = False,
    join: Annotated[
        bool,
        flag(
            "--join", help="Help another index with its photos, in PostgreSQL, until none is left; no PATH."
        ),
    ] = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    max_pixels: MaxPixels = None,
    workers: Workers = None,
    strict: Annotated[bool, option("--strict", help="Exit status 2 if a file could not be read.")] = False,
    watch: Annotated[
        bool, flag("--watch", help="Go on: index whatever changes in the folders, until Ctrl-C.")
    ] = False,
    as_json: SummaryAsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Index photos: themselves, the regions inside them, their captions."""
    from virtue.display.console import IndexProgress, print_report, watch_and_print

    if join and any(is_on_command_line(context, name) for name in OF_LISTING):
        raise InputError(
            "--join does what another index has listed, with the options of that: leave out PATH and options"
        )
    options: IndexOptions = {
        "regions": regions,
        "exclude": exclude or (),
        "follow_links": follow_links,
        "ocr": ocr,
        "annotations": annotations,
        "captions": captions,
        "rehash": rehash,
        "workers": workers,
    }
    with library_at(
        database, embedder=choose_model(model, max_pixels), offline=offline, dtype=dtype, device=device
    ) as library:
        if join:
            with IndexProgress(quiet, "waiting for other processes") as progress:
                report = library.join(workers=workers, progress=progress)
            print_report(report, as_json=as_json, quiet=quiet)
            return ERROR if strict and (report.problems or report.unread) else FOUND
        if watch:
            watch_and_print(library, paths or (), options, as_json=as_json, quiet=quiet)
            return FOUND
        with IndexProgress(quiet) as progress:
            report = library.index(paths or (), progress=progress, **options)
    print_report(report, as_json=as_json, quiet=quiet)
    is_lacking = report.problems or report.known_problems or report.unread
    return ERROR if strict and is_lacking else FOUND


@app.command()
def reindex(
    database: Database = None,
    model: Annotated[
        str | None,
        option("--model", metavar="NAME", help="The new model. Default: the library's, as it is now."),
    ] = None,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    max_pixels: MaxPixels = None,
    workers: Workers = None,
    as_json: SummaryAsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Embed all photos with another model. Searches use the old vectors until that is done."""
    from virtue.display.console import IndexProgress, print_report

    with (
        library_at(database, offline=offline, dtype=dtype, device=device) as library,
        IndexProgress(quiet) as progress,
    ):
        report = library.reindex(
            choose_model(model, max_pixels),
            workers=workers,
            estimated=None if quiet else lambda estimate: note(estimate.summary()),
            progress=progress,
        )
    print_report(report, as_json=as_json, quiet=quiet)
    return FOUND


@app.command(cls=SearchCommand)
def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY",
            help="Words, or pictures; img.jpg@x,y,w,h is a picture with a box, and snow::0.5 weighs half.",
        ),
    ] = None,
    database: Database = None,
    text: Annotated[
        list[str] | None, option("--text", metavar="TEXT", help="Words, whatever they look like.")
    ] = None,
    image: Annotated[
        list[str] | None, option("--image", metavar="FILE", help="A picture; repeatable.")
    ] = None,
    box: Annotated[
        str | None,
        option("--box", metavar="x,y,w,h", help="What is meant in the picture, in pixels, upright."),
    ] = None,
    point: Annotated[
        list[str] | None, option("--point", metavar="x,y", help="A point on what is meant; repeatable.")
    ] = None,
    not_point: Annotated[
        list[str] | None, option("--not-point", metavar="x,y", help="A point on what is not meant.")
    ] = None,
    mask: Annotated[
        Path | None, option("--mask", metavar="FILE", help="A picture, white where it is meant.")
    ] = None,
    without: Annotated[
        list[str] | None,
        option("--without", metavar="TEXT_OR_IMAGE", help="What hits should not look like; repeatable."),
    ] = None,
    like: Annotated[
        list[str] | None,
        option("--like", metavar="@N|ID", help="More like hit N of the last search, or a region_id."),
    ] = None,
    unlike: Annotated[
        list[str] | None, option("--unlike", metavar="@N|ID", help="Less like this hit; repeatable.")
    ] = None,
    find: Annotated[
        Goal, option("--find", help="What to find; auto: each photo once, by whatever fits best.")
    ] = "auto",
    top: Annotated[int, option("--top", "-n", metavar="N", min=1, help="How many hits.")] = 10,
    offset: Annotated[
        int, option("--offset", metavar="N", min=0, help="Pass over the first N hits, for the next page.")
    ] = 0,
    all_regions: Annotated[
        bool, option("--all-regions", help="More than one region of the same photo.")
    ] = False,
    min_score: Annotated[
        str | None,
        option(
            "--min-score",
            metavar="SCORE|auto",
            help="Drop hits that score less; auto: those that are unsure.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        option(
            "--where",
            metavar="FILTER",
            callback=one_expression,
            help='Only what matches, as "rating >= 4 and tag = beach"; repeatable. Fields: {fields}.',
        ),
    ] = None,
    as_json: AsJson = False,
    files: Annotated[bool, option("--files", "-f", help="Print paths only.")] = False,
    null: Annotated[bool, option("--null", "-0", help="Paths only, each ended by a zero byte.")] = False,
    preview: Annotated[bool, option("--preview", "-p", help="Show the hits in the terminal.")] = False,
    html: Annotated[
        Path | None, option("--html", metavar="FILE", help="Write a report with pictures and boxes.")
    ] = None,
    force: Force = False,
    read_only: ReadOnly = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Find regions, photos or captions by words, a picture, or a prompt drawn on one."""
    from virtue.display.console import print_hits, print_paths, print_previews
    from virtue.retrieval import parse_arguments, parse_min_score
    from virtue.retrieval.last_search import recall_hit, remember_hits

    asked = (words, text, image, box, point, not_point, mask, without, like, unlike)
    if html and not force:
        from virtue.display.html_report import refuse_other_files

        refuse_other_files(html)
    with library_at(database, read_only=read_only, offline=offline, dtype=dtype, device=device) as library:
        query = None
        if not where or any(asked):
            query = parse_arguments(
                words or (),
                texts=text or (),
                images=image or (),
                box=box,
                points=point or (),
                not_points=not_point or (),
                mask=mask,
                without=without or (),
                like=like or (),
                unlike=unlike or (),
                recall=lambda rank: recall_hit(library.store, rank),
            )
        hits = library.search(
            query,
            find=find,
            top=top,
            offset=offset,
            all_regions=all_regions,
            min_score=parse_min_score(min_score),
            where=where,
        )
        any_matches = bool(hits) or library.fits(where, find=find)
        if not read_only:
            remember_hits(library.store, hits)
    if hits and not offset and all(hit.sureness == "unsure" for hit in hits):
        note("nothing sure; the nearest are:")
    if files or null:
        print_paths(hits, "\0" if null else "\n")
    else:
        print_hits(hits, as_json=as_json)
    if preview:
        print_previews(hits)
    if html:
        from virtue.display.html_report import write_report

        write_report(html, query or " and ".join(where or ()), hits, database=database, force=force)
        note(f"wrote {printable(os.fspath(html))}")
    if not hits:
        what = "photo" if find == "auto" else find[:-1]
        nothing = "nothing more was found" if offset else "nothing found"
        note(nothing if any_matches else f"no {what} matches the filter")
    return FOUND if hits else NOTHING


@app.command()
def similar(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A photo, or a folder of photos. None: duplicates within the library."
        ),
    ] = None,
    database: Database = None,
    threshold: Annotated[
        float | None,
        option("--threshold", metavar="SCORE", help="Score from which on a photo is similar. Default: 0.8."),
    ] = None,
    as_json: AsJson = False,
    read_only: ReadOnly = False,
    offline: Offline = False,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Find near-duplicates: the same bytes, the same picture (rescaled, recompressed), similar ones."""
    from virtue.display.console import print_similar

    with library_at(database, read_only=read_only, offline=offline, dtype=dtype) as library:
        found = print_similar(library.similar_groups(path, threshold=threshold), as_json=as_json)
    if not found:
        note("nothing found")
    return FOUND if found else NOTHING


@app.command()
def status(
    database: Database = None,
    problems: Annotated[
        bool, option("--problems", help="List the files that could not be read, and why.")
    ] = False,
    missing: Annotated[bool, flag("--missing", help="List the files that are gone.")] = False,
    forgotten: Annotated[
        bool, option("--forgotten", help="List the photos that indexing passes by, as they were forgotten.")
    ] = False,
    as_json: AsJson = False,
    read_only: ReadOnly = False,
    debug: Debug = False,
) -> int:
    """Show what the library holds."""
    from virtue.display.console import print_forgotten, print_missing, print_problems, print_status

    with library_at(database, read_only=read_only) as library, library.store.read() as snapshot:
        if problems:
            print_problems(snapshot.problems(), as_json=as_json)
        elif missing:
            print_missing(snapshot.missing(), as_json=as_json)
        elif forgotten:
            print_forgotten(snapshot.forgotten(), as_json=as_json)
        else:
            print_status(library.name, snapshot, as_json=as_json)
    return FOUND


for command, name in (
    (keeping.verify, "verify"),
    (keeping.tune, "tune"),
    (keeping.compact, "compact"),
    (keeping.export_parquet, "export"),
    (keeping.import_parquet, "import"),
    (keeping.merge, "merge"),
    (keeping.moved, "moved"),
    (keeping.forget, "forget"),
    (serving.serve, "serve"),
    (serving.mcp, "mcp"),
    (training_command.train, "train"),
):
    app.command(name)(command)
app.add_typer(building.build, name="build")
app.add_typer(model_commands.models, name="models")
app.add_typer(evaluating.evaluate, name="evaluate")
app.command()(model_commands.convert)


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits with its status. Only here do errors become printed sentences."""
    words = sys.argv[1:] if arguments is None else arguments
    # Our products are small: threads of BLAS only get in the way of ONNX Runtime's and of the workers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.showwarning = lambda message, *_, **__: note(f"virtue: warning: {message}")
    guard_streams()
    try:
        status = _run(words)
        sys.stdout.flush()
    except ReaderGone:
        silence_stdout()
        status = FOUND
    except OutputError as error:
        silence_stdout()
        note(f"virtue: {error}")
        status = ERROR
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def _run(words: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        status = command.main(words, prog_name="virtue", standalone_mode=False) or FOUND
    except (ReaderGone, OutputError):
        raise
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            return ERROR
        said = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        what = " ".join(said.split())
        if type(error).__name__ == "NoSuchOption" and words[0] == "search":
            what += " (a text that starts with - goes after --, as in: virtue search -- -40 degrees)"
        note(f"virtue: {what}")
        return ERROR
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no "nothing found"
        if "--debug" in words or os.environ.get("VIRTUE_DEBUG"):
            import traceback

            traceback.print_exc()
        else:
            note(f"virtue: {_describe(error)}")
        return ERROR
    if status == INTERRUPTED:
        note("interrupted; what was done is kept")
    return status


def _describe(error: Exception) -> str:
    if isinstance(error, VirtueError):
        return f"{error}" + (f" (type `{error.hint}`)" if error.hint else "")
    if isinstance(error, ImportError):
        from virtue.distribution import explain_import

        if explain_import(error):
            return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory: close other programs, or give less at once"
    what = " ".join(str(error).split())
    name = type(error).__name__
    if isinstance(error, OSError):
        return f"{what or name}: this was not expected; `--debug` shows where"
    return f"a mistake in virtue itself ({name}: {what}): please report it, with what `--debug` shows"
