"""The statements that a search runs, in SQLAlchemy Core.

Searches run their text in `hot_sql.py`, which `python -m tools.generate_sql` writes, since loading SQLAlchemy
takes as long as half a search. A test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Join,
    Select,
    String,
    Table,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    table,
    union_all,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement

from virtue.store.catalogue.filters import FullImages
from virtue.store.catalogue.schema import (
    alembic_version,
    captions,
    distributions,
    efforts,
    files,
    generations,
    index_ranges,
    indexes,
    library,
    metadata,
    photos,
    regions,
    row_files,
    tombstones,
)


class InOrder(Join):
    """A join that SQLite makes in the order written (CROSS JOIN): from the few rows that are wanted to the
    tables."""

    inherit_cache = True


@compiles(InOrder)
def _compile_in_order(join: InOrder, compiler: Any, **options: Any) -> str:
    options["asfrom"] = True
    left, right = (compiler.process(side, **options) for side in (join.left, join.right))
    options["asfrom"] = False
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **options)}"


def _in_order(first: FromClause, *joined: tuple[FromClause, ColumnElement[bool]]) -> FromClause:
    found = first
    for other, condition in joined:
        found = InOrder(found, other, condition)
    return found


def text_value(value: str) -> ColumnElement[str]:
    """Returns a value that is written into the statement."""
    return literal_column(f"'{value}'", String)


GENERATION = bindparam("generation", type_=Integer)
KIND = bindparam("kind", type_=String)
INDEX = bindparam("index", type_=Integer)
FULL_IMAGE, OCR = text_value("whole"), text_value("ocr")
ZERO, ONE = literal_column("0", Integer), literal_column("1", Integer)

wanted = func.json_each(bindparam("wanted")).table_valued(column("key", Integer), column("value", Integer))
wanted = wanted.alias("wanted")


def _dead_rows(owners: Table) -> Any:
    tombstoned = select(tombstones.c.row).where(
        tombstones.c.generation_id == GENERATION, tombstones.c.kind == KIND
    )
    of_missing = (
        select(owners.c.row)
        .select_from(_in_order(photos, (owners, owners.c.photo_id == photos.c.id)))
        .where(photos.c.live == ZERO, owners.c.generation_id == GENERATION, owners.c.row.is_not(None))
    )
    return union_all(tombstoned, of_missing)


def _first_path() -> Any:
    """Of the photo: its first path that is still there, that of a RAW beside a picture last."""
    inner = files.alias("same")
    return (
        select(inner.c.path)
        .where(inner.c.photo_id == photos.c.id, inner.c.missing == ZERO)
        .order_by(inner.c.beside.is_not(None), inner.c.path)
        .limit(ONE)
        .offset(ZERO)
        .scalar_subquery()
    )


def _regions() -> Select[Any]:
    others, own, of_photo = regions.alias("others"), captions.alias("own"), captions.alias("of_photo")
    is_only_region = ~exists().where(
        others.c.photo_id == regions.c.photo_id,
        others.c.generation_id == regions.c.generation_id,
        others.c.id != regions.c.id,
    )
    caption = func.coalesce(
        select(own.c.text)
        .where(own.c.region_id == regions.c.id)
        .order_by(own.c.id)
        .limit(ONE)
        .offset(ZERO)
        .scalar_subquery(),
        select(of_photo.c.text)
        .where(
            of_photo.c.photo_id == photos.c.id,
            of_photo.c.generation_id == regions.c.generation_id,
            of_photo.c.region_id.is_(None),
            of_photo.c.source != OCR,
        )
        .order_by(of_photo.c.id)
        .limit(ONE)
        .offset(ZERO)
        .scalar_subquery(),
    )
    r = regions.c
    return (
        select(
            r.row, r.id, photos.c.id, files.c.path, photos.c.width, photos.c.height,
            r.x0, r.y0, r.x1, r.y1, r.origin, r.category, r.objectness, r.object,
            is_only_region, caption,
        )
        .select_from(
            _in_order(
                wanted,
                (regions, (r.generation_id == GENERATION) & (r.row == wanted.c.value)),
                (photos, photos.c.id == r.photo_id),
                (files, files.c.path == _first_path()),
            )
        )
        .order_by(wanted.c.key)
    )  # fmt: skip


def _captions() -> Select[Any]:
    c, r = captions.c, regions.c
    return (
        select(
            c.row, c.id, c.text, c.source, photos.c.id, files.c.path, photos.c.width, photos.c.height,
            r.id, *(func.coalesce(r[corner], c[corner]) for corner in ("x0", "y0", "x1", "y1")),
        )
        .select_from(
            _in_order(
                wanted,
                (captions, (c.generation_id == GENERATION) & (c.row == wanted.c.value)),
                (photos, photos.c.id == c.photo_id),
                (files, files.c.path == _first_path()),
            ).outerjoin(regions, r.id == c.region_id)
        )
        .order_by(wanted.c.key)
    )  # fmt: skip


def _region_rows() -> Select[Any]:
    """Rows of all regions of the photos wanted."""
    return (
        select(regions.c.row)
        .select_from(_in_order(wanted, (regions, regions.c.photo_id == wanted.c.value)))
        .where(regions.c.generation_id == GENERATION, regions.c.row.is_not(None))
        .order_by(wanted.c.key, regions.c.id)
    )


def _location() -> Select[Any]:
    return (
        select(regions.c.row, regions.c.photo_id)
        .where(
            regions.c.generation_id == GENERATION,
            regions.c.row.is_not(None),
            or_(
                regions.c.id == bindparam("region"),
                (regions.c.photo_id == bindparam("photo")) & (regions.c.origin == FULL_IMAGE),
            ),
        )
        .limit(ONE)
        .offset(ZERO)
    )


def _filtered(owners: Table, full_images: FullImages = "any") -> Select[Any]:
    """What a filter's conditions are added to; they call the region or caption `o`."""
    o, others = owners.alias("o"), regions.alias("others")
    found = select(o.c.row).where(o.c.generation_id == GENERATION, o.c.row.is_not(None))
    if full_images == "any":
        return found
    if full_images == "only":
        return found.where(o.c.origin == FULL_IMAGE)
    has_others = exists().where(
        others.c.photo_id == o.c.photo_id, others.c.generation_id == GENERATION, others.c.id != o.c.id
    )
    return found.where(~((o.c.origin == FULL_IMAGE) & has_others))


