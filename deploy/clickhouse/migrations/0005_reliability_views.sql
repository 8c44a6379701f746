-- Views of reliability and confidence, functions of the stored rows like those of 0002 and 0003. Views that repeat a
-- table are made again with its new columns. CREATE OR REPLACE can be run again as well as IF NOT EXISTS can.

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
    probability_right Nullable(Float64) COMMENT 'Probability that this answer is right, as believed when it arrived; NULL where nothing could be said.'
)
AS SELECT * FROM annotation_scores FINAL
COMMENT 'annotation_scores, each annotation once. Bound submitted_at in every query.';

CREATE OR REPLACE VIEW task_confidence_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The thing that is labelled.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    consensus_label String COMMENT 'Most probable answer, in canonical form; empty for free text and spans.',
    confidence Float64 COMMENT 'Probability that the consensus is right, calibrated on tasks whose truth became known; 1 when truth is known; 0 without consensus.',
    labels UInt32 COMMENT 'Labelers whose answers are in it; a revision replaces its labeler''s answer.',
    gold_label Nullable(String) COMMENT 'The known answer; NULL when the task is not gold.',
    truth Nullable(String) COMMENT 'The answer as far as it is known, in canonical form: of the latest review that tells it, else gold; NULL when neither is there.',
    truth_source Nullable(String) COMMENT 'Where truth is from: review or gold; NULL where truth is.',
    last_submitted_at DateTime64(3, 'UTC') COMMENT 'Submit time of the latest answer.',
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.',
    raw_confidence Float64 COMMENT 'Posterior probability of the consensus label, not calibrated; 0 without consensus.',
    entropy Float64 COMMENT 'Doubt that is left: entropy of the posterior, nats; 0 is none.',
    posterior Map(String, Float64) COMMENT 'Probability of each answer, by answer in canonical form; the shares of answers in subjective projects.',
    is_subjective Bool COMMENT 'The project asks for opinions: there is no truth to find, and posterior is how opinions are spread.'
)
AS SELECT
    c.project_id AS project_id,
    c.task_id AS task_id,
    c.task_type AS task_type,
    c.consensus_label AS consensus_label,
    c.confidence AS confidence,
    c.labels AS labels,
    c.gold_label AS gold_label,
    c.truth AS truth,
    nullIf(c.truth_source, '') AS truth_source,
    c.last_submitted_at AS last_submitted_at,
    c.source_partition AS source_partition,
    c.version AS version,
    c.raw_confidence AS raw_confidence,
    c.entropy AS entropy,
    c.posterior AS posterior,
    c.is_subjective AS is_subjective
FROM task_confidence AS c FINAL
COMMENT 'task_confidence, each task once: what is believed now, and what is known. A task of free text or spans has a row only if its truth is known, without consensus.';

