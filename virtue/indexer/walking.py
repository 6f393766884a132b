"""What a run looks through: which folders, with which options, and what it tells of them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from virtue.errors import InputError
from virtue.indexer.report import Progress, Report
from virtue.indexer.roots import Options, Regions, Roots
from virtue.indexer.walk import Walk, look_at, walk
from virtue.paths import is_below_any, printable

if TYPE_CHECKING:
    from virtue.store import Writer

NOT_THERE = "it is not there; what the library has of it was kept"


MAX_PART = 10_000
"""Files of a walk that are looked at at once, where it is not looked at whole; a folder is never cut."""


def find_tops(
    named: list[bytes],
    roots: Roots,
    list_apart: Callable[[], list[bytes]],
    reembed: bool,
    report: Report,
) -> list[bytes]:
    """Returns what to walk: what was named; without that, and to embed all again, all that is known.

    Args:
        list_apart: lists the known files that lie below no root.
    """
    if named and not reembed:
        return named
    folders = [folder for folder in roots if folder not in named]
    gone = [folder for folder in folders if not os.path.exists(folder)]
    if reembed and gone:
        raise InputError(
            f"{printable(gone[0])} is not there, and its photos cannot be embedded again: mount it, or "
            "forget it",
            hint="virtue forget FOLDER",
        )
    tops = named + [folder for folder in folders if folder not in gone] + list_apart()
    report.problems += [(folder, NOT_THERE) for folder in gone if not is_below_any(folder, set(tops))]
    if not tops:
        if gone:
            raise InputError(f"{printable(gone[0])} is not there: mount it, or name another folder")
        raise InputError("nothing was indexed yet: name a folder of photos", hint="virtue index ./photos")
    return tops


def choose_options(
    named: Iterable[bytes],
    roots: Roots,
    regions: Regions | None,
    exclude: Iterable[str],
    follow_links: bool | None,
    ocr: bool | None,
) -> list[tuple[bytes, Options]]:
    given = tuple(exclude)
    # An empty pattern alone says that nothing is left out any more.
    patterns = tuple(filter(None, given)) if given else None
    folders = [path for path in named if os.path.isdir(path)]
    return [
        chosen for folder in folders for chosen in roots.choose(folder, regions, patterns, follow_links, ocr)
    ]


def walk_all(
    tops: list[bytes],
    asked: list[bytes],
    roots: Roots,
    progress: Callable[[Progress], None] | None,
    started: float,
    take: Callable[[Walk], None] | None = None,
) -> Walk:
    """Walks all of it, each known folder with its own options. What is not `asked` for by name need not be
    there: a known folder that is not there, or cannot be listed, keeps what it had, and so does a file unless
    its folder can be listed and lacks it.

    Args:
        take: is given the files and what was passed by, some whole folders at a time; the walk that is
            returned has none of these then. None: it has all.
    """
    found, known, listings, taken = Walk(), set(roots), dict[bytes, set[bytes]](), 0
    for top in asked:
        look_at(top)

    def tick() -> None:
        nonlocal taken
        if take and len(found.files) + len(found.passed_by) >= MAX_PART:
            taken += len(found.files)
            take(found.cut())
        if progress:
            seconds = time.monotonic() - started
            count, problems = taken + len(found.files), len(found.problems)
            progress(Progress("walking", count, None, problems, seconds, "looking for photos"))

    nested = [root for root in known.difference(tops) if is_below_any(root, set(tops))]
    for top in tops + nested:
        options, links = roots.of(top) or Options(), roots.link_rule(top)
        if top in asked:
            walk(top, options.exclude, found, known, links, tick)
        elif top in known and not os.path.isdir(top):
            found.unlisted.add(top)
        elif top in known or os.path.exists(top):
            try:
                walk(top, options.exclude, found, known, links, tick)
            except InputError:
                found.add_unreadable(top, "folder that cannot be listed")
        elif not _is_gone(top, listings):
            found.add_unreadable(top, NOT_THERE)
        tick()
    if take and (found.files or found.passed_by):
        take(found.cut())
    return found


def _is_gone(path: bytes, listings: dict[bytes, set[bytes]]) -> bool:
    """Returns whether a file is gone for sure: its folder can be listed, and lacks it."""
    folder, name = os.path.split(path)
    try:
        if folder not in listings:
            listings[folder] = set(os.listdir(folder))
    except OSError:
        return False
    return name not in listings[folder]


def describe_emptied(
    lost: Counter[bytes], walked: set[bytes], has_photos: Callable[[bytes], bool]
) -> Iterator[str]:
    """Tells of folders without a photo that had some: of those walked, and of those below them that hold
    nothing at all, as the place of a drive that is not mounted.

    Args:
        lost: how many photos are missing now below each folder.
        has_photos: whether the walk found any below a folder.
    """
    emptied = {
        folder
        for folder in lost
        if (folder in walked and not has_photos(folder)) or (folder not in walked and is_empty(folder))
    }
    for folder in sorted(emptied):
        if not is_below_any(os.path.dirname(folder), emptied):
            yield (
                f"{printable(folder)} holds no photos, and had {lost[folder]}: they are marked as missing; "
                "if a drive is not mounted there, mount it and index again"
            )


def remember_options(
    writer: Writer,
    roots: Roots,
    options: list[tuple[bytes, Options]],
    passed_by: Counter[tuple[bytes | None, str]],
    tops: list[bytes],
    found: Walk,
    report: Report,
) -> None:
    """Stores new options of folders, and tells how many files were passed by there.

    Args:
        passed_by: as `Roots.count_passed_by` counts them.
    """
    total = Counter[str]()
    for (_, suffix), count in passed_by.items():
        total[suffix] += count
    report.passed_by = dict(sorted(total.items()))
    walked = [root for root in roots if is_below_any(root, set(tops)) and not found.hides(root)]
    for folder, new in options + roots.note_passed_by(walked, passed_by):
        writer.remember_root(folder, new.to_json())


def folders_above(path: bytes, tops: set[bytes]) -> Iterator[bytes]:
    while path not in tops and os.path.dirname(path) != path:
        path = os.path.dirname(path)
        yield path


def is_empty(folder: bytes) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def describe_unfollowed(links: set[bytes], behind: int) -> str:
    many = len(links) > 1
    what = f"{len(links)} links that lead" if many else "a link that leads"
    kept = (
        f" and {behind:,} photo{'s' * (behind > 1)} of the library behind kept as they were" if behind else ""
    )
    return (
        f"{what} out of what is indexed, such as {printable(min(links))}: not followed{kept}; index with "
        "follow_links (--follow-links) to follow all but those to a folder above"
    )
