"""One run of a scenario through rules, alerts and explanations, and what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.book import AlertBook
from detectors.explain import Named
from detectors.incident_match import GRACE_MS, Fired, belongs, holds, match
from detectors.watch.watch import Watch
from schemas.incident import Incident
from schemas.measurements import Segment
from schemas.scenario import OF_LABELERS, Scenario
from schemas.thresholds import Rule
from schemas.times import to_ms
from schemas.verdicts import Verdicts
from streams.delivery.explained_text import can_be_explained, question_of
from streams.evaluate.scenario.cells import RunCells
from streams.evaluate.scenario.stream import APP_ID, Run, TrueIncident, simulate
from streams.explanations import Why, why
from streams.explanations.question import can_explain

#: An incident must be found if it costs so many points, on so many answers.
LEAST_POINTS: Final = 10.0
LEAST_ANSWERS: Final = 200

Says = Literal["labelers", "vendor", "class_pair", "task_type", "everyone", "mix", "unclear", "nothing"]
"""The verdict of an explanation; nothing: the metric has none."""


_NAMELESS: Final = ("unclear", "nothing")


class Told(NamedTuple):
    """A message that an alert fires: the first one, or one that tells it again, perhaps with a cause."""

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
    """Messages of these alerts, repeated ones too, where no other incident cost the scope more since the change."""
    others_bad: frozenset[str] = frozenset()
    """Labelers that other incidents hit meanwhile."""

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
    def naming(self) -> Told | None:
        """The message that is judged: the first one of its own that names any cause; without one, the first."""
        return next((one for one in self.own if one.says not in _NAMELESS), self.own[0] if self.own else None)

    @property
    def is_named(self) -> bool | None:
        """Whether the first message of its own that names a cause named the right one; None where nothing was found.

        An alert on a scope with two incidents in it speaks of the one that costs it more.
        """
        return self._is_right(self.naming)

    @property
    def is_named_at_once(self) -> bool | None:
        """The same of the very first message of its own, which may say that it is too early to tell."""
        return self._is_right(self.own[0] if self.own else None)

    def _is_right(self, told: Told | None) -> bool | None:
        if not self.told or self.true.incident.kind == "stall":
            return None
        return told is not None and names_right(told, self.true, self.others_bad)


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
    told: dict[str, list[Told]] = {}
    book.take(Verdicts(app_id=APP_ID, clock_ms=0, verdicts=tuple(first)))
    steps = len(run.bounds["answer"][0]) * scenario.partitions
    for number, batch in enumerate(run):
        verdicts = watch.take(batch)
        message = Verdicts.model_construct(app_id=APP_ID, clock_ms=watch.clock_ms, verdicts=tuple(verdicts))
        for transition in book.take(message):
            if transition.notice is not None:
                _tell(told.setdefault(transition.alert.alert_id, []), transition, cells)
        if number % 200 == 0:
            done(number / steps)
    done(1.0)
    return _judged(run, [messages for messages in told.values() if messages], watch.problems)


def _tell(messages: list[Told], transition: Transition, cells: RunCells) -> None:
    """Add the message that comes of it, as `streams.delivery.desk` sends it; ``messages``: of the same alert by now."""
    alert = transition.alert
    if transition.notice == "firing" and messages:
        return  # it was told apart
    is_told_by_cause = transition.notice in ("update", "resolved")
    if is_told_by_cause and (messages[-1].says not in _NAMELESS or not can_be_explained(alert)):
        return
    told = _told(alert, transition.at_ms, cells)
    if transition.notice == "apart":
        is_told = not messages and told.says == "labelers"
    else:
        is_told = not is_told_by_cause or told.says not in _NAMELESS
    if is_told:
        messages.append(told)


def _judged(run: Run, messages: list[list[Told]], problems: dict[str, str]) -> Played:
    """What came of it; ``messages``: of every alert, the first one first."""
    told = [of_alert[0] for of_alert in messages]
    segments = {run.segments[number] for number in np.unique(run.columns["segment"]).tolist()}
    matched = match([one.fired for one in told], [one.incident for one in run.incidents], GRACE_MS, segments)
    of_alert = {
        position: [number for number, positions in enumerate(matched.of_incident) if position in positions]
        for position in range(len(told))
    }
    main = {
        position: _main_of(told[position], numbers, run, segments) for position, numbers in of_alert.items() if numbers
    }
    found = tuple(
        Found(
            true,
            tuple(told[position] for position in positions),
            _own([messages[position] for position in positions if main.get(position) == number], true),
            frozenset().union(*(other.incident.labeler_ids for other in run.incidents if _meanwhile(true, other))),
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


def _main_of(told: Told, numbers: Sequence[int], run: Run, segments: Collection[Segment]) -> int | None:
    """Which incident an alert of several speaks of: that which cost its scope most. It may be one that is long over."""
    lost = {
        number: lost_of(told, number, run)
        for number, true in enumerate(run.incidents)
        if number in numbers
        or belongs(told.fired._replace(at_ms=to_ms(true.incident.start)), true.incident, GRACE_MS, segments)
    }
    if not any(lost.values()) and len(numbers) > 1:
        return None
    return max(lost, key=lambda number: (lost[number], number in numbers))


def _own(messages: list[list[Told]], true: TrueIncident) -> tuple[Told, ...]:
    """In order of time, as long as the incident is not over."""
    until_ms = to_ms(true.incident.end) + GRACE_MS
    found = [one for of_alert in messages for one in of_alert if one.fired.at_ms <= until_ms]
    return tuple(sorted(found, key=lambda one: one.fired.at_ms))


def _meanwhile(true: TrueIncident, other: TrueIncident) -> bool:
    one, two = true.incident, other.incident
    return one.start < two.end and two.start < one.end


def lost_of(told: Told, number: int, run: Run) -> int:
    """How many right answers an incident cost an alert's scope from the change until people were told.

    Of a stall, how many answers did not come: all in all, since nobody can say when they would have.
    """
    scope, true, figures = told.fired.scope, run.incidents[number], told.alert.figures
    names = ("project_id", "task_type", "vendor_id")
    if true.incident.kind == "stall":
        lost = (many for segment, many in true.lost.items() if holds(scope, dict(zip(names, segment, strict=True))))
        return int(sum(lost))
    columns = run.columns
    since_ms = told.alert.began_ms if figures is None else figures.since_ms
    inside = (
        (columns["lost_to"] == number) & (since_ms <= columns["answer_ms"]) & (columns["answer_ms"] <= told.fired.at_ms)
    )
    if scope.labeler_id:
        inside &= columns["labeler"] == scope.labeler_id
    counts = np.bincount(columns["segment"][inside], minlength=len(run.segments)).tolist()
    return sum(
        count
        for count, segment in zip(counts, run.segments, strict=True)
        if count and holds(scope, dict(zip(names, segment, strict=True)))
    )


def _told(alert: Alert, at_ms: int, cells: RunCells) -> Told:
    """What a message says. A labeler's alert names the labeler, unless it is all, or nobody knows how the others do."""
    scope, figures = alert.scope, alert.figures
    fired = Fired(alert.rule.name, alert.rule.metric, scope, at_ms)
    found = None
    if figures is not None and can_explain(alert.rule.metric):
        found = asyncio.run(why(question_of(alert, figures, at_ms), cells))
    if scope.kind == "labeler" and not (isinstance(found, Why) and found.shared is not None):
        if isinstance(found, Why) and found.is_alone is False:
            return Told(fired, alert, "unclear", ())
        return Told(fired, alert, "labelers", (Named("labeler", scope.labeler_id),))
    if not isinstance(found, Why):
        return Told(fired, alert, "nothing", ())
    cause = found.explanation.cause
    return Told(fired, alert, cause.verdict.value, cause.named)


def names_right(told: Told, true: TrueIncident, others_bad: frozenset[str] = frozenset()) -> bool:
    """Whether a message names who or what it was.

    - Some labelers: the first one named is one of them, and most are bad: theirs, or another incident's meanwhile.
    - A vendor: it is named, or everybody is whom the alert is on, which is that vendor's people.
    - A class pair: no other class is named.
    - A project or a task type: no labelers, classes or mix; a vendor only where the alert is on nobody else's work.
    """
    incident, scope = true.incident, told.fired.scope
    named = {one.dimension: one.value for one in reversed(told.named)}
    if incident.kind in OF_LABELERS:
        people = [one.value for one in told.named if one.dimension == "labeler"]
        right = sum(name in incident.labeler_ids or name in others_bad for name in people)
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
        incident, first = one.true.incident, one.naming or (one.told or (None,))[0]
        rows.append(
            {"seed": played.seed, "row": "incident", **_incident_fields(incident, one)}
            | {
                "found": first is not None,
                "delay_minutes": None if one.delay_minutes is None else round(one.delay_minutes, 1),
                "named_right": one.is_named,
                "named_right_at_once": one.is_named_at_once,
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