CREATE VIEW IF NOT EXISTS labeler_reliability_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    labeler_id String COMMENT 'The person or model that is judged.',
    as_of DateTime64(3, 'UTC') COMMENT 'Minute of event time up to which the labeler''s work is in it.',
    form LowCardinality(String) COMMENT 'What was estimated: confusion (accuracy by class), one_coin (a single accuracy), rating (bias and precision) or subjective (no accuracy).',
    labels UInt64 COMMENT 'Answers so far.',
    accuracy Nullable(Float64) COMMENT 'Probability that an answer is right; NULL where there is no right answer.',
    accuracy_low Nullable(Float64) COMMENT 'Lower bound of its 90 % credible interval. Rank by this one: few answers make it low.',
    accuracy_high Nullable(Float64) COMMENT 'Upper bound of its 90 % credible interval.',
    effective_labels Float64 COMMENT 'Answers that the estimate rests on, older ones counted for less.',
    spammer_score Nullable(Float64) COMMENT 'How far answers depend on the truth (Raykar and Yu 2012): 0 answers blindly, 1 answers perfectly; NULL where it does not apply.',
    bias_label String COMMENT 'The class answered more often than it is true; empty where there is none.',
    bias Nullable(Float64) COMMENT 'By how much: excess share of bias_label among answers (0 to 1); for ratings the mean error in the rating''s unit.',
    precision Nullable(Float64) COMMENT 'Ratings: 1 / variance of the errors about the bias; NULL for other forms.',
    confused_true String COMMENT 'The true label of the pair confused most; empty where there is none.',
    confused_answer String COMMENT 'The answer given in its place; empty where there is none.',
    confused_share Nullable(Float64) COMMENT 'Share of tasks with that true label that got that answer.',
    stability Nullable(Float64) COMMENT 'Subjective projects: share of repeated tasks answered as before; NULL without repeats.',
    distance Nullable(Float64) COMMENT 'Subjective projects: how far the answers are spread otherwise than those of comparable labelers.',
    attention Nullable(Float64) COMMENT 'Subjective projects: accuracy on attention checks; NULL without any.',
    confusion_true Array(String) COMMENT 'The confusion counts, beside confusion_answer and confusion_weight: the true label.',
    confusion_answer Array(String) COMMENT 'The answer that was given.',
    confusion_weight Array(Float64) COMMENT 'Answers of that kind, as far as the truth is believed, older ones counted for less.',
    version UInt64 COMMENT 'Grows with every change. Version of the row.'
)
AS SELECT * FROM labeler_reliability FINAL
COMMENT 'labeler_reliability, each labeler and minute once: the history. Bound as_of in every query; labeler_leaderboard has the latest of it.';

CREATE VIEW IF NOT EXISTS confidence_outcomes_current
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The task whose truth became known.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    settled_at DateTime64(3, 'UTC') COMMENT 'When its truth became known (event time).',
    consensus_label String COMMENT 'What was believed without the truth, in canonical form.',
    truth String COMMENT 'What turned out to be true, in canonical form.',
    truth_source LowCardinality(String) COMMENT 'Where truth is from: review or gold.',
    raw_confidence Float64 COMMENT 'Posterior probability of consensus_label without the truth.',
    confidence Float64 COMMENT 'The forecast: calibrated probability that consensus_label is right, made before the truth was learned.',
    is_right Bool COMMENT 'Whether consensus_label is the truth.',
    labels UInt32 COMMENT 'Labelers whose answers were in it.',
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.'
)
AS SELECT * FROM confidence_outcomes FINAL
COMMENT 'confidence_outcomes, each task once.';


