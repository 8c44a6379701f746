-- Each row of a table once, as it is now; and which minutes are complete.

-- Whether a minute is complete: no more annotations are expected, unless late. Not a column of quality_by_minute,
-- because it changes with the clock. A source partition that its worker has read to the end, and that was silent for
-- pipeline.idle_partition_seconds since, is idle and holds nothing back; when all are, the furthest watermark decides.
-- A partition stays as its worker last said, also if that worker died since: one that was not idle holds its minutes
-- back until somebody reads on, one that was idle holds nothing back although messages may wait in it.
-- Of several applications in one database the one that wrote its progress last counts: one that was given up must not
-- hold every minute back for ever.
CREATE VIEW IF NOT EXISTS window_completeness
(
    minute DateTime('UTC') COMMENT 'A minute with annotations.',
    watermark DateTime64(3, 'UTC') COMMENT 'Every source partition that is not idle has been read up to here, in the application that wrote its progress last.',
    is_final UInt8 COMMENT '1: no more annotations are expected in this minute, unless late. Idle partitions hold nothing back, and stay as their worker last said, also if it died since.'
)
AS
WITH
    (
        SELECT if(countIf(NOT is_idle) > 0, minIf(watermark, NOT is_idle), max(watermark))
        FROM source_progress FINAL
        WHERE topic = 'annotations' AND app_id = (SELECT argMax(app_id, (updated_at, app_id)) FROM source_progress)
    ) AS complete_until
SELECT DISTINCT
    toStartOfMinute(window_start) AS minute,
    complete_until AS watermark,
    minute + INTERVAL 1 MINUTE <= complete_until AS is_final
FROM window_partials
COMMENT 'Which minutes are complete. Join on minute; bound minute in every query.';

CREATE VIEW IF NOT EXISTS annotation_scores_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labeler.',
    submitted_at DateTime64(3, 'UTC') COMMENT 'When the answer was submitted (event time).',
    task_id String COMMENT 'The thing that was labelled.',
    event_id String COMMENT 'The annotation event; the same id again is a duplicate.',
    labeler_id String COMMENT 'The person or model that answered.',
    labeler_kind LowCardinality(String) COMMENT 'human or model.',
    label_kind LowCardinality(String) COMMENT 'class, multiclass, rating, text or span.',
    label String COMMENT 'The answer in canonical form: equal answers are equal strings.',
    gold_label Nullable(String) COMMENT 'The known answer; NULL when the task is not gold.',
    gold_correct Nullable(Bool) COMMENT 'Whether the answer is the known one; NULL when the task is not gold.',
    agrees_with_consensus Nullable(Bool) COMMENT 'Whether the answer is what the task''s earlier answers suggest; NULL when there is no consensus yet.',
    started_at DateTime64(3, 'UTC') COMMENT 'When work on the answer began.',
    handling_seconds Float64 COMMENT 'Seconds of active work on this annotation.',
    expected_handling_seconds Nullable(Float64) COMMENT 'Forecast made before the answer was seen; NULL without one.',
    is_revision Bool COMMENT 'The same labeler answered this task before, with another event.',
    is_late Bool COMMENT 'Arrived after the watermark had passed its window.',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the event was appended to Kafka. Retention counts from here, so that replayed history stays.',
    source_partition Int32 COMMENT 'Kafka partition it was read from.',
    source_offset UInt64 COMMENT 'Kafka offset it was read from. Version of the row.'
)
AS SELECT * FROM annotation_scores FINAL
COMMENT 'annotation_scores, each annotation once. Bound submitted_at in every query.';

CREATE VIEW IF NOT EXISTS task_confidence_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The thing that is labelled.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    consensus_label String COMMENT 'Most frequent answer, in canonical form; empty for free text and spans.',
    confidence Float64 COMMENT 'Share of answers that gave the consensus label; not calibrated; 1 with a single answer; 0 without consensus.',
    labels UInt32 COMMENT 'Labelers whose answers are in it; a revision replaces its labeler''s answer.',
    gold_label Nullable(String) COMMENT 'The known answer; NULL when the task is not gold.',
    truth Nullable(String) COMMENT 'The answer as far as it is known, in canonical form: of the latest review that tells it, else gold_label; NULL when neither is there.',
    truth_source Nullable(String) COMMENT 'Where truth is from: review or gold; NULL where truth is.',
    last_submitted_at DateTime64(3, 'UTC') COMMENT 'Submit time of the latest answer.',
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.'
)
AS SELECT
    c.project_id AS project_id,
    c.task_id AS task_id,
    c.task_type AS task_type,
    c.consensus_label AS consensus_label,
    c.confidence AS confidence,
    c.labels AS labels,
    c.gold_label AS gold_label,
    coalesce(r.true_label, c.gold_label) AS truth,
    multiIf(isNotNull(r.true_label), 'review', isNotNull(c.gold_label), 'gold', NULL) AS truth_source,
    c.last_submitted_at AS last_submitted_at,
    c.source_partition AS source_partition,
    c.version AS version
