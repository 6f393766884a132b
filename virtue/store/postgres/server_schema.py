"""The tables of a library in PostgreSQL: SQLite's (catalogue/schema.py), with types of PostgreSQL's, and what
is added for vectors, tokens and hashes. Scripts are only ever appended: each is run once."""

from __future__ import annotations

from virtue.errors import SchemaError, StoreError
from virtue.store.postgres.server_connection import ServerConnection, psycopg

SCHEMA = "virtue"
"""The schema that a library has for itself in its database."""
MIN_SERVER = 180_000
"""PostgreSQL 18: it folds the case of text as Python does."""
MIN_PGVECTOR = (0, 8)
"""The first that goes on looking in an index until enough rows pass a filter."""

_FIRST = """
CREATE TABLE library (version bigint NOT NULL);
INSERT INTO library VALUES (0);
CREATE TABLE last_ids (name text PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE generations (
    id bigint PRIMARY KEY, model text NOT NULL, fingerprint text NOT NULL UNIQUE, dim bigint NOT NULL,
    active boolean NOT NULL
);
CREATE TABLE row_files (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, kind text, count bigint NOT NULL,
    PRIMARY KEY (generation_id, kind)
);
CREATE TABLE tombstones (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, kind text, row bigint,
    PRIMARY KEY (generation_id, kind, row)
);
CREATE TABLE roots (path bytea PRIMARY KEY, options text NOT NULL);
CREATE TABLE photos (
    id bigint PRIMARY KEY, hash bytea NOT NULL UNIQUE, width bigint NOT NULL, height bigint NOT NULL,
    taken text COLLATE "C", camera text COLLATE "C", latitude double precision, longitude double precision,
    rating bigint, phash bigint NOT NULL, live boolean NOT NULL, read_by text COLLATE "C"
);
CREATE INDEX photos_dead ON photos (id) WHERE NOT live;
CREATE TABLE tags (
    photo_id bigint REFERENCES photos ON DELETE CASCADE, tag text COLLATE "C", PRIMARY KEY (photo_id, tag)
);
CREATE INDEX tags_tag ON tags USING hash (tag);
CREATE TABLE given (photo_id bigint PRIMARY KEY REFERENCES photos ON DELETE CASCADE, content text NOT NULL);
CREATE TABLE files (
    path bytea PRIMARY KEY, size bigint NOT NULL, mtime_ns bigint NOT NULL, sidecar text,
    photo_id bigint REFERENCES photos, problem text, judged_by text, missing boolean NOT NULL,
    ctime_ns bigint, beside text, CHECK (photo_id IS NOT NULL OR problem IS NOT NULL)
);
CREATE INDEX files_photo_id ON files (photo_id);
CREATE TABLE forgotten (
    hash bytea PRIMARY KEY, path bytea NOT NULL, size bigint NOT NULL, mtime_ns bigint NOT NULL,
    forgotten_at text NOT NULL
);
CREATE TABLE embeddings (
    photo_id bigint REFERENCES photos ON DELETE CASCADE,
    generation_id bigint REFERENCES generations ON DELETE CASCADE, settings text NOT NULL,
    PRIMARY KEY (photo_id, generation_id)
);
CREATE INDEX embeddings_generation_id ON embeddings (generation_id);
CREATE TABLE regions (
    id bigint PRIMARY KEY, photo_id bigint NOT NULL REFERENCES photos ON DELETE CASCADE,
    generation_id bigint NOT NULL REFERENCES generations ON DELETE CASCADE, row bigint,
    x0 double precision NOT NULL, y0 double precision NOT NULL, x1 double precision NOT NULL,
    y1 double precision NOT NULL, origin text COLLATE "C" NOT NULL, category text COLLATE "C", mask text,
    objectness double precision, object text COLLATE "C", UNIQUE (row, generation_id)
);
CREATE INDEX regions_photo_id ON regions (photo_id);
CREATE TABLE captions (
    id bigint PRIMARY KEY, photo_id bigint NOT NULL REFERENCES photos ON DELETE CASCADE,
    region_id bigint REFERENCES regions ON DELETE CASCADE,
    generation_id bigint NOT NULL REFERENCES generations ON DELETE CASCADE, row bigint,
    text text COLLATE "C" NOT NULL, source text COLLATE "C" NOT NULL, x0 double precision,
    y0 double precision, x1 double precision, y1 double precision, UNIQUE (row, generation_id)
);
CREATE INDEX captions_photo_id ON captions (photo_id);
CREATE INDEX captions_region_id ON captions (region_id);
CREATE TABLE distributions (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, find text, asked text,
    rows bigint NOT NULL, quantiles bytea NOT NULL, PRIMARY KEY (generation_id, find, asked)
);
CREATE TABLE bit_indexes (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, kind text, asked text,
    factor bigint NOT NULL, recall double precision, microseconds double precision,
    PRIMARY KEY (generation_id, kind, asked)
);

-- Ids never come back: the last of each table is kept, as SQLite keeps it.
CREATE FUNCTION note_last_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO last_ids SELECT TG_TABLE_NAME, max(id) FROM added HAVING max(id) IS NOT NULL
    ON CONFLICT (name) DO UPDATE SET seq = greatest(last_ids.seq, excluded.seq);
    RETURN NULL;
END $$;
CREATE TRIGGER last_id AFTER INSERT ON generations REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_last_id();
CREATE TRIGGER last_id AFTER INSERT ON photos REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_last_id();
CREATE TRIGGER last_id AFTER INSERT ON regions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_last_id();
CREATE TRIGGER last_id AFTER INSERT ON captions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_last_id();

-- A row that dies takes its vector along.
CREATE FUNCTION drop_vector() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DELETE FROM vectors_%s_%s WHERE row = $1', NEW.generation_id, NEW.kind) USING NEW.row;
    RETURN NULL;
END $$;
CREATE TRIGGER drop_vector AFTER INSERT ON tombstones FOR EACH ROW EXECUTE FUNCTION drop_vector();

CREATE FUNCTION numbers_of(list text, OUT key bigint, OUT value bigint) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT o, e::bigint FROM json_array_elements_text(list::json) WITH ORDINALITY AS found(e, o) $$;

-- Text without upper and lower case, and with accents composed in one way.
CREATE FUNCTION folded(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT normalize(casefold(normalize(value, NFC) COLLATE pg_unicode_fast), NFC) $$;
-- File names in no encoding are read byte for byte.
CREATE FUNCTION text_of(path bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(path, 'UTF8');
EXCEPTION WHEN OTHERS THEN
    RETURN convert_from(path, 'LATIN1');
END $$;
CREATE FUNCTION matches(value text, pattern text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT folded(value) COLLATE "C" ~ pattern $$;
CREATE FUNCTION matches(path bytea, pattern text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT folded(text_of(path)) COLLATE "C" ~ pattern $$;

-- Tokens of captions and of names, which virtue/tokens.py makes; a document's id is called as in SQLite.
CREATE TABLE caption_tokens (rowid bigint PRIMARY KEY, tokens text COLLATE "C" NOT NULL);
CREATE TABLE name_tokens (rowid bigint PRIMARY KEY, tokens text COLLATE "C" NOT NULL);
CREATE INDEX caption_tokens_tokens ON caption_tokens
    USING gin (array_to_tsvector(string_to_array(tokens, ' ')));
CREATE INDEX name_tokens_tokens ON name_tokens USING gin (array_to_tsvector(string_to_array(tokens, ' ')));

-- Nine bands of a perceptual hash: two that differ in at most eight bits share one.
CREATE FUNCTION bands_of(phash bigint) RETURNS bigint[] LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT array_agg(band << 16 | ((phash >> (7 * band::int)) & (CASE band WHEN 8 THEN 255 ELSE 127 END)))
    FROM generate_series(0::bigint, 8) AS band
$$;
CREATE INDEX photos_bands ON photos USING gin (bands_of(phash));
"""

