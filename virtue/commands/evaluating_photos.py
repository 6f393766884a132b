"""Commands that measure how well a model finds in photos: of a folder of yours, or of a labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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
    print_findings,
)
from virtue.commands.options import FOUND, Debug, Device, Dtype, Offline, Quiet, option

if TYPE_CHECKING:
    from virtue.evaluation.findings import Findings

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos of yours, or sample_photos.")]
Labelled = Annotated[Path, typer.Argument(metavar="PHOTOS", help="The set that real_photos builds.")]
Packages = Annotated[
    Path, option("--packages", metavar="DIR", help="Where the packages of sample_photos were unpacked.")
]
Each = Annotated[bool, option("--each", help="With --json: list every query.")]
Seed = Annotated[int, option("--seed", metavar="N", help="Another seed, other details.")]
RegionsOfPhoto = Annotated[int, option("--regions", metavar="N", min=0, help="Proposals for each photo.")]
DETAILS = 106
PROPOSALS = 32


def details(
    context: typer.Context,
    folder: Folder,
    count: Annotated[int, option("--count", metavar="N", min=1, help="How many details.")] = DETAILS,
    regions: RegionsOfPhoto = PROPOSALS,
    seed: Seed = 3,
    model: ModelOfEvaluation = "mini",
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """A detail cut out of a photo: which photo?"""
    from virtue.embedder import Embedder
    from virtue.evaluation import details

    embedder = Embedder.from_pretrained(model, offline=offline, device=device, dtype=dtype)
    with Bar(quiet, "scoring photos") as bar:
        kept = cache_folder(cache, fresh)
        found = details.evaluate(embedder, folder, count, regions, seed, cache=kept, tell=bar)
    about = describe_run(embedder, {"regions": regions, "seed": seed}, command_line(context))
    print_findings(found, about, as_json=as_json, report=report)
    return FOUND


def texts(
    context: typer.Context,
    folder: Folder,
    regions: RegionsOfPhoto = PROPOSALS,
    model: ModelOfEvaluation = "mini",
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """A text describes a photo: which one? Texts lie in texts.csv, or beside the photos."""
    from virtue.embedder import Embedder
    from virtue.evaluation import texts

    embedder = Embedder.from_pretrained(model, offline=offline, device=device, dtype=dtype)
    with Bar(quiet, "scoring photos") as bar:
        found = texts.evaluate(embedder, folder, regions, cache=cache_folder(cache, fresh), tell=bar)
    about = describe_run(embedder, {"regions": regions}, command_line(context))
    print_findings(found, about, as_json=as_json, report=report)
    return FOUND


def sureness(
    context: typer.Context,
    folder: Folder,
    count: Annotated[int, option("--count", metavar="N", min=1, help="How many details.")] = DETAILS,
    seed: Seed = 3,
    model: ModelOfEvaluation = "mini",
    offline: Offline = False,
    device: Device = None,
    dtype: Dtype = "auto",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Are first hits of what is there surer than those of what is not?"""
    import tempfile

    from virtue.embedder import Embedder
    from virtue.evaluation import sureness
    from virtue.library import Library

    embedder = Embedder.from_pretrained(model, offline=offline, device=device, dtype=dtype)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with Library(place / "library", embedder=embedder) as library, Bar(quiet, "searching") as bar:
            kept = cache_folder(cache, fresh)
            found = sureness.evaluate(library, folder, place / "photos", count, seed, cache=kept, tell=bar)
    print_findings(
        found, describe_run(embedder, {"seed": seed}, command_line(context)), as_json=as_json, report=report
    )
    return FOUND


