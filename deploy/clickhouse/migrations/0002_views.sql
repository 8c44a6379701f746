-- Views: what BI reads. Each is a function of the stored rows and nothing else: no clock, no order of arrival.
--
-- The three quality views hold the same measures by minute, hour and day. They read window_partials FINAL (a partial
-- written again counts once), then add up source partitions and first offsets, which are shares of the same window.
-- ALWAYS bound the time: WHERE minute >= ..., hour >= ... or day >= ... is pushed down to window_start, which
-- leads the table's key and its partitions, so that only those granules are read and made FINAL.
--
-- Quantiles: the smallest bucket whose cumulative count reaches ceil(q * n), shown by the middle 2 * g^i / (g + 1) of
-- its bounds, g = 1.02: at most 1 % off. Distinct counts: the 512 smallest hashes of the union; fewer than 512 are
-- counted, else (512 - 1) / (512th smallest / 2^64). Both are those of detectors/sketches.py.

CREATE VIEW IF NOT EXISTS quality_by_minute AS
SELECT
    minute,
    project_id,
    task_type,
    vendor_id,
    annotations,
    revisions,
    duplicates,
    late,
    if(length(task_union) < 512, length(task_union), toUInt64(round(511 / (task_union[512] / pow(2., 64))))) AS tasks,
    if(length(labeler_union) < 512, length(labeler_union), toUInt64(round(511 / (labeler_union[512] / pow(2., 64))))) AS labelers,
    gold_seen,
    gold_right,
    if(gold_seen = 0, NULL, gold_right / gold_seen) AS gold_accuracy,
    consensus_seen,
    consensus_agreed,
    if(consensus_seen = 0, NULL, consensus_agreed / consensus_seen) AS consensus_agreement,
    handling_microseconds / 1e6 AS handling_seconds,
    if(annotations = 0, NULL, handling_microseconds / 1e6 / annotations) AS aht_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.5 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p50_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.9 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p90_seconds,
    forecast_seen,
    if(forecast_seen = 0, NULL, forecast_microseconds / 1e6 / forecast_seen) AS expected_handling_seconds,
    if(forecast_seen = 0, NULL, forecast_error_microseconds / 1e6 / forecast_seen) AS forecast_mae_seconds,
    label_histogram
FROM
(
    SELECT
        toStartOfMinute(p.window_start) AS minute,
        project_id,
        task_type,
        vendor_id,
        sum(p.annotations) AS annotations,
        sum(p.revisions) AS revisions,
        sum(p.duplicates) AS duplicates,
        sum(p.late) AS late,
        sum(p.gold_seen) AS gold_seen,
        sum(p.gold_right) AS gold_right,
        sum(p.consensus_seen) AS consensus_seen,
        sum(p.consensus_agreed) AS consensus_agreed,
        sum(p.handling_microseconds) AS handling_microseconds,
        sum(p.forecast_seen) AS forecast_seen,
        sum(p.forecast_microseconds) AS forecast_microseconds,
        sum(p.forecast_error_microseconds) AS forecast_error_microseconds,
        arraySlice(arraySort(groupUniqArrayArray(p.task_hashes)), 1, 512) AS task_union,
        arraySlice(arraySort(groupUniqArrayArray(p.labeler_hashes)), 1, 512) AS labeler_union,
        sumMap(mapKeys(p.handling_sketch), mapValues(p.handling_sketch)) AS handling_buckets,
        handling_buckets.1 AS buckets,
        arrayCumSum(handling_buckets.2) AS bucket_counts,
        mapFromArrays((sumMap(mapKeys(p.label_histogram), mapValues(p.label_histogram)) AS labels_counted).1, labels_counted.2) AS label_histogram
    FROM window_partials AS p FINAL
    GROUP BY
        minute,
        project_id,
        task_type,
        vendor_id
)
COMMENT 'Quality of each segment by minute (event time, UTC). Bound minute in every query.';

CREATE VIEW IF NOT EXISTS quality_by_hour AS
SELECT
    hour,
    project_id,
    task_type,
    vendor_id,
    annotations,
    revisions,
    duplicates,
    late,
    if(length(task_union) < 512, length(task_union), toUInt64(round(511 / (task_union[512] / pow(2., 64))))) AS tasks,
    if(length(labeler_union) < 512, length(labeler_union), toUInt64(round(511 / (labeler_union[512] / pow(2., 64))))) AS labelers,
    gold_seen,
    gold_right,
    if(gold_seen = 0, NULL, gold_right / gold_seen) AS gold_accuracy,
    consensus_seen,
    consensus_agreed,
    if(consensus_seen = 0, NULL, consensus_agreed / consensus_seen) AS consensus_agreement,
    handling_microseconds / 1e6 AS handling_seconds,
    if(annotations = 0, NULL, handling_microseconds / 1e6 / annotations) AS aht_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.5 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p50_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.9 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p90_seconds,
    forecast_seen,
    if(forecast_seen = 0, NULL, forecast_microseconds / 1e6 / forecast_seen) AS expected_handling_seconds,
    if(forecast_seen = 0, NULL, forecast_error_microseconds / 1e6 / forecast_seen) AS forecast_mae_seconds,
    label_histogram
