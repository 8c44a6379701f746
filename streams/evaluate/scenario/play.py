"""One run of a scenario through rules, alerts and explanations, and what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from detectors.alerts.alert import Alert
from detectors.alerts.book import AlertBook
from detectors.explain import Named
from detectors.incident_match import GRACE_MS, Fired, belongs, holds, match
from detectors.watch.watch import Watch
from schemas.incident import Incident
from schemas.scenario import OF_LABELERS, Scenario
from schemas.scope import parse_scope
from schemas.thresholds import Rule
from schemas.times import to_ms
from schemas.verdicts import Verdicts
from streams.evaluate.scenario.cells import RunCells
from streams.evaluate.scenario.stream import APP_ID, Run, TrueIncident, simulate
from streams.explanations import Question, Why, why
from streams.explanations.question import can_explain

#: An incident must be found if it costs so many points, on so many answers.
LEAST_POINTS: Final = 10.0
LEAST_ANSWERS: Final = 200

Says = Literal["labelers", "vendor", "class_pair", "task_type", "everyone", "mix", "unclear", "nothing"]
"""The verdict of an explanation; nothing: the metric has none."""


class Told(NamedTuple):
    """An alert as people first heard of it."""

    fired: Fired
    alert: Alert
    says: Says
    named: tuple[Named, ...]


@dataclass(frozen=True)
class Found:
    """What became of one incident."""

    true: TrueIncident
    told: tuple[Told, ...]
    """Its alerts, the first one first."""
    own: tuple[Told, ...]
    """Of these, the ones on scopes that no other incident cost more at that time."""

    @property
    def is_due(self) -> bool:
        """Whether it is of a size that must be found."""
        points = self.true.incident.points
        return points is not None and points >= LEAST_POINTS and self.true.answers >= LEAST_ANSWERS

    @property
    def delay_minutes(self) -> float | None:
        """From its start to its first alert, in event time; None if it was missed."""
        if not self.told:
            return None
        return (self.told[0].fired.at_ms - to_ms(self.true.incident.start)) / 60_000

    @property
    def is_named(self) -> bool | None:
        """Whether the first alert of its own named the right ones; None where nobody is to be named, or there is none.

        An alert on a scope with two incidents in it speaks of the greater one.
        """
        if not self.own or self.true.incident.kind == "stall":
            return None
        return names_right(self.own[0], self.true)


@dataclass(frozen=True)
class Played:
    """One run."""

    seed: int
    weeks: float
    answers: int
    found: tuple[Found, ...]
    false: tuple[Told, ...]
    stale: tuple[Told, ...]
    """Of the false ones, those found during an incident, and told when it was over: a broader alert had held them."""
    problems: dict[str, str]
    """Rules that did not run, and why."""


def play(
    scenario: Scenario, seed: int, rules: Sequence[Rule], done: Callable[[float], None] = lambda share: None
) -> Played:
    """Simulate a run, let rules watch it, and compare what people were told with what happened.

    Args:
        scenario: what happens.
        seed: which run of it.
        rules: with the file's defaults filled in.
        done: is told the share that is done, now and then.
    """
    run = simulate(scenario, seed)
    watch, book, cells = Watch(), AlertBook(APP_ID), RunCells(run)
    first = watch.change_rules(rules)
    told: list[Told] = []
    known: set[str] = set()
    book.take(Verdicts(app_id=APP_ID, clock_ms=0, verdicts=tuple(first)))
    steps = len(run.bounds["answer"][0]) * scenario.partitions
    for number, batch in enumerate(run):
        verdicts = watch.take(batch)
        message = Verdicts.model_construct(app_id=APP_ID, clock_ms=watch.clock_ms, verdicts=tuple(verdicts))
        for transition in book.take(message):
            if transition.notice == "firing" and transition.alert.alert_id not in known:
                known.add(transition.alert.alert_id)
                told.append(_told(transition.alert, transition.at_ms, cells))
        if number % 200 == 0:
            done(number / steps)
    done(1.0)
    return _judged(run, told, watch.problems)


def _judged(run: Run, told: list[Told], problems: dict[str, str]) -> Played:
    segments = {run.segments[number] for number in np.unique(run.columns["segment"]).tolist()}
    matched = match([one.fired for one in told], [one.incident for one in run.incidents], GRACE_MS, segments)
    of_alert = {
        position: [number for number, positions in enumerate(matched.of_incident) if position in positions]
        for position in range(len(told))
    }
    main = {
        position: max(numbers, key=lambda number: _lost(told[position], run.incidents[number]))
        for position, numbers in of_alert.items()
        if numbers
    }
    found = tuple(
        Found(
            true,
            tuple(told[position] for position in positions),
            tuple(told[position] for position in positions if main[position] == number),
        )
        for number, (true, positions) in enumerate(zip(run.incidents, matched.of_incident, strict=True))
    )
    false = tuple(told[position] for position in matched.false)
    stale = tuple(
        one
        for one in false
        if any(
            belongs(one.fired._replace(at_ms=one.alert.began_ms), true.incident, GRACE_MS, segments)
            for true in run.incidents
        )
    )
    return Played(run.seed, run.weeks, run.answers, found, false, stale, problems)


def _lost(told: Told, true: TrueIncident) -> float:
    """How much an incident costs an alert's scope an hour."""
    hours = (to_ms(true.incident.end) - to_ms(true.incident.start)) / 3_600_000
    names = ("project_id", "task_type", "vendor_id")
    return (
        sum(
            lost
            for segment, lost in true.lost.items()
            if holds(told.fired.scope, dict(zip(names, segment, strict=True)))
        )
        / hours
    )