-- The latest row of each labeler. The sub-query reads nothing but the key; its result then picks partitions and
-- granules, so that four million rows of history cost a quarter of a second, not three (FINAL or argMax over all).
CREATE VIEW IF NOT EXISTS labeler_leaderboard
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    labeler_id String COMMENT 'The person or model that is judged.',
    accuracy_low Nullable(Float64) COMMENT 'RANK BY THIS: lower bound of the 90 % credible interval of accuracy. A good labeler with few answers stands below one who has proved it.',
    accuracy Nullable(Float64) COMMENT 'Probability that an answer is right; NULL where there is no right answer, and for ratings.',
    accuracy_high Nullable(Float64) COMMENT 'Upper bound of its 90 % credible interval.',
    effective_labels Float64 COMMENT 'Answers that the estimate rests on, older ones counted for less.',
    labels UInt64 COMMENT 'Answers so far.',
    spammer_score Nullable(Float64) COMMENT 'How far answers depend on the truth (Raykar and Yu 2012): 0 answers blindly, 1 answers perfectly; NULL where it does not apply.',
    bias_label String COMMENT 'The class answered more often than it is true; empty where there is none.',
    bias Nullable(Float64) COMMENT 'By how much: excess share of bias_label among answers (0 to 1); for ratings the mean error in the rating''s unit.',
    precision Nullable(Float64) COMMENT 'Ratings: 1 / variance of the errors about the bias; NULL for other forms.',
    confused_true String COMMENT 'The true label of the pair confused most; empty where there is none.',
    confused_answer String COMMENT 'The answer given in its place; empty where there is none.',
    confused_share Nullable(Float64) COMMENT 'Share of tasks with that true label that got that answer.',
    stability Nullable(Float64) COMMENT 'Subjective projects: share of repeated tasks answered as before; NULL without repeats.',
    distance Nullable(Float64) COMMENT 'Subjective projects: how far the answers are spread otherwise than those of comparable labelers.',
    attention Nullable(Float64) COMMENT 'Subjective projects: accuracy on attention checks; NULL without any.',
    form LowCardinality(String) COMMENT 'What was estimated: confusion (accuracy by class), one_coin (a single accuracy), rating (bias and precision) or subjective (no accuracy).',
    last_seen DateTime64(3, 'UTC') COMMENT 'Minute of event time of the latest change. Bound it to leave out labelers who are gone.'
)
AS SELECT
    r.project_id AS project_id,
    r.task_type AS task_type,
    r.labeler_id AS labeler_id,
    r.accuracy_low AS accuracy_low,
    r.accuracy AS accuracy,
    r.accuracy_high AS accuracy_high,
    r.effective_labels AS effective_labels,
    r.labels AS labels,
    r.spammer_score AS spammer_score,
    r.bias_label AS bias_label,
    r.bias AS bias,
    r.precision AS precision,
    r.confused_true AS confused_true,
    r.confused_answer AS confused_answer,
    r.confused_share AS confused_share,
    r.stability AS stability,
    r.distance AS distance,
    r.attention AS attention,
    r.form AS form,
    r.as_of AS last_seen
FROM labeler_reliability AS r FINAL
WHERE (r.project_id, r.task_type, r.labeler_id, r.as_of) IN
(
    SELECT project_id, task_type, labeler_id, max(as_of)
    FROM labeler_reliability
    GROUP BY project_id, task_type, labeler_id
)
COMMENT 'How reliable each labeler is now, one row a project, task type and labeler. Rank by accuracy_low (ORDER BY accuracy_low DESC) within a project and task type: bare accuracy puts luck first. Ratings rank by precision. Bound project_id.';

CREATE VIEW IF NOT EXISTS confusion_pairs
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    labeler_id String COMMENT 'The person or model that confuses them.',
    true_label String COMMENT 'What is true, as far as it is believed, in canonical form.',
    answer String COMMENT 'What was answered in its place.',
    weight Float64 COMMENT 'Answers of that kind, as far as the truth is believed, older ones counted for less. Adds up over labelers.',
    share Float64 COMMENT 'Share of this labeler''s answers on tasks with true_label that were this answer. Never average it: few answers make it large; look at weight.',
    last_seen DateTime64(3, 'UTC') COMMENT 'Minute of event time of the labeler''s latest change.'
)
AS SELECT
    project_id,
    task_type,
    labeler_id,
    true_label,
    answer,
    weight,
    weight / arraySum(arrayFilter((w, t) -> t = true_label, confusion_weight, confusion_true)) AS share,
    as_of AS last_seen
FROM
(
    SELECT
        r.project_id AS project_id,
        r.task_type AS task_type,
        r.labeler_id AS labeler_id,
        r.as_of AS as_of,
        r.confusion_true AS confusion_true,
        r.confusion_answer AS confusion_answer,
        r.confusion_weight AS confusion_weight
    FROM labeler_reliability AS r FINAL
    WHERE (r.project_id, r.task_type, r.labeler_id, r.as_of) IN
    (
        SELECT project_id, task_type, labeler_id, max(as_of)
        FROM labeler_reliability
        GROUP BY project_id, task_type, labeler_id
    )
)
ARRAY JOIN
    confusion_true AS true_label,
    confusion_answer AS answer,
    confusion_weight AS weight
