"""Every Prometheus metric, declared once: name, kind, unit, labels, meaning, and what to do when it looks bad.

``docs/metrics.md`` is made from these declarations: ``python -m streams.metrics > docs/metrics.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]

_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MESSAGES_BUCKETS: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What one metric is. ``runbook`` is a file name in ``docs/runbooks``."""

    name: str
    unit: str
    meaning: str
    when_bad: str
    labels: tuple[str, ...] = ()
    runbook: str | None = None
    buckets: tuple[float, ...] = _SECONDS_BUCKETS


class Metrics:
    """Typed handles, one an attribute: ``METRICS.messages.labels("annotations", "accepted").inc(500)``.

    Each instance has its own values in its own ``registry``; tests make their own.
    """

    messages: Annotated[Counter, MetricSpec(
        "labelwatch_messages_total", "messages",
        "Messages read, by what became of them: accepted, duplicate or dead_letter.",
        "A growing share of dead_letter: see `labelwatch dlq list`. Duplicates in bulk: a producer resends, or a "
        "replay is running; they change no figure.",
        ("topic", "outcome"), runbook="dead-letters",
    )]  # fmt: skip
    dead_letters: Annotated[Counter, MetricSpec(
        "labelwatch_dead_letters_total", "messages",
        "Messages refused for good, by reason.",
        "Find the producer from the details in `labelwatch dlq list --reason R`, have it mended, then replay.",
        ("reason",), runbook="dead-letters",
    )]  # fmt: skip
    batch_seconds: Annotated[Histogram, MetricSpec(
        "labelwatch_batch_seconds", "seconds",
        "Time to decode, score and fold in one batch of one partition of annotations or reviews.",
        "Above 1 s at the 99th percentile the event loop is held too long: lower worker.batch_max_records.",
        runbook="lag-growing",
    )]  # fmt: skip
    batch_messages: Annotated[Histogram, MetricSpec(
        "labelwatch_batch_messages", "messages",
        "Messages in one batch of annotations or reviews.",
        "Always full while lag grows: the worker is the bottleneck; add workers. Always 1 under load: check the "
        "consumer's fetch settings.",
        runbook="lag-growing", buckets=_MESSAGES_BUCKETS,
    )]  # fmt: skip
    checkpoint_seconds: Annotated[Histogram, MetricSpec(
        "labelwatch_checkpoint_seconds", "seconds",
        "Time to make one partition's results, state and position durable, retries included.",
        "Near worker.checkpoint_seconds the worker mostly waits for ClickHouse: look at its insert times and merges.",
        runbook="clickhouse-away",
    )]  # fmt: skip
    checkpoints: Annotated[Counter, MetricSpec(
        "labelwatch_checkpoints_total", "checkpoints",
        "Checkpoints finished: results durable and offsets acknowledged.",
        "Standing still while messages arrive: nothing is durable any more. ClickHouse or the broker is away.",
        runbook="clickhouse-away",
    )]  # fmt: skip
    rows_written: Annotated[Counter, MetricSpec(
        "labelwatch_rows_written_total", "rows",
        "Rows acknowledged by ClickHouse.",
        "Standing still while messages arrive: as for labelwatch_checkpoints_total.",
        ("table",), runbook="clickhouse-away",
    )]  # fmt: skip
    sink_retries: Annotated[Counter, MetricSpec(
        "labelwatch_sink_retries_total", "tries",
        "Writes to ClickHouse or the broker that were tried again after a passing error.",
        "A few in an upgrade are normal. Rising for minutes: it is away; consumption is paused and nothing is lost.",
        runbook="clickhouse-away",
    )]  # fmt: skip
    lag_messages: Annotated[Gauge, MetricSpec(
        "labelwatch_lag_messages", "messages",
        "Messages on the partition that this worker has not acknowledged yet.",
        "Growing for more than ten minutes: add workers up to the number of partitions, or find what slows this one.",
        ("topic", "partition"), runbook="lag-growing",
    )]  # fmt: skip
    position: Annotated[Gauge, MetricSpec(
        "labelwatch_position", "offset",
        "Next offset to be read after the last checkpoint.",
        "Standing still while labelwatch_lag_messages is above 0: the worker is stuck.",
        ("topic", "partition"), runbook="worker-stuck",
    )]  # fmt: skip
    watermark_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_watermark_seconds", "unix seconds",
        "Event time before which no further event is expected on the partition.",
        "Far ahead of the clock: a producer's clock is wrong; see time_in_future dead letters.",
        ("partition",), runbook="lag-growing",
    )]  # fmt: skip
    watermark_lag_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_watermark_lag_seconds", "seconds",
        "Clock minus watermark at the last checkpoint: how far quality figures are behind.",
        "Above pipeline.out_of_order_seconds plus a few minutes with no lag: the partition is silent, or events are "
        "sent late by their tool. With lag: the worker is behind.",
        ("partition",), runbook="lag-growing",
    )]  # fmt: skip
    open_tasks: Annotated[Gauge, MetricSpec(
        "labelwatch_open_tasks", "tasks",
        "Tasks kept in memory.",
        "Near pipeline.max_open_tasks: the longest idle tasks are given up early. Raise it where there is memory, or "
        "shorten pipeline.duplicate_horizon_seconds.",
        ("partition",), runbook="worker-stuck",
    )]  # fmt: skip
    open_windows: Annotated[Gauge, MetricSpec(
        "labelwatch_open_windows", "windows",
        "Window partials kept in memory.",
        "Growing without end: the watermark stands still, or segments multiply (an id in project_id or task_type).",
        ("partition",), runbook="lag-growing",
    )]  # fmt: skip
    late: Annotated[Counter, MetricSpec(
        "labelwatch_late_total", "messages",
        "Annotations that came after the watermark had passed their window; they are counted in it all the same.",
        "A steady share: raise pipeline.out_of_order_seconds, or have the tool send sooner.",
    )]  # fmt: skip
    tasks_given_up: Annotated[Counter, MetricSpec(
        "labelwatch_tasks_given_up_total", "tasks",
        "Tasks dropped from memory before their time because pipeline.max_open_tasks was reached.",
        "Above 0: their duplicates are no longer recognised. Raise it, or shorten pipeline.duplicate_horizon_seconds.",
        runbook="worker-stuck",
    )]  # fmt: skip
    messages_sent: Annotated[Counter, MetricSpec(
        "labelwatch_messages_sent_total", "messages",
        "Messages that the broker has taken: dead letters, evidence on labelers, records of their reliability, what "
        "rules look at, and what they say.",
        "Evidence standing still while annotations are accepted: no checkpoint succeeds. Reliability records standing "
        "still while evidence is sent: look at the lag of labeler-evidence.",
        ("topic",), runbook="lag-growing",
    )]  # fmt: skip
    labelers: Annotated[Gauge, MetricSpec(
        "labelwatch_labelers", "labelers",
        "Labelers known on the partition of labeler-evidence, once for each label space that they work in.",
        "Growing without end: ids are made up (a session in labeler_id). Those idle for reliability.forget_days go.",
        ("partition",), runbook="worker-stuck",
    )]  # fmt: skip
    reliability_copy_records: Annotated[Gauge, MetricSpec(
        "labelwatch_reliability_copy_records", "records",
        "Labelers in this worker's copy of labeler-reliability.",
        "Workers that differ by more than the last seconds' changes: one does not read; see the copy's age.",
        runbook="reliability-stale",
    )]  # fmt: skip
    reliability_copy_age_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_reliability_copy_age_seconds", "seconds",
        "Time since the broker last answered for every partition of labeler-reliability.",
        "Above 5 s: SCORE goes on with what it knew of labelers. The broker is away, or the worker is short of CPU.",
        runbook="reliability-stale",
    )]  # fmt: skip
    reliability_copy_skipped: Annotated[Counter, MetricSpec(
        "labelwatch_reliability_copy_skipped_total", "records",
        "Records of labeler-reliability that could not be read, and were passed over.",
        "Above 0: something else writes to the topic, or a newer version of labelwatch does; the log says what.",
        runbook="reliability-stale",
    )]  # fmt: skip
    watch_clock_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_watch_clock_seconds", "unix seconds",
        "Event time up to which rules have judged; on the worker that runs WATCH, 0 on others.",
        "Standing still while annotations are accepted: no rule can fire. Look at the lag of measurements.",
        runbook="lag-growing",
    )]  # fmt: skip
    findings: Annotated[Counter, MetricSpec(
        "labelwatch_findings_total", "findings",
        "Breaches of rules that WATCH found.",
        "Many in a minute: one cause with many faces, or rules without a budget; see `labelwatch thresholds check`.",
    )]  # fmt: skip
    rules_in_force: Annotated[Gauge, MetricSpec(
        "labelwatch_rules_in_force", "1",
        "Always 1; the label is the SHA-256 of the rules that WATCH runs. On the worker that runs WATCH.",
        "Other than labelwatch_thresholds_file for more than a minute: the log says rules.refused or rules.not_later.",
        ("sha256",), runbook="rules-not-in-force",
    )]  # fmt: skip
    rules_not_running: Annotated[Gauge, MetricSpec(
        "labelwatch_rules_not_running", "rules",
        "Rules in force that do not run at the volume they meet.",
        "Above 0: `labelwatch thresholds check` says which, and why.",
        runbook="rules-not-in-force",
    )]  # fmt: skip
    rules_refused: Annotated[Counter, MetricSpec(
        "labelwatch_rules_refused_total", "times",
        "Rules that a worker sent or stored, and that WATCH could not use; those before stay.",
        "Above 0: workers of different versions run beside each other, or something else writes to measurements.",
        runbook="rules-not-in-force",
    )]  # fmt: skip
    thresholds_file: Annotated[Gauge, MetricSpec(
        "labelwatch_thresholds_file", "1",
        "Always 1; the label is the SHA-256 of the latest usable file of rules that this worker found.",
        "Different between workers for more than a minute: their files differ.",
        ("sha256",), runbook="rules-not-in-force",
    )]  # fmt: skip
    thresholds_refused: Annotated[Gauge, MetricSpec(
        "labelwatch_thresholds_refused", "1",
        "1 while this worker's file of rules cannot be used, as it is now; those before stay in force.",
        "Above 0: the log has thresholds.refused with line and reason; so has `labelwatch thresholds check FILE`.",
        runbook="rules-not-in-force",
    )]  # fmt: skip
    state_restore_seconds: Annotated[Histogram, MetricSpec(
        "labelwatch_state_restore_seconds", "seconds",
        "Time to read one partition's state after it was assigned.",
        "Above the consumer's session timeout a rebalance may loop: look at the state table's size.",
        runbook="worker-stuck", buckets=(*_SECONDS_BUCKETS, 60.0, 120.0),
    )]  # fmt: skip
    fenced: Annotated[Counter, MetricSpec(
        "labelwatch_fenced_total", "times",
        "Times this worker found a newer owner of a partition, and stopped writing for it.",
        "One at a rebalance is the guard at work. Repeated: workers stall past the session timeout.",
        runbook="worker-stuck",
    )]  # fmt: skip
    event_loop_lag_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_event_loop_lag_seconds", "seconds",
        "How late the event loop woke the heartbeat last time.",
        "Above 1 s: something blocks the loop; batches are too large, or the machine is short of CPU.",
        runbook="worker-stuck",
    )]  # fmt: skip
    breaker_bad_share: Annotated[Gauge, MetricSpec(
        "labelwatch_breaker_bad_share", "share",
        "Share of bad messages among the last pipeline.breaker_min_messages of the worst partition, 0 to 1.",
        "At pipeline.breaker_bad_share the worker stops rather than send a whole topic to the dead letters.",
        runbook="breaker-open",
    )]  # fmt: skip
    alerts: Annotated[Gauge, MetricSpec(
        "labelwatch_alerts", "alerts",
        "Alerts that are pending or firing, held ones among them.",
        "Hundreds firing: one cause, most likely; `labelwatch alerts list` names the broad ones first.",
        ("state", "severity"),
    )]  # fmt: skip
    deliveries: Annotated[Counter, MetricSpec(
        "labelwatch_deliveries_total", "attempts",
        "Attempts to deliver a message of an alert, by what came of it: delivered, later (tried again), refused (given "
        "up) or dropped (needless by then).",
        "later rising: the target is away; nothing is lost. refused: it will never take that message; see why.",
        ("target", "outcome"), runbook="deliveries-failing",
    )]  # fmt: skip
    deliveries_waiting: Annotated[Gauge, MetricSpec(
        "labelwatch_deliveries_waiting", "messages",
        "Messages of alerts that the target has not taken yet, silenced ones among them.",
        "Growing: the target is away, or refuses for now.",
        ("target",), runbook="deliveries-failing",
    )]  # fmt: skip
    delivery_wait_seconds: Annotated[Gauge, MetricSpec(
        "labelwatch_delivery_wait_seconds", "seconds",
        "How long the oldest message that was tried and not taken has waited; 0 if there is none.",
        "Above 300 people do not hear of what is wrong: look at the target.",
        ("target",), runbook="deliveries-failing",
    )]  # fmt: skip
    build_info: Annotated[Gauge, MetricSpec(
        "labelwatch_build_info", "1",
        "Always 1; the labels say what runs.",
        "More than one version for longer than a roll-out: an old worker was left behind.",
        ("version", "python"),
    )]  # fmt: skip

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        for attribute, (metric, spec) in _declared().items():
            buckets = {"buckets": spec.buckets} if metric is Histogram else {}
            setattr(self, attribute, metric(spec.name, spec.meaning, spec.labels, registry=self.registry, **buckets))


