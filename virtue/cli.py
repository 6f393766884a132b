"""The command line: parses, calls the library, prints. Nothing is decided here.

Results go to stdout, everything else to stderr. Exit status: 0 found or done, 1 nothing found or
damage found, 2 error, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperOption

from virtue.display.streams import OutputError, ReaderGone, guard_streams, note, silence_stdout
from virtue.errors import InputError, VirtueError
from virtue.paths import printable, quote

if TYPE_CHECKING:
    from virtue.library import Library

FOUND, NOTHING, ERROR, INTERRUPTED = 0, 1, 2, 130

Find = Literal["regions", "photos", "captions"]

app = typer.Typer(
    name="virtue",
    help="Finds things in pictures: by words, by a picture, or by a box drawn on one.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def option(*names: str, **settings: Any) -> Any:
    """Makes a `typer.Option` that the environment variable VIRTUE_NAME sets too."""
    long = next(name for name in names if name.startswith("--"))
    variable = "VIRTUE_" + long.split("/")[0].lstrip("-").replace("-", "_").upper()
    return typer.Option(*names, envvar=variable, show_envvar=False, **settings)


def flag(*names: str, **settings: Any) -> Any:
    """A `typer.Option` that is never taken from the environment, since it may lose something."""
    return typer.Option(*names, **settings)


Force = Annotated[bool, flag("--force", help="Overwrite FILE, whatever it is.")]


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


Database = Annotated[
    Path | None,
    option(
        "--database",
        "-d",
        metavar="FOLDER",
        help="The library. Default: $VIRTUE_DATABASE, else the nearest .virtue/ from here up, "
        "else the user's data folder.",
    ),
]


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
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=print_version, help="Which virtue this is, and where."
        ),
    ] = False,
) -> None:
    """Finds things in pictures: by words, by a picture, or by a box drawn on one."""


ReadOnly = Annotated[bool, option("--read-only", help="Never write: for network shares and read-only disks.")]
Offline = Annotated[bool, option("--offline", help="Download nothing; use the models that are here.")]
Workers = Annotated[
    int | None,
    option("--workers", metavar="N", min=1, help="Processes that decode. Default: by the machine."),
]
SummaryAsJson = Annotated[bool, option("--json", help="Print the summary as JSON.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="No progress, no summary.")]
AsJson = Annotated[bool, option("--json", help="One JSON object a line.")]
Debug = Annotated[bool, option("--debug", help="Show the traceback of an error.")]


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
    with Library.create(folder / NAME) as library:
        made = "made" if is_new else "there is a library in"
        note(f"{made} {printable(os.fspath(library.folder))}; next: virtue index {quote(os.fspath(folder))}")
    return FOUND


@app.command()
def index(
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
    annotations: Annotated[
        Path | None, option("--annotations", metavar="FILE", help="COCO JSON with boxes, masks, captions.")
    ] = None,
    captions: Annotated[
        Path | None,
        option("--captions", metavar="FILE", help="CSV or JSONL: path, caption, optional x, y, w, h."),
    ] = None,
    rehash: Annotated[bool, option("--rehash", help="Open files of unchanged size and time too.")] = False,
    offline: Offline = False,
    workers: Workers = None,
    strict: Annotated[bool, option("--strict", help="Exit status 2 if a file could not be read.")] = False,
    as_json: SummaryAsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Index photos: themselves, the regions inside them, their captions."""
    from virtue.display.console import IndexProgress, print_report

    with library_at(database, embedder=model, offline=offline) as library, IndexProgress(quiet) as progress:
        report = library.index(
            paths or (),
            regions=regions,
            exclude=exclude or (),
            follow_links=follow_links,
            annotations=annotations,
            captions=captions,
            rehash=rehash,
            workers=workers,
            progress=progress,
        )
    print_report(report, as_json=as_json, quiet=quiet)
    return ERROR if strict and (report.problems or report.known_problems) else FOUND


