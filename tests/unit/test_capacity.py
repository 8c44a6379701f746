"""Pace and supply: what a history of work says about work to come."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.capacity import (
    DAY_MS,
    DRIFT_OF_DAYS,
    DRIFT_OF_HOURS,
    HOUR_MS,
    SHORTEST_SLICE_MS,
    SLICES,
    Stint,
    by_hour_of_week,
    expected_pace,
    pace_of,
    supply_of,
)


def crowd(rng: np.random.Generator, labelers: int, each: int, spread: float) -> list[Stint]:
    """Labelers who differ in speed, each with some annotations on a day of their own; 30 s is the median labeler's."""
    speeds = 30 * np.exp(spread * rng.standard_normal(labelers))
    return [
        Stint(f"l{number}", number * DAY_MS + n * 1_000, 1, float(speed * math.exp(0.2 * rng.standard_normal())))
        for number, speed in enumerate(speeds)
        for n in range(each)
    ]


def covered(labelers: int, each: int, spread: float, trials: int = 200) -> float:
    """How often the 90 % interval of the mean of as many labelers again holds."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        history, rest = (crowd(rng, labelers, each, spread) for _ in range(2))
        low, high = np.quantile(pace_of(history).draw(len(rest), 400, rng), (0.05, 0.95))
        hits += bool(low <= sum(work.seconds for work in rest) / len(rest) <= high)
    return hits / trials


@pytest.mark.parametrize(("labelers", "each", "spread"), [(10, 20, 0.4), (30, 5, 0.5)])
def test_the_interval_holds_where_annotations_of_a_labeler_are_alike(labelers: int, each: int, spread: float) -> None:
    assert 0.84 <= covered(labelers, each, spread) <= 0.98


def test_the_mean_counts_and_not_the_median() -> None:
    history = [Stint("ana", n, 1, 10.0) for n in range(9)] + [Stint("ana", 9, 1, 110.0)]
    assert pace_of(history).seconds == 20


def test_annotations_of_one_labeler_say_less_than_those_of_many() -> None:
    rng = np.random.default_rng(2)
    many, few = crowd(rng, 50, 10, 0.5), crowd(rng, 5, 100, 0.5)
    assert pace_of(few).error(100) > 2 * pace_of(many).error(100)
    assert pace_of(few).degrees < pace_of(many).degrees


def test_a_team_that_stays_is_known_better_than_people_who_come_once() -> None:
    seconds = [20.0, 30.0, 60.0, 25.0, 45.0, 80.0, 35.0, 50.0, 22.0, 70.0]
    stays = [Stint(f"l{n}", day * DAY_MS, 5, 5 * one) for day in range(10) for n, one in enumerate(seconds)]
    once = [work._replace(labeler_id=f"{work.labeler_id} of {work.at_ms}") for work in stays]
    assert pace_of(stays).seconds == pace_of(once).seconds
    by_labeler = [Stint(f"l{n}", n * DAY_MS, 50, 50 * one) for n, one in enumerate(seconds)]
    assert pace_of(stays).error(100) < pace_of(by_labeler).error(100) / 2


def test_days_that_differ_widen_the_interval() -> None:
    steady = [Stint(f"l{n}", day * DAY_MS, 10, 300.0) for day in range(20) for n in range(10)]
    moody = [work._replace(seconds=300.0 * (0.5 + work.at_ms // DAY_MS % 2)) for work in steady]
    assert pace_of(moody).seconds == pace_of(steady).seconds
    assert pace_of(moody).variance > 3 * pace_of(steady).variance


def test_a_single_annotation_is_an_interval_and_not_a_point() -> None:
    pace = pace_of([Stint("ana", 0, 1, 30.0)])
    low, high = np.quantile(pace.draw(1_000, 4_000, np.random.default_rng(1)), (0.05, 0.95))
    assert low < 20 < 45 < high


def test_hours_of_history_leave_more_open_than_days() -> None:
    history = [Stint("ana", 0, 1, 30.0)]
    assert (pace_of(history).drift, pace_of(history, HOUR_MS).drift) == (DRIFT_OF_DAYS, DRIFT_OF_HOURS)


def test_a_revision_takes_time_but_fills_no_place() -> None:
    history = [Stint("ana", 0, 1, 30.0), Stint("ana", 1, 0, 10.0)]
    assert (pace_of(history).seconds, pace_of(history).annotations) == (40.0, 1)


@pytest.mark.parametrize("history", [[], [Stint("ana", 0, 0, 9.0)], [Stint("ana", 0, 3, 0.0)]])
def test_no_time_and_no_annotations_are_refused(history: list[Stint]) -> None:
    with pytest.raises(ValueError, match="took any time"):
        pace_of(history)


def forecast_days(*seconds: float, share: float = 1.0) -> list[Stint]:
    """Ten labelers on each day; on the first of two days of each pair a forecast that is off by ``share``."""
    return [
        Stint(f"l{n}", day * DAY_MS, 20, 20 * one, 20 * one * share)
        for day, one in enumerate(seconds)
        for n in range(10)
    ]


def test_a_project_that_became_slower_is_followed_where_forecasts_say_so() -> None:
    slower = forecast_days(*[30.0] * 21, *[60.0] * 7)
    assert pace_of(slower).seconds == pytest.approx(37.5)
    assert expected_pace(slower).seconds == pytest.approx(60, rel=0.1)
    silent = [work._replace(expected_seconds=None) for work in slower]
    assert expected_pace(silent) == pace_of(silent)
    partly = [slower[0]._replace(expected_seconds=None), *slower[1:]]
    assert expected_pace(partly) == pace_of(partly)


def test_forecasts_that_are_off_by_a_factor_change_nothing() -> None:
    slower = (30.0,) * 21 + (60.0,) * 7
    low = expected_pace(forecast_days(*slower, share=0.7))
    assert low.seconds == pytest.approx(expected_pace(forecast_days(*slower)).seconds)


def test_chance_is_not_followed() -> None:
    wavering = forecast_days(*(30.0 * (0.8 + 0.4 * (day % 2)) for day in range(28)))
    assert expected_pace(wavering) == pace_of(wavering)


def test_a_history_too_short_to_be_divided_is_taken_whole() -> None:
    one = [Stint("ana", 0, 1, 30.0, 28.0)]
    assert expected_pace(one) == pace_of(one)


def test_supply_by_days_ends_at_now() -> None:
    now = 10 * DAY_MS + 9 * HOUR_MS
    works = [
        Stint("ana", now - 1, 1, 3_600.0),  # within the last hour
        Stint("ben", now - 2 * DAY_MS, 1, 7_200.0),  # ends the day before the day before
        Stint("ana", now - 3 * DAY_MS, 1, 1_800.0),
    ]
    supply = supply_of(works, 0, now)
    assert supply.knows_hours
    assert supply.hours.shape == (10, 24)
    assert supply.hours[9, 23] == 1
    assert supply.hours[8, 0] + supply.hours[7, 23] == 2
    assert supply.hours.sum() == 3.5
    assert supply.labelers.sum() == 3
    assert supply.usual_labelers == 1


def test_a_short_history_is_cut_into_slices() -> None:
    now = 24 * HOUR_MS
    supply = supply_of([Stint("ana", HOUR_MS // 2, 1, 360.0), Stint("ben", now - 1, 1, 720.0)], 0, now)
    assert not supply.knows_hours
    assert (supply.unit_ms, supply.hours.shape) == (HOUR_MS, (SLICES, 1))
    assert supply.hours[0, 0] == pytest.approx(0.1)
    assert supply.hours[-1, 0] == pytest.approx(0.2)


def test_slices_are_never_shorter_than_the_history_is_precise() -> None:
    supply = supply_of([Stint("ana", 1_000, 1, 360.0)], 0, 60_000)
    assert (supply.unit_ms, supply.hours.shape) == (SHORTEST_SLICE_MS, (1, 1))


def test_less_than_half_a_first_day_counts_only_if_it_is_all_there_is() -> None:
    early = Stint("ana", HOUR_MS, 1, 3_600.0)
    assert supply_of([early, early], 0, 4 * DAY_MS + 13 * HOUR_MS).hours.shape == (5, 24)
    now = 4 * DAY_MS + 11 * HOUR_MS
    assert supply_of([early], 0, now).hours.shape == (5, 24)
    late = Stint("ana", 3 * DAY_MS, 1, 3_600.0)
    supply = supply_of([early, late], 0, now)
    assert supply.hours.shape == (4, 24)
    assert supply.hours.sum() == 1


@pytest.mark.parametrize(
    ("works", "start", "now"),
    [
        ([], 0, DAY_MS),
        ([Stint("ana", 5, 1, 1.0)], 10, 20),
        ([Stint("ana", 5, 1, 1.0)], 5, 5),
        ([Stint("a", 5, 1, 0.0)], 0, 9),
    ],
)
def test_no_supply_without_work(works: list[Stint], start: int, now: int) -> None:
    with pytest.raises(ValueError, match="no history"):
        supply_of(works, start, now)


def test_hours_of_one_labeler_leave_empty_days_empty() -> None:
    works = [Stint(name, 4 * DAY_MS + 5, 1, 3_600.0) for name in ("ana", "ben", "cy", "dee")]
    each = supply_of(works, 0, 5 * DAY_MS).per_labeler()
    assert each.sum() == 1
    assert each[:4].sum() == 0


def test_the_week_begins_on_monday() -> None:
    sunday_evening = 1_767_571_200_000 - 1  # a millisecond before Monday 2026-01-05T00:00:00Z
    week = by_hour_of_week([Stint("ana", sunday_evening, 1, 3_600.0), Stint("ana", sunday_evening + 1, 1, 7_200.0)])
    assert (week[6, 23], week[0, 0], week.sum()) == (1, 2, 3)
