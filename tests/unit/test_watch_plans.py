"""A rule that cannot be planned at the volume that it meets rests, live as after a restart."""

from __future__ import annotations

from typing import Any

import orjson

from detectors.rule_method import CannotPlanError
from detectors.watch.rule_watch import DAY_MS, FORGET_MS, RuleWatch
from tests.measured import SEGMENT, quick_plan, rule

SECONDS = 1_000
LIMIT = 20_000
"""Values a week beyond which nothing is planned."""


def plan(one: Any, volume: float, level: float | None) -> Any:
    if volume > LIMIT:
        raise CannotPlanError(f"too much comes in: {volume:.0f}")
    return quick_plan(one, volume, None)


class Clock:
    now_ms = 0


def feed(one: RuleWatch, first: int, count: int, gap_ms: int, *, wrong: int = 12) -> list[str]:
    said = []
    for number in range(first, first + count):
        now_ms = Clock.now_ms = Clock.now_ms + gap_ms
        scope = one.at(SEGMENT, "ann", now_ms)
        assert scope is not None
        one.hear(scope, now_ms)
        said += [told.kind for told in one.take(scope, float(number % wrong != 0), now_ms)]
        said += [told.kind for told in one.sweep(now_ms)]
    return said


def restarted(one: RuleWatch) -> RuleWatch:
    again = RuleWatch(one.rule, plan)
    again.load(orjson.loads(orjson.dumps(one.dump())))
    for key, state in one.take_changed():
        assert state is not None
        again.load_scope(key, orjson.loads(orjson.dumps(state)))
    return again


def detectors(one: RuleWatch) -> list[Any]:
    return [[found.dump() for found in scope.detectors] for scope in one.scopes.values()]


def test_it_rests_live_as_after_a_restart() -> None:
    one = RuleWatch(rule(scope="vendor"), plan)
    feed(one, 0, 300, 600 * SECONDS)
    assert one.problem == ""
    assert all(detectors(one))
    feed(one, 0, 6_000, 2 * SECONDS)
    assert one.problem.startswith("too much comes in")
    assert detectors(one) == [[]]
    again = restarted(one)
    assert (again.problem, detectors(again)) == (one.problem, [[]])
    assert feed(one, 0, 200, SECONDS, wrong=2) == feed(again, 0, 200, SECONDS, wrong=2) == []


def test_it_begins_anew_when_less_comes_in_and_goes_on_alike_after_a_restart() -> None:
    one = RuleWatch(rule(scope="vendor"), plan)
    feed(one, 0, 300, 600 * SECONDS)
    feed(one, 0, 6_000, 2 * SECONDS)
    feed(one, 0, 400, 4 * 3_600 * SECONDS)
    assert one.problem == ""
    assert all(detectors(one))
    again = restarted(one)
    assert detectors(again) == detectors(one)
    start_ms = Clock.now_ms
    live = feed(one, 0, 300, 600 * SECONDS, wrong=2)
    Clock.now_ms = start_ms
    assert feed(again, 0, 300, 600 * SECONDS, wrong=2) == live
    assert live[0] == "breach"


def test_a_breach_is_seen_to_its_end() -> None:
    one = RuleWatch(rule(scope="vendor"), plan)
    feed(one, 0, 300, 600 * SECONDS)
    assert feed(one, 0, 50, 600 * SECONDS, wrong=2)[0] == "breach"
    feed(one, 0, 6_000, 2 * SECONDS, wrong=2)
    assert one.problem
    assert "recovered" in feed(one, 0, 300, 600 * SECONDS)


def test_scopes_are_forgotten_at_the_same_time_live_and_after_a_restart() -> None:
    one = RuleWatch(rule(scope="vendor"), plan)
    scope = one.at(SEGMENT, "ann", DAY_MS // 2)
    assert scope is not None
    one.hear(scope, DAY_MS // 2)
    last_day = FORGET_MS + DAY_MS // 2
    one.sweep(last_day - DAY_MS // 4)
    again = restarted(one)
    for now_ms in (last_day, last_day + DAY_MS // 4, last_day + DAY_MS):
        for each in (one, again):
            each.sweep(now_ms)
        assert len(one.scopes) == len(again.scopes) == (now_ms <= last_day + DAY_MS // 4)
