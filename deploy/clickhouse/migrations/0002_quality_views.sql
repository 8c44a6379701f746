-- What BI reads. Every view here is a function of the stored rows and nothing else: no clock, no order of arrival.
--
-- The three views hold the same measures by minute, hour and day. They read window_partials FINAL (a partial
-- written again counts once), then add up source partitions and first offsets, which are shares of the same window.
-- ALWAYS bound the time: WHERE minute >= ..., hour >= ... or day >= ... is pushed down to window_start, which
-- leads the table's key and its partitions, so that only those granules are read and made FINAL.
--
-- Quantiles: the smallest bucket whose cumulative count reaches ceil(q * n), shown by the middle 2 * g^i / (g + 1) of
-- its bounds, g = 1.02: at most 1 % off. Distinct counts: the 512 smallest hashes of the union; fewer than 512 are
-- counted, else (512 - 1) / (512th smallest / 2^64). Both are those of detectors/sketches.py.

CREATE VIEW IF NOT EXISTS quality_by_minute
(
    minute DateTime('UTC') COMMENT 'Start of the minute, UTC.',
    project_id String COMMENT 'Queue of tasks under one guideline.',
    task_type String COMMENT 'Kind of work.',
    vendor_id String COMMENT 'Who supplies the labelers.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    revisions UInt64 COMMENT 'Annotations whose labeler had answered the task before.',
    duplicates UInt64 COMMENT 'Repeated events that were dropped.',
    late UInt64 COMMENT 'Annotations that arrived after the watermark had passed their window.',
    tasks UInt64 COMMENT 'Distinct tasks: exact below 512, then within about 5 %.',
    labelers UInt64 COMMENT 'Distinct labelers: exact below 512, then within about 5 %.',
    gold_seen UInt64 COMMENT 'Annotations of tasks whose answer is known.',
    gold_right UInt64 COMMENT 'Those of gold_seen that gave the known answer.',
    gold_accuracy Nullable(Float64) COMMENT 'gold_right / gold_seen; NULL without gold. Never average it: sum(gold_right) / sum(gold_seen).',
    consensus_seen UInt64 COMMENT 'Annotations that could be compared with a consensus of earlier answers.',
    consensus_agreed UInt64 COMMENT 'Those of consensus_seen that agreed with it.',
    consensus_agreement Nullable(Float64) COMMENT 'consensus_agreed / consensus_seen; NULL without any. Never average it: sum(consensus_agreed) / sum(consensus_seen).',
    handling_seconds Float64 COMMENT 'Handling time, summed.',
    aht_seconds Nullable(Float64) COMMENT 'Average handling time: handling_seconds / annotations.',
    handling_p50_seconds Nullable(Float64) COMMENT 'Median handling time, within 1 %.',
    handling_p90_seconds Nullable(Float64) COMMENT '90th percentile of handling time, within 1 %.',
    forecast_seen UInt64 COMMENT 'Annotations with a forecast of handling time.',
    forecast_seconds Float64 COMMENT 'Forecasts of handling time, summed.',
    forecast_error_seconds Float64 COMMENT 'Absolute errors of the forecasts, summed.',
    expected_handling_seconds Nullable(Float64) COMMENT 'Mean forecast over forecast_seen annotations; NULL without any. Forecasts are typical (geometric mean) times, below AHT where times are skewed.',
    forecast_mae_seconds Nullable(Float64) COMMENT 'Mean absolute error of the forecasts: forecast_error_seconds / forecast_seen; NULL without any.',
    label_histogram Map(String, UInt64) COMMENT 'Annotations by answer.'
)
AS SELECT
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
    forecast_microseconds / 1e6 AS forecast_seconds,
    forecast_error_microseconds / 1e6 AS forecast_error_seconds,
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
COMMENT 'Quality of each segment (project, task type, vendor) by minute of event time, UTC. Bound minute in every query.';

