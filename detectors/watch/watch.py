"""All rules on all measurements: one place, one order, one clock.

The clock is event time: that of the latest answer. While every source is silent it goes on by their heartbeats, so
that a stream that stands still is seen to. The same messages give the same verdicts; items that come again, by the
numbers of their source partitions, are passed over. `order` says in which order source partitions are heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import orjson

from detectors.watch.crew import Crews
from detectors.watch.hour_watch import Hours
from detectors.watch.hours import HOURLY
from detectors.watch.order import EventOrder, Item
from detectors.watch.planner import Planner, plan_rule
from detectors.watch.rule_change import looks_for_the_same
from detectors.watch.rule_watch import RuleWatch
from detectors.watch.scope_state import Said, ScopeState, in_order
from detectors.watch.values import HABITS, OF_ANSWER, Habits, Value
from schemas.measurements import Answer, LateTruth, Measurements, Refused, ReviewMeasured, Segment, Settled
from schemas.thresholds import MetricName, Rule
from schemas.verdicts import Verdict, VerdictScope

MINUTE_MS: Final = 60_000
#: Labelers whose latest answers are remembered; those seen longest ago are forgotten.
MAX_HABITS: Final = 200_000
_NOWHERE: Final[Segment] = ("", "", "")


@dataclass(slots=True)
class Source:
    """What one source partition last said of itself."""

    watermark_ms: int = 0
    is_idle: bool = False
    lag_ms: int = 0


class Watch:
    """Rules at work.

    Args:
        planner: says which detectors a rule runs at a volume.

    >>> rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy", "scope": "labeler"})
    >>> watch = Watch()
    >>> watch.change_rules([rule])
    []
    >>> for number in range(1_000):
    ...     is_right = number % (12 if number < 800 else 3) != 0
    ...     answer = Answer(number, 0, "ann", 60_000 * number, "cat", *(False,) * 3, is_right, *(None,) * 7, 0, 0)
    ...     told = watch.take(Measurements.model_construct(
    ...         source_partition=0, sent_ms=0, arrived_ms=0, is_at_end=True, is_idle=False, watermark_ms=0,
    ...         segments=(("p", "t", "v"),), answers=(answer,)))
    ...     if told:
    ...         break
    >>> number, told[0].kind, told[0].scope.labeler_id, round(told[0].figures.level, 2)
    (831, 'breach', 'ann', 0.65)
    """

    def __init__(self, planner: Planner = plan_rule) -> None:
        self.clock_ms = 0
        self._planner = planner
        self._rules: dict[str, RuleWatch] = {}
        self._number = 0
        """Of the latest verdict."""
        self._minute = 0
        self._order = EventOrder()
        self._sources: dict[int, Source] = {}
        self._heard: tuple[int, int] = (0, 0)
        """The clock at the latest answer, and its sender's."""
        self._habits: dict[tuple[str, str, str], Habits] = {}
        self._changed_habits: dict[tuple[str, str, str], None] = {}
        self._has_moved = False
        self._deleted: dict[tuple[str, str], None] = {}
        """Kind and key of state that is not needed any more."""
        self._hours = Hours()
        self._crews = Crews()
        self._arrange()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those in force."""
        return tuple(one.rule for one in self._rules.values())

    @property
    def problems(self) -> dict[str, str]:
        """Rules that do not run at the volume that they meet, and why."""
        return {name: one.problem for name, one in self._rules.items() if one.problem}

    def change_rules(self, rules: Sequence[Rule]) -> list[Verdict]:
        """Let other rules be in force. Those that look for the same as before go on; what others have said ends."""
        before, self._rules = self._rules, {}
        self._has_moved |= bool(before)  # else this is the beginning, or goes on from what is stored
        told: list[Verdict] = []
        for rule in rules:
            known = before.get(rule.name)
            if known is not None and looks_for_the_same(known.rule, rule):
                self._rules[rule.name] = before.pop(rule.name)
                told.extend(self._verdict(known, said) for said in known.change(rule))
            else:
                self._rules[rule.name] = RuleWatch(rule, self._planner)
        for gone in before.values():
            told.extend(self._verdict(gone, said) for said in gone.drop())
            self._deleted.update(dict.fromkeys(("scope", _dumps([gone.rule.name, *key])) for key in gone.scopes))
        self._arrange()
        return told

    @property
    def oldest(self) -> int | None:
        """Number of the first message of which something waits for other source partitions; None if nothing does.

        After a restart, messages are to be taken again from there on.
        """
        return self._order.oldest

    def take(self, batch: Measurements, number: int | None = None) -> list[Verdict]:
        """Take what a source partition says; nothing of what it has said before.

        Args:
            batch: what it says.
            number: of the message, which grows; None for the next one.
        """
        self._order.put(batch, number)
        self._has_moved = True
        told: list[Verdict] = []
        for element in self._order.take():
            self._apply(element.batch, element.item, told)
        return told

    def _apply(self, batch: Measurements, item: Item | None, told: list[Verdict]) -> None:
        if isinstance(item, Answer):
            self._move_clock(item.submitted_ms, told)
            self._heard = self.clock_ms, max(batch.sent_ms, self._heard[1])
            self._answer(item, batch.segments[item.segment], told)
        elif item is not None:
            self._other(item, batch.segments, told)
        else:
            self._end_of(batch, told)

    def _end_of(self, batch: Measurements, told: list[Verdict]) -> None:
        """What a batch says besides its items."""
        source = self._sources.setdefault(batch.source_partition, Source())
        source.watermark_ms = max(source.watermark_ms, batch.watermark_ms)
        source.is_idle = batch.is_idle
        source.lag_ms = 0 if batch.is_at_end or not batch.arrived_ms else max(batch.sent_ms - batch.arrived_ms, 0)
        clock_ms, sent_ms = self._heard
        if batch.is_at_end and not batch.answers and clock_ms:
            self._move_clock(clock_ms + batch.sent_ms - sent_ms, told)
        told.extend(self._verdict(rule, said) for rule, said in self._hours.close(self._watermark_ms()))

    def _answer(self, answer: Answer, segment: Segment, told: list[Verdict]) -> None:
        now_ms = self.clock_ms
        late_ms = answer.submitted_ms if answer.is_late else None
        for value_of, rules in self._of_answer:
            value = value_of(answer)
            if value is not None:
                for rule in rules:
                    self._feed(rule, segment, answer.labeler_id, float(value), told, late_ms)
        if self._of_agreement and answer.agrees is not None:
            self._agreement(answer, answer.agrees, segment, told, late_ms)
        if self._of_habits and not answer.is_revision:
            repeats = self._habit(answer, segment)
            for is_free, rule in self._of_habits:
                if repeats is not None and is_free == answer.is_free:
                    self._feed(rule, segment, answer.labeler_id, float(repeats), told)
        for rule in self._on_stalls:
            scope = rule.at(segment, answer.labeler_id, now_ms)
            if scope is not None:
                rule.hear(scope, now_ms)
        if self._hours.rules:
            told.extend(self._verdict(rule, said) for rule, said in self._hours.add(answer, segment, now_ms))

    def _agreement(
        self, answer: Answer, agrees: bool, segment: Segment, told: list[Verdict], late_ms: int | None
    ) -> None:
        expected = self._crews.expected(segment, answer.labeler_id, answer.peers)
        is_well = True
        for rule in self._of_agreement:
            relative = expected.of_labeler if rule.is_of_each else expected.of_all
            scope = self._feed(rule, segment, answer.labeler_id, float(agrees), told, late_ms, relative)
            is_well &= scope is None or scope.breach is None
        self._crews.see(segment, answer.labeler_id, agrees, expected, is_learned=is_well)

    def _other(self, item: Item, segments: Sequence[Segment], told: list[Verdict]) -> None:
        match item:
            case LateTruth(segment=segment, labeler_id=labeler, was_correct=None, is_correct=bool(correct)):
                for rule in self._on("gold_accuracy"):
                    self._feed(rule, segments[segment], labeler, float(correct), told, item.submitted_ms)
            case LateTruth(segment=segment, labeler_id=labeler):
                change = float(item.is_correct or False) - float(item.was_correct or False)
                for rule in self._on("gold_accuracy"):
                    scope = rule.at(segments[segment], labeler, self.clock_ms)
                    if scope is not None:
                        found = rule.correct(scope, change, item.submitted_ms, self.clock_ms, labeler)
                        told.extend(self._verdict(rule, said) for said in found)
            case ReviewMeasured(segment=segment, labeler_id=labeler, is_rejected=rejected):
                for rule in self._on("reviewer_reject_rate"):
                    self._feed(rule, segments[segment], labeler, float(rejected), told)
            case Settled(segment=segment):
                for hours in self._hours.rules:
                    if hours.watch.rule.metric == "calibration_error":
                        found = hours.settle(item, segments[segment], self.clock_ms)
                        told.extend(self._verdict(hours.watch, said) for said in found)
            case Refused():
                for rule in self._on("invalid_share"):
                    self._feed(rule, _NOWHERE, "", 1.0, told)

    def _feed(
        self,
        rule: RuleWatch,
        segment: Segment,
        labeler_id: str,
        value: float,
        told: list[Verdict],
        submitted_ms: int | None = None,
        relative: float = 1.0,
    ) -> ScopeState | None:
        scope = rule.at(segment, labeler_id, self.clock_ms)
        if scope is not None:
            found = rule.hear(scope, self.clock_ms) + rule.take(
                scope, value, self.clock_ms, submitted_ms, relative, labeler_id
            )
            if found:
                told.extend(self._verdict(rule, said) for said in found)
        return scope

    def _habit(self, answer: Answer, segment: Segment) -> bool | None:
        key = (segment[0], segment[1], answer.labeler_id)
        habits = self._habits.pop(key, None) or Habits()
        self._habits[key] = habits  # the latest one last
        self._changed_habits[key] = None
        if len(self._habits) > MAX_HABITS:
            oldest = next(iter(self._habits))
            del self._habits[oldest]
            self._changed_habits[oldest] = None
        return habits.see(answer.label, is_free=answer.is_free)

    def _move_clock(self, to_ms: int, told: list[Verdict]) -> None:
        if to_ms <= self.clock_ms:
            return
        self.clock_ms = to_ms
        minute = to_ms // MINUTE_MS
        if minute > self._minute:
            self._minute = minute
            self._tick(told)

    def _tick(self, told: list[Verdict]) -> None:
        """Once a minute of the clock: what is measured by the minute, and what is not heard of."""
        now_ms = self.clock_ms
        for rule in self._on_stalls:
            scopes = rule.scopes.values()
            found = [one for scope in scopes for one in rule.take(scope, (now_ms - scope.heard_ms) / 1_000, now_ms)]
            told.extend(self._verdict(rule, said) for said in in_order(found))
        lag_ms = max((source.lag_ms for source in self._sources.values()), default=0)
        for rule in self._on("lag_seconds"):
            self._feed(rule, _NOWHERE, "", lag_ms / 1_000, told)
        for rule in self._rules.values():
            told.extend(self._verdict(rule, said) for said in rule.sweep(now_ms))

    def _watermark_ms(self) -> int:
        """No earlier answer is expected of any source; of those that are silent, whatever they said."""
        speaking = [source.watermark_ms for source in self._sources.values() if not source.is_idle]
        return min(speaking, default=self.clock_ms)

    def _on(self, metric: MetricName) -> Sequence[RuleWatch]:
        return self._by_metric.get(metric, ())

    def _arrange(self) -> None:
        """Sort the rules by what they look at."""
        self._by_metric: dict[MetricName, list[RuleWatch]] = {}
        for one in self._rules.values():
            self._by_metric.setdefault(one.rule.metric, []).append(one)
        self._of_answer: list[tuple[Value, list[RuleWatch]]] = [
            (value_of, self._by_metric[metric]) for metric, value_of in OF_ANSWER.items() if metric in self._by_metric
        ]
        self._of_habits = [(is_free, rule) for metric, is_free in HABITS.items() for rule in self._on(metric)]
        self._of_agreement = self._on("consensus_agreement")
        self._on_stalls = self._on("stall_seconds")
        gone = self._hours.arrange([rule for metric in HOURLY for rule in self._on(metric)])
        self._deleted.update(dict.fromkeys(("hour", _dumps(key)) for key in gone))

    def _verdict(self, rule: RuleWatch, said: Said) -> Verdict:
        self._number += 1
        scope = VerdictScope(kind=rule.rule.scope.kind, text=rule.rule.scope.text, **said.scope.fields)
        return Verdict(
            number=self._number,
            kind=said.kind,
            at_ms=self.clock_ms,
            rule=rule.rule,
            scope=scope,
            figures=said.figures,
        )

    def take_changed(self) -> list[tuple[str, str, str | None]]:
        """State that changed since the last call: kind, key and payload; None for what is to be deleted.

        Nothing, if no message was taken.
        """
        if not self._has_moved and not self._deleted:
            return []
        changed: list[tuple[str, str, str | None]] = [(*one, None) for one in self._deleted]
        for rule in self._rules.values():
            for key, scope in rule.take_changed():
                changed.append(("scope", _dumps([rule.rule.name, *key]), _payload(scope)))
        for name, tally in self._hours.take_changed():
            changed.append(("hour", _dumps(name), _payload(tally)))
        for key in self._changed_habits:
            habits = self._habits.get(key)
            changed.append(("labeler", _dumps(key), _payload(habits and habits.dump())))
        changed.extend(("crew", _dumps(key), _payload(state)) for key, state in self._crews.take_changed())
        changed.append(("watch", "", _dumps(self._dump())))
        self._deleted, self._changed_habits, self._has_moved = {}, {}, False
        return changed

    def load(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Continue from what `take_changed` gave, under the same rules."""
        values: dict[str, dict[str, Any]] = {"watch": {}, "scope": {}, "hour": {}, "labeler": {}, "crew": {}}
        for kind, key, payload in rows:
            values[kind][key] = orjson.loads(payload)
        for state in values["watch"].values():
            self._load(state)
        for key, state in sorted(values["scope"].items()):
            name, *scope = orjson.loads(key)
            if name in self._rules:
                self._rules[name].load_scope(tuple(scope), state)
        for key, state in sorted(values["hour"].items()):
            self._hours.load(orjson.loads(key), state)
        for key, state in values["labeler"].items():
            project_id, task_type, labeler_id = orjson.loads(key)
            self._habits[(project_id, task_type, labeler_id)] = Habits(state)
        for key, state in values["crew"].items():
            self._crews.load(orjson.loads(key), state)

    def _dump(self) -> dict[str, Any]:
        return {
            "clock_ms": self.clock_ms,
            "heard": self._heard,
            "order": self._order.dump(),
            "number": self._number,
            "next_hour_ms": self._hours.next_ms,
            "sources": [[partition, *astuple(source)] for partition, source in self._sources.items()],
            "rules": {name: rule.dump() for name, rule in self._rules.items()},
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self.clock_ms, self._number = state["clock_ms"], state["number"]
        self._minute = self.clock_ms // MINUTE_MS
        clock_ms, sent_ms = state["heard"]
        self._heard = clock_ms, sent_ms
        self._order.load(state["order"])
        self._hours.next_ms = state["next_hour_ms"]
        self._sources = {partition: Source(*source) for partition, *source in state["sources"]}
        for name, rule in state["rules"].items():
            if name in self._rules:
                self._rules[name].load(rule)


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


def _payload(state: object) -> str | None:
    return None if state is None else _dumps(state)
