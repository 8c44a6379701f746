-- Forecasts of handling time with intervals: more columns, always at the end, and views of how good the forecasts are, who
-- works faster or slower than usual, whether speed says anything of correctness, and when work is done.
-- What 0001 says of identity and versions, and 0002 of bounding the time, holds here, too.

ALTER TABLE annotation_scores
    ADD COLUMN IF NOT EXISTS handling_low_50 Nullable(Float64) COMMENT 'Lower bound, seconds, of the interval that was to hold half of such times, as forecast before the answer was seen. NULL without intervals.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS handling_high_50 Nullable(Float64) COMMENT 'Its upper bound, seconds.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS handling_low_90 Nullable(Float64) COMMENT 'Lower bound, seconds, of the interval that was to hold 90 % of such times, the shortest such interval. NULL without intervals.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS handling_high_90 Nullable(Float64) COMMENT 'Its upper bound, seconds.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS handling_p_value Nullable(Float64) COMMENT 'Share of comparable recent annotations that took no longer relative to their forecasts: near 0 unusually fast, near 1 unusually slow; NULL with too few to compare with.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS is_too_fast Nullable(Bool) COMMENT 'Unusually fast for this labeler and this work: handling_p_value is 0.025 or less. Fast is not bad by itself, see speed_link. NULL where handling_p_value is.',
    ADD COLUMN IF NOT EXISTS is_too_slow Nullable(Bool) COMMENT 'Unusually slow for this labeler and this work: handling_p_value is 0.975 or more. NULL where handling_p_value is.',
    ADD COLUMN IF NOT EXISTS time_flag LowCardinality(String) COMMENT 'Whether handling_seconds can be trusted: empty if so, impossible (too short to be work, nothing is learned from it), idle (longer than work can be, learned only as a long one).';

-- Never negative: a truth that comes late does not change how long an answer took.
ALTER TABLE window_partials
    ADD COLUMN IF NOT EXISTS interval_seen UInt32 COMMENT 'Annotations with forecast intervals of handling time.',
    ADD COLUMN IF NOT EXISTS covered_50 UInt32 COMMENT 'Those of interval_seen whose handling time was inside the 50 % interval.',
    ADD COLUMN IF NOT EXISTS covered_90 UInt32 COMMENT 'Those of interval_seen whose handling time was inside the 90 % interval.',
    ADD COLUMN IF NOT EXISTS width_90_log_micro UInt64 COMMENT 'Width of the 90 % intervals, log(upper / lower bound), summed, in units of 1e-6.',
    ADD COLUMN IF NOT EXISTS n_too_fast UInt32 COMMENT 'Those of interval_seen that were unusually fast for their labeler and work.',
    ADD COLUMN IF NOT EXISTS n_too_slow UInt32 COMMENT 'Those of interval_seen that were unusually slow for their labeler and work.',
    ADD COLUMN IF NOT EXISTS n_time_flagged UInt32 COMMENT 'Annotations whose handling time is impossible, or longer than work can be.';

CREATE OR REPLACE VIEW annotation_scores_current
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
    agrees_with_consensus Nullable(Bool) COMMENT 'Whether the answer is what was believed of the task before it came; NULL when there was no consensus yet.',
    started_at DateTime64(3, 'UTC') COMMENT 'When work on the answer began.',
    handling_seconds Float64 COMMENT 'Seconds of active work on this annotation.',
    expected_handling_seconds Nullable(Float64) COMMENT 'Forecast made before the answer was seen; NULL without one.',
    is_revision Bool COMMENT 'The same labeler answered this task before, with another event.',
    is_late Bool COMMENT 'Arrived after the watermark had passed its window.',
    ingested_at DateTime64(3, 'UTC') COMMENT 'When the event was appended to Kafka. Retention counts from here, so that replayed history stays.',
    source_partition Int32 COMMENT 'Kafka partition it was read from.',
    source_offset UInt64 COMMENT 'Kafka offset it was read from. Version of the row.',
    probability_right Nullable(Float64) COMMENT 'Probability that this answer is right, as believed when it arrived; NULL where nothing could be said.',
    handling_low_50 Nullable(Float64) COMMENT 'Lower bound, seconds, of the interval that was to hold half of such times, as forecast before the answer was seen. NULL without intervals.',
    handling_high_50 Nullable(Float64) COMMENT 'Its upper bound, seconds.',
    handling_low_90 Nullable(Float64) COMMENT 'Lower bound, seconds, of the interval that was to hold 90 % of such times, the shortest such interval. NULL without intervals.',
    handling_high_90 Nullable(Float64) COMMENT 'Its upper bound, seconds.',
    handling_p_value Nullable(Float64) COMMENT 'Share of comparable recent annotations that took no longer relative to their forecasts: near 0 unusually fast, near 1 unusually slow; NULL with too few to compare with.',
    is_too_fast Nullable(Bool) COMMENT 'Unusually fast for this labeler and this work: handling_p_value is 0.025 or less. Fast is not bad by itself, see speed_link. NULL where handling_p_value is.',
    is_too_slow Nullable(Bool) COMMENT 'Unusually slow for this labeler and this work: handling_p_value is 0.975 or more. NULL where handling_p_value is.',
    time_flag LowCardinality(String) COMMENT 'Whether handling_seconds can be trusted: empty if so, impossible (too short to be work, nothing is learned from it), idle (longer than work can be, learned only as a long one).'
)
AS SELECT * FROM annotation_scores FINAL
COMMENT 'annotation_scores, each annotation once. Bound submitted_at in every query.';