WHERE true_label != answer AND weight > 0
COMMENT 'What each labeler takes for what, from the latest reliability: one row a pair of true label and wrong answer. Bound project_id.';

-- A forecast is good when of the tasks believed at 80 % about 80 % turn out right. Tasks without an answer before
-- their truth was known had no forecast, and are left out.
CREATE VIEW IF NOT EXISTS calibration
(
    day Date COMMENT 'Day on which the truth became known, UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    bin UInt8 COMMENT 'Tenth of the scale from 0 to 9: bin 7 holds forecasts from 0.7 to under 0.8; 1 belongs to bin 9.',
    tasks UInt64 COMMENT 'Tasks whose confidence is in the bin.',
    tasks_right UInt64 COMMENT 'Those of them whose consensus turned out true.',
    mean_confidence Nullable(Float64) COMMENT 'Mean confidence of the bin''s tasks; NULL without any. Over several rows: sum(mean_confidence * tasks) / sum(tasks).',
    share_right Nullable(Float64) COMMENT 'tasks_right / tasks: what mean_confidence should equal. Over several rows: sum(tasks_right) / sum(tasks).',
    raw_tasks UInt64 COMMENT 'Tasks whose raw confidence (before calibration) is in the bin. A task counts once here and once in tasks, perhaps in another bin.',
    raw_tasks_right UInt64 COMMENT 'Those of them whose consensus turned out true.',
    raw_mean_confidence Nullable(Float64) COMMENT 'Mean raw confidence of raw_tasks; NULL without any.',
    raw_share_right Nullable(Float64) COMMENT 'raw_tasks_right / raw_tasks; NULL without any.'
)
AS SELECT
    day,
    project_id,
    task_type,
    bin,
    countIf(NOT is_raw) AS tasks,
    countIf(NOT is_raw AND is_right) AS tasks_right,
    if(tasks = 0, NULL, sumIf(forecast, NOT is_raw) / tasks) AS mean_confidence,
    if(tasks = 0, NULL, tasks_right / tasks) AS share_right,
    countIf(is_raw) AS raw_tasks,
    countIf(is_raw AND is_right) AS raw_tasks_right,
    if(raw_tasks = 0, NULL, sumIf(forecast, is_raw) / raw_tasks) AS raw_mean_confidence,
    if(raw_tasks = 0, NULL, raw_tasks_right / raw_tasks) AS raw_share_right
FROM
(
    SELECT
        toDate(o.settled_at) AS day,
        o.project_id AS project_id,
        o.task_type AS task_type,
        o.is_right AS is_right,
        arrayJoin([(o.confidence, false), (o.raw_confidence, true)]) AS made,
        made.1 AS forecast,
        made.2 AS is_raw,
        toUInt8(least(9, floor(forecast * 10))) AS bin
    FROM confidence_outcomes AS o FINAL
    WHERE o.labels > 0
)
GROUP BY
    day,
    project_id,
    task_type,
    bin
COMMENT 'Reliability diagram of confidence: forecasts in ten bins beside what came true, by day of the truth, project and task type; also for raw confidence. Figures of a day in one row: calibration_daily. Bound day and project_id.';

