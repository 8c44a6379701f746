"""Rules on metrics that have one value an hour: hours are filled by answers, and closed by the watermark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from detectors.watch.hours import HOURLY, CalibrationTally, LabelTally, Tally, Work, distance
from detectors.watch.rule_watch import RuleWatch
from detectors.watch.scope_state import Said, ScopeState
from detectors.watch.together import ScopeKey
from schemas.measurements import Answer, Segment, Settled

HOUR_MS: Final = 3_600_000
#: A watermark that jumps further than this begins anew: nobody worked meanwhile, or the data are of another time.
FURTHEST_MS: Final = 28 * 24 * HOUR_MS
#: In place of an hour: what is known of all hours before.
HISTORY: Final = -1


class HourWatch:
    """The hours of one rule."""

    def __init__(self, watch: RuleWatch) -> None:
        self.watch = watch
        self._make = HOURLY[watch.rule.metric]
        self._open: dict[int, dict[ScopeKey, Tally]] = {}
        self._history: dict[ScopeKey, LabelTally] = {}
        self._is_own = watch.rule.metric == "label_distance_own"
        self._is_volume = watch.rule.metric == "volume"
        self._changed: dict[tuple[int, ScopeKey], None] = {}
        """Hour, or `HISTORY`, and scope."""

    def add(self, answer: Answer, segment: Segment, now_ms: int) -> list[Said]:
        """Count an answer in its hour."""
        scope = self.watch.at(segment, answer.labeler_id, now_ms)
        if scope is None:
            return []
        self._tally(scope, answer.submitted_ms).add(answer, segment[:2])
        return self.watch.hear(scope, now_ms)

    def settle(self, settled: Settled, segment: Segment, now_ms: int) -> list[Said]:
        """Count a task whose truth became known, in the hour in which it did."""
        scope = self.watch.at(segment, "", now_ms)
        if scope is None:
            return []
        tally = self._tally(scope, settled.settled_ms)
        assert isinstance(tally, CalibrationTally), "only calibration looks at tasks"
        tally.settle(settled)
        return self.watch.hear(scope, now_ms)

    def close(self, hour_ms: int, peers: Mapping[Work, Counter[str]]) -> Iterator[Said]:
        """Close an hour: the values of all scopes, in order of their keys."""
        tallies = self._open.pop(hour_ms, {})
        self._changed.update(dict.fromkeys((hour_ms, key) for key in tallies))
        if self._is_volume:  # an hour without answers has a volume, too
            for key in self.watch.scopes:
                tallies.setdefault(key, self._make(None))
        for key in sorted(tallies):
            scope = self.watch.scopes.get(key)
            value = None if scope is None else self._value(key, tallies[key], peers)
            if scope is not None and value is not None:
                yield from self.watch.take(scope, value, hour_ms + HOUR_MS)

    def open_hours(self) -> Iterator[int]:
        """Hours that hold anything."""
        return iter(self._open)

    def _tally(self, scope: ScopeState, at_ms: int) -> Tally:
        hour_ms = at_ms - at_ms % HOUR_MS
        tallies = self._open.setdefault(hour_ms, {})
        tally = tallies.get(scope.key)
        if tally is None:
            tally = tallies[scope.key] = self._make(None)
        self._changed[(hour_ms, scope.key)] = None
        return tally

    def _value(self, key: ScopeKey, tally: Tally, peers: Mapping[Work, Counter[str]]) -> float | None:
        if not isinstance(tally, LabelTally):
            return tally.value()
        if not self._is_own:
            return distance(tally, peers, includes_own=True)
        history = self._history.setdefault(key, LabelTally())
        value = distance(tally, history.labels)
        history.fade(tally)
        self._changed[(HISTORY, key)] = None
        return value

    def drop(self) -> Iterator[list[Any]]:
        """Keys of everything that is kept, of a rule that is no more."""
        kept = [(hour_ms, key) for hour_ms, tallies in self._open.items() for key in tallies]
        for hour_ms, key in (*kept, *((HISTORY, key) for key in self._history), *self._changed):
            yield [self.watch.rule.name, hour_ms, *key]

    def take_changed(self) -> Iterator[tuple[list[Any], Any]]:
        """What changed since the last call: keys and plain values, None for what is closed."""
        changed, self._changed = self._changed, {}
        for hour_ms, key in changed:
            tally = self._history.get(key) if hour_ms == HISTORY else self._open.get(hour_ms, {}).get(key)
            yield [self.watch.rule.name, hour_ms, *key], None if tally is None else tally.dump()

    def load(self, hour_ms: int, key: ScopeKey, state: Any) -> None:
        """Continue from a dumped one."""
        if hour_ms == HISTORY:
            self._history[key] = LabelTally(state)
        else:
            self._open.setdefault(hour_ms, {})[key] = self._make(state)


class Hours:
    """All rules on hours, and the labels that everybody gave in each open hour."""

    def __init__(self) -> None:
        self.rules: list[HourWatch] = []
        self.next_ms: int | None = None
        """The first hour that is not closed."""
        self._labels: dict[int, LabelTally] = {}
        self._needs_peers = False
        self._changed: dict[int, None] = {}

    def arrange(self, rules: Sequence[RuleWatch]) -> list[list[Any]]:
        """Watch these rules, and go on with those that were watched before; keys of what is not needed any more."""
        known = {id(one.watch): one for one in self.rules}
        self.rules = [known.pop(id(rule)) if id(rule) in known else HourWatch(rule) for rule in rules]
        self._needs_peers = any(rule.rule.metric == "label_distance_peers" for rule in rules)
        return [key for gone in known.values() for key in gone.drop()]

    def add(self, answer: Answer, segment: Segment, now_ms: int) -> Iterator[tuple[RuleWatch, Said]]:
        """Count an answer, unless its hour is closed."""
        hour_ms = answer.submitted_ms - answer.submitted_ms % HOUR_MS
        if self.next_ms is None:
            self.next_ms = hour_ms
        if answer.is_late or hour_ms < self.next_ms:
            return
        for rule in self.rules:
            for said in rule.add(answer, segment, now_ms):
                yield rule.watch, said
        if self._needs_peers:
            self._labels.setdefault(hour_ms, LabelTally()).add(answer, segment[:2])
            self._changed[hour_ms] = None

    def close(self, watermark_ms: int) -> Iterator[tuple[RuleWatch, Said]]:
        """Close every hour that the watermark has passed, the earliest first."""
        if self.next_ms is None:
            return
        if watermark_ms - self.next_ms > FURTHEST_MS:
            opened = [hour_ms for rule in self.rules for hour_ms in rule.open_hours()]
            self.next_ms = min([*opened, watermark_ms - watermark_ms % HOUR_MS])
        while self.next_ms + HOUR_MS <= watermark_ms:
            hour_ms, self.next_ms = self.next_ms, self.next_ms + HOUR_MS
            peers = self._labels.pop(hour_ms, LabelTally())
            self._changed[hour_ms] = None
            for rule in self.rules:
                for said in rule.close(hour_ms, peers.labels):
                    yield rule.watch, said

    def take_changed(self) -> Iterator[tuple[list[Any], Any]]:
        """As `HourWatch.take_changed`, of all; everybody's labels are under an empty name."""
        for rule in self.rules:
            yield from rule.take_changed()
        changed, self._changed = self._changed, {}
        for hour_ms in changed if self._needs_peers else ():
            labels = self._labels.get(hour_ms)
            yield ["", hour_ms], None if labels is None else labels.dump()

    def load(self, key: Sequence[Any], state: Any) -> None:
        """Continue from a dumped one; of rules that are no more, nothing."""
        name, hour_ms, *scope = key
        if not name:
            self._labels[hour_ms] = LabelTally(state)
        for rule in self.rules:
            if rule.watch.rule.name == name:
                rule.load(hour_ms, tuple(scope), state)