CREATE VIEW IF NOT EXISTS quality_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC.',
    project_id String COMMENT 'Queue of tasks under one guideline.',
    task_type String COMMENT 'Kind of work.',
    vendor_id String COMMENT 'Who supplies the labelers.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    revisions UInt64 COMMENT 'Annotations whose labeler had answered the task before.',
    duplicates UInt64 COMMENT 'Repeated events that were dropped.',
    late UInt64 COMMENT 'Annotations that arrived after the watermark had passed their window.',
    tasks UInt64 COMMENT 'Distinct tasks: exact below 512, then within about 5 %.',
    labelers UInt64 COMMENT 'Distinct labelers: exact below 512, then within about 5 %.',
    gold_seen UInt64 COMMENT 'Annotations of tasks whose answer is known.',
    gold_right UInt64 COMMENT 'Those of gold_seen that gave the known answer.',
    gold_accuracy Nullable(Float64) COMMENT 'gold_right / gold_seen; NULL without gold. Never average it: sum(gold_right) / sum(gold_seen).',
    consensus_seen UInt64 COMMENT 'Annotations that could be compared with a consensus of earlier answers.',
    consensus_agreed UInt64 COMMENT 'Those of consensus_seen that agreed with it.',
    consensus_agreement Nullable(Float64) COMMENT 'consensus_agreed / consensus_seen; NULL without any. Never average it: sum(consensus_agreed) / sum(consensus_seen).',
    handling_seconds Float64 COMMENT 'Handling time, summed.',
    aht_seconds Nullable(Float64) COMMENT 'Average handling time: handling_seconds / annotations.',
    handling_p50_seconds Nullable(Float64) COMMENT 'Median handling time, within 1 %.',
    handling_p90_seconds Nullable(Float64) COMMENT '90th percentile of handling time, within 1 %.',
    forecast_seen UInt64 COMMENT 'Annotations with a forecast of handling time.',
    forecast_seconds Float64 COMMENT 'Forecasts of handling time, summed.',
    forecast_error_seconds Float64 COMMENT 'Absolute errors of the forecasts, summed.',
    expected_handling_seconds Nullable(Float64) COMMENT 'Mean forecast over forecast_seen annotations; NULL without any. Forecasts are typical (geometric mean) times, below AHT where times are skewed.',
    forecast_mae_seconds Nullable(Float64) COMMENT 'Mean absolute error of the forecasts: forecast_error_seconds / forecast_seen; NULL without any.',
    label_histogram Map(String, UInt64) COMMENT 'Annotations by answer.'
)
AS SELECT
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
    forecast_microseconds / 1e6 AS forecast_seconds,
    forecast_error_microseconds / 1e6 AS forecast_error_seconds,
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
COMMENT 'Quality of each segment (project, task type, vendor) by hour of event time, UTC. Bound hour in every query.';

CREATE VIEW IF NOT EXISTS quality_daily
(
    day Date COMMENT 'Start of the day, UTC.',
    project_id String COMMENT 'Queue of tasks under one guideline.',
    task_type String COMMENT 'Kind of work.',
    vendor_id String COMMENT 'Who supplies the labelers.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    revisions UInt64 COMMENT 'Annotations whose labeler had answered the task before.',
    duplicates UInt64 COMMENT 'Repeated events that were dropped.',
    late UInt64 COMMENT 'Annotations that arrived after the watermark had passed their window.',
    tasks UInt64 COMMENT 'Distinct tasks: exact below 512, then within about 5 %.',
    labelers UInt64 COMMENT 'Distinct labelers: exact below 512, then within about 5 %.',
    gold_seen UInt64 COMMENT 'Annotations of tasks whose answer is known.',
    gold_right UInt64 COMMENT 'Those of gold_seen that gave the known answer.',
    gold_accuracy Nullable(Float64) COMMENT 'gold_right / gold_seen; NULL without gold. Never average it: sum(gold_right) / sum(gold_seen).',
    consensus_seen UInt64 COMMENT 'Annotations that could be compared with a consensus of earlier answers.',
    consensus_agreed UInt64 COMMENT 'Those of consensus_seen that agreed with it.',
    consensus_agreement Nullable(Float64) COMMENT 'consensus_agreed / consensus_seen; NULL without any. Never average it: sum(consensus_agreed) / sum(consensus_seen).',
    handling_seconds Float64 COMMENT 'Handling time, summed.',
    aht_seconds Nullable(Float64) COMMENT 'Average handling time: handling_seconds / annotations.',
    handling_p50_seconds Nullable(Float64) COMMENT 'Median handling time, within 1 %.',
    handling_p90_seconds Nullable(Float64) COMMENT '90th percentile of handling time, within 1 %.',
    forecast_seen UInt64 COMMENT 'Annotations with a forecast of handling time.',
    forecast_seconds Float64 COMMENT 'Forecasts of handling time, summed.',
    forecast_error_seconds Float64 COMMENT 'Absolute errors of the forecasts, summed.',
    expected_handling_seconds Nullable(Float64) COMMENT 'Mean forecast over forecast_seen annotations; NULL without any. Forecasts are typical (geometric mean) times, below AHT where times are skewed.',
    forecast_mae_seconds Nullable(Float64) COMMENT 'Mean absolute error of the forecasts: forecast_error_seconds / forecast_seen; NULL without any.',
    label_histogram Map(String, UInt64) COMMENT 'Annotations by answer.'
)
AS SELECT
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
    forecast_microseconds / 1e6 AS forecast_seconds,
    forecast_error_microseconds / 1e6 AS forecast_error_seconds,
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
COMMENT 'Quality of each segment (project, task type, vendor) by day of event time, UTC. Bound day in every query.';