CREATE VIEW IF NOT EXISTS calibration_daily
(
    day Date COMMENT 'Day on which the truth became known, UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    tasks UInt64 COMMENT 'Tasks whose truth became known that had a forecast.',
    share_right Float64 COMMENT 'Share of them whose consensus turned out true.',
    mean_confidence Float64 COMMENT 'Mean confidence: above share_right is overconfident.',
    raw_mean_confidence Float64 COMMENT 'Mean raw confidence (before calibration).',
    ece Float64 COMMENT 'Expected calibration error: gap between mean confidence and share right, averaged over the ten bins by tasks; 0 is perfect. Few tasks make it large by chance; over several days compute it from calibration.',
    raw_ece Float64 COMMENT 'The same of raw confidence.',
    brier Float64 COMMENT 'Brier score: mean squared difference between confidence and what came true (1 or 0); 0 is perfect, 0.25 is a coin. Over several rows: sum(brier * tasks) / sum(tasks).',
    raw_brier Float64 COMMENT 'The same of raw confidence.'
)
AS SELECT
    day,
    project_id,
    task_type,
    count() AS tasks,
    avg(is_right) AS share_right,
    avg(confidence) AS mean_confidence,
    avg(raw_confidence) AS raw_mean_confidence,
    arraySum(g -> abs(g), sumMap([bin], [confidence - is_right]).2) / tasks AS ece,
    arraySum(g -> abs(g), sumMap([raw_bin], [raw_confidence - is_right]).2) / tasks AS raw_ece,
    avg(pow(confidence - is_right, 2)) AS brier,
    avg(pow(raw_confidence - is_right, 2)) AS raw_brier
FROM
(
    SELECT
        toDate(o.settled_at) AS day,
        o.project_id AS project_id,
        o.task_type AS task_type,
        toUInt8(o.is_right) AS is_right,
        o.confidence AS confidence,
        o.raw_confidence AS raw_confidence,
        toUInt8(least(9, floor(o.confidence * 10))) AS bin,
        toUInt8(least(9, floor(o.raw_confidence * 10))) AS raw_bin
    FROM confidence_outcomes AS o FINAL
    WHERE o.labels > 0
)
GROUP BY
    day,
    project_id,
    task_type
COMMENT 'How well confidence was calibrated, one row a day of the truth, project and task type: ECE and Brier score, also of raw confidence. Bound day and project_id.';

-- Krippendorff's alpha (2011, Computing Krippendorff's Alpha-Reliability), as detectors/agreement.py defines it:
-- 1 - (n - 1) / n * o / e, with n answers, o the mean difference of the pairs inside tasks, and e the mean difference of
-- any two answers drawn with replacement. Everything is a share, so that the weights' unit (1e-9) cancels out.
-- A weight is that of both orders of its pair, so an answer's number is half the weights it is in, those of a pair of
-- equals twice: arrayConcat(first, second) with arrayConcat(weight, weight) makes each answer's number twice.
-- sumMap returns its keys in order, and leaves out those that come to 0.
-- No lambda here captures an array, which ClickHouse would copy for every element (1.5 GB for an hour of 180,000 pairs).
CREATE VIEW IF NOT EXISTS agreement_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour of event time, UTC.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work.',
    vendor_id LowCardinality(String) COMMENT 'Who supplies the labelers.',
    units Int64 COMMENT 'Tasks with comparable answers of two or more of the vendor''s labelers. A task counts once for a vendor, in one hour.',
    answers Int64 COMMENT 'Answers of those tasks.',
    alpha_nominal Nullable(Float64) COMMENT 'Krippendorff''s alpha, where answers are equal or not: 1 full agreement, 0 as by chance, below 0 worse. NULL where all answers are the same. Never average alphas.',
    alpha_ordinal Nullable(Float64) COMMENT 'Krippendorff''s alpha of answers that are numbers, by rank. NULL where one is no number, and where all are the same.',
    alpha_interval Nullable(Float64) COMMENT 'Krippendorff''s alpha of ratings, by squared difference. NULL for other labels, and where all are the same.'
)
AS SELECT
    hour,
    project_id,
    task_type,
    vendor_id,
    units,
    answers,
    if(nominal_by_chance > 0, 1 - (answers - 1) / answers * nominal_inside / nominal_by_chance, NULL) AS alpha_nominal,
    if(numbers AND ordinal_by_chance > 0, 1 - (answers - 1) / answers * ordinal_inside / ordinal_by_chance, NULL) AS alpha_ordinal,
    if(rating_variance > 1e-10 * mean_square, 1 - (answers - 1) / answers * (rating_within / answers) / (2 * rating_variance), NULL) AS alpha_interval
