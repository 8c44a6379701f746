-- Alerts that are about a few of their scope's labelers. What 0001 says of identity and versions holds here, too.

ALTER TABLE alerts
    ADD COLUMN IF NOT EXISTS labelers UInt32 COMMENT 'How many of the scope''s labelers level and answers are about; 0: all of them.' AFTER answers;

CREATE OR REPLACE VIEW alert_history
(
    app_id LowCardinality(String) COMMENT 'Consumer group of the workers that watched.',
    alert_id String COMMENT 'Id of the alert.',
    rule LowCardinality(String) COMMENT 'Name of the rule.',
    metric LowCardinality(String) COMMENT 'What it watches; see quality-metrics.md.',
    family LowCardinality(String) COMMENT 'Alerts of one family (quality, time, stream, silence) inhibit one another.',
    about LowCardinality(String) COMMENT 'change: the metric changed. no_data: no values come.',
    severity LowCardinality(String) COMMENT 'info, warning or critical.',
    scope_kind LowCardinality(String) COMMENT 'labeler, segment, vendor, project, task_type or all.',
    scope String COMMENT 'The scope as the rule has it.',
    project_id LowCardinality(String) COMMENT 'Project; empty where the scope does not tell projects apart.',
    task_type LowCardinality(String) COMMENT 'Type of task; empty as above.',
    vendor_id LowCardinality(String) COMMENT 'Vendor (of a labeler: of the latest answer); empty as above.',
    labeler_id String COMMENT 'Labeler; empty as above.',
    state LowCardinality(String) COMMENT 'pending, firing or resolved.',
    started_at DateTime64(3, 'UTC') COMMENT 'When it was found. Event time.',
    fired_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it had lasted for as long as the rule asks; NULL if never.',
    resolved_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was over; NULL while it is not.',
    ended LowCardinality(String) COMMENT 'Why: recovered, withdrawn, silent, speaking, new_level, dropped.',
    pending_seconds Nullable(Float64) COMMENT 'From started_at to fired_at.',
    firing_seconds Nullable(Float64) COMMENT 'From fired_at to resolved_at.',
    is_flapping Bool COMMENT 'It came and went so often that it stays until all was well for longer.',
    held LowCardinality(String) COMMENT 'Why nobody is told yet: quiet, inhibited, unconfirmed; empty otherwise.',
    inhibited_by String COMMENT 'alert_id of the broader alert that says it; empty where not inhibited.',
    direction LowCardinality(String) COMMENT 'Where the metric went: down or up; empty for no_data.',
    unit LowCardinality(String) COMMENT 'Of baseline and level.',
    counted LowCardinality(String) COMMENT 'What answers counts.',
    baseline Nullable(Float64) COMMENT 'The level before.',
    level Nullable(Float64) COMMENT 'The level since the change.',
    since Nullable(DateTime64(3, 'UTC')) COMMENT 'When the change began, as estimated.',
    answers UInt64 COMMENT 'What level rests on.',
    labelers UInt32 COMMENT 'How many of the scope''s labelers level and answers are about; 0: all of them.',
    told UInt32 COMMENT 'How often people were to be told that it fires.',
    delivered UInt64 COMMENT 'Messages that a target has taken.',
    waiting UInt64 COMMENT 'Messages that are still being tried.',
    given_up UInt64 COMMENT 'Messages that a target refused for good.',
    first_delivered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the first message was taken. Wall clock.',
    acked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When somebody acknowledged it last; NULL if nobody did. Wall clock.',
    acked_by String COMMENT 'Who.',
    ack_note String COMMENT 'What they wrote.',
    labels Map(String, String) COMMENT 'Labels of the rule, for routing.',
    runbook String COMMENT 'Link to what to do; empty if none.',
    title String COMMENT 'First line of what people were told; empty until then.',
    body String COMMENT 'The rest of it.',
    explanation String COMMENT 'Why the metric changed, as JSON; empty where it is not known.'
)
AS SELECT
    a.app_id AS app_id, a.alert_id AS alert_id, a.rule, a.metric, a.family, a.about, a.severity, a.scope_kind, a.scope,
    a.project_id, a.task_type, a.vendor_id, a.labeler_id,
    a.state, a.started_at, a.fired_at, a.resolved_at, a.ended,
    dateDiff('millisecond', a.started_at, a.fired_at) / 1000 AS pending_seconds,
    dateDiff('millisecond', a.fired_at, a.resolved_at) / 1000 AS firing_seconds,
    a.is_flapping, a.held, a.inhibited_by, a.direction, a.unit, a.counted, a.baseline, a.level, a.since, a.answers,
    a.labelers, a.told, d.delivered, d.waiting, d.given_up, d.first_delivered_at,
    if(n.notes = 0, NULL, n.acked_at) AS acked_at, n.acked_by, n.ack_note,
    a.labels, a.runbook, a.title, a.body, a.explanation
FROM alerts AS a FINAL
LEFT JOIN
(
    SELECT
        app_id, alert_id,
        countIf(status = 'delivered') AS delivered,
        countIf(status = 'waiting') AS waiting,
        countIf(status = 'given_up') AS given_up,
        minIf(attempted_at, status = 'delivered') AS first_delivered_at
    FROM alert_deliveries FINAL
    GROUP BY app_id, alert_id
) AS d ON a.app_id = d.app_id AND a.alert_id = d.alert_id
LEFT JOIN
(
    SELECT
        app_id, alert_id, count() AS notes, max(noted_at) AS acked_at,
        argMax(noted_by, noted_at) AS acked_by, argMax(note, noted_at) AS ack_note
    FROM alert_notes FINAL
    WHERE kind = 'ack'
    GROUP BY app_id, alert_id
) AS n ON a.app_id = n.app_id AND a.alert_id = n.alert_id
COMMENT 'One row an alert: what it was about, how long it took, who was told, who acknowledged it.';
