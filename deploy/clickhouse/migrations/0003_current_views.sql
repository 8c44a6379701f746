-- Each row of a table once, as it is now; and which minutes are complete.

-- Whether a minute is complete: no more annotations are expected, unless late. Not a column of quality_by_minute,
-- because it changes with the clock. A source partition of `annotations` that has not been heard of for 120 s is
-- idle and holds nothing back (twice pipeline.idle_partition_seconds, so that a slow checkpoint is not idleness);
-- when all are idle, the furthest watermark decides.
CREATE VIEW IF NOT EXISTS window_completeness
(
    minute DateTime('UTC') COMMENT 'A minute with annotations.',
    watermark DateTime64(3, 'UTC') COMMENT 'Every source partition has been read up to here.',
    is_final UInt8 COMMENT '1: no more annotations are expected in this minute, unless late.'
)
AS
WITH
    (
        SELECT if(
            countIf(updated_at >= now64(3, 'UTC') - INTERVAL 120 SECOND) > 0,
            minIf(watermark, updated_at >= now64(3, 'UTC') - INTERVAL 120 SECOND),
            max(watermark))
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
SELECT * FROM task_confidence FINAL
COMMENT 'task_confidence, each task once: what is believed now.';

CREATE VIEW IF NOT EXISTS reviews_current AS
SELECT * FROM reviews FINAL
COMMENT 'reviews, each verdict once.';

CREATE VIEW IF NOT EXISTS dead_letters_current AS
SELECT * FROM dead_letters FINAL
COMMENT 'dead_letters, each once, with its latest status.';

CREATE VIEW IF NOT EXISTS source_progress_current AS
SELECT * FROM source_progress FINAL
COMMENT 'source_progress, each source partition once: where it is now.';
