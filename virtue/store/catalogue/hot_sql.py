# ruff: noqa: E501
"""The SQL of searches, generated from statements.py by `python -m tools.generate_sql`."""

HAS_SCHEMA_VERSION = """
SELECT count(*) AS count_1
FROM sqlite_master
WHERE sqlite_master.type = 'table' AND sqlite_master.name = 'alembic_version'
"""
SCHEMA_VERSION = """
SELECT alembic_version.version_num
FROM alembic_version
"""
VERSION = """
SELECT library.version
FROM library
"""
GENERATIONS = """
SELECT generations.id, generations.model, generations.fingerprint, generations.dim, generations.active
FROM generations ORDER BY generations.id
"""
ROW_COUNT = """
SELECT row_files.count
FROM row_files
WHERE row_files.generation_id = :generation AND row_files.kind = :kind
"""
DEAD_REGIONS = """
SELECT tombstones."row"
FROM tombstones
WHERE tombstones.generation_id = :generation AND tombstones.kind = :kind UNION ALL SELECT regions."row"
FROM photos CROSS JOIN regions ON regions.photo_id = photos.id
WHERE photos.live = 0 AND regions.generation_id = :generation AND regions."row" IS NOT NULL
"""
DEAD_CAPTIONS = """
SELECT tombstones."row"
FROM tombstones
WHERE tombstones.generation_id = :generation AND tombstones.kind = :kind UNION ALL SELECT captions."row"
FROM photos CROSS JOIN captions ON captions.photo_id = photos.id
WHERE photos.live = 0 AND captions.generation_id = :generation AND captions."row" IS NOT NULL
"""
INDEX = """
SELECT indexes.id, indexes.lists, indexes.scale, indexes.trained, indexes.residual, indexes.imbalance
FROM indexes
WHERE indexes.generation_id = :generation AND indexes.kind = :kind
"""
SEGMENTS = """
SELECT index_ranges.id, index_ranges.first, index_ranges.stop, index_ranges.encoded, index_ranges.residual, index_ranges.size, index_ranges.crc
FROM index_ranges
WHERE index_ranges.index_id = :index ORDER BY index_ranges.first
"""
SEARCH_PARAMS = """
SELECT efforts.asked, efforts.probes, efforts.factor, efforts.recall, efforts.microseconds
FROM efforts
WHERE efforts.index_id = :index
"""
SCORE_QUANTILES = """
SELECT distributions.quantiles
FROM distributions
WHERE distributions.generation_id = :generation AND distributions.find = :find AND distributions.asked = :query_kind
"""
REGIONS = """
SELECT regions."row", regions.id, photos.id AS id_1, files.path, photos.width, photos.height, regions.x0, regions.y0, regions.x1, regions.y1, regions.origin, regions.category, regions.objectness, regions.object, NOT (EXISTS (SELECT *
FROM regions AS others
WHERE others.photo_id = regions.photo_id AND others.generation_id = regions.generation_id AND others.id != regions.id)) AS anon_1, coalesce((SELECT own.text
FROM captions AS own
WHERE own.region_id = regions.id ORDER BY own.id
 LIMIT 1 OFFSET 0), (SELECT of_photo.text
FROM captions AS of_photo
WHERE of_photo.photo_id = photos.id AND of_photo.generation_id = regions.generation_id AND of_photo.region_id IS NULL AND of_photo.source != 'ocr' ORDER BY of_photo.id
 LIMIT 1 OFFSET 0)) AS coalesce_1
FROM json_each(:wanted) AS wanted CROSS JOIN regions ON regions.generation_id = :generation AND regions."row" = wanted.value CROSS JOIN photos ON photos.id = regions.photo_id CROSS JOIN files ON files.path = (SELECT same.path
FROM files AS same
WHERE same.photo_id = photos.id AND same.missing = 0 ORDER BY same.beside IS NOT NULL, same.path
 LIMIT 1 OFFSET 0) ORDER BY wanted."key"
"""
REGION_ROWS = """
SELECT regions."row"
FROM json_each(:wanted) AS wanted CROSS JOIN regions ON regions.photo_id = wanted.value
WHERE regions.generation_id = :generation AND regions."row" IS NOT NULL ORDER BY wanted."key", regions.id
"""
REGION_LOCATION = """
SELECT regions."row", regions.photo_id
FROM regions
WHERE regions.generation_id = :generation AND regions."row" IS NOT NULL AND (regions.id = :region OR regions.photo_id = :photo AND regions.origin = 'whole')
 LIMIT 1 OFFSET 0
"""
CAPTIONS = """
SELECT captions."row", captions.id, captions.text, captions.source, photos.id AS id_1, files.path, photos.width, photos.height, regions.id AS id_2, coalesce(regions.x0, captions.x0) AS coalesce_1, coalesce(regions.y0, captions.y0) AS coalesce_2, coalesce(regions.x1, captions.x1) AS coalesce_3, coalesce(regions.y1, captions.y1) AS coalesce_4
FROM json_each(:wanted) AS wanted CROSS JOIN captions ON captions.generation_id = :generation AND captions."row" = wanted.value CROSS JOIN photos ON photos.id = captions.photo_id CROSS JOIN files ON files.path = (SELECT same.path
FROM files AS same
WHERE same.photo_id = photos.id AND same.missing = 0 ORDER BY same.beside IS NOT NULL, same.path
 LIMIT 1 OFFSET 0) LEFT OUTER JOIN regions ON regions.id = captions.region_id ORDER BY wanted."key"
"""
FILTERED_REGIONS = """
SELECT o."row"
FROM regions AS o
WHERE o.generation_id = :generation AND o."row" IS NOT NULL
"""
FILTERED_REGIONS_SINGLE = """
SELECT o."row"
FROM regions AS o
WHERE o.generation_id = :generation AND o."row" IS NOT NULL AND NOT (o.origin = 'whole' AND (EXISTS (SELECT *
FROM regions AS others
WHERE others.photo_id = o.photo_id AND others.generation_id = :generation AND others.id != o.id)))
"""
FILTERED_REGIONS_ONLY = """
SELECT o."row"
FROM regions AS o
WHERE o.generation_id = :generation AND o."row" IS NOT NULL AND o.origin = 'whole'
"""
FILTERED_CAPTIONS = """
SELECT o."row"
FROM captions AS o
WHERE o.generation_id = :generation AND o."row" IS NOT NULL
"""
COLUMNS = frozenset(
    (
        "forgotten.hash BLOB NOT NULL",
        "forgotten.path BLOB NOT NULL",
        "forgotten.size INTEGER NOT NULL",
        "forgotten.mtime_ns INTEGER NOT NULL",
        "forgotten.forgotten_at TEXT NOT NULL",
        "generations.id INTEGER NOT NULL",
        "generations.model TEXT NOT NULL",
        "generations.fingerprint TEXT NOT NULL",
        "generations.dim INTEGER NOT NULL",
        "generations.active INTEGER NOT NULL",
        "library.version INTEGER NOT NULL",
        "photos.id INTEGER NOT NULL",
        "photos.hash BLOB NOT NULL",
        "photos.width INTEGER NOT NULL",
        "photos.height INTEGER NOT NULL",
        "photos.taken TEXT",
        "photos.camera TEXT",
        "photos.latitude FLOAT",
        "photos.longitude FLOAT",
        "photos.rating INTEGER",
        "photos.phash INTEGER NOT NULL",
        "photos.live INTEGER NOT NULL",
        "photos.read_by TEXT",
        "roots.path BLOB NOT NULL",
        "roots.options TEXT NOT NULL",
        "checksums.generation_id INTEGER NOT NULL",
        "checksums.kind VARCHAR(8) NOT NULL",
        "checksums.block INTEGER NOT NULL",
        "checksums.crc INTEGER NOT NULL",
        "distributions.generation_id INTEGER NOT NULL",
        "distributions.find VARCHAR(8) NOT NULL",
        "distributions.asked VARCHAR(8) NOT NULL",
        "distributions.rows INTEGER NOT NULL",
        "distributions.quantiles BLOB NOT NULL",
        "embeddings.photo_id INTEGER NOT NULL",
        "embeddings.generation_id INTEGER NOT NULL",
        "embeddings.settings TEXT NOT NULL",
        "files.path BLOB NOT NULL",
        "files.size INTEGER NOT NULL",
        "files.mtime_ns INTEGER NOT NULL",
        "files.sidecar TEXT",
        "files.photo_id INTEGER",
        "files.problem TEXT",
        "files.judged_by TEXT",
        "files.missing INTEGER NOT NULL",
        "files.ctime_ns INTEGER",
        "files.beside TEXT",
        "given.photo_id INTEGER NOT NULL",
        "given.content TEXT NOT NULL",
        "indexes.id INTEGER NOT NULL",
        "indexes.generation_id INTEGER NOT NULL",
        "indexes.kind VARCHAR(8) NOT NULL",
        "indexes.lists INTEGER NOT NULL",
        "indexes.scale FLOAT NOT NULL",
        "indexes.trained INTEGER NOT NULL",
        "indexes.residual FLOAT NOT NULL",
        "indexes.imbalance FLOAT NOT NULL",
        "regions.id INTEGER NOT NULL",
        "regions.photo_id INTEGER NOT NULL",
        "regions.generation_id INTEGER NOT NULL",
        "regions.row INTEGER",
        "regions.x0 FLOAT NOT NULL",
        "regions.y0 FLOAT NOT NULL",
        "regions.x1 FLOAT NOT NULL",
        "regions.y1 FLOAT NOT NULL",
        "regions.origin VARCHAR(10) NOT NULL",
        "regions.category TEXT",
        "regions.mask TEXT",
        "regions.objectness FLOAT",
        "regions.object TEXT",
        "row_files.generation_id INTEGER NOT NULL",
        "row_files.kind VARCHAR(8) NOT NULL",
        "row_files.count INTEGER NOT NULL",
        "tags.photo_id INTEGER NOT NULL",
        "tags.tag TEXT NOT NULL",
        "tombstones.generation_id INTEGER NOT NULL",
        "tombstones.kind VARCHAR(8) NOT NULL",
        "tombstones.row INTEGER NOT NULL",
        "captions.id INTEGER NOT NULL",
        "captions.photo_id INTEGER NOT NULL",
        "captions.region_id INTEGER",
        "captions.generation_id INTEGER NOT NULL",
        "captions.row INTEGER",
        "captions.text TEXT NOT NULL",
        "captions.source VARCHAR(10) NOT NULL",
        "captions.x0 FLOAT",
        "captions.y0 FLOAT",
        "captions.x1 FLOAT",
        "captions.y1 FLOAT",
        "efforts.index_id INTEGER NOT NULL",
        "efforts.asked VARCHAR(8) NOT NULL",
        "efforts.probes INTEGER NOT NULL",
        "efforts.factor INTEGER NOT NULL",
        "efforts.recall FLOAT",
        "efforts.microseconds FLOAT",
        "index_ranges.id INTEGER NOT NULL",
        "index_ranges.index_id INTEGER NOT NULL",
        "index_ranges.first INTEGER NOT NULL",
        "index_ranges.stop INTEGER NOT NULL",
        "index_ranges.encoded INTEGER NOT NULL",
        "index_ranges.residual FLOAT NOT NULL",
        "index_ranges.size INTEGER NOT NULL",
        "index_ranges.crc INTEGER NOT NULL",
        "alembic_version.version_num VARCHAR(32) NOT NULL",
    )
)
