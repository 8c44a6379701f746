"""Rules at work on stored measurements, as WATCH and NOTIFY run them."""

from __future__ import annotations

from typing import Final

from detectors.alerts.alert import Transition
from detectors.alerts.book import AlertBook
from detectors.rule_method import CannotPlanError, Detecting
from detectors.watch.planner import Planner, plan_rule
from detectors.watch.watch import MINUTE_MS, Watch
from schemas.measurements import Measurements, RulesChange
from schemas.thresholds import Rule
from schemas.verdicts import Verdict, Verdicts
from streams.state.watch import read_rules
from streams.thresholds import LoadedThresholds, ThresholdsError
from streams.watch import is_later

Stored = Measurements | RulesChange
#: What changed is for a worker's checkpoints. Here nobody asks for it, so it is thrown away before it piles up.
_FORGET_EVERY: Final = 5_000


class RulesRun:
    """A `Watch` and the `AlertBook` behind it, without topics between them.

    Args:
        app_id: the application whose measurements these are; it is part of an alert's id.
        rules: in force from the start, whatever changes the history tells of. None: the rules as they changed.
        planner: as of `Watch`.
    """

    def __init__(self, app_id: str, rules: LoadedThresholds | None, planner: Planner = plan_rule) -> None:
        self.changes = 0
        """Rules that came into force on the way."""
        self._app_id = app_id
        self._follows_history = rules is None
        self._watch = Watch(planner)
        self._book = AlertBook(app_id)
        self._change: RulesChange | None = None
        self._known: dict[str, Rule] = {}
        self._taken = 0
        if rules is not None:
            self._put_in_force(rules)

    @property
    def clock_ms(self) -> int:
        """Event time by now."""
        return self._watch.clock_ms

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule that was in force at some time, as it was last."""
        return tuple(self._known.values())

    @property
    def problems(self) -> dict[str, str]:
        """Rules that do not run at the volume that they meet, and why."""
        return self._watch.problems

    def take(self, message: Stored) -> list[Transition]:
        """What becomes of alerts by a message."""
        before_ms = self.clock_ms
        told = self._watch.take(message) if isinstance(message, Measurements) else self._change_rules(message)
        self._taken += 1
        if self._taken % _FORGET_EVERY == 0:
            self._watch.take_changed()
            self._book.take_changed()
        if not told and self.clock_ms // MINUTE_MS == before_ms // MINUTE_MS:
            return []
        return self._book.take(Verdicts(app_id=self._app_id, clock_ms=self.clock_ms, verdicts=tuple(told)))

    def _change_rules(self, change: RulesChange) -> list[Verdict]:
        if not self._follows_history or not is_later(change, self._change):
            return []
        try:
            rules = read_rules(change)
        except ThresholdsError:  # as then: what was in force stays
            return []
        self._change = change
        return self._put_in_force(rules)

    def _put_in_force(self, rules: LoadedThresholds) -> list[Verdict]:
        self.changes += 1
        self._known.update((rule.name, rule) for rule in rules.rules)
        return self._watch.change_rules(rules.rules)


def shared_planner(plan: Planner = plan_rule) -> Planner:
    """A planner that works out the same question once: two runs mostly have the same rules, and plans take seconds."""
    known: dict[tuple[str, float, float | None], tuple[Detecting, ...] | CannotPlanError] = {}

    def planned(rule: Rule, values_per_week: float, measured: float | None) -> tuple[Detecting, ...]:
        question = rule.model_dump_json(), values_per_week, measured
        if question not in known:
            try:
                known[question] = plan(rule, values_per_week, measured)
            except CannotPlanError as error:
                known[question] = error
        answer = known[question]
        if isinstance(answer, CannotPlanError):
            raise CannotPlanError(*answer.args)
        return answer

    return planned
