"""Words for an alert of which nobody was told: where no target is set, or while a broader alert says it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from detectors.alerts.alert import Alert
    from streams.settings import Settings

#: Somebody waits, who can give up whenever they like.
_WHY_SECONDS: Final = 60.0


def has_words(row: dict[str, Any]) -> bool:
    """Whether an alert, a row of ``alert_history``, was put into words."""
    return bool(row["body"])


async def find_words(row: dict[str, Any], settings: Settings) -> dict[str, str]:
    """Title, body and explanation, by all answers since the change: until the alert was over, or the latest ones.

    Args:
        row: of ``alert_history``, with what `AlertsTable.evidence` adds.
        settings: where answers are counted, and which page is linked.
    """
    from streams.delivery.explained_text import ExplainedText
    from streams.explanations.clickhouse import ClickHouseCells

    describe = ExplainedText(ClickHouseCells(settings.clickhouse), settings.notify.page_url, _WHY_SECONDS)
    alert = alert_of(row)
    until = row["resolved_at"] or row["heard"] or row["started_at"]
    try:
        text = await describe.text(alert, "firing", max(_ms(until), alert.began_ms))
    finally:
        await describe.close()
    return {"title": text.title, "body": text.body, "explanation": text.explanation}


def alert_of(row: dict[str, Any]) -> Alert:
    """The alert as it was when it fired, as far as its row tells."""
    from detectors.alerts.alert import Alert, AlertKey
    from schemas.thresholds import Rule
    from schemas.verdicts import Figures, VerdictScope

    named = {name: row[name] for name in ("project_id", "task_type", "vendor_id", "labeler_id")}
    rule = {"name": row["rule"], "metric": row["metric"], "scope": row["scope"], "severity": row["severity"]}
    figures = None
    if row["level"] is not None and row["since"] is not None:
        plain = ("direction", "baseline", "level", "answers", "statistic", "threshold", "unit", "counted")
        of_row = {name: row[name] for name in plain}
        figures = Figures(since_ms=_ms(row["since"]), labelers=row["labelers"] or None, **of_row)
    return Alert(
        alert_id=row["alert_id"],
        key=AlertKey(row["rule"], row["about"], (row["scope_kind"],)),
        rule=Rule.model_validate(rule | ({"runbook": row["runbook"]} if row["runbook"] else {})),
        scope=VerdictScope(kind=row["scope_kind"], text=row["scope"], **named),
        state="firing",
        began_ms=_ms(row["started_at"]),
        figures=figures,
        fired_ms=None if row["fired_at"] is None else _ms(row["fired_at"]),
        is_flapping=row["is_flapping"],
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)
