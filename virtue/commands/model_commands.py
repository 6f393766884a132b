"""Commands for models: list, get, try, convert."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from virtue.commands.options import (
    FOUND,
    AsJson,
    Debug,
    Dtype,
    Group,
    MaxPixels,
    Offline,
    option,
)
from virtue.display.streams import note

models = typer.Typer(cls=Group, rich_markup_mode=None)


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
    dtype: Dtype = "auto",
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Rank a photo's regions by words, and say what each step took."""
    from virtue.display.console import print_trial
    from virtue.embedder import Embedder
    from virtue.retrieval.trial import try_model

    trial = try_model(
        lambda: Embedder.from_pretrained(name, offline=offline, dtype=dtype, max_pixels=max_pixels),
        photo,
        words,
    )
    print_trial(trial, top, as_json=as_json)
    return FOUND


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
