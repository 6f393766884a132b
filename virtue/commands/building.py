"""Commands that build data to train and to test with: `virtue build`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from virtue.commands.bar import Bar
from virtue.commands.options import ERROR, FOUND, NOTHING, Debug, Force, Group, Quiet, flag, option
from virtue.display.streams import note
from virtue.errors import InputError
from virtue.paths import printable

MAX_NAMED = 10
"""Of what was left out."""

build = typer.Typer(cls=Group, rich_markup_mode=None, no_args_is_help=True)


@build.callback()
def every_build() -> None:
    """Build data to train and to test models with."""


@build.command()
def scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write, new or empty.")],
    cutouts: Annotated[
        Path,
        option(
            "--cutouts", metavar="DIR", help="name.png with transparency, each with a caption in name.txt."
        ),
    ],
    grounds: Annotated[
        Path | None,
        option(
            "--grounds",
            metavar="DIR",
            help="name.jpg, each with its place in name.txt. Default: patterns alone.",
        ),
    ] = None,
    count: Annotated[int, option("--count", metavar="N", min=1, help="How many scenes.")] = 1000,
    seed: Annotated[int, option("--seed", metavar="N", min=0, help="Another seed, other scenes.")] = 0,
    size: Annotated[
        int, option("--size", metavar="N", min=64, max=2048, help="Pixels of a side of a picture.")
    ] = 256,
    objects: Annotated[
        str, option("--objects", metavar="N-M", help="Objects in a scene, the least and the most.")
    ] = "3-5",
    bound: Annotated[
        float,
        option(
            "--bound",
            metavar="SHARE",
            min=0,
            max=1,
            help="Of scenes in which neither captions nor box tell the relation.",
        ),
    ] = 0.5,
    part: Annotated[
        Literal["all", "train", "test"],
        option("--part", help="Which names of cut-outs and grounds: test holds a fifth, train the others."),
    ] = "all",
    force: Annotated[bool, flag("--force", help="Write into OUT though it holds files.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Compose pictures of cut-outs, of which everything is known, as SCaR files."""
    from virtue.training.scar_building import write_scenes
    from virtue.training.scenes import Ground, Scenes, draw_grounds, read_cutouts, read_grounds, split

    things = read_cutouts(cutouts)
    places: list[Ground] = [*(read_grounds(grounds) if grounds else []), *draw_grounds()]
    if part != "all":
        things, places = split(things, part), split(places, part)
    composed = Scenes(
        things, places, length=count, seed=seed, size=size, objects=read_range(objects), bound=bound
    )
    with Bar(quiet, "composing scenes") as bar:
        done = write_scenes(composed, out, force=force, tell=bar)
    rows = ", ".join(f"{name}.parquet with {count:,} rows" for name, count in done.rows.items())
    if not quiet:
        note(f"wrote {done.pictures:,} pictures into {printable(os.fspath(out))}, and {rows}")
    return FOUND


@build.command()
def scar(
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="The file to write.")],
    annotations: Annotated[
        Path, option("--annotations", metavar="FILE", help="COCO JSON with boxes and categories.")
    ],
    images: Annotated[Path, option("--images", metavar="DIR", help="Where its pictures are.")],
    llm: Annotated[
        str | None,
        option(
            "--llm",
            metavar="URL",
            help="An endpoint that speaks OpenAI's protocol, with a model that sees pictures; they are sent "
            "to it. Default: captions by rule.",
        ),
    ] = None,
    llm_model: Annotated[
        str, option("--llm-model", metavar="NAME", help="What the model is called there.")
    ] = "default",
    limit: Annotated[
        int | None, option("--limit", metavar="N", min=1, help="Describe the first N things alone.")
    ] = None,
    estimate: Annotated[bool, option("--estimate", help="Say what --llm will take, and end.")] = False,
    prices: Annotated[
        str | None,
        option("--prices", metavar="IN,OUT", help="Of a million tokens, for the estimate."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Describe annotated things in ten captions each, as a SCaR file."""
    from virtue.overwriting import refuse_to_overwrite
    from virtue.training.scar_building import (
        LlmSwapper,
        RuleSwapper,
        build_scar,
        describe_cost,
        is_scar,
        read_things,
    )

    if not force:
        refuse_to_overwrite(out, "a SCaR file of virtue", is_scar)
    things, faults = read_things(annotations, images)
    for fault in faults[:MAX_NAMED]:
        note(f"virtue: warning: {fault}")
    if len(faults) > MAX_NAMED:
        note(f"virtue: warning: {len(faults) - MAX_NAMED:,} more could not be used")
    asked = things[:limit]
    if llm:
        note(describe_cost(asked, read_prices(prices)))
    if estimate:
        return FOUND
    swapper = LlmSwapper(llm, llm_model) if llm else RuleSwapper(things)
    with Bar(quiet, "describing things") as bar:
        done = build_scar(asked, swapper, out, tell=bar)
    if not quiet:
        note(f"wrote {printable(os.fspath(out))}: {done.rows:,} things, captions by {swapper.name}")
        for why, count in done.rejected.most_common(MAX_NAMED):
            note(f"  left out, {count:,}: {why}")
    if done.postponed:
        note(f"virtue: {done.postponed:,} things have no answer ({done.why}): run the same again to go on")
        return ERROR
    return FOUND if done.rows else NOTHING


def read_prices(text: str | None) -> tuple[float, float] | None:
    """Reads "2.5,10".

    Raises:
        InputError: it is no two numbers.
    """
    if text is None:
        return None
    try:
        price_in, price_out = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--prices {text}: give what a million tokens cost, in and out, as in 2.5,10"
        ) from None
    return price_in, price_out


def read_range(text: str) -> tuple[int, int]:
    """Reads "3-5", or "4" for both.

    Raises:
        InputError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text.strip())
    if not found:
        raise InputError(f"--objects {text}: give the least and the most, as in 3-5")
    return int(found[1]), int(found[2] or found[1])
