# ruff: noqa: E501
"""The SQL of searches, generated from statements.py by `python -m tools.generate_sql`."""

HAS_SCHEMA_VERSION = """
SELECT count(*) AS count_1
FROM sqlite_master
WHERE sqlite_master.name = 'alembic_version'
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
SELECT regions."row", regions.id, photos.id AS id_1, files.path, photos.width, photos.height, regions.x0, regions.y0, regions.x1, regions.y1, regions.origin, regions.category, NOT (EXISTS (SELECT *
FROM regions AS others
WHERE others.photo_id = regions.photo_id AND others.generation_id = regions.generation_id AND others.id != regions.id)) AS anon_1, coalesce((SELECT own.text
FROM captions AS own
WHERE own.region_id = regions.id ORDER BY own.id
 LIMIT 1 OFFSET 0), (SELECT of_photo.text
FROM captions AS of_photo
WHERE of_photo.photo_id = photos.id AND of_photo.generation_id = regions.generation_id AND of_photo.region_id IS NULL ORDER BY of_photo.id
 LIMIT 1 OFFSET 0)) AS coalesce_1
FROM json_each(:wanted) AS wanted CROSS JOIN regions ON regions.generation_id = :generation AND regions."row" = wanted.value CROSS JOIN photos ON photos.id = regions.photo_id CROSS JOIN files ON files.path = (SELECT min(same.path) AS min_1
FROM files AS same
WHERE same.photo_id = photos.id AND same.missing = 0) ORDER BY wanted."key"
"""
REGION_ROWS = """
SELECT regions."row"
FROM json_each(:wanted) AS wanted CROSS JOIN regions ON regions.photo_id = wanted.value
WHERE regions.generation_id = :generation AND regions."row" IS NOT NULL
"""
REGION_LOCATION = """
SELECT regions."row", regions.photo_id
FROM regions
WHERE regions.generation_id = :generation AND regions."row" IS NOT NULL AND (regions.id = :region OR regions.photo_id = :photo AND regions.origin = 'whole')
 LIMIT 1 OFFSET 0
"""
CAPTIONS = """
SELECT captions."row", captions.id, captions.text, captions.source, photos.id AS id_1, files.path, photos.width, photos.height, regions.id AS id_2, regions.x0, regions.y0, regions.x1, regions.y1
FROM json_each(:wanted) AS wanted CROSS JOIN captions ON captions.generation_id = :generation AND captions."row" = wanted.value CROSS JOIN photos ON photos.id = captions.photo_id CROSS JOIN files ON files.path = (SELECT min(same.path) AS min_1
FROM files AS same
WHERE same.photo_id = photos.id AND same.missing = 0) LEFT OUTER JOIN regions ON regions.id = captions.region_id ORDER BY wanted."key"
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
