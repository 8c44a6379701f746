"""One rule at work: its plan, and a detector or a breach for each of its scopes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from detectors.change.e_process import EProcess
from detectors.change.finding import Detector, Finding
from detectors.metrics_registry import METRICS
from detectors.rule_check import smallest_drop
from detectors.rule_method import CannotPlanError, Detecting
from detectors.watch.breach import Breach, End
from detectors.watch.kinds import ADJUSTED, GO_ON, as_when_found, doubt, e_detector, feed, level_of, of_level
from detectors.watch.planner import LEVEL_STEP, Planner, Volume, has_level
from detectors.watch.scope_state import Said, ScopeState, in_order
from detectors.watch.together import ScopeKey, Together
from schemas.measurements import Segment
from schemas.scope import KEY_FIELDS, SEGMENT_FIELDS
from schemas.thresholds import Rule
from schemas.verdicts import Figures

#: Scopes are found together if something came of them within so long: what spoke against others may be over.
FRESH_MS: Final = 3_600_000
#: A scope that has said nothing for so long is forgotten.
DAY_MS: Final = 86_400_000
FORGET_MS: Final = 35 * DAY_MS
#: Silence is no news before.
LEAST_SILENCE_MS: Final = 60_000
#: After a pause as long, a shift's, what was found may be over: values since then must say it, too, as surely.
PAUSE_MS: Final = 4 * 3_600_000
DOUBT: Final = 1.0 / 20.0


class RuleWatch:
    """Runs a rule.

    Args:
        rule: with the file's defaults filled in.
        planner: says which detectors it runs at a volume.
    """

    def __init__(self, rule: Rule, planner: Planner) -> None:
        self.rule = rule
        self.metric = METRICS[rule.metric]
        self.scopes: dict[ScopeKey, ScopeState] = {}
        self.problem = ""
        """Why the rule does not run at this volume; empty while it does."""
        self._planner = planner
        self._volume = Volume()
        self._plan: tuple[Detecting, ...] = ()
        self._planned_for: tuple[float, float | None] | None = None
        self._drop = smallest_drop(rule) if self.metric.law != "numbers" else None
        self._resolve_after_ms = rule.resolve_after_seconds * 1_000
        self._is_fixed = rule.method == "fixed"
        self._breach_drop = None if rule.method in ("fixed", "seasonal", "kswin") else self._drop
        self._shares_budget = rule.method in ("e_sr", "e_sr_guaranteed") and rule.scope.kind != "all"
        self._near = Together()
        self._changed: dict[ScopeKey, ScopeState | None] = {}
        """Since the last `take_changed`; None for those forgotten."""
        self._known: dict[tuple[str, ...], ScopeState | None] = {}
        """Segment, and labeler where they are told apart, to scope."""
        self.is_by_labeler = rule.scope.kind == "labeler"
        self.is_of_each = self.is_by_labeler or rule.method == "e_sparse"
        """Whether levels are those of single labelers."""
        self._is_adjusted = rule.method in ADJUSTED
        self._swept_ms = 0

    def change(self, rule: Rule) -> list[Said]:
        """Go on under a rule that looks for the same (`rule_change`); what holds, as it is told by now."""
        before, self.rule = self.rule, rule
        self._resolve_after_ms = rule.resolve_after_seconds * 1_000
        if rule == before:
            return []
        if rule.false_alarms_per_week != before.false_alarms_per_week and self._planned_for is not None:
            self._set_plan(*self._planned_for)
        said: list[Said] = []
        for _, scope in sorted(self.scopes.items()):
            breach = scope.breach
            if breach is None and not scope.is_silent:
                continue
            self._changed[scope.key] = scope
            if breach is not None:
                breach.resolve_after_ms = self._resolve_after_ms
            if scope.is_silent and rule.no_data != before.no_data:  # which is judged anew
                scope.is_silent = False
                said.append(Said("speaking", scope, None))
            if breach is not None and not (scope.is_silent and rule.no_data == "ok"):
                said.append(self._lasts(scope, breach, since_ms=breach.bad_since_ms or breach.since_ms))
            if scope.is_silent and rule.no_data == "alert":
                said.append(Said("silent", scope, None))
        return said

    def at(self, segment: Segment, labeler_id: str, now_ms: int) -> ScopeState | None:
        """The scope that an answer belongs to, new if it was not known; None if the rule does not watch it."""
        where = (*segment, labeler_id) if self.is_by_labeler else segment
        if where not in self._known:
            self._known[where] = self._scope(segment, labeler_id, now_ms)
        found = self._known[where]
        if self.is_by_labeler and found is not None:
            found.fields["vendor_id"] = segment[2]
        return found

    def _scope(self, segment: Segment, labeler_id: str, now_ms: int) -> ScopeState | None:
        fields = dict(zip((*SEGMENT_FIELDS, "labeler_id"), (*segment, labeler_id), strict=True))
        if not self.rule.scope.matches(fields):
            return None
        key = self.rule.scope.key(fields)
        found = self.scopes.get(key)
        if found is None:
            if self._planned_for is None:
                self._replan(now_ms)
            names = KEY_FIELDS[self.rule.scope.kind]
            told_apart = {name: value for name, value in fields.items() if name in names}
            found = self.scopes[key] = ScopeState(key, told_apart, *self._new_detectors(), now_ms)
        return found

    def hear(self, scope: ScopeState, now_ms: int) -> list[Said]:
        """Note that something came of a scope, whether or not it is a value of its own."""
        if now_ms - scope.heard_ms >= PAUSE_MS:
            self._doubt(scope)
        scope.heard_ms = now_ms
        self._changed[scope.key] = scope
        if not scope.is_silent:
            return []
        scope.is_silent = False
        return [Said("speaking", scope, None)]

    def take(
        self,
        scope: ScopeState,
        value: float,
        now_ms: int,
        submitted_ms: int | None = None,
        relative: float = 1.0,
        labeler_id: str = "",
    ) -> list[Said]:
        """Take a value of a scope.

        Args:
            scope: as `at` gives it.
            value: of the rule's metric.
            now_ms: the clock.
            submitted_ms: of a value that comes late, the time that it is about.
            relative: what is expected of the value while all is well, as a multiple of the scope's level.
            labeler_id: whose it is.
        """
        relative = relative if self._is_adjusted else 1.0
        self._volume.add(value, now_ms)
        self._changed[scope.key] = scope
        if scope.breach is not None:
            if not scope.breach.is_about(labeler_id):
                return self._ended(scope, scope.breach, scope.breach.miss(now_ms))
            return self._after_breach(scope, scope.breach, value / relative, now_ms, submitted_ms)
        said: list[Said] = []
        for number, detector in enumerate(scope.detectors):
            found = feed(detector, value, now_ms, relative, labeler_id)
            if found is not None:
                self._near.forget(scope.key)  # it begins anew
                if self._is_worth(found):
                    said.append(self._begin(scope, found))
                break
            if self._shares_budget:
                together = list(self._together(scope, number, now_ms))
                said.extend(together)
                if any(one.scope is scope for one in together):
                    break
        return said

    def correct(
        self, scope: ScopeState, change: float, submitted_ms: int, now_ms: int, labeler_id: str = ""
    ) -> list[Said]:
        """A value that was taken is another one: what was found may not hold."""
        breach = scope.breach
        if breach is None or not breach.is_about(labeler_id) or not breach.concerns(submitted_ms):
            return []
        self._changed[scope.key] = scope
        return self._ended(scope, breach, breach.revise(change, 0, now_ms))

    def sweep(self, now_ms: int) -> list[Said]:
        """Look at the volume, and at scopes of which nothing is heard; about once a minute of the clock."""
        if self._planned_for is not None:
            self._replan(now_ms)
        said: list[Said] = []
        if self.rule.no_data != "keep" and self.metric.source != "minutes":
            for scope in self.scopes.values():
                is_quiet = now_ms - scope.heard_ms >= max(self._resolve_after_ms, LEAST_SILENCE_MS)
                if is_quiet and not scope.is_silent and (self.rule.no_data == "alert" or scope.breach is not None):
                    scope.is_silent = True
                    self._changed[scope.key] = scope
                    said.append(Said("silent", scope, None))
        today_ms = now_ms - now_ms % DAY_MS
        if today_ms > self._swept_ms:  # and after a restart, which finds nothing more that day
            self._swept_ms = today_ms
            gone = [scope for scope in self.scopes.values() if today_ms - scope.heard_ms >= FORGET_MS]
            said.extend(one for scope in gone for one in self._forget(scope))
        return in_order(said)

    def drop(self) -> list[Said]:
        """The rule is no more: what it has said ends."""
        open_ones = (scope for scope in self.scopes.values() if scope.breach is not None or scope.is_silent)
        return [self._dropped(scope) for scope in open_ones]

    def _after_breach(
        self, scope: ScopeState, breach: Breach, value: float, now_ms: int, submitted_ms: int | None
    ) -> list[Said]:
        if submitted_ms is not None and breach.concerns(submitted_ms):
            return self._ended(scope, breach, breach.revise(value, 1, now_ms))
        is_ratio = self.metric.is_ratio
        value, weight = as_when_found(scope.detectors, value, now_ms, breach.baseline, is_ratio=is_ratio)
        seen = breach.see(value, now_ms, weight)
        if seen == "lasts":
            return [self._lasts(scope, breach, since_ms=breach.bad_since_ms)]
        return self._ended(scope, breach, seen)

    def _lasts(self, scope: ScopeState, breach: Breach, *, since_ms: int) -> Said:
        figures = _at(self._figures(breach), *breach.so_far())
        return Said("breach", scope, figures.model_copy(update={"seen_since_ms": max(since_ms, 0)}))

    def _ended(self, scope: ScopeState, breach: Breach, end: End | None) -> list[Said]:
        if end is None:
            return []
        scope.breach = None
        figures = self._figures(breach)
        if end == "new_level":  # and is learned as one
            scope.detectors, scope.level = self._new_detectors()
            figures = _at(figures, *breach.so_far())
        elif end == "recovered":
            figures = _at(figures, *breach.since_well())
        return [Said(end, scope, figures)]

    def _is_worth(self, found: Finding) -> bool:
        """Whether a change is three quarters of what must be found. Of much, or of what hardly ever goes wrong,
        e-processes also find changes that nobody wants to hear of: who is at work at night is a little worse."""
        return self._breach_drop is None or abs(found.level - found.baseline) >= 0.75 * self._breach_drop

    def _begin(self, scope: ScopeState, found: Finding) -> Said:
        scope.breach = Breach.of(
            found, drop=self._breach_drop, resolve_after_ms=self._resolve_after_ms, is_limit=self._is_fixed
        )
        self._changed[scope.key] = scope
        return Said("breach", scope, self._figures(scope.breach))

    def _new_detectors(self) -> tuple[list[Detector], float | None]:
        """Detectors at their beginning, and the level that they begin with."""
        methods = [one.method for one in self._plan]
        return [method.build() for method in methods], level_of(methods[0]) if methods else None

    def _dropped(self, scope: ScopeState) -> Said:
        breach = scope.breach
        return Said("dropped", scope, _at(self._figures(breach), *breach.so_far()) if breach is not None else None)

    def _figures(self, breach: Breach) -> Figures:
        return Figures(
            direction=breach.direction,
            baseline=breach.baseline,
            level=breach.level,
            since_ms=max(breach.since_ms, 0),
            answers=breach.answers,
            statistic=breach.statistic,
            threshold=breach.threshold,
            unit=self.metric.unit,
            counted=self.metric.counted,
            smallest_drop=self._drop,
            labelers=len(breach.labelers) or None,
        )

    def _together(self, scope: ScopeState, number: int, now_ms: int) -> Iterator[Said]:
        """Scopes that are found because others are, too."""
        if not self._note_near(scope, number):
            return
        since_ms = now_ms - FRESH_MS
        for key in self._near.believed(
            number, self._threshold(number), lambda one: self.scopes[one].heard_ms >= since_ms
        ):
            together = self.scopes[key]
            found = e_detector(together.detectors[number]).conclude(now_ms)
            self._near.forget(key)
            self._changed[key] = together
            if self._is_worth(found):
                yield self._begin(together, found)

    def _note_near(self, scope: ScopeState, number: int) -> bool:
        detector = e_detector(scope.detectors[number])
        evidence = detector.statistic if detector.is_ripe else 0.0
        return self._near.note(scope.key, number, evidence, self._threshold(number))

    def _note_all_near(self, scope: ScopeState) -> None:
        """Of a scope that was loaded, or whose thresholds are others now."""
        if self._shares_budget and scope.breach is None:
            for number in range(len(scope.detectors)):
                self._note_near(scope, number)

    def _threshold(self, number: int) -> float:
        method = self._plan[number].method
        assert isinstance(method, EProcess), "only e-processes share their budget"
        return method.threshold

    def _doubt(self, scope: ScopeState) -> None:
        """Leave what speaks for a change at a twentieth of the threshold, at most: one more slip is no finding then."""
        for detector in scope.detectors:
            doubt(detector, DOUBT)
        self._note_all_near(scope)

    def _replan(self, now_ms: int) -> None:
        """Plan for the volume and level as they are, if they have moved far enough."""
        wanted, level = self._volume.needed(now_ms), self._volume.level() if has_level(self.rule) else None
        planned = self._planned_for
        if planned is not None:
            volume, known = planned
            if level is not None and known is not None and abs(level - known) < 1.5 * LEVEL_STEP:
                level = known
            if volume / 4.0 < wanted <= volume and level == known:
                return
        self._set_plan(wanted, level)

    def _set_plan(self, volume: float, level: float | None) -> None:
        self._planned_for = volume, level
        try:
            self._plan, self.problem = self._planner(self.rule, volume, level), ""
        except CannotPlanError as error:  # it rests, and begins anew when it can be planned
            self._plan, self.problem = (), str(error)
        self._near = Together()
        for scope in self.scopes.values():
            if self._plan and scope.detectors:
                scope.detectors = self._moved(scope)
            else:
                scope.detectors, scope.level = self._new_detectors()
            self._changed[scope.key] = scope
            self._note_all_near(scope)

    def _moved(self, scope: ScopeState) -> list[Detector]:
        """A scope's detectors under the plan as it is now; what they have learned stays."""
        moved: list[Detector] = []
        for one, detector in zip(self._plan, scope.detectors, strict=True):
            method = of_level(one.method, scope.level)
            moved.append(method.build(detector.dump() if isinstance(method, GO_ON) else None))
        return moved

    def _forget(self, scope: ScopeState) -> list[Said]:
        del self.scopes[scope.key]
        self._known.clear()
        self._near.forget(scope.key)
        self._changed[scope.key] = None
        if scope.breach is None and not scope.is_silent:
            return []
        return [self._dropped(scope)]

    def dump(self) -> dict[str, Any]:
        """What holds for all scopes, as plain values."""
        return {"volume": self._volume.dump(), "planned_for": self._planned_for}

    def load(self, state: Mapping[str, Any]) -> None:
        """The inverse; scopes are loaded after it."""
        self._volume = Volume(list(state["volume"]))
        if state["planned_for"] is not None:
            volume, level = state["planned_for"]
            self._set_plan(volume, level)

    def take_changed(self) -> Iterator[tuple[ScopeKey, dict[str, Any] | None]]:
        """Scopes that changed since the last call, as plain values; None for those forgotten."""
        changed, self._changed = self._changed, {}
        for key, scope in changed.items():
            yield key, self._dump_scope(scope) if scope else None

    def load_scope(self, key: ScopeKey, state: Mapping[str, Any]) -> None:
        """Continue from a dumped scope."""
        level = state["level"]
        methods = [of_level(one.method, level) for one in self._plan]
        dumps = state["detectors"] if len(state["detectors"]) == len(methods) else [None] * len(methods)
        detectors = [method.build(one) for method, one in zip(methods, dumps, strict=True)]
        breach = Breach.load(state["breach"]) if state["breach"] else None
        self.scopes[key] = ScopeState(
            key, state["fields"], detectors, level, state["heard_ms"], breach, state["is_silent"]
        )
        self._note_all_near(self.scopes[key])

    def _dump_scope(self, scope: ScopeState) -> dict[str, Any]:
        return {
            "fields": scope.fields,
            "level": scope.level,
            "heard_ms": scope.heard_ms,
            "detectors": [one.dump() for one in scope.detectors],
            "breach": scope.breach.dump() if scope.breach else None,
            "is_silent": scope.is_silent,
        }


def _at(figures: Figures, level: float, answers: int) -> Figures:
    return figures.model_copy(update={"level": level, "answers": answers})
