"""Commands that measure how well a model finds: `virtue evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from virtue.commands import evaluating_photos
from virtue.commands.bar import Bar
from virtue.commands.evaluation_options import (
    Cache,
    EvaluationAsJson,
    Fresh,
    ModelOfEvaluation,
    Report,
    cache_folder,
    command_line,
    describe_run,
    present,
    print_findings,
    print_object,
    warn_of_rows,
)
from virtue.commands.options import (
    ERROR,
    FOUND,
    NOTHING,
    Database,
    Debug,
    Device,
    Dtype,
    Group,
    Offline,
    Quiet,
    library_at,
    option,
)
from virtue.display.streams import note
from virtue.errors import InputError

if TYPE_CHECKING:
    from virtue.embedder import Embedder

evaluate = typer.Typer(cls=Group, rich_markup_mode=None, no_args_is_help=True)

PromptMode = Literal["box", "none", "crop", "text", "circle"]
BoxFrame = Literal["scaled", "published"]


Resize = Annotated[
    Literal["model", "published"],
    option("--resize", help="published: VIRTUE's pictures squashed, as in its published evaluation."),
]


@evaluate.callback()
def every_evaluation() -> None:
    """Measure how well a model finds, on benchmarks or photos of yours."""


@evaluate.command()
def scar(
    context: typer.Context,
    place: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of SCaR's Parquet files, or one of them.")
    ],
    images: Annotated[
        Path | None,
        option(
            "--images", metavar="DIR", help="Where pictures are. Default: beside the files, or in images/."
        ),
    ] = None,
    model: ModelOfEvaluation = "mini",
    prompt: Annotated[
        PromptMode, option("--prompt", help="How the model is told which region is meant.")
    ] = "box",
    box_frame: Annotated[
        BoxFrame,
        option("--box-frame", help="published: VIRTUE's boxes unscaled, as in its published evaluation."),
    ] = "scaled",
    resize: Resize = "model",
    cache: Cache = None,
    fresh: Fresh = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """SCaR: which of ten captions describes a region in its scene."""
    from virtue.evaluation.scar import evaluate_scar, with_box_frame
    from virtue.evaluation.scar_files import scar_files
    from virtue.evaluation.scar_tables import scar_tables

    files = scar_files(place)
    embedder = with_box_frame(_load_model(model, resize, offline, device, dtype), box_frame)
    settings = {"prompt": prompt, "box_frame": box_frame, "resize": resize}
    about = describe_run(embedder, settings, command_line(context))
    results, faults = [], []
    for file in files:
        try:
            with Bar(quiet, file.stem) as bar:
                kept = cache_folder(cache, fresh)
                result = evaluate_scar(embedder, file, images=images, prompt=prompt, cache=kept, tell=bar)
        except InputError as error:
            faults.append(error)
            continue
        results.append(result)
        warn_of_rows(file.name, result.bad, result.rows)
        if as_json:
            print_object(result.as_json(), about)
    if not results:
        raise faults[0]
    for fault in faults:
        note(f"virtue: {fault}")
    objects = [result.as_json() for result in results]
    tables, printed = scar_tables(results, embedder.name), len(results)
    present("scar", tables, objects, about, as_json=as_json, report=report, printed=printed)
    if faults:
        return ERROR
    return FOUND if any(result.p_at_1 for result in results) else NOTHING


@evaluate.command()
def mmeb(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A copy of MMEB_Test_Instruct.")],
    images: Annotated[
        Path | None, option("--images", metavar="DIR", help="Where pictures are. Default: images/, else DIR.")
    ] = None,
    model: ModelOfEvaluation = "mini",
    resize: Resize = "model",
    cache: Cache = None,
    fresh: Fresh = False,
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """MMEB: 36 sets of queries, each with candidates of its own."""
    from virtue.evaluation.mmeb import evaluate_mmeb, mmeb_files
    from virtue.evaluation.mmeb_tables import mmeb_tables, summary_as_json

    sets = mmeb_files(folder)
    place = images or (folder / "images" if (folder / "images").is_dir() else folder)
    embedder = _load_model(model, resize, offline, device, dtype)
    about = describe_run(embedder, {"resize": resize}, command_line(context))
    kept = cache_folder(cache, fresh)
    results, faults = [], []
    for name, files in sets.items():
        try:
            with Bar(quiet, name) as bar:
                result = evaluate_mmeb(embedder, name, files, place, cache=kept, tell=bar)
        except InputError as error:
            faults.append(error)
            continue
        results.append(result)
        warn_of_rows(name, result.bad, result.rows)
        if as_json:
            print_object(result.as_json(), about)
    if not results:
        raise faults[0]
    for fault in faults:
        note(f"virtue: {fault}")
    objects = [*(result.as_json() for result in results), summary_as_json(results)]
    tables, printed = mmeb_tables(results, embedder.name), len(results)
    present("mmeb", tables, objects, about, as_json=as_json, report=report, printed=printed)
    if faults:
        return ERROR
    return FOUND if any(result.hit_at_1 for result in results) else NOTHING


@evaluate.command()
def library(
    context: typer.Context,
    database: Database = None,
    cache: Cache = None,
    fresh: Fresh = False,
    device: Device = None,
    dtype: Dtype = "auto",
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Your own boxes and captions in a library: how well each finds the other."""
    from virtue.evaluation.annotated_regions import evaluate_library

    with library_at(database, read_only=True, device=device, dtype=dtype) as opened:
        with Bar(quiet, "indexing photos without what was given") as bar:
            found = evaluate_library(opened, cache=cache_folder(cache, fresh), tell=bar)
        about = describe_run(opened.embedder, {}, command_line(context))
    print_findings(found, about, as_json=as_json, report=report)
    return FOUND


def _load_model(model: str, resize: Resize, offline: bool, device: Device, dtype: Dtype) -> Embedder:
    from virtue.embedder import Embedder

    return Embedder.from_pretrained(
        model, offline=offline, device=device, dtype=dtype, resize=None if resize == "model" else resize
    )


for command in (
    evaluating_photos.details,
    evaluating_photos.cutouts,
    evaluating_photos.texts,
    evaluating_photos.sureness,
    evaluating_photos.boxes,
    evaluating_photos.people,
    evaluating_photos.colours,
    evaluating_photos.hypernyms,
    evaluating_photos.recoloured,
    evaluating_photos.rendered_words,
    evaluating_photos.written,
):
    evaluate.command()(command)