FROM (SELECT * FROM task_confidence FINAL) AS c
LEFT JOIN
(
    SELECT project_id, task_id, argMax(v.true_label, (v.reviewed_at, v.reviewer_id, v.source_offset)) AS true_label
    FROM reviews AS v FINAL
    WHERE isNotNull(v.true_label)
    GROUP BY project_id, task_id
) AS r ON r.project_id = c.project_id AND r.task_id = c.task_id
COMMENT 'task_confidence, each task once: what is believed now, and what is known (the latest review over gold). A task of free text or spans has a row only if it is gold, without consensus.';

CREATE VIEW IF NOT EXISTS reviews_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The task that was reviewed.',
    labeler_id String COMMENT 'Whose answer was judged; empty when the verdict is about the task alone.',
    reviewer_id String COMMENT 'Who judged.',
    reviewed_at DateTime64(3, 'UTC') COMMENT 'When the verdict was given (event time).',
    true_label Nullable(String) COMMENT 'The task''s true label in canonical form, where the verdict tells it.',
    accepted Nullable(Bool) COMMENT 'Whether the answer was accepted, where the verdict says so.',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the event was appended to Kafka.',
    source_partition Int32 COMMENT 'Kafka partition it was read from.',
    source_offset UInt64 COMMENT 'Kafka offset it was read from. Version of the row.'
)
AS SELECT * FROM reviews FINAL
COMMENT 'reviews, each verdict once.';

CREATE VIEW IF NOT EXISTS dead_letters_current
(
    origin_topic LowCardinality(String) COMMENT 'Topic the message was read from.',
    origin_partition Int32 COMMENT 'Kafka partition it was read from.',
    origin_offset UInt64 COMMENT 'Kafka offset it was read from.',
    origin_key String COMMENT 'The message''s key, as text.',
    reason LowCardinality(String) COMMENT 'Why it was refused, such as not_json.',
    detail String COMMENT 'One sentence for a person: what was wrong, with field and value.',
    first_bytes String COMMENT 'The beginning of the message, to look at. The whole of it is on the dead-letter topic.',
    payload_bytes UInt64 COMMENT 'Size of the whole message.',
    failed_at DateTime64(3, 'UTC') COMMENT 'When the message was appended to its topic.',
    status LowCardinality(String) COMMENT 'What became of it: open, replayed or dropped.',
    version UInt64 COMMENT 'Grows with every change of status. Version of the row.'
)
AS SELECT * FROM dead_letters FINAL
COMMENT 'dead_letters, each once, with its latest status.';

CREATE VIEW IF NOT EXISTS source_progress_current
(
    app_id LowCardinality(String) COMMENT 'Consumer group.',
    topic LowCardinality(String) COMMENT 'Topic that is read.',
    source_partition Int32 COMMENT 'Its partition.',
    last_offset Int64 COMMENT 'Last Kafka offset that was handled; -1 before the first.',
    watermark Nullable(DateTime64(3, 'UTC')) COMMENT 'No earlier event is expected; NULL before the first.',
    received UInt64 COMMENT 'Messages read, from the beginning.',
    accepted UInt64 COMMENT 'Messages that became annotations or reviews.',
    duplicates UInt64 COMMENT 'Repeated events that were dropped.',
    dead_letters UInt64 COMMENT 'Messages that were refused.',
    is_idle Bool COMMENT 'Read to its end and silent since, as its worker last said: it holds no window back.',
    updated_at DateTime64(3, 'UTC') COMMENT 'When this was written.',
    version UInt64 COMMENT 'Grows with every write. Version of the row.'
)
AS SELECT
    p.app_id AS app_id,
    p.topic AS topic,
    p.source_partition AS source_partition,
    p.last_offset AS last_offset,
    nullIf(p.watermark, toDateTime64(0, 3, 'UTC')) AS watermark,
    p.received AS received,
    p.accepted AS accepted,
    p.duplicates AS duplicates,
    p.dead_letters AS dead_letters,
    p.is_idle AS is_idle,
    p.updated_at AS updated_at,
    p.version AS version
FROM source_progress AS p FINAL
COMMENT 'source_progress, each source partition once: where it is now.';