FROM
(
    SELECT
        hour,
        project_id,
        task_type,
        vendor_id,
        units,
        answers,
        pairs.2 AS weights,
        toFloat64(arraySum(weights)) * 2 AS total,
        -- Nominal: answers are alike or not.
        arrayReduce('sumMap', [arrayConcat(pairs.1.1, pairs.1.2)], [arrayConcat(weights, weights)]) AS marginals,
        arraySum(arrayMap((first, second, weight) -> if(first = second, 0, weight), pairs.1.1, pairs.1.2, weights)) * 2 / total AS nominal_inside,
        1 - arraySum(arrayMap(count -> toFloat64(count) * count, marginals.2)) / (total * total) AS nominal_by_chance,
        -- Ordinal: squared distance of mid-ranks, as shares of all answers. Both ends of each pair are sorted by number;
        -- a run of equal numbers has the mid-rank between the sums before and after it; then back in order of pairs, so
        -- that the two ends of a pair are neighbours. The expected distance of mid-ranks is (1 - sum of p ^ 3) / 6.
        arrayAll(label -> match(label, '^-?[0-9]+(\\.[0-9]+)?(e[+-][0-9]+)?$'), marginals.1) AS numbers,
        arraySort(arrayZip(arrayMap(label -> toFloat64OrZero(label), arrayConcat(pairs.1.1, pairs.1.2)),
                           arrayConcat(arrayEnumerate(weights), arrayEnumerate(weights)),
                           arrayConcat(weights, weights))) AS ends,
        arrayCumSum(ends.3) AS after,
        arrayMap((previous, number) -> previous != number, arrayPushFront(arrayPopBack(ends.1), nan), ends.1) AS is_first,
        arrayPushBack(arrayPopFront(is_first), 1) AS is_last,
        arrayFill((x, keep) -> keep, arrayMap((sum, weight) -> sum - weight, after, ends.3), is_first) AS run_before,
        arrayReverseFill((x, keep) -> keep, after, is_last) AS run_after,
        arrayMap((low, high) -> (toFloat64(low) + high) / 2 / total, run_before, run_after) AS ridits,
        arraySort((ridit, pair) -> pair, ridits, ends.2) AS ridits_by_pair,
        arraySum(arrayMap((distance, place, weight) -> if(place % 2 = 0, distance * distance * weight, 0),
            arrayDifference(ridits_by_pair), arrayEnumerate(ends), arraySort((weight, pair) -> pair, ends.3, ends.2))) * 2 / total AS ordinal_inside,
        (1 - arraySum(arrayMap((count, is_last) -> if(is_last, pow(count, 3), 0.), arrayMap((low, high) -> (toFloat64(high) - low) / total, run_before, run_after), is_last))) / 6 AS ordinal_by_chance,
        -- Interval: from the moments, so that any number of different ratings is as cheap as two.
        rating_within,
        rating_squares / answers AS mean_square,
        mean_square - pow(rating_sum / answers, 2) AS rating_variance
    FROM
    (
        SELECT
            toStartOfHour(p.window_start) AS hour,
            project_id,
            task_type,
            vendor_id,
            sum(p.agreement_units) AS units,
            sum(p.agreement_values) AS answers,
            sumMap(arrayZip(p.agreement_first, p.agreement_second), p.agreement_weight) AS pairs,
            sum(p.agreement_sum) AS rating_sum,
            sum(p.agreement_sum_squares) AS rating_squares,
            sum(p.agreement_within) AS rating_within
        FROM window_partials AS p FINAL
        GROUP BY
            hour,
            project_id,
            task_type,
            vendor_id
        HAVING answers > 0
    )
)
COMMENT 'Agreement of a vendor''s labelers by hour of event time, project and task type: Krippendorff''s alpha of the tasks that two or more of them answered. Bound hour in every query.';
