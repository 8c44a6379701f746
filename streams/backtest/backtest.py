"""Rules tried on history: the alerts that would have fired."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from detectors.alerts.alert import Transition
from detectors.watch.planner import Planner, plan_rule
from schemas.measurements import Measurements, Segment
from schemas.thresholds import Rule
from streams.backtest.compare import Difference, compare
from streams.backtest.fired import Fired, Gathering
from streams.backtest.rules_run import RulesRun, Stored, shared_planner
from streams.thresholds import LoadedThresholds

WEEK_MS: Final = 7 * 86_400_000


class Span(NamedTuple):
    """The time that is looked at. Before it, history only teaches the detectors."""

    since_ms: int
    until_ms: int | None = None
    """None: all that there is."""
    warm_up_ms: int = 0

    @property
    def from_ms(self) -> int:
        """Event time of the first answers that are read."""
        return max(self.since_ms - self.warm_up_ms, 0)


class Side(NamedTuple):
    """Rules that are run."""

    name: str
    rules: LoadedThresholds | None
    """None: as they changed in history."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of rules."""

    name: str
    rules: tuple[Rule, ...]
    changes: int
    """How often rules came into force."""
    problems: dict[str, str]
    """Rules that did not run at the end, and why."""
    fired: Sequence[Fired]
    calmed: int
    open_before: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of the rules that were tried, and of those that they are held against."""

    span: Span
    first_ms: int
    """Event time of the earliest answer that was read; 0 if none was."""
    end_ms: int
    """Event time at which it ends; 0 if no answer was read."""
    messages: int
    answers: int
    segments: frozenset[Segment]
    """Those that were measured."""
    tried: Ran
    other: Ran | None

    @property
    def weeks(self) -> float:
        """How long the time is that was looked at."""
        return max(self.end_ms - self.span.since_ms, 0) / WEEK_MS

    @property
    def differences(self) -> list[Difference]:
        """Nothing, where there is nothing to compare with."""
        return [] if self.other is None else compare(self.tried.fired, self.other.fired, self.end_ms)

    def by_week(self, ran: Ran) -> dict[str, list[int]]:
        """Of each rule, alerts that fired in each week since the beginning; the last may be a part of one."""
        weeks = max(math.ceil(self.weeks), 1)
        counts = {rule.name: [0] * weeks for rule in ran.rules}
        for one in ran.fired:
            counts[one.key.rule][min((one.fired_ms - self.span.since_ms) // WEEK_MS, weeks - 1)] += 1
        return counts


def backtest(
    messages: Iterable[Stored],
    app_id: str,
    span: Span,
    tried: Side,
    other: Side | None = None,
    *,
    planner: Planner = plan_rule,
    log: Callable[[Transition], object] = lambda transition: None,
) -> Backtest:
    """Run rules on stored messages.

    Args:
        messages: in the order of their topic.
        app_id: whose they are.
        span: the time to look at; when the clock reaches its end, no more is read.
        tried: the rules in question.
        other: what to hold them against.
        planner: as of `detectors.watch.watch.Watch`.
        log: is given everything that becomes of alerts of ``tried`` within the span, in order.
    """
    shared = shared_planner(planner)
    sides = [side for side in (tried, other) if side is not None]
    runs = [RulesRun(app_id, side.rules, shared) for side in sides]
    gatherings = [Gathering(span.since_ms, span.until_ms) for _ in sides]
    taken = answers = first_ms = 0
    segments = set[Segment]()
    for message in messages:
        taken += 1
        if isinstance(message, Measurements):
            segments.update(message.segments)
        if isinstance(message, Measurements) and message.answers:
            answers += len(message.answers)
            earliest = min(answer.submitted_ms for answer in message.answers)
            first_ms = min(first_ms, earliest) if first_ms else earliest
        for run, gathering in zip(runs, gatherings, strict=True):
            for transition in run.take(message):
                gathering.take(transition)
                if run is runs[0] and gathering.within(transition.at_ms):
                    log(transition)
        if span.until_ms is not None and runs[0].clock_ms >= span.until_ms:
            break
    clock_ms = runs[0].clock_ms
    end_ms = clock_ms if span.until_ms is None else min(clock_ms, span.until_ms)
    found = [_ran(*one) for one in zip(sides, runs, gatherings, strict=True)]
    both = found[0], found[1] if other else None
    return Backtest(span, first_ms, end_ms, taken, answers, frozenset(segments), *both)


def _ran(side: Side, run: RulesRun, gathering: Gathering) -> Ran:
    return Ran(
        side.name, run.rules, run.changes, run.problems, gathering.fired, gathering.calmed, gathering.open_before
    )