def _has_schema_version() -> Select[Any]:
    """1: the database has the table that says which schema it has."""
    master = table("sqlite_master", column("type"), column("name"))
    is_table = master.c.type == text_value("table")
    return select(func.count()).where(is_table, master.c.name == text_value(alembic_version.name))


def _schema_version() -> Select[Any]:
    return select(alembic_version.c.version_num)


def _generations() -> Select[Any]:
    g = generations.c
    return select(g.id, g.model, g.fingerprint, g.dim, g.active).order_by(g.id)


def _of_kind(owner: Table, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).where(owner.c.generation_id == GENERATION, owner.c.kind == KIND)


def _segments() -> Select[Any]:
    s = index_ranges.c
    columns = s.id, s.first, s.stop, s.encoded, s.residual, s.size, s.crc
    return select(*columns).where(s.index_id == INDEX).order_by(s.first)


def _search_params() -> Select[Any]:
    e = efforts.c
    return select(e.asked, e.probes, e.factor, e.recall, e.microseconds).where(e.index_id == INDEX)


def _score_quantiles() -> Select[Any]:
    d = distributions.c
    return select(d.quantiles).where(
        d.generation_id == GENERATION, d.find == bindparam("find"), d.asked == bindparam("query_kind")
    )


HOT: dict[str, ClauseElement] = {
    "HAS_SCHEMA_VERSION": _has_schema_version(),
    "SCHEMA_VERSION": _schema_version(),
    "VERSION": select(library.c.version),
    "GENERATIONS": _generations(),
    "ROW_COUNT": _of_kind(row_files, row_files.c.count),
    "DEAD_REGIONS": _dead_rows(regions),
    "DEAD_CAPTIONS": _dead_rows(captions),
    "INDEX": _of_kind(
        indexes,
        *(indexes.c[name] for name in ("id", "lists", "scale", "trained", "residual", "imbalance")),
    ),
    "SEGMENTS": _segments(),
    "SEARCH_PARAMS": _search_params(),
    "SCORE_QUANTILES": _score_quantiles(),
    "REGIONS": _regions(),
    "REGION_ROWS": _region_rows(),
    "REGION_LOCATION": _location(),
    "CAPTIONS": _captions(),
    "FILTERED_REGIONS": _filtered(regions),
    "FILTERED_REGIONS_SINGLE": _filtered(regions, "single"),
    "FILTERED_REGIONS_ONLY": _filtered(regions, "only"),
    "FILTERED_CAPTIONS": _filtered(captions),
}
"""What is generated, by the name that it has there."""


def as_sqlite(statement: ClauseElement) -> str:
    """Returns the text of a statement, with parameters as `:name`."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def columns() -> list[str]:
    """Returns every column of the catalogue as `table.column TYPE NOT NULL`."""
    dialect = sqlite.dialect()
    return [
        f"{table.name}.{column.name} {column.type.compile(dialect=dialect)}"
        + (" NOT NULL" if not column.nullable else "")
        for table in (*metadata.sorted_tables, alembic_version)
        for column in table.columns
    ]