-- The five quantiles that a forecast states are the bounds of its intervals, and in their middle the forecast itself.
-- Pinball loss of quantile q at bound b (Koenker and Bassett 1978): q * (y - b) above it, (1 - q) * (b - y) below.
-- An impossible time is no measurement: seconds is NULL then, and with it everything that is made of it.
CREATE VIEW IF NOT EXISTS handling_time_accuracy
(
    day Date COMMENT 'Day of submission (event time), UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    labeler_kind LowCardinality(String) COMMENT 'human or model.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    forecast_seen UInt64 COMMENT 'Annotations with a forecast and a possible time: what errors are measured on. Idle times are among them.',
    mae_seconds Nullable(Float64) COMMENT 'Mean absolute error of the forecasts, seconds; a few idle times can rule it. NULL without forecasts. Over several rows: sum(mae_seconds * forecast_seen) / sum(forecast_seen).',
    median_absolute_error_seconds Nullable(Float64) COMMENT 'Median absolute error of the forecasts, seconds: half of them were closer. Never average it.',
    mape Nullable(Float64) COMMENT 'Mean absolute error relative to the handling time (0.5 is 50 %), over times of 1 second and more only: relative to less, any error is huge. NULL without such.',
    interval_seen UInt64 COMMENT 'Those of forecast_seen with intervals.',
    pinball_seconds Nullable(Float64) COMMENT 'Mean pinball loss, seconds, of the quantiles 5, 25, 50, 75 and 95 % that the forecast and its intervals state: the lower, the sharper and truer; to compare with itself, over the same work. NULL without intervals.',
    coverage_50 Nullable(Float64) COMMENT 'Share of times inside the 50 % interval: should be 0.5. Over several rows: sum(coverage_50 * interval_seen) / sum(interval_seen).',
    coverage_90 Nullable(Float64) COMMENT 'Share of times inside the 90 % interval: should be 0.9. Over several rows as coverage_50.',
    width_90_log Nullable(Float64) COMMENT 'Mean width of the 90 % interval, log(upper / lower bound): 0.69 is an upper bound of twice the lower one, 2.3 of ten times.',
    judged UInt64 COMMENT 'Annotations that were compared with recent ones, so that too fast and too slow could be told.',
    n_too_fast UInt64 COMMENT 'Those of judged that were unusually fast for their labeler and work. Fast is not bad by itself: see speed_link.',
    n_too_slow UInt64 COMMENT 'Those of judged that were unusually slow for their labeler and work.',
    share_too_fast Nullable(Float64) COMMENT 'n_too_fast / judged: about 0.025 where nothing changes; NULL without any.',
    share_too_slow Nullable(Float64) COMMENT 'n_too_slow / judged: about 0.025 where nothing changes; NULL without any.',
    n_flagged UInt64 COMMENT 'Annotations whose time is impossible, or longer than work can be.',
    share_flagged Float64 COMMENT 'n_flagged / annotations.'
)
AS SELECT
    day,
    project_id,
    task_type,
    labeler_kind,
    count() AS annotations,
    count(error) AS forecast_seen,
    avg(error) AS mae_seconds,
    quantileExactInclusive(0.5)(error) AS median_absolute_error_seconds,
    avg(if(seconds >= 1, error / seconds, NULL)) AS mape,
    count(covered_90) AS interval_seen,
    avg(pinball) AS pinball_seconds,
    avg(covered_50) AS coverage_50,
    avg(covered_90) AS coverage_90,
    avg(width) AS width_90_log,
    count(too_fast) AS judged,
    countIf(too_fast) AS n_too_fast,
    countIf(too_slow) AS n_too_slow,
    if(judged = 0, NULL, n_too_fast / judged) AS share_too_fast,
    if(judged = 0, NULL, n_too_slow / judged) AS share_too_slow,
    countIf(flagged) AS n_flagged,
    n_flagged / annotations AS share_flagged
