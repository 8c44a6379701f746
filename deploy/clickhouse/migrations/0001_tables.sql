-- Tables. Columns are schemas/rows.py, field by field. Every table is a ReplacingMergeTree: ORDER BY is the
-- row's identity, the engine's argument its version, so that writing a row again changes nothing and writing
-- a later one replaces it. Read through the views of 0002 and 0003, or with FINAL.
-- The partition of a row follows from its identity, or two versions of it would never meet.
-- fsync_after_insert: a worker acknowledges its Kafka offsets once the insert has returned.

CREATE TABLE IF NOT EXISTS annotation_scores
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labeler.',
    submitted_at DateTime64(3, 'UTC') COMMENT 'When the answer was submitted (event time).' CODEC(Delta, ZSTD(1)),
    task_id String COMMENT 'The thing that was labelled.' CODEC(ZSTD(1)),
    event_id String COMMENT 'The annotation event; the same id again is a duplicate.' CODEC(ZSTD(1)),
    labeler_id String COMMENT 'The person or model that answered.' CODEC(ZSTD(1)),
    labeler_kind LowCardinality(String) COMMENT 'human or model.',
    label_kind LowCardinality(String) COMMENT 'class, multiclass, rating, text or span.',
    label String COMMENT 'The answer in canonical form: equal answers are equal strings.' CODEC(ZSTD(1)),
    gold_label Nullable(String) COMMENT 'The known answer; NULL when the task is not gold.' CODEC(ZSTD(1)),
    gold_correct Nullable(Bool) COMMENT 'Whether the answer is the known one; NULL when the task is not gold.',
    agrees_with_consensus Nullable(Bool) COMMENT 'Whether the answer is what the task''s earlier answers suggest; NULL when there is no consensus yet.',
    started_at DateTime64(3, 'UTC') COMMENT 'When work on the answer began.' CODEC(Delta, ZSTD(1)),
    handling_seconds Float64 COMMENT 'Seconds of active work on this annotation.' CODEC(ZSTD(1)),
    expected_handling_seconds Nullable(Float64) COMMENT 'Forecast made before the answer was seen; NULL without one.' CODEC(ZSTD(1)),
    is_revision Bool COMMENT 'The same labeler answered this task before, with another event.',
    is_late Bool COMMENT 'Arrived after the watermark had passed its window.',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the event was appended to Kafka. Retention counts from here, so that replayed history stays.' CODEC(Delta, ZSTD(1)),
    source_partition Int32 COMMENT 'Kafka partition it was read from.',
    source_offset UInt64 COMMENT 'Kafka offset it was read from. Version of the row.' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(source_offset)
PARTITION BY toYYYYMM(submitted_at)
ORDER BY (project_id, task_type, vendor_id, submitted_at, task_id, event_id)
TTL toDateTime(ingested_at, 'UTC') + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1
COMMENT 'One row an annotation. Identity: project, task type, vendor, submit time, task, event. Kept for 400 days after arrival unless settings say otherwise.';

CREATE TABLE IF NOT EXISTS task_confidence
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The thing that is labelled.' CODEC(ZSTD(1)),
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    consensus_label String COMMENT 'Most frequent answer, in canonical form; empty for free text and spans.' CODEC(ZSTD(1)),
    confidence Float64 COMMENT 'Share of answers that gave the consensus label; not calibrated; 1 with a single answer; 0 without consensus.' CODEC(ZSTD(1)),
    labels UInt32 COMMENT 'Labelers whose answers are in it; a revision replaces its labeler''s answer.',
    gold_label Nullable(String) COMMENT 'The known answer; NULL when the task is not gold.' CODEC(ZSTD(1)),
    last_submitted_at DateTime64(3, 'UTC') COMMENT 'Submit time of the latest answer.' CODEC(Delta, ZSTD(1)),
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project_id, task_id)
SETTINGS fsync_after_insert = 1
COMMENT 'What a task''s answer is now believed to be. Free text and spans are not compared: such a task has a row only if it is gold, with an empty consensus and confidence 0. Identity: project, task.';

