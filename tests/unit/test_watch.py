"""Rules at work: every kind of verdict, and what must not make one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from detectors.rule_method import CannotPlanError
from detectors.watch.breach import LONGEST_MS
from detectors.watch.planner import HOUR_MS, Volume
from detectors.watch.rule_watch import DAY_MS, FORGET_MS, RuleWatch
from detectors.watch.watch import Watch
from schemas.measurements import Answer, LateTruth, Refused, ReviewMeasured, Settled
from tests.measured import (
    MINUTE_MS,
    SEGMENT,
    START_MS,
    answer,
    batch,
    first_said,
    kinds,
    quick_plan,
    rule,
    told,
    watching,
)

DROP = 400
"""Answers before a drop."""


def falling(count: int = 600, *, back: int = 10_000, **fields: Any) -> list[Answer]:
    """Right eleven times of twelve; from `DROP` on, two of three, until it is as before."""
    rights = (number % (3 if DROP <= number < back else 12) != 0 for number in range(count))
    return [answer(number, gold_correct=right, **fields) for number, right in enumerate(rights)]


class TestBreach:
    def test_is_found_soon_and_once(self) -> None:
        (breach,) = first_said(told(watching(rule()), falling()))
        assert breach.kind == "breach"
        assert (breach.number, breach.scope.labeler_id, breach.scope.vendor_id) == (1, "ann", "v")
        figures = breach.figures
        assert figures is not None
        assert figures.baseline == pytest.approx(11 / 12, abs=0.01)
        assert figures.level < 0.75
        since = (figures.since_ms - START_MS) / MINUTE_MS
        assert DROP - 15 <= since <= DROP + 10
        assert DROP + 5 < (breach.at_ms - START_MS) / MINUTE_MS < DROP + 50

    def test_nothing_while_nothing_changes(self) -> None:
        assert told(watching(rule()), falling(DROP)) == []

    def test_a_change_too_small_to_matter_is_none(self) -> None:
        watch = watching(rule("invalid_share", scope="all"))
        assert told(watch, [answer(number) for number in range(5_000)]) == [], "nothing was refused"
        assert watch.take(batch(refused=(Refused(5_000, 0),))) == [], "one of thousands"

    def test_min_count(self) -> None:
        assert told(watching(rule(min_count=1_000)), falling()) == []

    def test_scopes_pool_and_are_told_apart(self) -> None:
        segments = [("p", "t", "v"), ("q", "t", "v"), ("p", "t", "w")]
        watch = watching(rule(name="vendor", scope="vendor"), rule(name="some", scope='project_id = "q"'))
        mixed = [one._replace(segment=number % 2) for number, one in enumerate(falling(1_200))]
        mixed += [answer(1_200 + number, segment=2, gold_correct=True) for number in range(10)]
        found = told(watch, mixed, segments=segments)
        assert {(one.rule.name, one.scope.kind, one.scope.vendor_id) for one in found} == {
            ("vendor", "vendor", "v"),
            ("some", "all", ""),
        }

    def test_where_leaves_out(self) -> None:
        assert told(watching(rule(scope='labeler where project_id != "p"')), falling()) == []

    def test_both_directions(self) -> None:
        both = rule(direction="both", level=0.5, smallest_drop=0.2, method="e_sr")
        rising = [answer(number, gold_correct=number >= DROP or number % 2 == 0) for number in range(600)]
        found = first_said(told(watching(both), rising))
        assert [one.figures.direction for one in found if one.figures] == ["up"]

    def test_together_with_others_sooner_than_alone(self) -> None:
        def first(fallen: int) -> int:
            watch = watching(rule())
            for number in range(DROP + 200):
                minute = []
                for labeler in range(20):
                    falls = number >= DROP and labeler < fallen
                    right = number % (3 if falls else 12) != 0
                    one = answer(20 * number + labeler, minute=number, labeler_id=f"l{labeler}", gold_correct=right)
                    minute.append(one)
                if watch.take(batch(minute)):
                    return number - DROP
            raise AssertionError("not found")

        assert first(fallen=10) < first(fallen=1)

    @pytest.mark.parametrize("hours", [0, 2])
    def test_not_with_those_of_whom_nothing_came_for_long(self, hours: int) -> None:
        """Their evidence counts again with their next answer."""

        def fall(labeler: str, minute: int) -> list[Answer]:
            rights = [number % 12 != 0 for number in range(120)] + [number % 3 != 0 for number in range(120)]
            return [
                answer(1_000 * minute + number, minute=minute + number / 1_000, labeler_id=labeler, gold_correct=right)
                for number, right in enumerate(rights)
            ]

        alone = watching(rule())
        enough = next(number for number, one in enumerate(fall("ann", 0)) if told(alone, [one]))
        watch = watching(rule())
        assert told(watch, fall("ann", 0)[: enough - 2]) == [], "it ends with a wrong one, and nearly enough"
        said = told(watch, fall("bob", 3 + 60 * hours))
        assert {one.scope.labeler_id for one in said} == ({"bob"} if hours else {"ann", "bob"})


class TestEnd:
    def test_recovers_when_it_is_back_for_long_enough(self) -> None:
        verdicts = first_said(told(watching(rule(resolve_after="2h")), falling(900, back=500)))
        assert kinds(verdicts) == ["breach", "recovered"]
        assert (verdicts[1].at_ms - START_MS) / MINUTE_MS > 500 + 110
        assert [round(one.figures.level, 1) for one in verdicts if one.figures] == [0.6, 0.9], "where it is by now"

    def test_stays_while_it_is_low(self) -> None:
        assert kinds(told(watching(rule()), falling(2_000))) == ["breach"]

    def test_says_now_and_then_that_it_lasts(self) -> None:
        verdicts = told(watching(rule()), falling(900))
        assert {one.kind for one in verdicts} == {"breach"}
        hours = [one.at_ms / HOUR_MS for one in verdicts]
        assert len(hours) > 4, "eight hours of an answer a minute"
        assert all(after - before >= 1 for before, after in pairwise(hours)), "once an hour at most"
        first, latest = verdicts[0].figures, verdicts[-1].figures
        assert first is not None
        assert latest is not None
        assert first.seen_since_ms is None
        assert latest.seen_since_ms is not None
        assert verdicts[-2].at_ms <= latest.seen_since_ms < verdicts[-1].at_ms, "by what came since"
        assert (latest.since_ms, latest.baseline) == (first.since_ms, first.baseline)
        assert latest.answers == pytest.approx((verdicts[-1].at_ms - latest.since_ms) / MINUTE_MS + 1, abs=1)
        assert latest.level == pytest.approx(2 / 3, abs=0.01), "of all answers since it fell"

    def test_does_not_say_so_when_it_is_back(self) -> None:
        verdicts = told(watching(rule(resolve_after="4h")), falling(700, back=450))
        assert [one.kind for one in verdicts] == ["breach", "recovered"]

    def test_is_found_again(self) -> None:
        again = falling(700, back=500) + [answer(number, gold_correct=number % 3 != 0) for number in range(700, 900)]
        assert kinds(told(watching(rule()), again)) == ["breach", "recovered", "breach"]

    def test_what_lasts_becomes_the_level(self) -> None:
        days = LONGEST_MS / 86_400_000
        low = [answer(number, minute=number * 60, gold_correct=number % 3 != 0) for number in range(DROP, DROP + 900)]
        before = [one._replace(submitted_ms=START_MS + n * 60 * MINUTE_MS) for n, one in enumerate(falling(DROP))]
        verdicts = told(watching(rule()), [*before, *low])
        assert kinds(verdicts) == ["breach", "new_level"]
        assert verdicts[-1].at_ms - verdicts[0].at_ms >= days * 86_400_000

    def test_late_answers_withdraw(self) -> None:
        watch = watching(rule())
        (breach,) = told(watch, falling(450))
        assert breach.figures is not None
        since = breach.figures.since_ms
        late = [
            answer(1_000 + n, gold_correct=True, is_late=True)._replace(submitted_ms=since + 1_000) for n in range(60)
        ]
        verdicts = told(watch, late)
        assert kinds(verdicts) == ["withdrawn"]

    def test_late_answers_of_another_time_do_not(self) -> None:
        watch = watching(rule())
        told(watch, falling(450))
        late = [answer(1_000 + n, minute=5, gold_correct=True, is_late=True) for n in range(20)]
        assert told(watch, late) == []

    def test_corrected_truths_withdraw(self) -> None:
        watch = watching(rule())
        (breach,) = told(watch, falling(450))
        assert breach.figures is not None
        at = breach.figures.since_ms + 1
        wrongs = [LateTruth(1_000 + n, 0, "ann", at, was_correct=False, is_correct=True) for n in range(30)]
        assert kinds(watch.take(batch(truths=tuple(wrongs)))) == ["withdrawn"]

    def test_rules_that_go_take_their_breaches_with_them(self) -> None:
        kept, gone, other = rule(name="kept"), rule(name="gone"), rule(name="other")
        watch = watching(kept, gone, other)
        assert len(told(watch, falling(450))) == 3
        found = watch.change_rules([kept, rule(name="other", min_count=10)])
        assert [(one.kind, one.rule.name) for one in found] == [("dropped", "gone"), ("dropped", "other")]
        assert kinds(told(watch, [answer(n, gold_correct=n % 12 != 0) for n in range(450, 700)])) == ["recovered"]


class TestOtherItems:
    def test_truths_that_come_late_count(self) -> None:
        watch = watching(rule())
        found = []
        for one in falling():
            truth = LateTruth(one.sequence, 0, "ann", one.submitted_ms, None, one.gold_correct)
            found += watch.take(batch([one._replace(gold_correct=None)], truths=(truth,)))
        assert kinds(found) == ["breach"]

    def test_reviews(self) -> None:
        watch = watching(rule("reviewer_reject_rate", scope="vendor"))
        found = []
        for number in range(600):
            rejected = number % (3 if number >= DROP else 15) == 0
            found += watch.take(batch(reviews=(ReviewMeasured(number, 0, "ann", START_MS + number, rejected),)))
        assert kinds(found) == ["breach"]

    def test_refused(self) -> None:
        watch = watching(rule("invalid_share", scope="all"))
        found = told(watch, [answer(number) for number in range(500)])
        found += watch.take(batch(refused=tuple(Refused(number, 0) for number in range(500, 520))))
        assert kinds(found) == ["breach"]

    @pytest.mark.parametrize("is_free", [False, True])
    def test_habits(self, is_free: bool) -> None:
        metric = "repeated_answer_share" if is_free else "constant_answer_share"
        watch = watching(rule(metric, smallest_drop=0.3))
        texts = [answer(number, label=f"{number % 7}" if number < DROP else "same") for number in range(600)]
        if is_free:
            texts = [one._replace(label=f"text {number}") if number < DROP else one for number, one in enumerate(texts)]
        assert kinds(told(watch, [one._replace(is_free=is_free) for one in texts])) == ["breach"]
        revised = [one._replace(is_free=is_free, is_revision=True) for one in texts]
        assert told(watching(rule(metric, smallest_drop=0.3)), revised) == []


class TestSilence:
    def test_is_an_alert_where_the_rule_says_so(self) -> None:
        watch = watching(rule(scope="segment", no_data="alert"))
        told(watch, falling(100))
        found = told(watch, [answer(100 + n, minute=100 + n) for n in range(30)])  # answers, but none to gold
        assert kinds(found) == ["silent"]
        assert kinds(told(watch, [answer(130, gold_correct=True)])) == ["speaking"]

    @pytest.mark.parametrize(("no_data", "expected"), [("ok", ["silent"]), ("keep", [])])
    def test_of_a_breach(self, no_data: str, expected: list[str]) -> None:
        watch = watching(rule(scope="segment", no_data=no_data))
        told(watch, falling(450))
        assert kinds(told(watch, [answer(450 + n) for n in range(30)])) == expected

    def test_without_a_breach_is_fine(self) -> None:
        watch = watching(rule(scope="segment", no_data="ok"))
        told(watch, falling(100))
        assert told(watch, [answer(100 + n) for n in range(30)]) == []

    def test_a_stall_is_not_over_because_nothing_comes(self) -> None:
        stalls = {"method": "fixed", "limit": 1_800, "min_count": 1, "no_data": "ok"}  # which defaults may say
        watch = watching(rule("stall_seconds", scope="vendor", **stalls))
        segments = [SEGMENT, ("p", "t", "w")]
        found = told(watch, [answer(number, segment=number > 5) for number in range(200)], segments=segments)
        assert kinds(found) == ["breach"]

    def test_scopes_are_forgotten(self) -> None:
        watch = watching(rule())
        told(watch, falling(450))
        days = (FORGET_MS + DAY_MS) / 60_000  # it is looked at once a day
        found = told(watch, [answer(450, minute=450 + days), answer(451, minute=452 + days)])
        assert kinds(found) == ["dropped"]
        deleted = [key for kind, key, payload in watch.take_changed() if kind == "scope" and payload is None]
        assert deleted == ['["gold_accuracy","p","t","ann"]']


class TestClock:
    stalled = rule("stall_seconds", scope="all", method="fixed", limit=1_800, min_count=1)

    def test_heartbeats_move_it_while_nothing_comes(self) -> None:
        watch = watching(self.stalled)
        watch.take(batch([answer(0)], sent_ms=5_000_000))
        beats = [batch(sent_ms=5_000_000 + minute * MINUTE_MS) for minute in range(1, 40)]
        found = [verdict for beat in beats for verdict in watch.take(beat)]
        assert kinds(found) == ["breach"]
        assert watch.clock_ms == START_MS + 39 * MINUTE_MS
        assert kinds(told(watch, [answer(n, minute=40 + n) for n in range(1, 30)], sent_ms=9_000_000)) == ["recovered"]

    def test_not_while_a_source_is_behind(self) -> None:
        watch = watching(self.stalled)
        watch.take(batch([answer(0)], sent_ms=5_000_000))
        found = [watch.take(batch(sent_ms=5_000_000 + n * MINUTE_MS, is_at_end=False)) for n in range(1, 40)]
        assert not any(found)
        assert watch.clock_ms == START_MS

    def test_lag(self) -> None:
        watch = watching(rule("lag_seconds", scope="all", method="fixed", limit=900, min_count=5))
        slow = [batch([answer(n)], sent_ms=2_000_000, arrived_ms=1, is_at_end=False) for n in range(10)]
        assert kinds([verdict for one in slow for verdict in watch.take(one)]) == ["breach"]


class TestHours:
    def hours(self, watch: Watch, per_hour: list[list[dict[str, Any]]]) -> list[str]:
        sequence, found = 0, []
        for hour, answers in enumerate(per_hour):
            for number, fields in enumerate(answers):
                one = answer(sequence, minute=60 * hour + number * 60 / len(answers), **fields)
                found += watch.take(batch([one]))
                sequence += 1
        found += watch.take(batch([answer(sequence, minute=60 * len(per_hour) + 1)]))
        return [f"{one.kind} {one.figures.level:.3g}" for one in found if one.figures]

    def fixed(self, metric: str, limit: float, **fields: Any) -> Watch:
        return watching(rule(metric, method="fixed", limit=limit, min_count=1, scope="segment", **fields))

    def test_volume(self) -> None:
        found = self.hours(self.fixed("volume", 3.0, direction="down"), [[{}] * 5, [], [{}] * 4])
        assert found == ["breach 0", "recovered 4"]

    def test_handling_time(self) -> None:
        watch = self.fixed("aht_seconds", 20.0, direction="up")
        assert self.hours(watch, [[{"seconds": 10.0}] * 6, [{"seconds": 30.0}] * 6]) == ["breach 30"]

    def test_forecast_error(self) -> None:
        watch = self.fixed("forecast_error", 5.0)
        one = {"seconds": 10.0, "forecast_seconds": 17.0}
        assert self.hours(watch, [[{**one, "forecast_seconds": 11.0}] * 6, [one] * 6]) == ["breach 7"]

    def test_alpha(self) -> None:
        def hour(agreeing: int) -> list[dict[str, Any]]:
            labels = ["cat", "dog"] * 20
            return [
                {"label": label, "peers": 1, "peers_agreeing": int(number % 10 < agreeing)}
                for number, label in enumerate(labels)
            ]

        watch = self.fixed("krippendorff_alpha", 0.5)
        assert self.hours(watch, [hour(9), hour(5), hour(5)]) == ["breach 0.025"] * 2

    def test_label_distances(self) -> None:
        even = [{"label": "cat" if number % 2 else "dog"} for number in range(40)]
        watch = self.fixed("label_distance_own", 0.3)
        assert self.hours(watch, [even, even, [{"label": "cat"}] * 40]) == ["breach 0.5"]
        watch = watching(rule("label_distance_peers", method="fixed", limit=0.3, min_count=1))
        odd = [{"label": "cat", "labeler_id": "bob"}] * 40
        found = self.hours(watch, [[*even, *odd]])
        assert found == ["breach 0.5", "breach 0.5"], "of two, each is as far from the other"

    def test_calibration(self) -> None:
        watch = self.fixed("calibration_error", 0.2)
        settled = tuple(Settled(n, 0, START_MS + n, confidence=0.95, is_right=n % 2 == 0) for n in range(30))
        watch.take(batch([answer(0)], settled=settled))
        found = watch.take(batch([answer(100, minute=61)]))
        assert [round(one.figures.level, 2) for one in found if one.figures] == [0.45]

    def test_wait_for_the_slowest_source(self) -> None:
        watch = self.fixed("volume", 3.0, direction="down")
        watch.take(batch([answer(0)]))
        watch.take(batch(source_partition=1, watermark_ms=START_MS))
        assert watch.take(batch([answer(1, minute=90)])) == []
        assert watch.take(batch(source_partition=1, watermark_ms=START_MS, is_idle=True)) != []

    def test_late_answers_are_left_out(self) -> None:
        watch = self.fixed("volume", 1.0, direction="up")
        watch.take(batch([answer(0), answer(1, minute=59, is_late=True)]))
        assert watch.take(batch([answer(2, minute=61)])) == []


class TestPlan:
    def test_follows_the_volume(self) -> None:
        seen: list[float] = []

        def plan(rule: Any, volume: float, level: float | None) -> Any:
            seen.append(volume)
            return quick_plan(rule, volume, level)

        watch = Watch(plan)
        watch.change_rules([rule()])
        told(watch, [answer(n, minute=n / 10, gold_correct=n % 12 != 0) for n in range(3_000)])
        assert seen == sorted(seen)
        assert seen[-1] == 2.0 ** math.ceil(math.log2(10 * 60 * 24 * 7))

    def test_volume_fades(self) -> None:
        volume = Volume()
        for hour in range(24 * 7 * 8):
            volume.add(1.0, hour * HOUR_MS)
        now_ms = 24 * 7 * 8 * HOUR_MS
        assert volume.per_week(now_ms) == pytest.approx(168, rel=0.02)
        assert volume.per_week(now_ms + 7 * 24 * HOUR_MS) == pytest.approx(168 / math.e, rel=0.02)

    def test_a_rule_that_cannot_be_planned_says_so_and_harms_no_other(self) -> None:
        def plan(one: Any, volume: float, level: float | None) -> Any:
            if one.name == "bad":
                raise CannotPlanError("too little comes in")
            return quick_plan(one, volume, level)

        watch = Watch(plan)
        watch.change_rules([rule(name="bad"), rule(name="good")])
        assert {one.rule.name for one in told(watch, falling())} == {"good"}
        assert watch.problems == {"bad": "too little comes in"}

    def test_a_new_threshold_keeps_what_was_learned(self) -> None:
        one = RuleWatch(rule(), quick_plan)
        scope = one.at(SEGMENT, "ann", 0)
        assert scope is not None
        for number in range(500):
            one.take(scope, float(number % 5 != 0), number * HOUR_MS)
        before = scope.detectors[0].dump()
        one._set_plan(1e6, None)
        assert scope.detectors[0].dump() == before