FROM
(
    SELECT
        toDate(s.submitted_at) AS day,
        s.project_id AS project_id,
        s.task_type AS task_type,
        s.labeler_kind AS labeler_kind,
        s.is_too_fast AS too_fast,
        s.is_too_slow AS too_slow,
        s.time_flag != '' AS flagged,
        if(s.time_flag = 'impossible', NULL, s.handling_seconds) AS seconds,
        abs(seconds - s.expected_handling_seconds) AS error,
        seconds >= s.handling_low_50 AND seconds <= s.handling_high_50 AS covered_50,
        seconds >= s.handling_low_90 AND seconds <= s.handling_high_90 AS covered_90,
        if(isNull(covered_90), NULL, log(s.handling_high_90 / s.handling_low_90)) AS width,
        (
            (seconds - s.handling_low_90) * if(seconds > s.handling_low_90, 0.05, -0.95)
            + (seconds - s.handling_low_50) * if(seconds > s.handling_low_50, 0.25, -0.75)
            + error * 0.5
            + (seconds - s.handling_high_50) * if(seconds > s.handling_high_50, 0.75, -0.25)
            + (seconds - s.handling_high_90) * if(seconds > s.handling_high_90, 0.95, -0.05)
        ) / 5 AS pinball
    FROM annotation_scores AS s FINAL
)
GROUP BY
    day,
    project_id,
    task_type,
    labeler_kind
COMMENT 'How good the forecasts of handling time were, one row a day of submission, project, task type and kind of labeler: errors of the forecast, coverage and width of its intervals. By hour and vendor: handling_time_coverage. Bound day in every query.';

-- A break is a coverage that chance does not explain: with n intervals of 90 % the standard error is sqrt(0.9 * 0.1 / n),
-- four of them are 1.2 / sqrt(n). Both sides times 10 n, so that all but the root are integers.
CREATE VIEW IF NOT EXISTS handling_time_coverage
(
    hour DateTime('UTC') COMMENT 'Start of the hour of event time, UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    interval_seen UInt64 COMMENT 'Annotations with forecast intervals of handling time.',
    covered_50 UInt64 COMMENT 'Those of interval_seen whose handling time was inside the 50 % interval.',
    covered_90 UInt64 COMMENT 'Those of interval_seen whose handling time was inside the 90 % interval.',
    coverage_50 Nullable(Float64) COMMENT 'covered_50 / interval_seen: should be 0.5; NULL without any. Never average it: sum(covered_50) / sum(interval_seen).',
    coverage_90 Nullable(Float64) COMMENT 'covered_90 / interval_seen: should be 0.9; NULL without any. Never average it: sum(covered_90) / sum(interval_seen).',
    width_90_log Nullable(Float64) COMMENT 'Mean width of the 90 % interval, log(upper / lower bound): 0.69 is an upper bound of twice the lower one. Over several rows: sum(width_90_log * interval_seen) / sum(interval_seen).',
    n_too_fast UInt64 COMMENT 'Those of interval_seen that were unusually fast for their labeler and work. Fast is not bad by itself: see speed_link.',
    n_too_slow UInt64 COMMENT 'Those of interval_seen that were unusually slow for their labeler and work.',
    n_time_flagged UInt64 COMMENT 'Annotations whose handling time is impossible, or longer than work can be.',
    is_break UInt8 COMMENT '1: a finding. Of 100 intervals or more, coverage_90 is farther from 0.9 than four standard errors of chance: below, work or labelers changed faster than the forecasts learn; above, intervals are too wide.'
)
AS SELECT
    hour,
    project_id,
    task_type,
    vendor_id,
    annotations,
    interval_seen,
    covered_50,
    covered_90,
    if(interval_seen = 0, NULL, covered_50 / interval_seen) AS coverage_50,
    if(interval_seen = 0, NULL, covered_90 / interval_seen) AS coverage_90,
    if(interval_seen = 0, NULL, width_90_log_micro / 1e6 / interval_seen) AS width_90_log,
    n_too_fast,
    n_too_slow,
    n_time_flagged,
    interval_seen >= 100 AND abs(10 * toInt64(covered_90) - 9 * toInt64(interval_seen)) > 12 * sqrt(interval_seen) AS is_break