@app.command()
def reindex(
    database: Database = None,
    model: Annotated[
        str | None,
        option("--model", metavar="NAME", help="The new model. Default: the library's, as it is now."),
    ] = None,
    offline: Offline = False,
    workers: Workers = None,
    as_json: SummaryAsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Embed all photos with another model. Searches use the old vectors until that is done."""
    from virtue.display.console import IndexProgress, print_report

    with library_at(database, offline=offline) as library, IndexProgress(quiet) as progress:
        report = library.reindex(
            model,
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
        option("--like", metavar="ID", help="More like this hit, by its region_id in --json; repeatable."),
    ] = None,
    unlike: Annotated[
        list[str] | None, option("--unlike", metavar="ID", help="Less like this hit; repeatable.")
    ] = None,
    find: Annotated[Find, option("--find", help="What to find.")] = "regions",
    top: Annotated[int, option("--top", "-n", metavar="N", min=1, help="How many hits.")] = 10,
    all_regions: Annotated[
        bool, option("--all-regions", help="More than one region of the same photo.")
    ] = False,
    min_score: Annotated[
        str | None,
        option(
            "--min-score",
            metavar="SCORE|auto",
            help="Drop hits that score less; auto: those behind the gap in the scores.",
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
    debug: Debug = False,
) -> int:
    """Find regions, photos or captions by words, a picture, or a prompt drawn on one."""
    from virtue.display.console import print_hits, print_paths, print_previews
    from virtue.retrieval import parse_arguments, parse_min_score

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
    )
    if html and not force:
        from virtue.display.html_report import refuse_other_files

        refuse_other_files(html)
    with library_at(database, read_only=read_only, offline=offline) as library:
        hits = library.search(
            query,
            find=find,
            top=top,
            all_regions=all_regions,
            min_score=parse_min_score(min_score),
            where=where,
        )
        any_matches = bool(hits) or library.fits(where, find=find)
    if files or null:
        print_paths(hits, "\0" if null else "\n")
    else:
        print_hits(hits, as_json=as_json)
    if preview:
        print_previews(hits)
    if html:
        from virtue.display.html_report import write_report

        write_report(html, query, hits, database=database, force=force)
        note(f"wrote {printable(os.fspath(html))}")
    if not hits:
        note("nothing found" if any_matches else f"no {find[:-1]} matches the filter")
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
    debug: Debug = False,
) -> int:
    """Find near-duplicates: the same bytes, the same picture (rescaled, recompressed), similar ones."""
    from virtue.display.console import print_similar

    with library_at(database, read_only=read_only, offline=offline) as library:
        groups = library.similar(path, threshold=threshold)
    print_similar(groups, as_json=as_json)
    if not groups:
        note("nothing found")
    return FOUND if groups else NOTHING


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
            print_status(library.folder, snapshot, as_json=as_json)
    return FOUND


@app.command()
def verify(
    database: Database = None,
    repair: Annotated[bool, flag("--repair", help="Rebuild what can be rebuilt.")] = False,
    read_only: ReadOnly = False,
    debug: Debug = False,
) -> int:
    """Check files, checksums and counts. Exit status 0: sound, 1: damaged."""
    from virtue.display.console import print_fields

    with library_at(database, read_only=read_only) as library:
        faults = library.verify(repair=repair)
        for fault in faults:
            print_fields(fault.what + (f" ({len(fault.hashes)} photos)" if fault.hashes else ""))
        left = library.verify() if repair and faults else faults
    if not left:
        note("repaired" if faults else "sound")
    elif repair:
        note("some damage is left: " + "; ".join(fault.what for fault in left))
    return NOTHING if left else FOUND


@app.command()
def tune(
    database: Database = None,
    recall: Annotated[
        float,
        option("--recall", metavar="SHARE", help="The share of the best hits that searches shall find."),
    ] = 0.95,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Measure how much of its index a search of a large library must read, and set it. Indexing does this
    too."""
    from virtue.display.console import IndexProgress, print_tunings

    with library_at(database) as library, IndexProgress(False, "reading texts") as progress:
        tunings = library.tune(recall=recall, progress=progress)
    print_tunings(tunings, as_json=as_json)
    if not tunings:
        note("nothing to tune: the library is small enough that every search reads all of it")
    return FOUND


@app.command()
def compact(
    database: Database = None,
    dry_run: Annotated[bool, option("--dry-run", help="Only say what it would free.")] = False,
    debug: Debug = False,
) -> int:
    """Free the space of photos that were forgotten or embedded again. Searches go on meanwhile."""
    with library_at(database) as library:
        waste = library.compact(dry_run=dry_run)
    did = "would drop" if dry_run else "dropped"
    note(f"{did} {waste.dead:,} of {waste.total:,} rows: {waste.bytes / 1e6:.1f} MB")
    return FOUND


@app.command("export")
def export_parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="The file to write.")],
    database: Database = None,
    force: Force = False,
    read_only: ReadOnly = False,
    debug: Debug = False,
) -> int:
    """Write all vectors, boxes, captions and paths into one Parquet file."""
    with library_at(database, read_only=read_only) as library:
        done = library.export_parquet(file, force=force)
    left = f"; {done.left_out:,} photos without vectors were left out" if done.left_out else ""
    note(f"wrote {printable(os.fspath(file))}: {done.photos:,} photos in {done.rows:,} rows{left}")
    return FOUND


