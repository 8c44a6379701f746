"""What people read of an alert."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from detectors.alerts.alert import Alert, Ended, Notice
from streams.alert_page import page_url
from streams.alert_text import ADVICE, MAX_TITLE, of_few, runbook
from streams.safe_text import shown


class Text(NamedTuple):
    """A message."""

    title: str
    """One line."""
    body: str
    explanation: str = ""
    """Why the metric changed, as JSON; empty where nothing is known."""
    is_open: bool = False
    """Nobody could be named who makes it news, but perhaps somebody can be in an hour."""


class Describe(Protocol):
    """Finds the words for an alert. What takes too long, or fails, is replaced by `PlainText`."""

    async def __call__(self, alert: Alert, notice: Notice) -> Text: ...
    async def close(self) -> None: ...


class PlainText:
    """What the alert itself knows, without asking anybody. Names are any text, and are shown as nothing but text.

    Args:
        page_template: of a page on the alert (`page_of`); None if there is none.
    """

    def __init__(self, page_template: str | None = None) -> None:
        self._page_template = page_template

    async def __call__(self, alert: Alert, notice: Notice) -> Text:
        return self.text(alert, notice)

    async def close(self) -> None:
        """Nothing to give up."""

    def text(self, alert: Alert, notice: Notice) -> Text:
        """As calling it, at once."""
        lines = [_what(alert), f"Found at {_time(alert.began_ms)}."]
        if notice == "resolved" and alert.resolved_ms is not None:
            lines.append(f"Over since {_time(alert.resolved_ms)}: {ENDS[alert.ended]}.")
        if alert.is_flapping and notice != "resolved":
            lines.append("It comes and goes, and is over when all was well for longer.")
        if notice != "resolved":
            link = alert.rule.runbook or runbook(alert.rule.metric, alert.family)
            lines.append(f"What to do: {ADVICE[alert.family]} {link}")
        if page := page_of(self._page_template, alert):
            lines.append(f"Page: {page}")
        lines.append(f"Alert {alert.alert_id} of rule {shown(alert.rule.name)}")
        title = f"[{_word(alert, notice)}] {shown(alert.rule.name)}: {where(alert)}"
        title = title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"
        return Text(title, "\n".join(lines), is_open=notice == "apart")


def where(alert: Alert) -> str:
    """The scope, for people."""
    scope = alert.scope
    named = [
        f"{word} {shown(value)}"
        for word, value in (
            ("labeler", scope.labeler_id),
            ("vendor", scope.vendor_id),
            ("project", scope.project_id),
            ("task type", scope.task_type),
        )
        if value
    ]
    return ", ".join(named) or shown(scope.text)


def page_of(template: str | None, alert: Alert) -> str:
    """The address of an alert's page (`streams.alert_page`); '' without a template."""
    if not template:
        return ""
    scope = alert.scope
    return page_url(
        template,
        {
            "alert_id": alert.alert_id,
            "rule": alert.rule.name,
            "metric": alert.rule.metric,
            "severity": alert.rule.severity,
            "state": alert.state,
            "project_id": scope.project_id,
            "task_type": scope.task_type,
            "vendor_id": scope.vendor_id,
            "labeler_id": scope.labeler_id,
            "since_ms": alert.figures.since_ms if alert.figures else alert.began_ms,
            "at_ms": alert.resolved_ms or alert.began_ms,
        },
    )


#: Why an alert is over, as people read it.
ENDS: Final[dict[Ended, str]] = {
    "": "it is well again",
    "recovered": "it is well again",
    "withdrawn": "withdrawn, since late data say that nothing had changed",
    "silent": "no values come any more",
    "speaking": "values come again",
    "new_level": "it has lasted for so long that it is the level now",
    "dropped": "the rule was changed or removed",
}


def _word(alert: Alert, notice: Notice) -> str:
    if notice == "resolved":
        return "WITHDRAWN" if alert.ended == "withdrawn" else "RESOLVED"
    return alert.rule.severity.upper() + {"repeat": ", still", "update": ", update"}.get(notice, "")


def _what(alert: Alert) -> str:
    figures = alert.figures
    if alert.about == "no_data" or figures is None:
        return f"No values of {alert.rule.metric} come from {where(alert)}."
    verb = "fell" if figures.direction == "down" else "rose"
    before, after = (_figure(value, figures.unit) for value in (figures.baseline, figures.level))
    return (
        f"{alert.rule.metric} of {of_few(figures.labelers)}{where(alert)} {verb} from {before} to {after} since "
        f"{_time(figures.since_ms)} ({figures.answers} {figures.counted})."
    )


def _figure(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.4g} {unit}"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC"