FROM
(
    SELECT
        toStartOfHour(p.window_start) AS hour,
        project_id,
        task_type,
        vendor_id,
        sum(p.annotations) AS annotations,
        sum(p.interval_seen) AS interval_seen,
        sum(p.covered_50) AS covered_50,
        sum(p.covered_90) AS covered_90,
        sum(p.width_90_log_micro) AS width_90_log_micro,
        sum(p.n_too_fast) AS n_too_fast,
        sum(p.n_too_slow) AS n_too_slow,
        sum(p.n_time_flagged) AS n_time_flagged
    FROM window_partials AS p FINAL
    GROUP BY
        hour,
        project_id,
        task_type,
        vendor_id
)
COMMENT 'Whether forecast intervals of handling time hold what they promise, by hour of event time and segment (project, task type, vendor). Bound hour in every query.';

CREATE VIEW IF NOT EXISTS labeler_speed
(
    day Date COMMENT 'Day of submission (event time), UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    labeler_id String COMMENT 'The person or model that answered.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    median_handling_seconds Nullable(Float64) COMMENT 'Median handling time, seconds, of times that are trusted: compare labelers of one day, project and task type by it. NULL without any. Never average it.',
    speed_seen UInt64 COMMENT 'Annotations with a trusted time and a forecast.',
    speed_ratio Nullable(Float64) COMMENT 'How long the work took relative to its forecasts, geometric mean over speed_seen: 1 as expected, 2 twice as long, 0.5 in half the time. Forecasts know how fast the labeler was, so that this shows change, not who is slow. NULL without forecasts. Over several rows: exp(sum(log(speed_ratio) * speed_seen) / sum(speed_seen)).',
    judged UInt64 COMMENT 'Annotations that were compared with recent ones, so that too fast and too slow could be told.',
    n_too_fast UInt64 COMMENT 'Those of judged that were unusually fast for the labeler and the work.',
    n_too_slow UInt64 COMMENT 'Those of judged that were unusually slow for the labeler and the work.',
    share_too_fast Nullable(Float64) COMMENT 'n_too_fast / judged: about 0.025 where nothing changes; NULL without any.',
    share_too_slow Nullable(Float64) COMMENT 'n_too_slow / judged: about 0.025 where nothing changes; NULL without any.',
    n_flagged UInt64 COMMENT 'Annotations whose time is impossible, or longer than work can be; in none of the speeds.'
)
AS SELECT
    day,
    project_id,
    task_type,
    labeler_id,
    count() AS annotations,
    quantileExactInclusive(0.5)(seconds) AS median_handling_seconds,
    count(log_ratio) AS speed_seen,
    exp(avg(log_ratio)) AS speed_ratio,
    count(too_fast) AS judged,
    countIf(too_fast) AS n_too_fast,
    countIf(too_slow) AS n_too_slow,
    if(judged = 0, NULL, n_too_fast / judged) AS share_too_fast,
    if(judged = 0, NULL, n_too_slow / judged) AS share_too_slow,
    countIf(flagged) AS n_flagged
FROM
(
    SELECT
        toDate(s.submitted_at) AS day,
        s.project_id AS project_id,
        s.task_type AS task_type,
        s.labeler_id AS labeler_id,
        s.is_too_fast AS too_fast,
        s.is_too_slow AS too_slow,
        s.time_flag != '' AS flagged,
        if(s.time_flag = '' AND s.handling_seconds > 0, s.handling_seconds, NULL) AS seconds,
        if(s.expected_handling_seconds > 0, log(seconds / s.expected_handling_seconds), NULL) AS log_ratio
    FROM annotation_scores AS s FINAL
)
GROUP BY
    day,
    project_id,
    task_type,
    labeler_id
COMMENT 'How fast each labeler worked, one row a day of submission, project, task type and labeler. Fast is not bad by itself: speed_link says what speed tells of correctness in a project. Bound day in every query.';