CREATE TABLE IF NOT EXISTS reviews
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The task that was reviewed.' CODEC(ZSTD(1)),
    labeler_id String COMMENT 'Whose answer was judged; empty when the verdict is about the task alone.' CODEC(ZSTD(1)),
    reviewer_id String COMMENT 'Who judged.' CODEC(ZSTD(1)),
    reviewed_at DateTime64(3, 'UTC') COMMENT 'When the verdict was given (event time).' CODEC(Delta, ZSTD(1)),
    true_label Nullable(String) COMMENT 'The task''s true label in canonical form, where the verdict tells it.' CODEC(ZSTD(1)),
    accepted Nullable(Bool) COMMENT 'Whether the answer was accepted, where the verdict says so.',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the event was appended to Kafka.' CODEC(Delta, ZSTD(1)),
    source_partition Int32 COMMENT 'Kafka partition it was read from.',
    source_offset UInt64 COMMENT 'Kafka offset it was read from. Version of the row.' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(source_offset)
ORDER BY (project_id, task_id, labeler_id, reviewer_id, reviewed_at)
SETTINGS fsync_after_insert = 1
COMMENT 'One row a verdict. Identity: project, task, labeler, reviewer, review time.';

CREATE TABLE IF NOT EXISTS window_partials
(
    window_start DateTime64(3, 'UTC') COMMENT 'Start of the one-minute window (event time).' CODEC(Delta, ZSTD(1)),
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers.',
    source_partition Int32 COMMENT 'Kafka partition whose share of the window this is.',
    first_offset UInt64 COMMENT 'First Kafka offset in it. A closed window that gets late annotations starts another partial.',
    last_offset UInt64 COMMENT 'Last Kafka offset in it. Version of the row.',
    annotations UInt32 COMMENT 'Annotations in it: revisions and late ones included, duplicates not.',
    revisions UInt32 COMMENT 'Annotations whose labeler had answered the task before.',
    duplicates UInt32 COMMENT 'Repeated events that were dropped.',
    late UInt32 COMMENT 'Annotations that arrived after the watermark had passed the window.',
    gold_seen UInt32 COMMENT 'Annotations of tasks whose answer is known.',
    gold_right UInt32 COMMENT 'Those of gold_seen that gave the known answer.',
    consensus_seen UInt32 COMMENT 'Annotations that could be compared with a consensus of earlier answers.',
    consensus_agreed UInt32 COMMENT 'Those of consensus_seen that agreed with it.',
    handling_microseconds UInt64 COMMENT 'Sum of handling time, microseconds.',
    handling_sketch Map(Int16, UInt32) COMMENT 'Handling time histogram: bucket i counts seconds in (1.02^(i-1), 1.02^i]; 0.001 s and less are in its bucket.' CODEC(ZSTD(1)),
    forecast_seen UInt32 COMMENT 'Annotations with a forecast of handling time.',
    forecast_microseconds UInt64 COMMENT 'Sum of the forecasts, microseconds.',
    forecast_error_microseconds UInt64 COMMENT 'Sum of absolute forecast errors, microseconds.',
    task_hashes Array(UInt64) COMMENT 'The 512 smallest distinct 64-bit hashes of task ids (k minimum values): distinct counts that merge.' CODEC(ZSTD(1)),
    labeler_hashes Array(UInt64) COMMENT 'The same of labeler ids.' CODEC(ZSTD(1)),
    label_histogram Map(String, UInt32) COMMENT 'Annotations by answer.' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(last_offset)
PARTITION BY toYYYYMM(window_start)
ORDER BY (window_start, project_id, task_type, vendor_id, source_partition, first_offset)
SETTINGS fsync_after_insert = 1
COMMENT 'One source partition''s share of a one-minute window of a segment, always whole; additive measures only. Identity: window, segment, source partition, first offset.';

CREATE TABLE IF NOT EXISTS dead_letters
(
    origin_topic LowCardinality(String) COMMENT 'Topic the message was read from.',
    origin_partition Int32 COMMENT 'Kafka partition it was read from.',
    origin_offset UInt64 COMMENT 'Kafka offset it was read from.',
    origin_key String COMMENT 'The message''s key, as text.' CODEC(ZSTD(1)),
    reason LowCardinality(String) COMMENT 'Why it was refused, such as not_json.',
    detail String COMMENT 'One sentence for a person: what was wrong, with field and value.' CODEC(ZSTD(1)),
    first_bytes String COMMENT 'The beginning of the message, to look at. The whole of it is on the dead-letter topic.' CODEC(ZSTD(1)),
    payload_bytes UInt64 COMMENT 'Size of the whole message.',
    failed_at DateTime64(3, 'UTC') COMMENT 'When the message was appended to its topic.' CODEC(Delta, ZSTD(1)),
    status LowCardinality(String) COMMENT 'What became of it: open, replayed or dropped.',
    version UInt64 COMMENT 'Grows with every change of status. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (origin_topic, origin_partition, origin_offset)
SETTINGS fsync_after_insert = 1
COMMENT 'Input that can never be used. Identity: origin.';

CREATE TABLE IF NOT EXISTS source_progress
(
    app_id LowCardinality(String) COMMENT 'Consumer group.',
    topic LowCardinality(String) COMMENT 'Topic that is read.',
    source_partition Int32 COMMENT 'Its partition.',
    last_offset Int64 COMMENT 'Last Kafka offset that was handled; -1 before the first.',
    watermark DateTime64(3, 'UTC') COMMENT 'No earlier event is expected; 1970 before the first.',
    received UInt64 COMMENT 'Messages read, from the beginning.',
    accepted UInt64 COMMENT 'Messages that became annotations or reviews.',
    duplicates UInt64 COMMENT 'Repeated events that were dropped.',
    dead_letters UInt64 COMMENT 'Messages that were refused.',
    is_idle Bool COMMENT 'Read to its end and silent since, as its worker last said: it holds no window back.',
    updated_at DateTime64(3, 'UTC') COMMENT 'When this was written.',
    version UInt64 COMMENT 'Grows with every write. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (app_id, topic, source_partition)
SETTINGS fsync_after_insert = 1
COMMENT 'How far each source partition has been read, and what became of its messages. Identity: app, topic, partition.';

-- Not partitioned: one insert of one block then makes one part, which appears whole or not at all.
-- The cleanup setting permits OPTIMIZE TABLE state FINAL CLEANUP, which drops deleted rows for good.
CREATE TABLE IF NOT EXISTS state
(
    app_id LowCardinality(String) COMMENT 'Consumer group.',
    source_partition Int32 COMMENT 'Kafka partition whose owner keeps this value.',
    kind LowCardinality(String) COMMENT 'What it is, such as position or task.',
    key String COMMENT 'Which one of them.' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Last source offset that the value includes. Version of the row.' CODEC(ZSTD(1)),
    codec_version UInt16 COMMENT 'How payload is written; an unknown one is refused.',
    payload String COMMENT 'The value.' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1: the value is gone.'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (app_id, source_partition, kind, key)
SETTINGS fsync_after_insert = 1, allow_experimental_replacing_merge_with_cleanup = 1
COMMENT 'State of the workers, read when a partition is taken over. Identity: app, partition, kind, key.';

CREATE TABLE IF NOT EXISTS partition_claims
(
    app_id LowCardinality(String) COMMENT 'Consumer group.',
    source_partition Int32 COMMENT 'Kafka partition.',
    epoch UInt64 COMMENT 'Grows with every claim. Version of the row: the highest owns the partition.',
    worker_id String COMMENT 'Who claims it.',
    claimed_at DateTime64(3, 'UTC') COMMENT 'When.'
)
ENGINE = ReplacingMergeTree(epoch)
ORDER BY (app_id, source_partition)
SETTINGS fsync_after_insert = 1
COMMENT 'Who owns each source partition. Identity: app, partition.';
