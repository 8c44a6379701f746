"""The words for an alert, with why its metric changed as far as the answers in ClickHouse tell."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from detectors.alerts.alert import Alert, Notice
from detectors.alerts.book import LOOK_MS, REPEAT_MS
from detectors.explain import Verdict
from schemas.scope import parse_scope
from schemas.verdicts import Figures
from streams.alert_text import AlertFacts, message, with_why
from streams.delivery.text import ENDS, PlainText, Text
from streams.explanations import EXPLAINED, Cells, Question, Unexplained, Why, not_explained, why

#: How long finding out why may take. Less than `streams.delivery.desk.DESCRIBE_SECONDS`: the rest must be told anyway.
WHY_SECONDS: Final = 8.0


class ExplainedText:
    """See `streams.delivery.text.Describe`. Alerts without figures (no values come) are told plainly.

    Args:
        cells: where answers are counted.
        page_template: of a page on the alert; None if there is none.
        why_seconds: how long finding out why may take; then the alert is told without.
    """

    def __init__(self, cells: Cells, page_template: str | None = None, why_seconds: float = WHY_SECONDS) -> None:
        self._cells = cells
        self._why_seconds = why_seconds
        self._page_template = page_template
        self._plain = PlainText(page_template)

    async def __call__(self, alert: Alert, notice: Notice) -> Text:
        return await self.text(alert, notice, told_ms(alert))

    async def text(self, alert: Alert, notice: Notice, until_ms: int) -> Text:
        """As calling it, explained by all answers until then."""
        figures = alert.figures
        if figures is None or (notice == "resolved" and alert.back is None):
            return self._plain.text(alert, notice)
        facts = self._facts(alert, notice, figures, until_ms)
        is_explained = can_be_explained(alert)
        if is_explained:
            facts = with_why(facts, await self._why(question_of(alert, figures, until_ms)))
        elif alert.scope.kind not in ("labeler", "all"):
            facts = with_why(facts, not_explained(alert.rule.metric))
        written = message(facts)
        is_unclear = facts.why is None or facts.why.verdict is Verdict.UNCLEAR
        is_open = is_explained and is_unclear and notice != "resolved"
        if notice == "apart":
            is_open = facts.why is None or facts.why.verdict is not Verdict.LABELERS
        return Text(written.title, written.text, _explanation(facts) if facts.why is not None else "", is_open)

    async def close(self) -> None:
        await self._cells.close()

    async def _why(self, question: Question) -> Why | Unexplained:
        try:
            async with asyncio.timeout(self._why_seconds) as limit:
                return await why(question, self._cells)
        except TimeoutError:
            if not limit.expired():
                raise
            return Unexplained(f"finding out took over {self._why_seconds:g} s")

    def _facts(self, alert: Alert, notice: Notice, figures: Figures, until_ms: int) -> AlertFacts:
        scope, is_over = alert.scope, notice == "resolved"
        now = alert.back if is_over and alert.back is not None else figures
        return AlertFacts(
            rule=alert.rule.name,
            metric=alert.rule.metric,
            severity=alert.rule.severity,
            state="firing" if not is_over else "withdrawn" if alert.ended == "withdrawn" else "resolved",
            project_id=scope.project_id,
            task_type=scope.task_type,
            vendor_id=scope.vendor_id,
            labeler_id=scope.labeler_id,
            baseline=figures.baseline,
            level=now.level,
            since_ms=figures.since_ms,
            at_ms=max(figures.since_ms, until_ms),
            answers=now.answers,
            labelers=figures.labelers,
            statistic=figures.statistic,
            threshold=figures.threshold,
            reason=ENDS[alert.ended] if is_over and alert.ended != "recovered" else "",
            runbook=alert.rule.runbook,
            alert_id=alert.alert_id,
            page_template=self._page_template,
            besides=alert.inhibited_by if notice == "apart" else "",
            is_update=notice == "update",
        )


def can_be_explained(alert: Alert) -> bool:
    """Whether it can be told who it is; or was, where all is well again. A labeler's alert has said it."""
    was_real = alert.state != "resolved" or (alert.ended == "recovered" and alert.scope.kind != "labeler")
    return was_real and alert.rule.metric in EXPLAINED


def told_ms(alert: Alert) -> int:
    """When people are told of it, the last time by now: an alert that is told again is explained by all that came."""
    if alert.resolved_ms is not None:
        return alert.resolved_ms
    if alert.look_ms is not None:
        return alert.look_ms - LOOK_MS
    if alert.repeat_ms is not None:
        return alert.repeat_ms - REPEAT_MS[alert.rule.severity]
    return alert.fired_ms or alert.began_ms


def question_of(alert: Alert, figures: Figures, at_ms: int) -> Question:
    """Why, by all answers until then."""
    scope = alert.scope
    return Question(
        metric=alert.rule.metric,
        project_id=scope.project_id,
        task_type=scope.task_type,
        # A labeler may have changed vendors since: all of its answers count.
        vendor_id="" if scope.kind == "labeler" else scope.vendor_id,
        labeler_id=scope.labeler_id,
        where=parse_scope(scope.text).where,
        since_ms=min(figures.since_ms, at_ms),
        at_ms=at_ms,
        baseline=figures.baseline,
        direction=figures.direction,
    )


def _explanation(facts: AlertFacts) -> str:
    found = {
        "why": facts.why,
        "based_on": facts.based_on,
        "leading": facts.leading,
        "meanwhile": facts.meanwhile,
        "affected_tasks": facts.affected_tasks,
        "affected_query": facts.affected_query,
    }
    return json.dumps(_plain(found), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Named tuples as objects; what JSON has no word for as nothing."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value