-- AUC: the probability that of two answers to gold, one right and one wrong, the right one took longer; ties count half.
-- Where speed says nothing it is off 0.5 by chance alone, with the standard error of Mann and Whitney's U (1947).
CREATE VIEW IF NOT EXISTS speed_link
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    golds_right UInt64 COMMENT 'Right answers of people to gold, with a trusted time.',
    golds_wrong UInt64 COMMENT 'Wrong ones.',
    auc_absolute Nullable(Float64) COMMENT 'Probability that a right answer took longer than a wrong one: 0.5 means that speed says nothing of correctness, above it the fast answers are the wrong ones, below it the slow ones are. NULL under 10 right or 10 wrong answers. Never average it.',
    chance_error_absolute Nullable(Float64) COMMENT 'Standard error of auc_absolute by chance: take one closer to 0.5 than twice this for 0.5.',
    forecast_right UInt64 COMMENT 'Those of golds_right with a forecast.',
    forecast_wrong UInt64 COMMENT 'Those of golds_wrong with a forecast.',
    auc_relative Nullable(Float64) COMMENT 'The same of the time relative to its forecast, which is of this labeler and this work: whether people are wrong when faster than usual, not whether fast people are wrong. NULL under 10 right or 10 wrong answers with a forecast.',
    chance_error_relative Nullable(Float64) COMMENT 'Standard error of auc_relative by chance.'
)
AS SELECT
    project_id,
    task_type,
    countIf(is_right) AS golds_right,
    countIf(NOT is_right) AS golds_wrong,
    if(least(golds_right, golds_wrong) < 10, NULL, arrayAUC((groupArray((seconds, is_right)) AS timed).1, timed.2)) AS auc_absolute,
    if(least(golds_right, golds_wrong) < 10, NULL, sqrt((golds_right + golds_wrong + 1) / (12. * golds_right * golds_wrong))) AS chance_error_absolute,
    countIf(is_right AND forecast > 0) AS forecast_right,
    countIf(NOT is_right AND forecast > 0) AS forecast_wrong,
    if(least(forecast_right, forecast_wrong) < 10, NULL, arrayAUC((groupArrayIf((seconds / forecast, is_right), forecast > 0) AS expected).1, expected.2)) AS auc_relative,
    if(least(forecast_right, forecast_wrong) < 10, NULL, sqrt((forecast_right + forecast_wrong + 1) / (12. * forecast_right * forecast_wrong))) AS chance_error_relative
FROM
(
    SELECT
        s.project_id AS project_id,
        s.task_type AS task_type,
        s.handling_seconds AS seconds,
        toUInt8(assumeNotNull(s.gold_correct)) AS is_right,
        ifNull(s.expected_handling_seconds, 0) AS forecast
    FROM annotation_scores AS s FINAL
    WHERE isNotNull(s.gold_correct) AND s.labeler_kind = 'human' AND s.time_flag = '' AND s.handling_seconds > 0
)
GROUP BY
    project_id,
    task_type
COMMENT 'What the speed of people says of their correctness, measured on gold, one row a project and task type: AUC of handling time, absolute and relative to its forecast. Over all that is stored. Bound project_id in every query.';

CREATE VIEW IF NOT EXISTS capacity_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour in which work was submitted (event time), UTC.',
    hour_of_week UInt8 COMMENT 'Hour of the week, UTC: 0 is Monday 00:00, 167 is Sunday 23:00.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    labeler_kind LowCardinality(String) COMMENT 'human or model.',
    labelers UInt64 COMMENT 'Distinct labelers who submitted work. One of several projects counts in each.',
    annotations UInt64 COMMENT 'Annotations: revisions and late ones included, duplicates not.',
    revisions UInt64 COMMENT 'Annotations whose labeler had answered the task before: they take time, but bring no task nearer to its end.',
    labeler_hours Float64 COMMENT 'Handling time of the annotations, hours, idle times left out. Counted in the hour of submission, so that long work may come to more than labelers.'
)
AS SELECT
    hour,
    toUInt8((toDayOfWeek(hour) - 1) * 24 + toHour(hour)) AS hour_of_week,
    project_id,
    task_type,
    labeler_kind,
    uniqExact(labeler_id) AS labelers,
    count() AS annotations,
    countIf(is_revision) AS revisions,
    sumIf(handling_seconds, NOT is_idle) / 3600 AS labeler_hours
FROM
(
    SELECT
        toStartOfHour(s.submitted_at) AS hour,
        s.project_id AS project_id,
        s.task_type AS task_type,
        s.labeler_kind AS labeler_kind,
        s.labeler_id AS labeler_id,
        s.is_revision AS is_revision,
        s.handling_seconds AS handling_seconds,
        s.time_flag = 'idle' AS is_idle
    FROM annotation_scores AS s FINAL
)
GROUP BY
    hour,
    project_id,
    task_type,
    labeler_kind
COMMENT 'Who was at work when, and how much was done: one row an hour of submission, project, task type and kind of labeler. Average over hour_of_week to see the week; an hour without work has no row. Bound hour in every query.';
