"""What an alert says: what dropped, from what to what, since when, who contributes, how sure, what to do, and links.

Plain text, for pagers, e-mail and chats alike. What came over the wire is made harmless by `streams.safe_text`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from detectors.alerts.family import FAMILIES, Family
from detectors.explain import Dimension, Meanwhile, Summary, Verdict
from detectors.metrics_registry import METRICS
from schemas.thresholds import MetricName, Severity
from streams.alert_page import page_url
from streams.alert_who import others_did, share, who
from streams.explanations import Judged, Leading, Unexplained, Why
from streams.safe_text import enumeration, shown

MAX_TITLE: Final = 100
MAX_REASON: Final = 300
MAX_QUERY: Final = 6_000
"""A longer one (hundreds of labelers) is left out of the message."""
_SURE_ODDS: Final = 1e6

State = Literal["firing", "resolved", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """All that a message is made from. What of the scope is empty, is not told apart."""

    rule: str
    metric: MetricName
    severity: Severity
    state: State
    project_id: str = ""
    task_type: str = ""
    vendor_id: str = ""
    labeler_id: str = ""
    baseline: float
    level: float | None
    """Since the change, in the metric's unit; of a resolved alert the level now. None: nothing comes any more."""
    since_ms: int
    at_ms: int
    """Event time up to which this message speaks: when it was found, is told again, or was over."""
    answers: int
    """Values that the level rests on; of a resolved alert none if those whom it is about are not at work any more."""
    labelers: int | None = None
    """How many of the scope's labelers the levels and the answers are about; None: all of them."""
    statistic: float
    threshold: float
    """What the statistic had to reach."""
    reason: str = ""
    """Why it was withdrawn, or ended otherwise than by recovery."""
    why: Summary | None = None
    based_on: Judged = "as asked"
    """What ``why`` rests on."""
    leading: tuple[Leading, ...] = ()
    """Values that contribute most, by dimension."""
    unexplained: str = ""
    """Why there is no ``why``."""
    is_alone: bool | None = None
    """Of a labeler's alert: whether the others on the project were heard since, and are well."""
    meanwhile: Meanwhile | None = None
    """Of an alert on a vendor's work on a project: how others did."""
    affected_tasks: int | None = None
    affected_query: str | None = None
    runbook: str | None = None
    alert_id: str = ""
    besides: str = ""
    """Id of the alert that inhibits this one, and does not speak of these labelers."""
    is_update: bool = False
    """People were told before, when it was too early to say who it is."""
    page_template: str | None = None
    """As `streams.alert_page.check_page_template` accepts it."""

    @property
    def page_url(self) -> str | None:
        """The filled link to the alert's page."""
        if self.page_template is None:
            return None
        return page_url(
            self.page_template,
            {
                "alert_id": self.alert_id,
                "rule": self.rule,
                "metric": self.metric,
                "severity": self.severity,
                "state": self.state,
                "project_id": self.project_id,
                "task_type": self.task_type,
                "vendor_id": self.vendor_id,
                "labeler_id": self.labeler_id,
                "since_ms": self.since_ms,
                "at_ms": self.at_ms,
            },
        )


def with_why(facts: AlertFacts, found: Why | Unexplained) -> AlertFacts:
    """The facts with what was found out about the cause."""
    if isinstance(found, Unexplained):
        return replace(facts, why=None, leading=(), affected_tasks=None, unexplained=found.reason)
    return replace(
        facts,
        why=found.explanation.summary(facts.metric, facts.since_ms),
        based_on=found.based_on,
        is_alone=found.is_alone,
        meanwhile=found.meanwhile,
        leading=found.leading(),
        unexplained="",
        affected_tasks=None if found.affected is None else found.affected.tasks,
        affected_query=None if found.affected is None else found.affected.query,
    )


class Message(NamedTuple):
    """What is sent."""

    title: str
    """One line of at most 100 characters."""
    text: str
    """Lines, those that matter most first: services cut what is longer than they take (PagerDuty at 1,024 characters).
    So the query comes last."""