def _declared() -> dict[str, tuple[type[Any], MetricSpec]]:
    hints = get_type_hints(Metrics, include_extras=True)
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in hints.items()}


def metric_specs() -> tuple[tuple[Kind, MetricSpec], ...]:
    """All declarations with their kinds, in order."""
    kinds: dict[type[Any], Kind] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
    return tuple((kinds[metric], spec) for metric, spec in _declared().values())


def set_build_info(metrics: Metrics) -> None:
    """Fill in ``labelwatch_build_info`` from the installed package."""
    import platform
    from importlib.metadata import version

    metrics.build_info.labels(version("labelwatch"), platform.python_version()).set(1)


def to_markdown() -> str:
    """The text of ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "Made from `streams/metrics.py` by `python -m streams.metrics > docs/metrics.md`; a test keeps it current.",
        "Workers serve them at `/metrics`, beside `/healthz`.",
        "",
        "| metric | kind | unit | labels | meaning | when it looks bad |",
        "|---|---|---|---|---|---|",
    ]
    for kind, spec in metric_specs():
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        runbook = f" Runbook: [{spec.runbook}](runbooks/{spec.runbook}.md)." if spec.runbook else ""
        lines.append(f"| `{spec.name}` | {kind} | {spec.unit} | {labels} | {spec.meaning} | {spec.when_bad}{runbook} |")
    return "\n".join(lines) + "\n"


#: The metrics of this process.
METRICS: Final = Metrics()


if __name__ == "__main__":
    print(to_markdown(), end="")
