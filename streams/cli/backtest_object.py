"""A backtest as ``labelwatch thresholds backtest --json`` prints it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.scope import KEY_FIELDS
from schemas.times import format_utc
from streams.backtest.backtest import Backtest, Ran
from streams.backtest.compare import KINDS
from streams.backtest.fired import Fired
from streams.backtest.scores import Scores


def as_object(result: Backtest, scores: Scores | None, other_scores: Scores | None) -> dict[str, Any]:
    """One object for programs; what it holds is in docs/backtest.md."""
    return {
        "since": _time(result.span.since_ms),
        "until": _time(result.end_ms),
        "weeks": round(result.weeks, 6),
        "history_from": _time(result.first_ms),
        "messages": result.messages,
        "answers": result.answers,
        **_ran(result, result.tried, scores),
        "against": None if result.other is None else _ran(result, result.other, other_scores),
        "differences": None if result.other is None else _differences(result),
    }


def _ran(result: Backtest, ran: Ran, scores: Scores | None) -> dict[str, Any]:
    by_week = result.by_week(ran)
    return {
        "rules_of": ran.name,
        "rules": [
            {
                "name": rule.name,
                "metric": rule.metric,
                "scope": rule.scope.text,
                "alerts": sum(by_week[rule.name]),
                "alerts_by_week": by_week[rule.name],
                "alerts_per_week": _rate(sum(by_week[rule.name]), result.weeks),
                "false_alarms_per_week": rule.false_alarms_per_week,
                "not_running": ran.problems.get(rule.name),
            }
            for rule in ran.rules
        ],
        "alerts": [alert_object(one, result.end_ms) for one in ran.fired],
        "calmed": ran.calmed,
        "firing_before": ran.open_before,
        "incidents": None if scores is None else _scores(scores, result.weeks),
    }


def alert_object(fired: Fired, end_ms: int) -> dict[str, Any]:
    """One alert, as it was when it fired."""
    alert, figures = fired.alert, fired.alert.figures
    scope = alert.scope
    return {
        "alert_id": alert.alert_id,
        "rule": alert.key.rule,
        "metric": alert.rule.metric,
        "about": alert.about,
        "severity": alert.rule.severity,
        "scope": {name: getattr(scope, name) for name in KEY_FIELDS[scope.kind]} or {"all": scope.text},
        "began_at": _time(alert.began_ms),
        "fired_at": _time(fired.fired_ms),
        "told_at": _time(fired.told_ms),
        "resolved_at": _time(fired.resolved_ms),
        "ended": fired.ended,
        "firing_seconds": fired.lasted_ms(end_ms) / 1_000,
        "is_flapping": fired.is_flapping,
        "baseline": None if figures is None else figures.baseline,
        "level": None if figures is None else figures.level,
        "unit": None if figures is None else figures.unit,
        "since": None if figures is None else _time(figures.since_ms),
        "answers": None if figures is None else figures.answers,
        "labelers": None if figures is None else figures.labelers,
    }


def _differences(result: Backtest) -> dict[str, Any]:
    found = result.differences
    return {
        "counts": {kind: sum(one.kind == kind for one in found) for kind in KINDS},
        "alerts": [
            {
                "kind": one.kind,
                "later_seconds": None if one.later_ms is None else one.later_ms / 1_000,
                "tried": None if one.tried is None else one.tried.alert.alert_id,
                "against": None if one.other is None else one.other.alert.alert_id,
            }
            for one in found
        ],
    }


def _scores(scores: Scores, weeks: float) -> dict[str, Any]:
    return {
        "precision": scores.precision,
        "recall": scores.recall,
        "delay_seconds_p50": None if scores.delay_ms is None else scores.delay_ms / 1_000,
        "told": scores.told,
        "false": [one.alert.alert_id for one in scores.false],
        "false_per_week": _rate(len(scores.false), weeks),
        "not_judged": scores.outside,
        "judged": [
            {
                **one.incident.model_dump(mode="json"),
                "delay_seconds": None if one.delay_ms is None else one.delay_ms / 1_000,
                "alerts": [alert.alert.alert_id for alert in one.alerts],
            }
            for one in scores.found
        ],
    }


def _rate(count: int, weeks: float) -> float | None:
    return count / weeks if weeks else None


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_utc(datetime.fromtimestamp(at_ms / 1_000, UTC))