def message(facts: AlertFacts) -> Message:
    """The message of an alert.

    >>> facts = AlertFacts(
    ...     rule="gold-drop", metric="gold_accuracy", severity="critical", state="firing", vendor_id="acme",
    ...     baseline=0.92, level=0.8, since_ms=1_767_596_400_000, at_ms=1_767_597_900_000, answers=120,
    ...     statistic=5210.0, threshold=4032.0, runbook="https://wiki.example/gold",
    ... )
    >>> message(facts).title
    'CRITICAL gold accuracy of acme fell from 92 % to 80 %'
    >>> print(message(facts).text)
    Gold accuracy of acme fell from 92 % to 80 %, over 120 golds.
    Since: 2026-01-05 07:00 UTC (25 min).
    What to do: Look at the latest answers: which are wrong, whose, and what do they share? https://wiki.example/gold
    How sure: evidence of 5,210, where 4,032 is enough.
    Rule: gold-drop (critical)
    """
    lines = [f"{name}: {said}" if name else said for name, said in _lines(facts)]
    return Message(_title(facts), "\n".join(lines))


def _title(facts: AlertFacts) -> str:
    head = {"firing": facts.severity.upper(), "resolved": "RESOLVED", "withdrawn": "WITHDRAWN"}[facts.state]
    head = f"UPDATE {head}" if facts.is_update else head
    for most in (60, 24, 12, 8, 4):
        title = f"{head} {_change(facts, most)}"
        if len(title) <= MAX_TITLE:
            return title
    return title[: MAX_TITLE - 1] + "…"


def _lines(facts: AlertFacts) -> Iterator[tuple[str, str]]:
    change = _change(facts, 60)
    over = f", over {facts.answers:,} {METRICS[facts.metric].counted}" if facts.answers else ""
    yield "", f"{change[0].upper()}{change[1:]}{over}."
    if facts.reason:
        yield "Reason", shown(facts.reason, MAX_REASON)
    yield "Since", f"{_time(facts.since_ms)} ({duration(facts.at_ms - facts.since_ms)})."
    if facts.state == "resolved" and facts.why is not None and facts.why.verdict is not Verdict.UNCLEAR:
        yield "Who it was", _blamed(facts, facts.why)
    if facts.state == "firing":
        yield from _explained(facts)
        advice = ADVICE[FAMILIES[facts.metric]] if facts.why is None else _ADVICE[facts.why.verdict]
        yield "What to do", f"{advice} {facts.runbook or runbook(facts.metric, FAMILIES[facts.metric])}"
    if facts.page_url is not None:
        yield "Page", facts.page_url
    if facts.state == "firing":
        if facts.level is not None:
            yield "How sure", f"{_sure(facts)}."
        yield from _affected(facts)
    yield "Rule", f"{shown(facts.rule)} ({facts.severity})"
    if facts.alert_id:
        yield "Alert", facts.alert_id
    if facts.state == "firing":
        yield from _told_by(facts)
        if query := _query(facts):
            yield "Query", f"\n{query}"


def _change(facts: AlertFacts, most: int) -> str:
    few = of_few(facts.labelers)
    what = f"{METRIC_WORDS.get(facts.metric, facts.metric.replace('_', ' '))} of {few}{_scope(facts, most)}"
    if facts.level is None:
        return f"{what}: nothing has come since {_time(facts.since_ms)}"
    if facts.state == "resolved":
        if not facts.answers:
            return f"{what}: they have not been at work for a day"
        again = "" if facts.reason else " again"
        return f"{what} is at {levels(facts.metric, facts.level, facts.level)[0]}{again}"
    before, after = levels(facts.metric, facts.baseline, facts.level)
    verb = "fell" if facts.level < facts.baseline else "rose"
    tail = f"{verb} from {before} to {after}"
    return f"{what} {tail}" if facts.state == "firing" else f"{what}: it is not true that it {tail}"


def _scope(facts: AlertFacts, most: int) -> str:
    names = [facts.labeler_id, facts.vendor_id, facts.project_id, facts.task_type]
    return " / ".join(shown(name, most) for name in names if name) or "all work"