FROM
(
    SELECT
        toStartOfHour(p.window_start) AS hour,
        project_id,
        task_type,
        vendor_id,
        sum(p.annotations) AS annotations,
        sum(p.revisions) AS revisions,
        sum(p.duplicates) AS duplicates,
        sum(p.late) AS late,
        sum(p.gold_seen) AS gold_seen,
        sum(p.gold_right) AS gold_right,
        sum(p.consensus_seen) AS consensus_seen,
        sum(p.consensus_agreed) AS consensus_agreed,
        sum(p.handling_microseconds) AS handling_microseconds,
        sum(p.forecast_seen) AS forecast_seen,
        sum(p.forecast_microseconds) AS forecast_microseconds,
        sum(p.forecast_error_microseconds) AS forecast_error_microseconds,
        arraySlice(arraySort(groupUniqArrayArray(p.task_hashes)), 1, 512) AS task_union,
        arraySlice(arraySort(groupUniqArrayArray(p.labeler_hashes)), 1, 512) AS labeler_union,
        sumMap(mapKeys(p.handling_sketch), mapValues(p.handling_sketch)) AS handling_buckets,
        handling_buckets.1 AS buckets,
        arrayCumSum(handling_buckets.2) AS bucket_counts,
        mapFromArrays((sumMap(mapKeys(p.label_histogram), mapValues(p.label_histogram)) AS labels_counted).1, labels_counted.2) AS label_histogram
    FROM window_partials AS p FINAL
    GROUP BY
        hour,
        project_id,
        task_type,
        vendor_id
)
COMMENT 'Quality of each segment by hour (event time, UTC). Bound hour in every query.';

CREATE VIEW IF NOT EXISTS quality_daily AS
SELECT
    day,
    project_id,
    task_type,
    vendor_id,
    annotations,
    revisions,
    duplicates,
    late,
    if(length(task_union) < 512, length(task_union), toUInt64(round(511 / (task_union[512] / pow(2., 64))))) AS tasks,
    if(length(labeler_union) < 512, length(labeler_union), toUInt64(round(511 / (labeler_union[512] / pow(2., 64))))) AS labelers,
    gold_seen,
    gold_right,
    if(gold_seen = 0, NULL, gold_right / gold_seen) AS gold_accuracy,
    consensus_seen,
    consensus_agreed,
    if(consensus_seen = 0, NULL, consensus_agreed / consensus_seen) AS consensus_agreement,
    handling_microseconds / 1e6 AS handling_seconds,
    if(annotations = 0, NULL, handling_microseconds / 1e6 / annotations) AS aht_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.5 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p50_seconds,
    if(empty(bucket_counts), NULL, 2 * pow(1.02, buckets[arrayFirstIndex(c -> c >= ceil(0.9 * bucket_counts[-1]), bucket_counts)]) / 2.02) AS handling_p90_seconds,
    forecast_seen,
    if(forecast_seen = 0, NULL, forecast_microseconds / 1e6 / forecast_seen) AS expected_handling_seconds,
    if(forecast_seen = 0, NULL, forecast_error_microseconds / 1e6 / forecast_seen) AS forecast_mae_seconds,
    label_histogram
FROM
(
    SELECT
        toDate(p.window_start) AS day,
        project_id,
        task_type,
        vendor_id,
        sum(p.annotations) AS annotations,
        sum(p.revisions) AS revisions,
        sum(p.duplicates) AS duplicates,
        sum(p.late) AS late,
        sum(p.gold_seen) AS gold_seen,
        sum(p.gold_right) AS gold_right,
        sum(p.consensus_seen) AS consensus_seen,
        sum(p.consensus_agreed) AS consensus_agreed,
        sum(p.handling_microseconds) AS handling_microseconds,
        sum(p.forecast_seen) AS forecast_seen,
        sum(p.forecast_microseconds) AS forecast_microseconds,
        sum(p.forecast_error_microseconds) AS forecast_error_microseconds,
        arraySlice(arraySort(groupUniqArrayArray(p.task_hashes)), 1, 512) AS task_union,
        arraySlice(arraySort(groupUniqArrayArray(p.labeler_hashes)), 1, 512) AS labeler_union,
        sumMap(mapKeys(p.handling_sketch), mapValues(p.handling_sketch)) AS handling_buckets,
        handling_buckets.1 AS buckets,
        arrayCumSum(handling_buckets.2) AS bucket_counts,
        mapFromArrays((sumMap(mapKeys(p.label_histogram), mapValues(p.label_histogram)) AS labels_counted).1, labels_counted.2) AS label_histogram
    FROM window_partials AS p FINAL
    GROUP BY
        day,
        project_id,
        task_type,
        vendor_id
)
COMMENT 'Quality of each segment by day (event time, UTC). Bound day in every query.';

-- Whether a minute is complete: no more annotations are expected, unless late. Not a column of quality_by_minute,
-- because it changes with the clock. A source partition of `annotations` that has not been heard of for 120 s is
-- idle and holds nothing back (twice pipeline.idle_partition_seconds, so that a slow checkpoint is not idleness);
-- when all are idle, the furthest watermark decides.
CREATE VIEW IF NOT EXISTS window_completeness AS
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
