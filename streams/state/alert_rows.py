"""An alert as ClickHouse keeps it."""

from __future__ import annotations

from detectors.alerts.alert import Alert
from schemas.alert_rows import AlertRow
from streams.delivery.text import Text


def alert_row(app_id: str, alert: Alert, text: Text | None) -> AlertRow:
    """The row of an alert. One with words counts before one of the same revision without."""
    rule, scope, figures = alert.rule, alert.scope, alert.figures
    return AlertRow(
        app_id=app_id,
        alert_id=alert.alert_id,
        rule=rule.name,
        metric=rule.metric,
        family=alert.family,
        about=alert.about,
        severity=rule.severity,
        scope_kind=scope.kind,
        scope=scope.text,
        project_id=scope.project_id,
        task_type=scope.task_type,
        vendor_id=scope.vendor_id,
        labeler_id=scope.labeler_id,
        state=alert.state,
        held=alert.held,
        inhibited_by=alert.inhibited_by,
        is_flapping=alert.is_flapping,
        started_at=alert.began_ms,
        fired_at=alert.fired_ms,
        resolved_at=alert.resolved_ms,
        ended=alert.ended,
        told=alert.told or int(text is not None),  # with words, perhaps apart from a broader alert
        direction=figures.direction if figures else "",
        unit=figures.unit if figures else "",
        counted=figures.counted if figures else "",
        baseline=figures.baseline if figures else None,
        level=figures.level if figures else None,
        since=figures.since_ms if figures else None,
        answers=figures.answers if figures else 0,
        labelers=(figures.labelers or 0) if figures else 0,
        statistic=figures.statistic if figures else None,
        threshold=figures.threshold if figures else None,
        labels=dict(rule.labels),
        runbook=rule.runbook or "",
        title=text.title if text else "",
        body=text.body if text else "",
        explanation=text.explanation if text else "",
        version=2 * alert.revision + (text is not None),
    )