def _told(alert: Alert, at_ms: int, cells: RunCells) -> Told:
    """What its message says. A labeler's alert names the labeler by what it is on."""
    scope, figures = alert.scope, alert.figures
    fired = Fired(alert.rule.name, alert.rule.metric, scope, at_ms)
    if scope.kind == "labeler":
        return Told(fired, alert, "labelers", (Named("labeler", scope.labeler_id),))
    if figures is None or not can_explain(alert.rule.metric):
        return Told(fired, alert, "nothing", ())
    question = Question(
        metric=alert.rule.metric,
        project_id=scope.project_id,
        task_type=scope.task_type,
        vendor_id=scope.vendor_id,
        where=parse_scope(scope.text).where,
        since_ms=min(figures.since_ms, at_ms),
        at_ms=at_ms,
        baseline=figures.baseline,
        direction=figures.direction,
    )
    found = asyncio.run(why(question, cells))
    if not isinstance(found, Why):
        return Told(fired, alert, "nothing", ())
    cause = found.explanation.cause
    return Told(fired, alert, cause.verdict.value, cause.named)


def names_right(told: Told, true: TrueIncident) -> bool:
    """Whether a message names who or what it was.

    - Some labelers: the first one named is one of them, and so are most.
    - A vendor: it is named, or everybody is whom the alert is on, which is that vendor's people.
    - A class pair: no other class is named.
    - A project or a task type: no labelers, classes or mix; a vendor only where the alert is on nobody else's work.
    """
    incident, scope = true.incident, told.fired.scope
    named = {one.dimension: one.value for one in reversed(told.named)}
    if incident.kind in OF_LABELERS:
        people = [one.value for one in told.named if one.dimension == "labeler"]
        right = sum(name in incident.labeler_ids for name in people)
        return told.says == "labelers" and people[0] in incident.labeler_ids and 2 * right > len(people)
    if incident.kind == "guideline":
        classes = {named[name] for name in ("true_class", "answer") if name in named}
        return told.says == "class_pair" and classes <= set(true.classes or ())
    everybody = told.says in ("everyone", "task_type")
    if incident.kind == "vendor":
        return named.get("vendor") == incident.vendor_id or (everybody and scope.vendor_id == incident.vendor_id)
    if named.get("task_type", incident.task_type) != incident.task_type:
        return False
    return everybody or (told.says == "vendor" and bool(scope.vendor_id))


def as_rows(played: Played) -> list[dict[str, Any]]:
    """For JSON: a row an incident, and one a false alert."""
    rows: list[dict[str, Any]] = []
    for one in played.found:
        incident, first = one.true.incident, (one.own or one.told or (None,))[0]
        rows.append(
            {"seed": played.seed, "row": "incident", **_incident_fields(incident, one)}
            | {
                "found": first is not None,
                "delay_minutes": None if one.delay_minutes is None else round(one.delay_minutes, 1),
                "named_right": one.is_named,
            }
            | (_told_fields(first) if first else {})
        )
    rows += [
        {"seed": played.seed, "row": "false_alert", "is_stale": one in played.stale, **_told_fields(one)}
        for one in played.false
    ]
    return rows


def _incident_fields(incident: Incident, found: Found) -> dict[str, Any]:
    fields = incident.model_dump(mode="json")
    fields["labeler_ids"] = list(incident.labeler_ids)
    return fields | {
        "classes": found.true.classes,
        "answers": found.true.answers,
        "golds": found.true.golds,
        "must_be_found": found.is_due,
    }


def _told_fields(told: Told) -> dict[str, Any]:
    scope, figures = told.fired.scope, told.alert.figures
    where = {name: value for name, value in scope.model_dump().items() if name != "text"}
    return {
        "rule": told.fired.rule,
        "severity": told.alert.rule.severity,
        "at": to_text(told.fired.at_ms),
        "scope": where,
        "figures": None if figures is None else figures.model_dump(mode="json"),
        "says": told.says,
        "names": [one.value for one in told.named],
    }


def to_text(ms: int) -> str:
    """ISO 8601, to the minute."""
    return f"{datetime.fromtimestamp(ms / 1_000, UTC):%Y-%m-%dT%H:%MZ}"
