"""What may be wrong with a library in PostgreSQL, whose server checks its own pages."""

from __future__ import annotations

from virtue.store.catalogue import queries
from virtue.store.postgres.server_connection import ServerConnection
from virtue.store.records import KINDS, Fault


def find_faults(connection: ServerConnection) -> list[Fault]:
    """Finds regions and captions whose vectors are gone."""
    found = []
    for generation in queries.generations(connection):
        for kind in KINDS:
            sql = (
                f"SELECT DISTINCT hash FROM {kind} o JOIN photos ON photos.id = photo_id "
                f"WHERE generation_id = %s AND o.row IS NOT NULL AND NOT EXISTS "
                f"(SELECT 1 FROM vectors_{generation.id:d}_{kind} v WHERE v.row = o.row) ORDER BY 1"
            )
            hashes = tuple(hash for (hash,) in connection.query(sql, (generation.id,)))
            if hashes:
                what = f"{kind} of {len(hashes)} photos have lost their vectors"
                found.append(Fault("rows", what, hashes))
    return found