def _explained(facts: AlertFacts) -> Iterator[tuple[str, str]]:
    why = facts.why
    if why is None:
        if facts.unexplained:
            yield "Who", f"no explanation: {shown(facts.unexplained, MAX_REASON)}."
        return
    others = (
        " Others on the project gave too few answers since to say whether everybody is affected."
        if facts.is_alone is False
        else ""
    )
    yield "Who", f"{_blamed(facts, why)}{others}"
    if facts.meanwhile is not None and why.verdict is not Verdict.CLASS_PAIR:
        yield "Meanwhile", f"{others_did(facts.meanwhile)}."
    if facts.besides:
        yield "Besides", f"alert {facts.besides} fires, and does not speak of these labelers."
    named = {one.value for one in why.named}
    also = [one for one in facts.leading if one.value not in named]
    if also:
        said = (f"{_DIMENSIONS[one.dimension]} {shown(one.value)} ({one.share * 100:.0f} %)" for one in also)
        yield "Most of it", f"{', '.join(said)}."
    if why.without is not None and why.without.in_band:
        level = levels(facts.metric, why.without.metric, why.before)[0]
        yield "Without", f"{enumeration(why.without.values)} it would be {level}, back in band."


def _blamed(facts: AlertFacts, why: Summary) -> str:
    of_it = f", {share(why.share)}" if why.verdict not in (Verdict.UNCLEAR, Verdict.MIX) else ""
    shared = (Verdict.CLASS_PAIR, Verdict.EVERYONE, Verdict.TASK_TYPE)
    alone = "not this labeler alone: " if facts.labeler_id and why.verdict in shared else ""
    return f"{alone}{who(why)}{of_it}."


def _told_by(facts: AlertFacts) -> Iterator[tuple[str, str]]:
    why = facts.why
    if why is not None and facts.based_on == "by consensus":
        fell = " to ".join(levels(facts.metric, why.before, why.after))
        rests = f"{why.answers_after:,.0f} answers, compared with what is now believed of their tasks ({fell})"
        yield "Judged by", f"{rests}{', because golds are few' if facts.metric == 'gold_accuracy' else ''}."


def _sure(facts: AlertFacts) -> str:
    parts = [f"evidence of {_amount(facts.statistic)}, where {_amount(facts.threshold)} is enough"]
    if facts.why is not None and facts.why.verdict not in (Verdict.UNCLEAR, Verdict.MIX):
        parts.append(f"odds of {_odds(facts.why.odds)} that the cause named is real, not chance")
    return "; ".join(parts)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10.0 else f"{value:.2g}"


def _odds(odds: float) -> str:
    if odds > _SURE_ODDS:
        return "more than a million to one"
    digits = 1 - math.floor(math.log10(max(odds, 1.0)))  # two that matter
    return f"about {round(odds, min(digits, 0)):,.0f} to one"


def _affected(facts: AlertFacts) -> Iterator[tuple[str, str]]:
    if facts.affected_tasks is None:
        return
    said = f"{facts.affected_tasks:,} task{'' if facts.affected_tasks == 1 else 's'} rest on these labels"
    if _query(facts):
        said += " (query at the end; if it is cut: labelwatch alerts show)"
    elif facts.affected_tasks and facts.affected_query is not None:
        said += "; the query that lists them is too long for a message"
    yield "Affected", f"{said}."


def _query(facts: AlertFacts) -> str:
    """The query that lists affected tasks; '' if there are none, or it is too long."""
    query = facts.affected_query or ""
    return query if facts.affected_tasks and len(query) <= MAX_QUERY else ""


def runbook(metric: MetricName, family: Family) -> str:
    """The page of the shipped documentation that says more, where the rule names none.

    >>> runbook("gold_accuracy", "quality"), runbook("invalid_share", "stream")
    ('docs/runbooks/quality-drop.md', 'docs/runbooks/dead-letters.md')
    """
    return f"docs/runbooks/{_RUNBOOKS[family] if metric != 'invalid_share' else 'dead-letters'}.md"


