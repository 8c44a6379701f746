"""What e-values are worth: their mean under the null, learned levels, counts, and many streams at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import beta, comb

from detectors.change.bets import bets_on
from detectors.change.e_bh import e_benjamini_hochberg
from detectors.change.e_process import EProcess, Learning
from detectors.change.finding import Direction

NEVER = 1e200


def mean_statistic(method: EProcess, answers: int, probability: Callable[[int], float]) -> float:
    """Expected value of the e-detector after so many answers; ``probability`` is that of one order with r right."""
    total = 0.0
    for order in product((0.0, 1.0), repeat=answers):
        detector = method.build()
        for number, value in enumerate(order):
            detector.update(value, number)
        total += probability(int(sum(order))) * detector.statistic
    return total


def test_the_sum_grows_by_one_an_answer_while_nothing_changes() -> None:
    method = EProcess(NEVER, 0.9)
    assert mean_statistic(method, 8, lambda r: 0.9**r * 0.1 ** (8 - r)) == pytest.approx(8)
    assert mean_statistic(method, 8, lambda r: 0.93**r * 0.07 ** (8 - r)) < 7, "and by less where all is better"
    assert mean_statistic(method, 8, lambda r: 0.8**r * 0.2 ** (8 - r)) > 12


@pytest.mark.parametrize("direction", ["down", "up"])
def test_it_grows_by_one_whatever_is_expected_of_each_answer(direction: Direction) -> None:
    method, level, relatives = EProcess(NEVER, 0.6, 0.2, direction), 0.6, [0.5, 1.0, 1.3, 0.8, 1.1, 0.6]
    total = plain = 0.0
    for order in product((0.0, 1.0), repeat=len(relatives)):
        detector, unaware = method.build(), method.build()
        chance = 1.0
        for number, (value, relative) in enumerate(zip(order, relatives, strict=True)):
            detector.update(value, number, relative)
            unaware.update(value, number)
            chance *= level * relative if value else 1.0 - level * relative
        total += chance * detector.statistic
        plain += chance * unaware.statistic
    assert total == pytest.approx(len(relatives))
    assert plain != pytest.approx(len(relatives), rel=0.05), "of those who should all be alike it would not"


def test_levels_are_those_of_answers_of_which_the_level_is_expected() -> None:
    detector = EProcess(1_000.0, 0.9, learning=Learning(10, 50, lag=0)).build()
    for number in range(2_000):  # by turns 20 of which the level is expected, and 20 of which two thirds of it
        is_usual = number % 40 < 20
        right = number % 20 < (18 if is_usual else 12)
        assert detector.update(float(right), number, 1.0 if is_usual else 2 / 3) is None
    assert detector.level == pytest.approx(0.9, abs=0.02)
    found = None
    while found is None:
        number += 1
        found = detector.update(float(number % 5 < 2), number, 2 / 3)
    assert found.baseline == pytest.approx(0.9, abs=0.02)
    assert found.level == pytest.approx(0.6, abs=0.15), "two of five, where three were to be expected"


def test_the_sum_of_a_learned_level_grows_by_one_on_average_over_the_fleet() -> None:
    method = EProcess(NEVER, 0.9, learning=Learning(20, 3, lag=0))
    assert mean_statistic(method, 8, lambda r: beta(18 + r, 2 + 8 - r) / beta(18, 2)) == pytest.approx(5)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.9), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_no_bet_pays_on_average_at_the_level_whatever_the_law(level: float, share: float, x: float, y: float) -> None:
    low, high = min(x, y), max(x, y)
    for variance in (None, 0.01):
        for bet in bets_on(level, share * level, variance):
            pays = [(1 - bet.size * value) / (1 - bet.size * level) for value in (low, high)]
            assert all(pay >= 0 for pay in pays)
            if low <= level <= high and low < high:  # the law on two points whose mean is the level
                p = (level - low) / (high - low)
                assert p * pays[1] + (1 - p) * pays[0] == pytest.approx(1.0)


def test_bets_that_are_the_same_are_one() -> None:
    bets = bets_on(0.5, 0.3)
    assert len(bets) == 2
    assert sum(bet.weight for bet in bets) == pytest.approx(1.0)


@pytest.mark.parametrize("learning", [None, Learning(25, 0, lag=0)])
def test_counts_are_as_good_as_answers(learning: Learning | None) -> None:
    """The mean of the sum grows by the number of answers, however many come at once."""
    method = EProcess(NEVER, 0.9, learning=learning)
    total = 0.0
    for first, second in product(range(7), range(10)):
        detector = method.build()
        detector.update_counts(first, 6, 0)
        detector.update_counts(second, 9, 1)
        right = first + second
        order = beta(22.5 + right, 2.5 + 15 - right) / beta(22.5, 2.5) if learning else 0.9**right * 0.1 ** (15 - right)
        total += order * comb(6, first) * comb(9, second) * detector.statistic
    assert total == pytest.approx(15)


def test_a_learned_level_follows_the_answers_and_no_further_back_than_its_memory() -> None:
    detector = EProcess(7_000, 0.9, learning=Learning(20, 50, memory=200)).build()
    assert detector.level == 0.9
    for number in range(1_000):
        detector.update(float(number % 4 != 0), number)
    assert detector.level == pytest.approx(0.75, abs=0.01)
    for number in range(400):
        detector.update(1.0, number)
    assert detector.level > 0.95


def test_counts_are_only_learned_from_at_first() -> None:
    detector = EProcess(7_000, 0.9, learning=Learning(20, 50)).build()
    for minute in range(3):
        assert detector.update_counts(5, 20, minute) is None
        assert detector.statistic == 0.0
    assert detector.level == pytest.approx((18 + 15) / (20 + 60))
    detector.update_counts(5, 20, 3)
    assert detector.statistic > 0.0


def test_a_finding_says_the_arithmetic() -> None:
    detector = EProcess(7_000, 0.92).build()
    found = [detector.update_counts(19 - (minute >= 60) * 7, 20, minute * 60_000) for minute in range(70)]
    finding = next(filter(None, found))
    assert finding.at_ms <= 62 * 60_000
    assert (finding.since_ms, finding.baseline, finding.threshold) == (60 * 60_000, 0.92, 7_000)
    assert finding.level == pytest.approx(0.6)
    assert finding.e_value == finding.statistic >= 7_000


def brute_force(e_values: list[float], alpha: float) -> set[int]:
    best = max(r for r in range(len(e_values) + 1) if sum(e * r * alpha >= len(e_values) for e in e_values) >= r)
    return set(sorted(range(len(e_values)), key=lambda i: -e_values[i])[:best])


class TestManyStreams:
    @given(st.lists(st.floats(0, 1e4), max_size=12, unique=True), st.floats(0.01, 1))
    def test_the_largest_that_support_each_other_are_named(self, e_values: list[float], alpha: float) -> None:
        assert set(e_benjamini_hochberg(e_values, alpha)) == brute_force(e_values, alpha)

    def test_one_stream_is_the_threshold_itself(self) -> None:
        assert e_benjamini_hochberg([7_000.0], 1 / 7_000) == [0]
        assert e_benjamini_hochberg([6_999.0], 1 / 7_000) == []

    def test_the_false_share_is_kept(self) -> None:
        generator = np.random.default_rng(4)
        false_share = 0.0
        for _ in range(300):
            null = np.exp(generator.standard_normal(30) * 2 - 2)  # mean 1
            true = np.exp(generator.standard_normal(5) * 2 + 6)
            named = e_benjamini_hochberg([*null, *true], 0.1)
            false_share += sum(position < 30 for position in named) / max(len(named), 1) / 300
        assert false_share <= 0.1

    @pytest.mark.parametrize("value", [-1.0, math.nan])
    def test_what_is_no_e_value_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="e-value"):
            e_benjamini_hochberg([value], 0.1)


def test_what_speaks_for_a_change_can_be_doubted() -> None:
    method = EProcess(1_000.0, 0.9)
    detector, sure = method.build(), method.build()
    for number in range(8):
        detector.update(0.0 if number % 2 else 1.0, number)
        sure.update(0.0 if number % 2 else 1.0, number)
    assert sure.statistic > 50
    detector.limit(1 / 20)
    assert detector.statistic == pytest.approx(50)
    assert method.build(detector.dump()).statistic == detector.statistic, "to the last bit"
    before = sure.statistic
    sure.limit(1.0)
    assert sure.statistic == before, "no more than that spoke for it"
    assert detector.update(0.0, 8) is None
