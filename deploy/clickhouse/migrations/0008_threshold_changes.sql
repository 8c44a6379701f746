-- Which rules were in force since when. What 0001 says of identity and versions holds here, too.

CREATE TABLE IF NOT EXISTS threshold_changes
(
    app_id LowCardinality(String) COMMENT 'Consumer group of the workers that took the rules.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When the file was changed (its modification time).',
    sha256 String COMMENT 'SHA-256 of the file, hexadecimal.',
    previous_sha256 String COMMENT 'That of the rules that held before; empty where there were none.',
    changed_by String COMMENT 'Who changed it: changed_by in the file, else the owner of the file.',
    source String COMMENT 'The file, as the worker was told.',
    rules_added Array(String) COMMENT 'Names of rules that are new.',
    rules_changed Array(String) COMMENT 'Names of rules that mean something else than before, defaults included.',
    rules_removed Array(String) COMMENT 'Names of rules that are gone.',
    diff String COMMENT 'Unified diff from the file before; empty for the first.' CODEC(ZSTD(1)),
    content String COMMENT 'The whole file.' CODEC(ZSTD(1)),
    worker_id String COMMENT 'The worker that said so last.',
    accepted_at DateTime64(3, 'UTC') COMMENT 'When a worker took them last. Version of the row.'
)
ENGINE = ReplacingMergeTree(accepted_at)
ORDER BY (app_id, changed_at, sha256)
SETTINGS fsync_after_insert = 1
COMMENT 'One row a change of the rules that workers took. Identity: app, modification time, SHA-256.';

CREATE VIEW IF NOT EXISTS threshold_changes_current
(
    app_id LowCardinality(String) COMMENT 'Consumer group of the workers that took the rules.',
    changed_at DateTime64(3, 'UTC') COMMENT 'When the file was changed (its modification time).',
    sha256 String COMMENT 'SHA-256 of the file, hexadecimal.',
    previous_sha256 String COMMENT 'That of the rules that held before; empty where there were none.',
    changed_by String COMMENT 'Who changed it: changed_by in the file, else the owner of the file.',
    source String COMMENT 'The file, as the worker was told.',
    rules_added Array(String) COMMENT 'Names of rules that are new.',
    rules_changed Array(String) COMMENT 'Names of rules that mean something else than before, defaults included.',
    rules_removed Array(String) COMMENT 'Names of rules that are gone.',
    diff String COMMENT 'Unified diff from the file before; empty for the first.',
    content String COMMENT 'The whole file.',
    worker_id String COMMENT 'The worker that said so last.',
    accepted_at DateTime64(3, 'UTC') COMMENT 'When a worker took them last. Version of the row.'
)
AS SELECT * FROM threshold_changes FINAL
COMMENT 'threshold_changes, each once: which rules were in force since when.';
