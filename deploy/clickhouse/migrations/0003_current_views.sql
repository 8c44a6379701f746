-- Each row of a table once, as it is now; and which minutes are complete.

-- Whether a minute is complete: no more annotations are expected, unless late. Not a column of quality_by_minute,
-- because it changes with the clock. A source partition that its worker has read to the end, and that was silent for
-- pipeline.idle_partition_seconds since, is idle and holds nothing back; when all are, the furthest watermark decides.
-- A partition whose worker is down is not idle: its minutes wait.
CREATE VIEW IF NOT EXISTS window_completeness
(
    minute DateTime('UTC') COMMENT 'A minute with annotations.',
    watermark DateTime64(3, 'UTC') COMMENT 'Every source partition has been read up to here.',
    is_final UInt8 COMMENT '1: no more annotations are expected in this minute, unless late.'
)
AS
WITH
    (
        SELECT if(countIf(NOT is_idle) > 0, minIf(watermark, NOT is_idle), max(watermark))
        FROM source_progress FINAL
        WHERE topic = 'annotations'
    ) AS complete_until
SELECT DISTINCT
    toStartOfMinute(window_start) AS minute,
    complete_until AS watermark,
    minute + INTERVAL 1 MINUTE <= complete_until AS is_final
FROM window_partials
COMMENT 'Which minutes are complete. Join on minute; bound minute in every query.';

CREATE VIEW IF NOT EXISTS annotation_scores_current AS
SELECT * FROM annotation_scores FINAL
COMMENT 'annotation_scores, each annotation once. Bound submitted_at in every query.';

CREATE VIEW IF NOT EXISTS task_confidence_current AS
SELECT
    c.project_id AS project_id,
    c.task_id AS task_id,
    c.task_type AS task_type,
    c.consensus_label AS consensus_label,
    c.confidence AS confidence,
    c.labels AS labels,
    c.gold_label AS gold_label,
    coalesce(r.true_label, c.gold_label) AS truth,
    multiIf(isNotNull(r.true_label), 'review', isNotNull(c.gold_label), 'gold', '') AS truth_source,
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
COMMENT 'task_confidence, each task once: what is believed now, and what is known (the latest review over gold).';

CREATE VIEW IF NOT EXISTS reviews_current AS
SELECT * FROM reviews FINAL
COMMENT 'reviews, each verdict once.';

CREATE VIEW IF NOT EXISTS dead_letters_current AS
SELECT * FROM dead_letters FINAL
COMMENT 'dead_letters, each once, with its latest status.';

CREATE VIEW IF NOT EXISTS source_progress_current AS
SELECT * FROM source_progress FINAL
COMMENT 'source_progress, each source partition once: where it is now.';
