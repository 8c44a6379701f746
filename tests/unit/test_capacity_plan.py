"""Simulated futures: when work is done, and how many labelers a deadline takes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.capacity import DAY_MS, Pace, Supply
from detectors.capacity_plan import HORIZON_UNITS, Futures, Interval, interval, simulate

PACE = Pace(seconds=36.0, variance=1.0, annotations=100_000, degrees=50.0, drift=0.001)
"""A hundred annotations an hour, and no doubt about it."""


def weekdays(weeks: int, hours: float = 8.0, labelers: float = 4.0) -> Supply:
    """Days from Monday on, the last a Sunday; all hours of a weekday come at noon."""
    table = np.zeros((7 * weeks, 24))
    worked = np.array([day % 7 < 5 for day in range(7 * weeks)])
    table[worked, 12] = hours
    return Supply(DAY_MS, table, np.where(worked, labelers, 0.0))


def days(futures: Futures) -> Interval:
    return Interval(*(ms / DAY_MS for ms in interval(futures.done_ms)))


def test_weekends_stay_free_where_weeks_are_known() -> None:
    futures = simulate(PACE, weekdays(8), 100 * 8 * 7, np.random.default_rng(3))
    done = futures.done_ms / DAY_MS
    weekday = np.floor(done) % 7  # now is a Monday
    assert (weekday < 5).all()
    hour = done % 1 * 24
    assert ((hour >= 12) & (hour <= 13)).all()
    assert 8 < days(futures).median < 10, "seven weekdays of work, from Monday on"


def test_twice_the_work_takes_about_twice_the_time() -> None:
    short, long = (
        days(simulate(PACE, weekdays(6), count, np.random.default_rng(3))).median for count in (40_000, 80_000)
    )
    assert long == pytest.approx(2 * short, rel=0.05)


def test_weeks_that_differ_widen_the_date_and_not_the_hours() -> None:
    steady = weekdays(8)
    moody = Supply(DAY_MS, steady.hours * np.repeat([0.2, 1.8] * 4, 7)[:, None], steady.labelers)
    one, other = (simulate(PACE, supply, 20_000, np.random.default_rng(3)) for supply in (steady, moody))
    assert interval(one.need_hours) == interval(other.need_hours)
    assert days(other).high_90 / days(other).low_90 > 1.5 * days(one).high_90 / days(one).low_90


def test_labelers_asked_for_take_the_place_of_those_who_came() -> None:
    as_before, twice = (
        days(simulate(PACE, weekdays(6), 40_000, np.random.default_rng(3), labelers=count)).median for count in (4, 8)
    )
    assert as_before == days(simulate(PACE, weekdays(6), 40_000, np.random.default_rng(3))).median
    assert as_before == pytest.approx(2 * twice, rel=0.1)


def test_with_the_labelers_needed_it_is_done_by_the_deadline() -> None:
    deadline = 10.0 * DAY_MS

    def ask(labelers: int | None) -> Futures:
        return simulate(PACE, weekdays(4), 20_000, np.random.default_rng(3), labelers=labelers, deadline_ms=deadline)

    needed = ask(None).labelers_for(0.9)
    assert needed is not None
    assert needed > 4
    assert ask(needed).probability_by(deadline) >= 0.9 > ask(needed - 1).probability_by(deadline)
    assert ask(7).labelers_for(0.9) == needed, "whoever is planned with"
    half = ask(None).labelers_for(0.5)
    assert half is not None
    assert half < needed


def test_labelers_needed_and_dates_come_from_the_same_futures() -> None:
    deadline = 23.0 * DAY_MS
    uneven = weekdays(4)
    uneven.hours[:, 12] *= np.random.default_rng(1).uniform(0.2, 1.8, 28)
    futures = simulate(PACE, uneven, 20_000, np.random.default_rng(3), labelers=6, deadline_ms=deadline)
    assert futures.labelers is not None
    in_time = futures.done_ms <= deadline
    assert 0.1 < in_time.mean() < 0.9
    assert ((futures.labelers <= 6) == in_time).all()


def test_no_number_of_labelers_meets_a_deadline_before_anybody_comes() -> None:
    futures = simulate(PACE, weekdays(4), 100, np.random.default_rng(3), deadline_ms=DAY_MS / 4)  # Monday, 6 o'clock
    assert futures.labelers_for(0.9) is None
    assert futures.probability_by(DAY_MS / 4) == 0
    # At noon they begin: by half past twelve half of the day's hours have come.
    futures = simulate(PACE, weekdays(4), 50, np.random.default_rng(3), deadline_ms=DAY_MS * 12.5 / 24)
    assert futures.labelers_for(0.5) == 1


def test_work_beyond_the_horizon_goes_on_at_its_rate() -> None:
    supply = Supply(DAY_MS, np.full((28, 24), 1 / 24), np.ones(28))
    remaining = 100 * HORIZON_UNITS * 50
    futures = simulate(PACE, supply, remaining, np.random.default_rng(3), deadline_ms=50.0 * HORIZON_UNITS * DAY_MS)
    assert days(futures).median == pytest.approx(50 * HORIZON_UNITS, rel=0.1)
    assert futures.labelers_for(0.5) in (1, 2)


def test_a_seed_gives_the_same_futures_again_and_another_one_others() -> None:
    first, again, other = (
        simulate(PACE, weekdays(4), 5_000, np.random.default_rng(seed), deadline_ms=9.0 * DAY_MS) for seed in (1, 1, 2)
    )
    assert (first.done_ms == again.done_ms).all()
    assert first.labelers is not None
    assert again.labelers is not None
    assert (first.labelers == again.labelers).all()
    assert (first.done_ms != other.done_ms).any()


def test_a_single_slice_of_history_is_enough() -> None:
    supply = Supply(300_000, np.array([[0.5]]), np.array([2.0]))
    futures = simulate(PACE, supply, 50, np.random.default_rng(1))
    assert interval(futures.done_ms).median == pytest.approx(300_000, rel=0.2)
    assert days(futures).high_90 > 2 * days(futures).low_90


def test_intervals_know_what_they_cover() -> None:
    known = Interval(1, 2, 3, 4, math.inf)
    assert [known.covers_50(value) for value in (1.9, 2, 4, 4.1)] == [False, True, True, False]
    assert [known.covers_90(value) for value in (0.9, 1, 1e9)] == [False, True, True]