def of_few(labelers: int | None) -> str:
    """What comes before a scope's name where figures are about a few of its labelers.

    >>> of_few(6), of_few(1), of_few(None)
    ('6 labelers of ', '1 labeler of ', '')
    """
    return f"{labelers} labeler{'' if labelers == 1 else 's'} of " if labelers else ""


def levels(metric: MetricName, one: float, other: float) -> tuple[str, str]:
    """Two levels with their unit, with as many digits as tell them apart.

    >>> levels("gold_accuracy", 0.92, 0.8), levels("late_share", 0.001, 0.003), levels("aht_seconds", 41.27, 62.0)
    (('92 %', '80 %'), ('0.1 %', '0.3 %'), ('41 s', '62 s'))
    """
    unit = METRICS[metric].unit
    times, sign = {"share": (100.0, " %"), "seconds": (1.0, " s"), "answers an hour": (1.0, " an hour")}.get(
        unit, (1.0, "")
    )
    first = 2 if unit == "alpha" else 0
    for digits in range(first, 4):
        said = f"{one * times:,.{digits}f}{sign}", f"{other * times:,.{digits}f}{sign}"
        if said[0] != said[1] or one == other:
            break
    return said


def duration(milliseconds: int) -> str:
    """How long, in the two units that matter.

    >>> duration(45_000), duration(25 * 60_000), duration(90 * 60_000), duration(50 * 3_600_000)
    ('45 s', '25 min', '1 h 30 min', '2 d 2 h')
    """
    seconds = max(milliseconds, 0) // 1_000
    for size, unit, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1_000, UTC):%Y-%m-%d %H:%M} UTC"


METRIC_WORDS: Final[dict[MetricName, str]] = {
    "krippendorff_alpha": "Krippendorff's alpha",
    "reviewer_reject_rate": "reviewers' reject rate",
    "aht_seconds": "average handling time",
    "interval_coverage_90": "coverage of 90 % intervals",
    "too_fast_share": "share of too fast answers",
    "too_slow_share": "share of too slow answers",
    "label_distance_own": "distance from own labels",
    "label_distance_peers": "distance from peers' labels",
    "repeated_answer_share": "share of repeated answers",
    "constant_answer_share": "share of constant answers",
    "invalid_share": "share of refused messages",
    "late_share": "share of late answers",
    "stall_seconds": "silence",
    "lag_seconds": "lag",
}
"""Where they are not the metric's name with spaces."""
_DIMENSIONS: Final[dict[Dimension, str]] = {
    "labeler": "labeler",
    "vendor": "vendor",
    "task_type": "task type",
    "true_class": "class",
    "hour": "hour (UTC) from",
}
_ADVICE: Final[dict[Verdict, str]] = {
    Verdict.LABELERS: "Look at their latest answers; pause them if they are bad, and have affected tasks done again.",
    Verdict.VENDOR: "Ask the vendor what changed (people, training, tool).",
    Verdict.CLASS_PAIR: "Look whether the guideline or the tool changed for these classes, before blaming anybody.",
    Verdict.TASK_TYPE: "Look what changed in this kind of task: data, guideline, tool.",
    Verdict.EVERYONE: "Look what changed for all at once: guideline, tool, data, or the known answers themselves.",
    Verdict.MIX: "Nobody got worse: look at what work comes in, and who does it.",
    Verdict.UNCLEAR: "Too early to say who: look at the latest wrong answers; an update follows once it can be told.",
}
ADVICE: Final[dict[Family, str]] = {
    "quality": "Look at the latest answers: which are wrong, whose, and what do they share?",
    "time": "Look what changed: the work, the tool that measures times, or who is at work.",
    "stream": "Look whether work still comes in and answers are sent, whether workers keep up (labelwatch status), "
    "and what is refused (labelwatch dlq list).",
    "silence": "Look whether work still comes in and answers are still sent: tool, vendor, producer.",
}
"""What to do where nothing is known of the cause."""
_RUNBOOKS: Final[dict[Family, str]] = {
    "quality": "quality-drop",
    "time": "coverage-break",
    "stream": "lag-growing",
    "silence": "lag-growing",
}
