-- Alerts may be told besides a broader one. What 0001 says of identity and versions holds here, too.

ALTER TABLE alert_deliveries
    COMMENT COLUMN notice 'firing, apart (besides a broader alert, since labelers stand out), repeat, update (its cause can be named now) or resolved.';

CREATE OR REPLACE VIEW alert_deliveries_current
(
    app_id LowCardinality(String) COMMENT 'Consumer group of the workers that watched.',
    alert_id String COMMENT 'The alert.',
    target LowCardinality(String) COMMENT 'Where it is sent: alertmanager, or a service of Apprise and a hash of its URL.',
    number UInt32 COMMENT 'Revision of the alert that the message tells of.',
    notice LowCardinality(String) COMMENT 'firing, apart (besides a broader alert, since labelers stand out), repeat, update (its cause can be named now) or resolved.',
    status LowCardinality(String) COMMENT 'waiting, delivered, given_up (refused for good), or dropped (needless by now).',
    queued_at DateTime64(3, 'UTC') COMMENT 'When it was to be sent. Wall clock, as all times here.',
    attempts UInt32 COMMENT 'How often it was tried.',
    attempted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When last; NULL if never.',
    reason String COMMENT 'Why it is not delivered; empty where it is.',
    version UInt64 COMMENT 'Grows with every attempt.'
)
AS SELECT * FROM alert_deliveries FINAL
COMMENT 'alert_deliveries, each once: what was sent to whom, and what is still tried.';
