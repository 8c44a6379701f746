-- What WATCH reads, as it stands on its topic, and which rule a finding is of. What 0001 says of identity and versions holds
-- here, too.

CREATE TABLE IF NOT EXISTS measurements
(
    app_id LowCardinality(String) COMMENT 'Consumer group of the workers that sent it.',
    arrived_at DateTime64(3, 'UTC') COMMENT 'Timestamp of the Kafka message. Retention counts from here.' CODEC(Delta, ZSTD(1)),
    source_offset UInt64 COMMENT 'Its offset in partition 0 of the topic measurements: replays go in this order.' CODEC(Delta, ZSTD(1)),
    sent_at DateTime64(3, 'UTC') COMMENT 'When it was sent (the worker''s clock). Version of the row.' CODEC(Delta, ZSTD(1)),
    kind LowCardinality(String) COMMENT 'measurements: what rules look at. rules: rules that are to be in force from here on.',
    source_partition Int32 COMMENT 'Kafka partition of the annotations that it is about; -1 for rules.',
    first_at DateTime64(3, 'UTC') COMMENT 'Earliest submit time of its answers; 1970 without any.' CODEC(Delta, ZSTD(1)),
    last_at DateTime64(3, 'UTC') COMMENT 'Latest submit time of its answers; 1970 without any.' CODEC(Delta, ZSTD(1)),
    answers UInt32 COMMENT 'Answers in it. After a crash some may be in an earlier message as well: their numbers tell.',
    payload String COMMENT 'The message, JSON (schemas/json/measurements.v1.json).' CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(sent_at)
PARTITION BY toYYYYMM(arrived_at)
ORDER BY (app_id, arrived_at, source_offset)
TTL toDateTime(arrived_at, 'UTC') + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1
COMMENT 'One row a message of the topic measurements: what thresholds backtest replays. Identity: app, arrival, offset. Kept for 400 days after arrival unless settings say otherwise.';

ALTER TABLE findings
    ADD COLUMN IF NOT EXISTS rule LowCardinality(String) COMMENT 'The rule that says so; empty for what is watched without one.',
    ADD COLUMN IF NOT EXISTS scope String COMMENT 'Its scope, as the rule has it; empty without a rule.' CODEC(ZSTD(1)),
    MODIFY ORDER BY (metric, project_id, task_type, vendor_id, labeler_id, at, source_partition, rule);

ALTER TABLE findings MODIFY COMMENT 'One row a change that a detector found. Identity: metric, scope, time, source partition, rule.';

CREATE OR REPLACE VIEW findings_current
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
    source_offset UInt64 COMMENT 'Kafka offset of the message that decided. Version of the row.',
    rule LowCardinality(String) COMMENT 'The rule that says so; empty for what is watched without one.',
    scope String COMMENT 'Its scope, as the rule has it; empty without a rule.'
)
AS SELECT * FROM findings FINAL
COMMENT 'findings, each once. Bound at in every query.';
