"""Values in the catalogue that nothing wrote and that searches or indexing could not read."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Float, LargeBinary
from sqlalchemy.engine import Connection

from virtue.store.catalogue import schema
from virtue.store.catalogue.database import AnyConnection
from virtue.store.catalogue.given import is_given
from virtue.store.catalogue.queries import are_quantiles, fetch
from virtue.store.records import MAX_SIDE, Fault, TextChecks

WRONG_SIZE = f"NOT (width BETWEEN 1 AND {MAX_SIDE} AND height BETWEEN 1 AND {MAX_SIDE})"
WRONG_BOX = "NOT (x0 < x1 AND y0 < y1 AND x0 > -1e300 AND y0 > -1e300 AND x1 < 1e300 AND y1 < 1e300)"

WRONG_CAPTION_BOX = (
    f"((x0 IS NULL) + (y0 IS NULL) + (x1 IS NULL) + (y1 IS NULL) NOT IN (0, 4) OR {WRONG_BOX})"
)
"""Only lines of text that were read have one."""


def find_value_faults(connection: AnyConnection, checks: TextChecks | None) -> Iterator[Fault]:
    """Finds values of another type than their column's, and what is no path, size, box, text or settings."""
    of_type = list(_find_type_faults(connection))
    yield from of_type
    if not all(fault.repairable for fault in of_type):
        return
    for what, sql in (
        ("photos have no size", f"SELECT hash FROM photos WHERE {WRONG_SIZE}"),
        (
            "regions are no boxes",
            f"SELECT hash FROM regions JOIN photos ON photos.id = photo_id WHERE {WRONG_BOX}",
        ),
        (
            "lines of text have no boxes",
            f"SELECT hash FROM captions JOIN photos ON photos.id = photo_id WHERE {WRONG_CAPTION_BOX}",
        ),
    ):
        hashes = [hash for (hash,) in fetch(connection, sql)]
        if hashes:
            yield Fault("value", f"{len(hashes)} {what}", tuple(sorted(set(hashes))))
    given = _unreadable_given(connection)
    if given:
        yield Fault("value", f"ratings and tags that were given for {len(given)} photos cannot be read")
    broken = _broken_distributions(connection)
    if broken:
        yield Fault("value", f"the distributions of scores of {len(broken)} kinds of query cannot be read")
    if checks is None:
        return
    lost = tuple(sorted(_unreadable_settings(connection, checks)))
    if lost:
        yield Fault("value", f"the settings of {len(lost)} photos cannot be read", lost)
    masks = _unreadable_masks(connection, checks)
    if masks:
        yield Fault("value", f"the masks of {len(masks)} regions cannot be read")
    roots = _unreadable_roots(connection, checks)
    if roots:
        yield Fault(
            "value", f"the options of {len(roots)} indexed folders cannot be read", paths=tuple(roots)
        )


def repair_values(connection: Connection, checks: TextChecks | None) -> None:
    """Repairs what can be repaired of them. The vectors of photos that are concerned were dropped before."""
    for table in ("files", "roots"):
        connection.exec_driver_sql(
            f"UPDATE OR IGNORE {table} SET path = CAST(path AS BLOB) WHERE typeof(path) = 'text'"
        )
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE typeof(path) = 'text'")  # known rightly too
    no_box = f"SELECT id FROM regions WHERE {WRONG_BOX}"
    connection.exec_driver_sql(f"UPDATE captions SET region_id = NULL WHERE region_id IN ({no_box})")
    connection.exec_driver_sql(f"DELETE FROM regions WHERE id IN ({no_box})")
    no_box = f"FROM captions WHERE {WRONG_CAPTION_BOX}"
    connection.exec_driver_sql(f"UPDATE photos SET read_by = NULL WHERE id IN (SELECT photo_id {no_box})")
    connection.exec_driver_sql(f"DELETE {no_box}")
    for photo in _unreadable_given(connection):
        connection.exec_driver_sql("DELETE FROM given WHERE photo_id = ?", (photo,))
    for key in _broken_distributions(connection):
        connection.exec_driver_sql(
            "DELETE FROM distributions WHERE generation_id = ? AND find = ? AND asked = ?", key
        )
    if checks is not None:
        for region in _unreadable_masks(connection, checks):
            connection.exec_driver_sql("UPDATE regions SET mask = NULL WHERE id = ?", (region,))
        for path in _unreadable_roots(connection, checks):
            new = (checks.default_options, path)
            connection.exec_driver_sql("UPDATE roots SET options = ? WHERE path = ?", new)


def _find_type_faults(connection: AnyConnection) -> Iterator[Fault]:
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            if column is schema.distributions.c.quantiles:  # which can be measured again
                continue
            name = f'"{column.name}"'
            kind = _type_of(column.type)
            sql = f"SELECT count(*) FROM {table.name} WHERE typeof({name}) NOT IN (?, 'null')"
            ((wrong,),) = fetch(connection, sql, (kind,))
            if wrong:
                is_path = column.name == "path" and table.name in ("files", "roots")
                texts = f"SELECT count(*) FROM {table.name} WHERE typeof({name}) = 'text'"
                mendable = is_path and fetch(connection, texts)[0][0] == wrong
                what = f"{wrong} values of {table.name}.{column.name} are of another type than {kind}"
                yield Fault("value", what, repairable=mendable)
            if kind == "text" and _has_no_text(connection, table.name, name):
                what = f"values of {table.name}.{column.name} are no text"
                yield Fault("value", what, repairable=False)


def _type_of(type: object) -> str:
    if isinstance(type, LargeBinary):
        return "blob"
    if isinstance(type, Float):
        return "real"
    return "text" if isinstance(type, schema.Text | schema.String) else "integer"


def _has_no_text(connection: AnyConnection, table: str, column: str) -> bool:
    sql = f"SELECT DISTINCT CAST({column} AS BLOB) FROM {table} WHERE typeof({column}) = 'text'"
    for (content,) in fetch(connection, sql):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return True
    return False


def _broken_distributions(connection: AnyConnection) -> list[tuple[int, str, str]]:
    sql = "SELECT generation_id, find, asked, CAST(quantiles AS BLOB) FROM distributions"
    return [tuple(key) for *key, content in fetch(connection, sql) if not are_quantiles(content)]


def _unreadable_given(connection: AnyConnection) -> list[int]:
    sql = "SELECT photo_id, content FROM given"
    return [photo for photo, text in fetch(connection, sql) if not is_given(text)]


def _unreadable_settings(connection: AnyConnection, checks: TextChecks) -> set[bytes]:
    known = [text for (text,) in fetch(connection, "SELECT DISTINCT settings FROM embeddings")]
    wrong = [text for text in known if not checks.is_settings(text)]
    sql = "SELECT hash FROM embeddings JOIN photos ON photos.id = photo_id WHERE settings = ?"
    return {hash for text in wrong for (hash,) in fetch(connection, sql, (text,))}


def _unreadable_masks(connection: AnyConnection, checks: TextChecks) -> list[int]:
    sql = (
        "SELECT regions.id, mask, width, height FROM regions JOIN photos ON photos.id = photo_id "
        "WHERE mask IS NOT NULL"
    )
    return [id for id, *mask in fetch(connection, sql) if not checks.is_mask(*mask)]


def _unreadable_roots(connection: AnyConnection, checks: TextChecks) -> list[bytes]:
    roots = fetch(connection, "SELECT path, options FROM roots")
    return [path for path, options in roots if not checks.is_options(options)]