# Before, a name in no encoding was read as Latin-1, so that it was like one whose letters it has by chance.
_BYTES_OF_NO_ENCODING = r"""
CREATE OR REPLACE FUNCTION text_of(path bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(path, 'UTF8');
EXCEPTION WHEN OTHERS THEN
    -- What is UTF-8 as such; each other byte as a character for private use.
    RETURN (
        SELECT string_agg(
            CASE WHEN length(part[1]) = 1 AND ascii(part[1]) > 127 THEN chr(x'10FC00'::int + ascii(part[1]))
            ELSE convert_from(convert_to(part[1], 'LATIN1'), 'UTF8') END, '' ORDER BY place)
        FROM regexp_matches(convert_from(path, 'LATIN1'),
            '([\x01-\x7f]+|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]'
            '|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]'
            '|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}|.)', 'g'
        ) WITH ORDINALITY AS found(part, place)
    );
END $$;
"""

# Indexes of signs take the mean of all vectors off before. Those of before are built again.
_MEANS = """
CREATE TABLE index_means (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, kind text, mean text NOT NULL,
    PRIMARY KEY (generation_id, kind)
);
DELETE FROM bit_indexes;
"""

# Files that several processes work on, and those processes.
_JOBS = """
CREATE TABLE workers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, fills boolean NOT NULL,
    seen_until timestamptz NOT NULL
);
CREATE TABLE jobs (
    work text, path bytea, number bigint GENERATED ALWAYS AS IDENTITY, size bigint NOT NULL,
    mtime_ns bigint NOT NULL, ctime_ns bigint, stamp text, pictures bytea[] NOT NULL, beside text,
    regions bigint NOT NULL, is_named boolean NOT NULL, hash bytea, owner bigint,
    tries bigint NOT NULL DEFAULT 0, ready_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (work, path)
);
CREATE INDEX jobs_number ON jobs (work, number);
CREATE INDEX jobs_free ON jobs (work) WHERE owner IS NULL;
CREATE UNIQUE INDEX jobs_hash ON jobs (work, hash) WHERE hash IS NOT NULL;
"""

