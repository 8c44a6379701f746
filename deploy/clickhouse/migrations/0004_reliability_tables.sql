-- Truth, reliability and calibrated confidence: more columns, always at the end, and three more tables.
-- What 0001 says of identity, versions, partitions and fsync holds here, too.

ALTER TABLE annotation_scores
    ADD COLUMN IF NOT EXISTS probability_right Nullable(Float64) COMMENT 'Probability that this answer is right, as believed when it arrived; NULL where nothing could be said.' CODEC(ZSTD(1));

ALTER TABLE annotation_scores
    COMMENT COLUMN agrees_with_consensus 'Whether the answer is what was believed of the task before it came; NULL when there was no consensus yet.';

ALTER TABLE task_confidence
    ADD COLUMN IF NOT EXISTS raw_confidence Float64 COMMENT 'Posterior probability of the consensus label, not calibrated; 0 without consensus.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS entropy Float64 COMMENT 'Doubt that is left: entropy of the posterior, nats; 0 is none.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS posterior Map(String, Float64) COMMENT 'Probability of each answer, by answer in canonical form; the shares of answers in subjective projects.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS truth Nullable(String) COMMENT 'The answer as far as it is known, in canonical form: of the latest review that tells it, else gold; NULL when neither is there.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS truth_source LowCardinality(String) COMMENT 'Where truth is from: review or gold; empty where truth is NULL.',
    ADD COLUMN IF NOT EXISTS is_subjective Bool COMMENT 'The project asks for opinions: there is no truth to find, and posterior is how opinions are spread.';

ALTER TABLE task_confidence
    COMMENT COLUMN consensus_label 'Most probable answer, in canonical form; empty for free text and spans.',
    COMMENT COLUMN confidence 'Probability that the consensus is right, calibrated on tasks whose truth became known; 1 when truth is known; 0 without consensus.';

ALTER TABLE task_confidence
    MODIFY COMMENT 'What a task''s answer is now believed to be. Free text and spans are not compared: such a task has a row only if its truth is known, with an empty consensus and confidence 0. Identity: project, task.';

-- A truth that comes after a window was closed corrects the window by another partial, in which these may be negative.
ALTER TABLE window_partials
    MODIFY COLUMN gold_seen Int64 COMMENT 'Annotations of tasks whose answer is known. Negative in a correction.',
    MODIFY COLUMN gold_right Int64 COMMENT 'Those of gold_seen that gave the known answer. Negative in a correction.',
    MODIFY COLUMN consensus_seen Int64 COMMENT 'Annotations that could be compared with a consensus of earlier answers. Negative in a correction.',
    MODIFY COLUMN consensus_agreed Int64 COMMENT 'Those of consensus_seen that agreed with it. Negative in a correction.';

ALTER TABLE window_partials
    ADD COLUMN IF NOT EXISTS agreement_units Int64 COMMENT 'Tasks with two or more comparable answers, for Krippendorff''s alpha. Negative in a correction.',
    ADD COLUMN IF NOT EXISTS agreement_values Int64 COMMENT 'Answers of those tasks. Negative in a correction.',
    ADD COLUMN IF NOT EXISTS agreement_first Array(String) COMMENT 'Coincidences, beside agreement_second and agreement_weight: the answer of a pair that comes first in string order.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS agreement_second Array(String) COMMENT 'The other answer of the pair; the same as the first where two agree.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS agreement_weight Array(Int64) COMMENT 'Coincidences of the pair in both orders, in units of 1e-9: in a task with m answers each ordered pair weighs 1 / (m - 1). Negative in a correction.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS agreement_sum Float64 COMMENT 'Sum of the ratings among agreement_values, in the rating''s unit.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS agreement_sum_squares Float64 COMMENT 'Sum of their squares.' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS agreement_within Float64 COMMENT 'Squared differences of ordered pairs of a task''s ratings, each over (m - 1), summed: what disagreement inside tasks comes to.' CODEC(ZSTD(1));

ALTER TABLE window_partials
    COMMENT COLUMN first_offset 'Sequence number (annotations and reviews applied) of the first event in it. A closed window that gets late annotations or a late truth starts another partial.',
    COMMENT COLUMN last_offset 'Sequence number of the last event in it. Version of the row.';

