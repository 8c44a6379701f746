-- WATCH judges all partitions together. What 0001 says of identity and versions holds here, too.

ALTER TABLE findings
    COMMENT COLUMN source_partition 'Partition of the topic measurements whose message decided.',
    COMMENT COLUMN source_offset 'Kafka offset of that message. Version of the row.';

CREATE OR REPLACE VIEW findings_current
(
    metric LowCardinality(String) COMMENT 'What changed: interval_coverage_90 is the share of handling times within their 90 % forecast intervals.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks; empty: all of them.',
    task_type LowCardinality(String) COMMENT 'Kind of work; empty: all of them.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers; empty: all of them.',
    labeler_id String COMMENT 'The labeler; empty: all of them.',
    at DateTime64(3, 'UTC') COMMENT 'When it was found (event time of the value that decided).',
    source_partition Int32 COMMENT 'Partition of the topic measurements whose message decided.',
    direction LowCardinality(String) COMMENT 'Which way it changed: down or up.',
    since DateTime64(3, 'UTC') COMMENT 'When the change probably began (event time).',
    baseline Float64 COMMENT 'The level before.',
    level Float64 COMMENT 'The level since. It exaggerates a little: a change that came with bad luck is found sooner.',
    answers UInt64 COMMENT 'Values that level rests on.',
    statistic Float64 COMMENT 'What speaks for a change.',
    threshold Float64 COMMENT 'What it had to reach: on average no more than one false finding in so many values.',
    source_offset UInt64 COMMENT 'Kafka offset of that message. Version of the row.',
    rule LowCardinality(String) COMMENT 'The rule that says so; empty for what is watched without one.',
    scope String COMMENT 'Its scope, as the rule has it; empty without a rule.'
)
AS SELECT * FROM findings FINAL
COMMENT 'findings, each once. Bound at in every query.';
