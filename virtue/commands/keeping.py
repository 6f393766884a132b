"""Commands that keep a library: check, tune, compact, copy, move, forget."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from virtue.commands.options import (
    FOUND,
    NOTHING,
    AsJson,
    Database,
    Debug,
    Dtype,
    Force,
    Quiet,
    ReadOnly,
    flag,
    library_at,
    option,
)
from virtue.display.streams import note
from virtue.errors import InputError
from virtue.paths import printable


def verify(
    database: Database = None,
    repair: Annotated[bool, flag("--repair", help="Rebuild what can be rebuilt.")] = False,
    read_only: ReadOnly = False,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Check files, checksums and counts. Exit status 0: sound, 1: damaged."""
    from virtue.display.console import print_fields

    with library_at(database, read_only=read_only, dtype=dtype) as library:
        faults = library.verify(repair=repair)
        for fault in faults:
            print_fields(fault.what + (f" ({len(fault.hashes)} photos)" if fault.hashes else ""))
        left = library.verify() if repair and faults else faults
    if not left:
        note("repaired" if faults else "sound")
    elif repair:
        note("some damage is left: " + "; ".join(fault.what for fault in left))
    return NOTHING if left else FOUND


def tune(
    database: Database = None,
    recall: Annotated[
        float,
        option("--recall", metavar="SHARE", help="The share of the best hits that searches shall find."),
    ] = 0.95,
    dtype: Dtype = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Measure how much of its index a search of a large library must read, and set it. Indexing does this
    too."""
    from virtue.display.console import IndexProgress, print_tunings

    with library_at(database, dtype=dtype) as library, IndexProgress(False, "reading texts") as progress:
        tunings = library.tune(recall=recall, progress=progress)
    print_tunings(tunings, as_json=as_json)
    if not tunings:
        note("nothing to tune: the library is small enough that every search reads all of it")
    return FOUND


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


def import_parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="A file that export wrote.")],
    database: Database = None,
    dtype: Dtype = "auto",
    debug: Debug = False,
) -> int:
    """Take in the photos of an exported file, without opening one."""
    with library_at(database, dtype=dtype) as library:
        note(library.import_parquet(file).summary())
    return FOUND


def merge(
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="The library to take photos from: a folder, or an address.")
    ],
    database: Database = None,
    dtype: Dtype = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Take in the photos of another library, without opening one."""
    from virtue.display.console import IndexProgress

    with library_at(database, dtype=dtype) as library, IndexProgress(quiet, "checking photos") as progress:
        done = library.merge(other, progress=progress)
    if not quiet:
        note(done.summary())
    return FOUND


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


def forget(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Photos, or folders of photos.")
    ] = None,
    database: Database = None,
    where: Annotated[
        list[str] | None,
        flag(
            "--where",
            metavar="FILTER",
            help='Forget the photos that match, as in "rating <= 1 and taken < 2020"; repeatable.',
        ),
    ] = None,
    undo: Annotated[bool, flag("--undo", help="Let photos that were forgotten be indexed again.")] = False,
    missing: Annotated[
        bool, flag("--missing", help="Forget the files that are gone, but not of disks not mounted.")
    ] = False,
    yes: Annotated[
        bool, flag("--yes", help="Forget folders that were indexed, or what matches a filter, unasked.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Take photos out of the library for good. The files themselves stay."""
    if [missing, bool(paths), bool(where)].count(True) != 1 or (undo and not paths):
        raise InputError("name what to forget, or use --where or --missing alone")
    with library_at(database) as library:
        if missing:
            summary = library.forget_missing()
            for folder, count in sorted(Counter(summary.kept.values()).items()):
                note(
                    f"kept {count:,} below {printable(folder)}, which is not there or empty: mount its disk, "
                    "if that is why"
                )
            for path, unreadable in sorted(summary.renamed.items()):
                note(
                    f"kept {printable(path)}, which may be {printable(unreadable)} now, and that cannot be "
                    "read: see to its rights, then virtue index"
                )
            if summary.back:
                note(f"kept {summary.back:,} that are there again: virtue index finds what is not left out")
            count = summary.forgotten
        elif where:
            matching = [photo.photo_id for photo in library.photos(where)]
            if not matching:
                note("no photo matches the filter")
                return NOTHING
            if not yes:
                one = len(matching) == 1
                confirm(f"{len(matching):,} photo{'' if one else 's'} that match{'es' if one else ''}")
            count = library.forget(photo_ids=matching)
        else:
            roots = [] if undo else library.roots_below(paths or ())
            if roots and not yes:
                named = ", ".join(printable(root) for root in roots[:3]) + (", ..." if len(roots) > 3 else "")
                confirm(f"{named}, with all its photos", f"{named} was indexed by name, with all its photos")
            count = library.forget(paths or (), undo=undo)
    if undo:
        note(f"{count:,} photo{'s' * (count != 1)} can be indexed again; next: virtue index")
    else:
        note(f"forgot {count} file{'s' * (count != 1)}")
    return FOUND if count or paths else NOTHING


def confirm(what: str, why: str | None = None) -> None:
    """Asks whether this may be forgotten.

    Raises:
        InputError: no, or nobody can be asked.
    """
    if not sys.stdin or not sys.stdin.isatty():
        raise InputError(f"{why or what}, and nothing was forgotten: say --yes to forget it")
    print(f"forget {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was forgotten")
