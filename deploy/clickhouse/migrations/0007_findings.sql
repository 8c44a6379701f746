-- What detectors say. What 0001 says of identity and versions holds here, too.

CREATE TABLE IF NOT EXISTS findings
(
    metric LowCardinality(String) COMMENT 'What changed: interval_coverage_90 is the share of handling times within their 90 % forecast intervals.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks; empty: all of them.',
    task_type LowCardinality(String) COMMENT 'Kind of work; empty: all of them.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers; empty: all of them.',
    labeler_id String COMMENT 'The labeler; empty: all of them.' CODEC(ZSTD(1)),
    at DateTime64(3, 'UTC') COMMENT 'When it was found (event time of the value that decided).' CODEC(Delta, ZSTD(1)),
    source_partition Int32 COMMENT 'Kafka partition in whose messages it was found. Each is watched by itself.',
    direction LowCardinality(String) COMMENT 'Which way it changed: down or up.',
    since DateTime64(3, 'UTC') COMMENT 'When the change probably began (event time).' CODEC(Delta, ZSTD(1)),
    baseline Float64 COMMENT 'The level before.' CODEC(ZSTD(1)),
    level Float64 COMMENT 'The level since. It exaggerates a little: a change that came with bad luck is found sooner.' CODEC(ZSTD(1)),
    answers UInt64 COMMENT 'Values that level rests on.',
    statistic Float64 COMMENT 'What speaks for a change.' CODEC(ZSTD(1)),
    threshold Float64 COMMENT 'What it had to reach: on average no more than one false finding in so many values.' CODEC(ZSTD(1)),
    source_offset UInt64 COMMENT 'Kafka offset of the message that decided. Version of the row.' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(source_offset)
PARTITION BY toYYYYMM(at)
ORDER BY (metric, project_id, task_type, vendor_id, labeler_id, at, source_partition)
SETTINGS fsync_after_insert = 1
COMMENT 'One row a change that a detector found. Identity: metric, scope, time, source partition.';

CREATE VIEW IF NOT EXISTS findings_current
(
    metric LowCardinality(String) COMMENT 'What changed: interval_coverage_90 is the share of handling times within their 90 % forecast intervals.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks; empty: all of them.',
    task_type LowCardinality(String) COMMENT 'Kind of work; empty: all of them.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers; empty: all of them.',
    labeler_id String COMMENT 'The labeler; empty: all of them.',
    at DateTime64(3, 'UTC') COMMENT 'When it was found (event time of the value that decided).',
    source_partition Int32 COMMENT 'Kafka partition in whose messages it was found. Each is watched by itself.',
    direction LowCardinality(String) COMMENT 'Which way it changed: down or up.',
    since DateTime64(3, 'UTC') COMMENT 'When the change probably began (event time).',
    baseline Float64 COMMENT 'The level before.',
    level Float64 COMMENT 'The level since. It exaggerates a little: a change that came with bad luck is found sooner.',
    answers UInt64 COMMENT 'Values that level rests on.',
    statistic Float64 COMMENT 'What speaks for a change.',
    threshold Float64 COMMENT 'What it had to reach: on average no more than one false finding in so many values.',
    source_offset UInt64 COMMENT 'Kafka offset of the message that decided. Version of the row.'
)
AS SELECT * FROM findings FINAL
COMMENT 'findings, each once. Bound at in every query.';
