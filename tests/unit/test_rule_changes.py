"""Rules that change while they are in breach: what goes on, what begins anew, and what people are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detectors.alerts.book import AlertBook
from detectors.change.e_process import EProcess
from detectors.rule_method import Detecting
from detectors.watch.rule_change import BUDGET, TELLING
from detectors.watch.watch import Watch
from schemas.thresholds import Rule, RuleSettings
from schemas.verdicts import Verdict, Verdicts
from tests.measured import answer, kinds, quick_plan, rule, told, watching
from tests.unit.test_watch import falling

QUIET = {"quiet_hours": [{"from": "22:00", "to": "06:00"}]}
FALLS_AT = 400
AFTER = [answer(number, gold_correct=number % 3 != 0) for number in range(450, 700)]
BACK = [answer(number, gold_correct=number % 12 != 0) for number in range(700, 1_000)]


def breached(**fields: Any) -> Watch:
    watch = watching(rule(**fields))
    assert kinds(told(watch, falling(450))) == ["breach"]
    return watch


def book_of(verdicts: list[Verdict]) -> AlertBook:
    book = AlertBook("app")
    book.take(Verdicts(app_id="app", clock_ms=verdicts[-1].at_ms, verdicts=tuple(verdicts)))
    return book


@pytest.mark.parametrize(
    "change",
    [
        {"severity": "critical"},
        {"labels": {"team": "a"}},
        {"runbook": "https://wiki.example.com/gold"},
        {"for": "5m"},
        {"resolve_after": "20m"},
        {"no_data": "alert"},
        {"schedule": QUIET},
        {"schedule": {"time_zone": "Europe/Berlin"}},
        {"false_alarms_per_week": 0.2},
    ],
)
def test_what_is_told_otherwise_goes_on_and_is_found_no_second_time(change: dict[str, Any]) -> None:
    watch = breached()
    (again,) = watch.change_rules([rule(**change)])
    assert (again.kind, again.rule) == ("breach", rule(**change))
    assert again.figures is not None
    assert again.figures.level < 0.75
    assert again.figures.seen_since_ms is not None, "it was known before"
    assert set(kinds(told(watch, AFTER))) == {"breach"}
    assert kinds(told(watch, BACK)) == ["recovered"]
    assert watch.change_rules([rule(**change)]) == []


def test_every_field_is_known_to_concern_detection_or_not() -> None:
    finding = {"scope", "method", "smallest_drop", "level", "limit", "direction", "min_count"}
    assert {*TELLING, BUDGET} | finding == set(RuleSettings.model_fields)


@pytest.mark.parametrize("change", [{"smallest_drop": 0.2}, {"level": 0.9}, {"min_count": 5}, {"scope": "vendor"}])
def test_what_is_found_otherwise_begins_anew(change: dict[str, Any]) -> None:
    watch = breached()
    (gone,) = watch.change_rules([rule(**change)])
    assert (gone.kind, gone.rule) == ("dropped", rule())


def test_the_hours_of_a_season_are_those_of_its_time_zone() -> None:
    def seasonal(**schedule: Any) -> Any:
        return rule("volume", method="seasonal", scope="all", schedule=schedule)

    watch = watching(seasonal())
    told(watch, [answer(number) for number in range(5)])
    before = watch._rules["volume"]
    watch.change_rules([seasonal(**QUIET)])
    assert watch._rules["volume"] is before
    watch.change_rules([seasonal(time_zone="Europe/Berlin")])
    assert watch._rules["volume"] is not before


def test_the_alert_goes_on_with_what_the_rule_says_now() -> None:
    watch = watching(rule())
    first = told(watch, falling(450))
    changed = watch.change_rules([rule(severity="critical", labels={"team": "a"})])
    book = book_of(first + changed)
    (alert,) = book.open
    (before,) = book_of(first).open
    assert alert.alert_id == before.alert_id
    assert (alert.state, alert.rule.severity, alert.rule.labels) == ("firing", "critical", {"team": "a"})


def test_how_long_all_must_be_well_is_that_of_the_rule_as_it_is_now() -> None:
    watch = breached(resolve_after="1h")
    watch.change_rules([rule(resolve_after="100h")])
    assert set(kinds(told(watch, [answer(one.sequence - 250, gold_correct=True) for one in BACK]))) <= {"breach"}


def silent(no_data: str) -> Watch:
    """One labeler is in breach, and then only another one answers."""
    watch = breached(no_data=no_data)
    other = [answer(number, labeler_id="ben", gold_correct=True) for number in range(450, 480)]
    assert kinds(told(watch, other)) == ["silent"]
    return watch


def test_silence_that_was_told_is_told_as_the_rule_is_now() -> None:
    again = silent("alert").change_rules([rule(no_data="alert", severity="critical")])
    assert [(one.kind, one.rule.severity) for one in again] == [("breach", "critical"), ("silent", "critical")]


def test_an_alert_that_silence_ended_does_not_come_again() -> None:
    assert silent("ok").change_rules([rule(no_data="ok", severity="critical")]) == []


@pytest.mark.parametrize(("before", "after"), [("alert", "keep"), ("ok", "keep"), ("alert", "ok"), ("ok", "alert")])
def test_what_silence_means_now_holds_from_now_on(before: str, after: str) -> None:
    watch = silent(before)
    assert kinds(watch.change_rules([rule(no_data=after)])) == ["speaking", "breach"]
    more = [answer(number, labeler_id="ben", gold_correct=True) for number in range(480, 485)]
    assert kinds(told(watch, more)) == ([] if after == "keep" else ["silent"])


@pytest.mark.parametrize("no_data", ["keep", "ok"])
def test_a_restart_after_the_change_goes_on_alike(no_data: str) -> None:
    now = rule(no_data=no_data, severity="critical", resolve_after="20m")
    watch = breached(no_data=no_data)
    if no_data == "ok":
        told(watch, [answer(number, labeler_id="ben", gold_correct=True) for number in range(450, 480)])
    rows = {(kind, key): payload for kind, key, payload in watch.take_changed()}
    watch.change_rules([now])
    rows |= {(kind, key): payload for kind, key, payload in watch.take_changed()}
    again = Watch(quick_plan)
    again.change_rules([now])
    again.load((kind, key, payload) for (kind, key), payload in rows.items() if payload is not None)
    rest = [one._replace(sequence=one.sequence + 100) for one in AFTER[:20] + BACK]
    assert told(again, rest) == told(watch, rest) != []


def by_budget(of: Rule, values_per_week: float, measured: float | None) -> tuple[Detecting, ...]:
    (found,) = quick_plan(of, values_per_week, measured)
    assert isinstance(found.method, EProcess)
    return (found._replace(method=replace(found.method, threshold=1_000.0 / of.false_alarms_per_week)),)


def test_with_a_larger_budget_the_evidence_so_far_counts() -> None:
    strict, answers = rule(false_alarms_per_week=1e-6), falling(450)
    usual, watch = Watch(by_budget), Watch(by_budget)
    usual.change_rules([rule()])
    watch.change_rules([strict])
    found = next(number for number, one in enumerate(answers) if told(usual, [one]))
    assert told(watch, answers[:found]) == []
    assert watch.change_rules([rule()]) == []
    assert kinds(told(watch, [answers[found]])) == ["breach"], "at the very answer at which it would have been"