_MILVUS = """
-- The vectors of this library lie in Milvus, in collections whose names begin so; no row: they lie here.
CREATE TABLE milvus (prefix text NOT NULL);
-- Vectors there whose rows have died, to be deleted.
CREATE TABLE dead_vectors (
    generation_id bigint REFERENCES generations ON DELETE CASCADE, kind text, row bigint,
    PRIMARY KEY (generation_id, kind, row)
);
-- Photos of which something has changed since it was copied there for filters.
CREATE TABLE restated (photo_id bigint PRIMARY KEY);

CREATE OR REPLACE FUNCTION drop_vector() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM milvus) THEN
        INSERT INTO dead_vectors VALUES (NEW.generation_id, NEW.kind, NEW.row) ON CONFLICT DO NOTHING;
    ELSE
        EXECUTE format('DELETE FROM vectors_%s_%s WHERE row = $1', NEW.generation_id, NEW.kind) USING NEW.row;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION note_restated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    photo bigint := (said ->> TG_ARGV[0])::bigint;
BEGIN
    IF EXISTS (SELECT 1 FROM milvus) AND EXISTS (SELECT 1 FROM regions WHERE photo_id = photo) THEN
        INSERT INTO restated VALUES (photo) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER restated AFTER UPDATE OF taken, camera, latitude, longitude, rating ON photos
    FOR EACH ROW WHEN (ROW(OLD.taken, OLD.camera, OLD.latitude, OLD.longitude, OLD.rating)
        IS DISTINCT FROM ROW(NEW.taken, NEW.camera, NEW.latitude, NEW.longitude, NEW.rating))
    EXECUTE FUNCTION note_restated('id');
CREATE TRIGGER restated AFTER INSERT OR DELETE ON tags
    FOR EACH ROW EXECUTE FUNCTION note_restated('photo_id');
CREATE TRIGGER restated AFTER UPDATE OF category, object ON regions
    FOR EACH ROW WHEN (ROW(OLD.category, OLD.object) IS DISTINCT FROM ROW(NEW.category, NEW.object))
    EXECUTE FUNCTION note_restated('photo_id');
"""

SCRIPTS = (_FIRST, _BYTES_OF_NO_ENCODING, _MEANS, _JOBS, _MILVUS)


def prepare(connection: ServerConnection, name: str, *, create: bool, read_only: bool) -> bool:
    """Makes the tables, or brings those of an older virtue up to date; returns whether there are any.

    Raises:
        SchemaError: they are of a newer virtue, or of an older one, and `read_only`.
        StoreError: this server is too old, or has no pgvector.
    """
    if connection.driver.info.server_version < MIN_SERVER:
        raise StoreError(f"the library {name} needs PostgreSQL 18 or newer: use another server")
    found = _version(connection)
    if found is None and (read_only or not create):
        return False
    if found is not None and found > len(SCRIPTS):
        raise SchemaError(
            f"the library {name} was written by a newer virtue (schema {found}, this one knows "
            f"{len(SCRIPTS)}): upgrade virtue"
        )
    if found == len(SCRIPTS):
        return True
    if read_only:
        raise SchemaError(
            f"the library {name} was written by an older virtue: open it once for writing, which brings it "
            "up to date"
        )
    connection.run("BEGIN; SELECT pg_advisory_xact_lock(hashtext('virtue: schema'))")
    try:
        _require_pgvector(connection, name)
        connection.run(
            f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}; SET LOCAL search_path = {SCHEMA}, public; "
            "CREATE TABLE IF NOT EXISTS schema_version (number bigint NOT NULL)"
        )
        done = connection.query("SELECT coalesce(max(number), 0) FROM schema_version")[0][0]
        for number, script in enumerate(SCRIPTS[done:], done + 1):
            connection.run(script)
            connection.query("INSERT INTO schema_version VALUES (%s) RETURNING 1", (number,))
        connection.run("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return True


def _version(connection: ServerConnection) -> int | None:
    """Returns how many scripts were run; None: there is no library in this database."""
    sql = "SELECT to_regclass(%s) IS NOT NULL"
    if not connection.query(sql, (f"{SCHEMA}.schema_version",))[0][0]:
        return None
    found = connection.query(f"SELECT max(number) FROM {SCHEMA}.schema_version")
    return None if found[0][0] is None else int(found[0][0])


def _require_pgvector(connection: ServerConnection, name: str) -> None:
    why = "ask who keeps it for pgvector 0.8 or newer (CREATE EXTENSION vector)"
    try:
        connection.run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise StoreError(f"the server of the library {name} has no pgvector: {why}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(f"the database of the library {name} has no pgvector yet: {why}") from error
    found = connection.query("SELECT extversion FROM pg_extension WHERE extname = 'vector'")[0][0]
    if tuple(map(int, found.split(".")[:2])) < MIN_PGVECTOR:
        raise StoreError(f"the server of the library {name} has pgvector {found}: {why}")