-- Partitioned by month of as_of, so that old history can be dropped; the rows of one labeler lie together.
CREATE TABLE IF NOT EXISTS labeler_reliability
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    labeler_id String COMMENT 'The person or model that is judged.' CODEC(ZSTD(1)),
    as_of DateTime64(3, 'UTC') COMMENT 'Minute of event time up to which the labeler''s work is in it.' CODEC(Delta, ZSTD(1)),
    form LowCardinality(String) COMMENT 'What was estimated: confusion (accuracy by class), one_coin (a single accuracy), rating (bias and precision) or subjective (no accuracy).',
    labels UInt64 COMMENT 'Answers so far.' CODEC(ZSTD(1)),
    accuracy Nullable(Float64) COMMENT 'Probability that an answer is right; NULL where there is no right answer.' CODEC(ZSTD(1)),
    accuracy_low Nullable(Float64) COMMENT 'Lower bound of its 90 % credible interval. Rank by this one: few answers make it low.' CODEC(ZSTD(1)),
    accuracy_high Nullable(Float64) COMMENT 'Upper bound of its 90 % credible interval.' CODEC(ZSTD(1)),
    effective_labels Float64 COMMENT 'Answers that the estimate rests on, older ones counted for less.' CODEC(ZSTD(1)),
    spammer_score Nullable(Float64) COMMENT 'How far answers depend on the truth (Raykar and Yu 2012): 0 answers blindly, 1 answers perfectly; NULL where it does not apply.' CODEC(ZSTD(1)),
    bias_label String COMMENT 'The class answered more often than it is true; empty where there is none.' CODEC(ZSTD(1)),
    bias Nullable(Float64) COMMENT 'By how much: excess share of bias_label among answers (0 to 1); for ratings the mean error in the rating''s unit.' CODEC(ZSTD(1)),
    precision Nullable(Float64) COMMENT 'Ratings: 1 / variance of the errors about the bias; NULL for other forms.' CODEC(ZSTD(1)),
    confused_true String COMMENT 'The true label of the pair confused most; empty where there is none.' CODEC(ZSTD(1)),
    confused_answer String COMMENT 'The answer given in its place; empty where there is none.' CODEC(ZSTD(1)),
    confused_share Nullable(Float64) COMMENT 'Share of tasks with that true label that got that answer.' CODEC(ZSTD(1)),
    stability Nullable(Float64) COMMENT 'Subjective projects: share of repeated tasks answered as before; NULL without repeats.' CODEC(ZSTD(1)),
    distance Nullable(Float64) COMMENT 'Subjective projects: how far the answers are spread otherwise than those of comparable labelers.' CODEC(ZSTD(1)),
    attention Nullable(Float64) COMMENT 'Subjective projects: accuracy on attention checks; NULL without any.' CODEC(ZSTD(1)),
    confusion_true Array(String) COMMENT 'The confusion counts, beside confusion_answer and confusion_weight: the true label.' CODEC(ZSTD(1)),
    confusion_answer Array(String) COMMENT 'The answer that was given.' CODEC(ZSTD(1)),
    confusion_weight Array(Float64) COMMENT 'Answers of that kind, as far as the truth is believed, older ones counted for less.' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Grows with every change. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(as_of)
ORDER BY (project_id, task_type, labeler_id, as_of)
SETTINGS fsync_after_insert = 1
COMMENT 'History of every labeler''s reliability: one row a minute of event time in which it changed. Labels compare within a project and task type, so reliability is per both. Identity: project, task type, labeler, minute.';

CREATE TABLE IF NOT EXISTS confidence_outcomes
(
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The task whose truth became known.' CODEC(ZSTD(1)),
    task_type LowCardinality(String) COMMENT 'Kind of work, such as image_class.',
    settled_at DateTime64(3, 'UTC') COMMENT 'When its truth became known (event time).' CODEC(Delta, ZSTD(1)),
    consensus_label String COMMENT 'What was believed without the truth, in canonical form.' CODEC(ZSTD(1)),
    truth String COMMENT 'What turned out to be true, in canonical form.' CODEC(ZSTD(1)),
    truth_source LowCardinality(String) COMMENT 'Where truth is from: review or gold.',
    raw_confidence Float64 COMMENT 'Posterior probability of consensus_label without the truth.' CODEC(ZSTD(1)),
    confidence Float64 COMMENT 'The forecast: calibrated probability that consensus_label is right, made before the truth was learned.' CODEC(ZSTD(1)),
    is_right Bool COMMENT 'Whether consensus_label is the truth.',
    labels UInt32 COMMENT 'Labelers whose answers were in it.',
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project_id, task_id)
SETTINGS fsync_after_insert = 1
COMMENT 'One row a task whose truth became known: the forecast beside what came of it, to measure calibration. Identity: project, task.';

CREATE TABLE IF NOT EXISTS closed_tasks
(
    app_id LowCardinality(String) COMMENT 'Consumer group.',
    source_partition Int32 COMMENT 'Kafka partition of the task.',
    project_id LowCardinality(String) COMMENT 'Queue of tasks under one guideline.',
    task_id String COMMENT 'The task.' CODEC(ZSTD(1)),
    closed_at DateTime64(3, 'UTC') COMMENT 'When it left the worker''s memory. It is kept for 90 days from here.' CODEC(Delta, ZSTD(1)),
    codec_version UInt16 COMMENT 'How payload is written; an unknown one is refused.',
    payload String COMMENT 'The task with its answers.' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Grows with every change to the task. Version of the row.'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (app_id, source_partition, project_id, task_id)
TTL toDateTime(closed_at, 'UTC') + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1
COMMENT 'Tasks that left the workers'' memory, for reviews that come later. Kept for 90 days after closing. Identity: app, partition, project, task.';
