"""Handling-time forecasts."""

from __future__ import annotations

import math

import pytest

from detectors import handling_time
from detectors.handling_time import HandlingTimeModel

QUEUE = ("animals", "image_class")


def learned(*seconds: float, half_life: float = 10.0) -> HandlingTimeModel:
    model = HandlingTimeModel(half_life)
    for value in seconds:
        model.learn(QUEUE, value)
    return model


def test_the_first_observation_is_the_first_forecast() -> None:
    assert HandlingTimeModel(10).forecast(QUEUE) is None
    assert learned(30.0).forecast(QUEUE) == pytest.approx(30.0)


def test_half_is_forgotten_after_the_half_life() -> None:
    assert learned(10.0, *[1_000.0] * 10).forecast(QUEUE) == pytest.approx(math.sqrt(10.0 * 1_000.0))


def test_one_lunch_break_moves_the_forecast_by_little() -> None:
    model = HandlingTimeModel(500)
    for _ in range(1_000):
        model.learn(QUEUE, 30.0)
    model.learn(QUEUE, 3_600.0)
    assert model.forecast(QUEUE) == pytest.approx(30.0, rel=0.01)


def test_queues_are_apart() -> None:
    model = learned(30.0)
    assert model.forecast(("animals", "caption")) is None
    model.learn(("animals", "caption"), 90.0)
    assert model.forecast(QUEUE) == pytest.approx(30.0)


def test_no_time_at_all_is_a_finite_observation() -> None:
    assert learned(0.0).forecast(QUEUE) == pytest.approx(0.001)


def test_one_second_has_logarithm_zero_and_counts_all_the_same() -> None:
    assert learned(1.0).forecast(QUEUE) == pytest.approx(1.0)
    assert learned(*[1.0] * 50, 100.0).forecast(QUEUE) == pytest.approx(100 ** (1 - 0.5**0.1))


def test_the_queue_idle_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling_time, "MAX_QUEUES", 3)
    model = HandlingTimeModel(10)
    for name in ("a", "b", "c", "a", "d"):
        model.learn((name, ""), 10.0)
    assert [project for project, _, _ in model.dump()] == ["c", "a", "d"]