def cutouts(
    context: typer.Context,
    folder: Folder,
    count: Annotated[int, option("--count", metavar="N", min=1, help="Cut-outs of each shape.")] = DETAILS,
    seed: Seed = 3,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """A cut-out of any outline: which photo?"""
    from virtue.evaluation import cutouts

    with Bar(quiet, "searching") as bar:
        kept = cache_folder(cache, fresh)
        found = cutouts.evaluate(folder, count, seed, model=model, cache=kept, tell=bar)
    return _print(context, found, model, as_json, report)


def boxes(
    context: typer.Context,
    folder: Labelled,
    half: Annotated[Literal["a", "b", "all"], option("--half", help="Which half of the photos.")] = "all",
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Does the box shown for words fit the thing?"""
    from virtue.evaluation import boxes
    from virtue.evaluation.front_door import read_labels

    with Bar(quiet, "searching") as bar:
        kept = cache_folder(cache, fresh)
        found = boxes.evaluate(folder, read_labels("boxes"), half, each, model, cache=kept, tell=bar)
    return _print(context, found, model, as_json, report)


def people(
    context: typer.Context,
    folder: Labelled,
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Words for people: are these the photos?"""
    found = _find_words("people", folder, each, model, cache_folder(cache, fresh), quiet)
    return _print(context, found, model, as_json, report)


def colours(
    context: typer.Context,
    folder: Labelled,
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Things in a colour: are these the photos?"""
    found = _find_words("colours", folder, each, model, cache_folder(cache, fresh), quiet)
    return _print(context, found, model, as_json, report)


def hypernyms(
    context: typer.Context,
    folder: Labelled,
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """General words, such as "an animal": are these the photos?"""
    found = _find_words("hypernyms", folder, each, model, cache_folder(cache, fresh), quiet)
    return _print(context, found, model, as_json, report)


def recoloured(
    context: typer.Context,
    packages: Packages,
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """A thing in four colours: is it the right one?"""
    from virtue.evaluation import recoloured

    with Bar(quiet, "searching") as bar:
        found = recoloured.evaluate(packages, each, model, cache=cache_folder(cache, fresh), tell=bar)
    return _print(context, found, model, as_json, report)


def rendered_words(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Grounds to write on.")],
    fonts: Annotated[
        Path | None, option("--fonts", metavar="DIR", help="TrueType fonts. Default: Pillow's own.")
    ] = None,
    count: Annotated[int, option("--count", metavar="N", min=1, help="Pictures of eight words.")] = 57,
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Which rendered words are read?"""
    from virtue.evaluation import rendered_words
    from virtue.evaluation.rows import photo_paths

    files = sorted(fonts.rglob("*.ttf")) if fonts else []
    with Bar(quiet, "reading") as bar:
        kept = cache_folder(cache, fresh)
        found = rendered_words.evaluate(photo_paths(folder), files, count, cache=kept, tell=bar)
    return _print(context, found, "mini", as_json, report)


def written(
    context: typer.Context,
    folder: Labelled,
    each: Each = False,
    model: ModelOfEvaluation = "mini",
    cache: Cache = None,
    fresh: Fresh = False,
    as_json: EvaluationAsJson = False,
    report: Report = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """What is written in a photo: which photo?"""
    from virtue.evaluation import written
    from virtue.evaluation.front_door import read_labels

    with Bar(quiet, "searching") as bar:
        kept = cache_folder(cache, fresh)
        found = written.evaluate(folder, read_labels("written"), each, model, cache=kept, tell=bar)
    return _print(context, found, model, as_json, report)


def _find_words(kind: str, folder: Path, each: bool, model: str, cache: Path | None, quiet: bool) -> Findings:
    from virtue.evaluation import words
    from virtue.evaluation.front_door import read_labels

    with Bar(quiet, "searching") as bar:
        return words.evaluate(folder, kind, read_labels(kind), each, model, cache=cache, tell=bar)


def _print(context: typer.Context, found: Findings, model: str, as_json: bool, report: Path | None) -> int:
    """Prints what was found by `virtue index` and `virtue search`, which loaded the model themselves."""
    about = {
        "model": model,
        "fingerprint": found.facts["fingerprint"],
        "dtype": None,
        "settings": {},
        "command": command_line(context),
    }
    print_findings(found, about, as_json=as_json, report=report)
    return FOUND
