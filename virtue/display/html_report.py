"""Hits as one HTML file that needs nothing else: no script, no server, no network."""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote_from_bytes

from PIL import Image

from virtue import escaping
from virtue.display.draw import part_thumbnail, thumbnail
from virtue.display.shell import search_command
from virtue.display.view import choose_view, load_view
from virtue.display.wording import count_copies
from virtue.errors import InputError, PictureError
from virtue.geometry import Box
from virtue.location import hide_secrets, is_server
from virtue.overwriting import refuse_to_overwrite
from virtue.paths import absolute, printable
from virtue.pictures import Picture
from virtue.retrieval.hit import Hit
from virtue.retrieval.query import Part, Query

SIDE = 480
"""Pixels on the long side of the pictures in a report."""
QUALITY = 82

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="virtue">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<div>
<p class="eyebrow">virtue search</p>
<h1>{title}</h1>
<p class="facts">{facts}</p>
</div>
{query_images}
</header>
<main>
{hits}
</main>
<footer>Boxes are x,y,w,h in pixels of the upright photo.
Click a picture to enlarge it, a command to select it.{sureness}</footer>
</body>
</html>
"""


SURENESS = """<br>
How sure a hit is goes by the best hits of sample queries that the library mostly has nothing for: it is
<em>likely</em> to be an answer if it scores higher than nine in ten of them, <em>possible</em> if higher than
half, else <em>unsure</em>. Every search has a best hit, also for what is not there."""
"""Explains what the words beside the scores mean."""

MARKS = (b'<meta name="generator" content="virtue">', b'<p class="eyebrow">virtue search</p>')
"""One of these is in every report; the first since they have it."""
MAX_HEAD = 100_000
"""Bytes in which the mark must be."""


def write_report(
    path: str | os.PathLike[str],
    query: Query | str,
    hits: Sequence[Hit],
    *,
    side: int = SIDE,
    database: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> None:
    """Writes a self-contained HTML file: the query with what was drawn on it, and the hits with their
    boxes, each with a command that searches for what is in that box.

    A photo that cannot be read any more is shown as a placeholder with the reason.

    Args:
        side: pixels on the long side of the pictures.
        database: the library, for the commands to name; None: it is found without.
        force: overwrite a file that is no such report.

    Raises:
        InputError: the file cannot be written, or exists and is no such report.
    """
    if not force:
        refuse_other_files(path)
    page = _page(query, hits, side, None if database is None else _name_library(database))
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write the report {printable(os.fspath(path))} ({error.strerror}): "
            "name a file in a folder that exists and that you may write to"
        ) from None


def refuse_other_files(path: str | os.PathLike[str]) -> None:
    """Raises InputError if something else than a report is at this path."""
    refuse_to_overwrite(path, "an HTML report of virtue", _is_report)


def _is_report(path: bytes) -> bool:
    with open(path, "rb") as file:
        head = file.read(len(PAGE) + MAX_HEAD)
    return head.startswith(b"<!doctype html>") and any(mark in head for mark in MARKS)


def _name_library(database: str | os.PathLike[str]) -> bytes:
    """Returns what a command calls the library by, from any folder."""
    return hide_secrets(str(database)).encode() if is_server(database) else absolute(database)


def _page(query: Query | str, hits: Sequence[Hit], side: int, database: bytes | None) -> str:
    return PAGE.format(
        title=escape(str(query)),
        style=files("virtue.display").joinpath("html_report.css").read_text(encoding="utf-8"),
        facts=escape(_facts(hits)),
        query_images=_query_images(query, side),
        hits=_grid(hits, side, database),
        sureness=SURENESS if any(hit.sureness for hit in hits) else "",
    )


def escape(text: str) -> str:
    """Returns text that is safe in HTML and in UTF-8, and does not mislead, whatever a caption or a path
    holds."""
    return html.escape(escaping.escape(text, keep="\n\t"))


def _facts(hits: Sequence[Hit]) -> str:
    if not hits:
        return "nothing found"
    kind, photos = hits[0].kind, len({hit.photo_id for hit in hits})
    count = f"{len(hits)} {kind}{'s' * (len(hits) > 1)}"
    within = "" if kind == "photo" else f" in {photos} photo{'s' * (photos > 1)}"
    return f"{count}{within} · scores {hits[0].score:.3f} to {hits[-1].score:.3f}"


# -- the query --------------------------------------------------------------------------------------------


def _query_images(query: Query | str, side: int) -> str:
    """Returns the images of the query. The title names them; if there are several, each has a name too."""
    if isinstance(query, str):  # a filter alone
        return ""
    parts = [(part, "") for part in query.parts] + [(part, "without ") for part in query.without]
    shown = [(part, role) for part, role in parts if part.image is not None]
    figures = [_figure(part, role, side, named=len(shown) > 1) for part, role in shown]
    return '<div class="asked">\n' + "".join(figures) + "</div>" if shown else ""


def _figure(part: Part, role: str, side: int, *, named: bool) -> str:
    label = escape(f"{role}{part}")
    try:
        picture = f'<img src="{_data(part_thumbnail(part, side))}" alt="Asked for: {label}">'
    except InputError as error:
        picture = f'<div class="gone">{escape(str(error))}</div>'
    caption = f"<figcaption>{label}</figcaption>" if named else ""
    return f'<figure class="{role.strip()}">{picture}{caption}</figure>\n'


# -- the hits ---------------------------------------------------------------------------------------------


def _grid(hits: Sequence[Hit], side: int, database: bytes | None) -> str:
    if not hits:
        return '<p class="none">Nothing was found.</p>'
    return '<ol class="hits">\n' + "\n".join(_card(hit, side, database) for hit in hits) + "\n</ol>"


def _card(hit: Hit, side: int, database: bytes | None) -> str:
    view = _view(hit)
    try:
        picture = load_view(hit.path, view, hit.width, hit.height, side)
    except PictureError as error:
        reason = escape(str(error).removeprefix(printable(hit.raw_path) + ": "))
        stage = f'<div class="stage"><p class="gone"><strong>No picture</strong>{reason}</p></div>'
    else:
        stage = _stage(hit, picture, view, side)
    words = "".join(_words(hit, database))
    return f'<li class="hit">\n{stage}\n<div class="words">\n{words}</div>\n</li>'


def _view(hit: Hit) -> Box:
    return choose_view(hit.region_box or hit.box, hit.width, hit.height)


def _stage(hit: Hit, picture: Picture, view: Box, side: int) -> str:
    """Returns the picture, or the part of it in `view`, with its box, and links that enlarge it to the window
    and back."""
    place, name = f"hit-{hit.rank}", escape(_name(hit))
    box = hit.region_box or hit.box
    label = escape(f"Hit {hit.rank}: {_name(hit)}, {_numbers(box)} marked")
    return (
        f'<div class="stage" id="{place}">\n'
        f'<div class="frame" style="--ratio:{picture.width / picture.height:.5f}">'
        f'<img src="{_data(thumbnail(picture, side))}" alt="{label}">{_overlay(hit, box, view)}</div>\n'
        f'<a class="open" href="#{place}" aria-label="Enlarge {name}"></a>'
        f'<a class="back" href="#back" aria-label="Back to all hits"></a>\n</div>'
    )


def _overlay(hit: Hit, box: Box, view: Box) -> str:
    left, top, width, height = view.xywh
    shown = Box(box.x0 - left, box.y0 - top, box.x1 - left, box.y1 - top)
    x, y, w, h = (100 * part for part in shown.scaled(1 / width, 1 / height).xywh)
    where = f'x="{x:.3f}" y="{y:.3f}" width="{w:.3f}" height="{h:.3f}"'
    return (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="under" {where}/><rect class="over" {where}/></svg>'
        f'<span class="tag" style="left:{x:.3f}%;top:{y:.3f}%" aria-hidden="true">{hit.rank}</span>'
    )


def _words(hit: Hit, database: bytes | None) -> Iterator[str]:
    uri = "file://" + quote_from_bytes(os.path.abspath(hit.raw_path))
    yield (
        f'<div class="line"><p class="name"><a href="{html.escape(uri)}">{escape(_name(hit))}</a></p>'
        f'<span class="score" title="{_meaning(hit)}">{hit.score:.3f}{_sureness(hit)}</span></div>\n'
    )
    if hit.caption:
        said = " said" * bool({"caption", "ocr"} & {*hit.via})
        yield f'<p class="caption{said}">{escape(hit.caption)}</p>\n'
    if hit.kind != "caption" and hit.via != ("picture",):
        how = " and ".join("text in it" if via == "ocr" else f"its {via}" for via in hit.via)
        yield f'<p class="note">found by {how}</p>\n'
    yield f'<p class="path">{escape(printable(hit.raw_path))}</p>\n'
    box = hit.region_box or hit.box
    whole = box.area >= hit.width * hit.height
    is_part = _view(hit).xywh != (0, 0, hit.width, hit.height)
    where = "" if whole else f" · box {_numbers(box)}"
    part = " · only its surroundings are shown" if is_part else ""
    yield f'<p class="note">{hit.width} x {hit.height}{where}{part}</p>\n'
    if hit.raw_copies:
        named = escape(", ".join(map(printable, hit.raw_copies)))
        yield f'<p class="note" title="{named}">{count_copies(hit.raw_copies)}</p>\n'
    command = search_command(None if whole else box, hit.raw_path, database)
    yield f'<p class="again"><code>{escape(command)}</code></p>\n'


def _sureness(hit: Hit) -> str:
    return "" if hit.sureness is None else f' · <em class="{hit.sureness}">{hit.sureness}</em>'


def _meaning(hit: Hit) -> str:
    if hit.percentile is None:
        return "score"
    return f"score, higher than {_percent(hit)} % of the best hits of sample queries"


def _percent(hit: Hit) -> str:
    """Formats a percentile, rounded down, so that only a score above all others is 100."""
    return f"{math.floor(100 * (hit.percentile or 0)) / 100:g}"


def _name(hit: Hit) -> str:
    return printable(os.path.basename(hit.raw_path))


def _numbers(box: Box) -> str:
    return ",".join(f"{value:.0f}" for value in box.xywh)


def _data(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