@app.command("import")
def import_parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="A file that export wrote.")],
    database: Database = None,
    debug: Debug = False,
) -> int:
    """Take in the photos of an exported file, without opening one."""
    with library_at(database) as library:
        note(library.import_parquet(file).summary())
    return FOUND


@app.command()
def merge(
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="The library to take photos from.")],
    database: Database = None,
    debug: Debug = False,
) -> int:
    """Take in the photos of another library, without opening one."""
    with library_at(database) as library:
        note(library.merge(other).summary())
    return FOUND


@app.command()
def moved(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Where the photos were.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Where they are now.")],
    database: Database = None,
    debug: Debug = False,
) -> int:
    """Tell the library that a folder of photos, or a photo, was moved. Nothing is embedded again."""
    with library_at(database) as library:
        count = library.move(old, new)
    note(f"moved {count:,} file{'s' * (count != 1)}")
    return FOUND


@app.command()
def forget(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Photos, or folders of photos.")
    ] = None,
    database: Database = None,
    undo: Annotated[bool, flag("--undo", help="Let photos that were forgotten be indexed again.")] = False,
    missing: Annotated[
        bool, flag("--missing", help="Forget the files that are gone, but not of disks not mounted.")
    ] = False,
    yes: Annotated[bool, flag("--yes", help="Forget folders that were indexed, unasked.")] = False,
    debug: Debug = False,
) -> int:
    """Take photos out of the library for good. The files themselves stay."""
    if missing == bool(paths) or (missing and undo):
        raise InputError("name what to forget, or use --missing alone")
    with library_at(database) as library:
        if missing:
            summary = library.forget_missing()
            for folder, count in sorted(Counter(summary.kept.values()).items()):
                note(
                    f"kept {count:,} below {printable(folder)}, which is not there or empty: mount its disk, "
                    "if that is why"
                )
            if summary.back:
                note(f"kept {summary.back:,} that are there again: virtue index finds what is not left out")
            count = summary.forgotten
        else:
            roots = [] if undo else library.roots_below(paths or ())
            if roots and not yes:
                confirm_roots(roots)
            count = library.forget(paths or (), undo=undo)
    if undo:
        note(f"{count:,} photo{'s' * (count != 1)} can be indexed again; next: virtue index")
    else:
        note(f"forgot {count} file{'s' * (count != 1)}")
    return FOUND if count or paths else NOTHING


def confirm_roots(roots: list[bytes]) -> None:
    """Asks whether folders that were indexed by name may be forgotten.

    Raises:
        InputError: no, or nobody can be asked.
    """
    named = ", ".join(printable(root) for root in roots[:3]) + (", ..." if len(roots) > 3 else "")
    if not sys.stdin or not sys.stdin.isatty():
        raise InputError(
            f"{named} was indexed by name, with all its photos, and nothing was forgotten: say --yes to "
            "forget it"
        )
    print(f"forget {named}, with all its photos? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was forgotten")


models = typer.Typer(rich_markup_mode=None)
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> int:
    """List models, with size and licence."""
    if context.invoked_subcommand is None:
        from virtue.display.console import print_models
        from virtue.embedder import available_models

        print_models(available_models(), as_json=as_json)
    return FOUND


@models.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="owner/model of the Hugging Face hub.")],
    debug: Debug = False,
) -> int:
    """Download a model, for use offline. Says its size and licence first."""
    from virtue.display.console import print_fields
    from virtue.embedder import pull

    folder = pull(name, note=note)
    if folder is not None:
        print_fields(os.fsencode(folder))
    return FOUND


@models.command("try")
def try_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model: its name, or its folder.")],
    photo: Annotated[Path, typer.Argument(metavar="PHOTO")],
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What to look for in the photo.")],
    top: Annotated[int, option("--top", min=1, help="Regions to print.")] = 10,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Rank a photo's regions by words, and say what each step took."""
    from virtue.display.console import print_trial
    from virtue.embedder import Embedder
    from virtue.retrieval.trial import try_model

    trial = try_model(lambda: Embedder.from_pretrained(name, offline=offline), photo, words)
    print_trial(trial, top, as_json=as_json)
    return FOUND


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A VIRTUE model in the published layout.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.")],
    offline: Offline = False,
    debug: Debug = False,
) -> int:
    """Turn a published VIRTUE folder into one complete safetensors folder."""
    from virtue.embedder import convert

    note(f"wrote {convert(source, destination, offline=offline)}")
    return FOUND


def library_at(folder: Path | None, **settings: Any) -> Library:
    from virtue.library import Library

    return Library(folder, **settings)


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
