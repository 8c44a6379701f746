"""Rows of alerts, as `schemas.rows` has those of everything else. Times are milliseconds since the epoch, UTC."""

from __future__ import annotations

from typing import NamedTuple


class AlertRow(NamedTuple):
    """``alerts``: one alert as it is now. Identity: app, alert_id. Times are event times."""

    app_id: str
    alert_id: str
    rule: str
    metric: str
    family: str
    about: str
    severity: str
    scope_kind: str
    scope: str
    project_id: str
    task_type: str
    vendor_id: str
    labeler_id: str
    state: str
    held: str
    inhibited_by: str
    is_flapping: bool
    started_at: int
    fired_at: int | None
    resolved_at: int | None
    ended: str
    told: int
    direction: str
    unit: str
    counted: str
    baseline: float | None
    level: float | None
    since: int | None
    answers: int
    labelers: int
    statistic: float | None
    threshold: float | None
    labels: dict[str, str]
    runbook: str
    title: str
    body: str
    explanation: str
    version: int


class AlertDeliveryRow(NamedTuple):
    """``alert_deliveries``: one message of an alert to one target. Times are of the wall clock."""

    app_id: str
    alert_id: str
    target: str
    number: int
    notice: str
    status: str
    queued_at: int
    attempts: int
    attempted_at: int | None
    reason: str
    version: int


class AlertNoteRow(NamedTuple):
    """``alert_notes``: what somebody noted on an alert or a rule. Identity: app, note_id."""

    app_id: str
    note_id: str
    kind: str
    alert_id: str
    rule: str
    noted_by: str
    note: str
    noted_at: int
    until: int
