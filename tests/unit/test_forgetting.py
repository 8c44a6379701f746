"""How evidence fades: by answers, by days, and at once when a labeler has changed."""

from __future__ import annotations

import json
import random

import pytest

from detectors.forgetting import CLOSEST, DAY_MS, LIMIT, WATCHED, WINDOWS, Change, Forgetting, HalfLives

HALF_LIVES = HalfLives(annotations=100, days=30)


def watched(*answers: float) -> Forgetting:
    one = Forgetting()
    for number, right in enumerate(answers):
        one.advance(HALF_LIVES, at_ms=number)
        one.watch(one.answers, right)
    return one


class TestClock:
    def test_a_half_life_of_answers(self) -> None:
        one = Forgetting()
        for _ in range(100):
            one.advance(HALF_LIVES, at_ms=5)
        assert (one.clock, one.answers) == (pytest.approx(1.0), 100)

    def test_a_half_life_of_days(self) -> None:
        one = Forgetting()
        one.advance(HALF_LIVES, at_ms=0)
        one.advance(HALF_LIVES, at_ms=30 * DAY_MS)
        assert one.clock == pytest.approx(1.0 + 2 / 100)

    def test_an_answer_may_stand_for_those_given_elsewhere(self) -> None:
        one = Forgetting()
        one.advance(HALF_LIVES, at_ms=0, annotations=25.0)
        assert (one.clock, one.answers) == (pytest.approx(0.25), 1)

    def test_days_before_the_first_answer_are_none(self) -> None:
        one = Forgetting()
        one.advance(HALF_LIVES, at_ms=10**12)
        assert one.clock == pytest.approx(0.01)

    def test_an_earlier_time_turns_nothing_back(self) -> None:
        one = Forgetting()
        one.advance(HALF_LIVES, at_ms=60 * DAY_MS)
        one.advance(HALF_LIVES, at_ms=0)
        assert (one.clock, one.last_ms) == (pytest.approx(0.02), 60 * DAY_MS)
        one.advance(HALF_LIVES, at_ms=60 * DAY_MS)
        assert one.clock == pytest.approx(0.03), "no day passes twice"


class TestChange:
    @pytest.mark.parametrize(("believed", "lately"), [(0.95, 0.5), (0.5, 1.0), (0.9, 0.0)])
    def test_a_fall_and_a_rise_are_seen(self, believed: float, lately: float) -> None:
        one = watched(*[believed] * 10, *[lately] * 64)
        found = one.change(believed, weight=1_000.0)
        assert found is not None
        assert found.accuracy == pytest.approx(lately)
        assert found.answers in WINDOWS
        assert one.change(lately, weight=1_000.0) is None, "of one who always was so"

    def test_the_limit_is_in_nats(self) -> None:
        """16 answers, a quarter right, where one of two is believed: 16 (.25 ln .5 + .75 ln 1.5) = 2.09 nats."""
        one = watched(*[1.0, 0.0, 0.0, 0.0] * 4)
        assert one.change(0.5, weight=1_000.0) is None
        assert watched(*[0.0] * 16).change(0.5, weight=1_000.0) == Change(0.0, 16), "11.1 nats"
        assert 16 * 0.1308 < LIMIT < 16 * 0.6931

    def test_a_large_change_is_seen_in_few_answers_and_a_small_one_in_many(self) -> None:
        for share, answers in ((4, 64), (2, 32), (0, 16)):
            stream = [1.0] * 64 + [float(share > 0 and number % share > 0) for number in range(64)]
            found = watched(*stream).change(0.94, weight=1_000.0)
            assert found is not None
            assert found.answers <= answers

    def test_nothing_is_judged_before_there_is_something_to_judge(self) -> None:
        assert watched(*[0.0] * 15).change(0.95, weight=1_000.0) is None, "too few answers"
        assert watched(*[0.0] * 16).change(0.95, weight=31.9) is None, "too short a memory"
        assert watched(*[0.0] * 16).change(0.95, weight=32.0) is not None
        assert Forgetting().change(0.95, weight=1_000.0) is None

    def test_the_wrong_answers_of_one_who_was_never_wrong_are_no_surprise_beyond_measure(self) -> None:
        assert watched(*[1.0] * 60, 0.0).change(1.0, weight=1_000.0) is None
        assert CLOSEST > 0.0

    def test_what_nobody_else_has_answered_yet_is_not_looked_at(self) -> None:
        one = watched(*[0.0] * 15)
        for number in range(40):
            one.advance(HALF_LIVES, at_ms=number)
        assert one.change(0.95, weight=1_000.0) is None
        one.watch(one.answers, 0.0)
        assert one.change(0.95, weight=1_000.0) is not None

    def test_an_answer_is_seen_otherwise_when_its_task_settles(self) -> None:
        one = watched(*[1.0] * 64)
        for serial in range(33, 65):
            one.watch(serial, 0.0)
        found = one.change(0.95, weight=1_000.0)
        assert found is not None
        assert found.accuracy == 0.0

    def test_what_was_long_ago_cannot_be_mistaken_for_what_is_lately(self) -> None:
        one = watched(*[1.0] * (2 * WATCHED))
        before = one.dump()
        one.watch(WATCHED, 0.0)
        assert one.dump() == before

    def test_after_a_jump_everything_before_weighs_what_is_kept(self) -> None:
        one = watched(*[0.0] * 100)
        before = one.clock
        one.jump(weight=80.0, kept=10.0, at_ms=77)
        assert (one.clock, one.changed_ms) == (pytest.approx(before + 3.0), 77)
        one.jump(weight=5.0, kept=10.0, at_ms=78)
        assert one.clock == pytest.approx(before + 3.0), "nothing ever weighs more by it"

    def test_who_never_changes_is_seldom_misjudged(self) -> None:
        """200 labelers, 1,000 answers each, .9 right: every false alarm would throw evidence away."""
        rng, alarms = random.Random(5), 0
        for _ in range(200):
            one, right = Forgetting(), 0
            for number in range(1_000):
                one.advance(HALF_LIVES, at_ms=number)
                is_right = rng.random() < 0.9
                right += is_right
                one.watch(one.answers, float(is_right))
                if number % 8 == 7 and one.change(right / (number + 1), number + 1.0) is not None:
                    alarms += 1
                    break
        assert alarms < 40


def test_dumped_and_made_again_it_goes_on_the_same() -> None:
    one = watched(*[1.0, 0.0, 0.5] * 30)
    again = Forgetting(*json.loads(json.dumps(one.dump())))
    for two in (one, again):
        two.advance(HALF_LIVES, at_ms=10**10)
        two.watch(two.answers, 1 / 3)
    assert again.dump() == one.dump()
    assert again.change(0.9, 500.0) == one.change(0.9, 500.0)
