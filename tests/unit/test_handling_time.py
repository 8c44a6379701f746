"""Handling-time forecasts."""

from __future__ import annotations

import math

import pytest

from detectors import handling_time
from detectors.handling_time import HandlingTimeModel, Queue

QUEUE = Queue("animals", "image_class", "human")


def learned(*seconds: float, half_life: float = 10.0) -> HandlingTimeModel:
    model = HandlingTimeModel(half_life)
    for value in seconds:
        model.learn(QUEUE, value)
    return model


def test_the_first_observation_is_the_first_forecast() -> None:
    assert HandlingTimeModel(10).forecast(QUEUE) is None
    assert learned(30.0).forecast(QUEUE) == pytest.approx(30.0)


def test_half_is_forgotten_after_the_half_life() -> None:
    seen = learned(*[10.0] * 100, *[1_000.0] * 10)
    assert seen.forecast(QUEUE) == pytest.approx(math.sqrt(10.0 * 1_000.0), rel=0.001)


def test_the_first_observation_weighs_no_more_than_any_other() -> None:
    seen = learned(150.0, *[30.0] * 100, half_life=500)
    assert seen.forecast(QUEUE) == pytest.approx(30.0 * (150.0 / 30.0) ** (1 / 101))


def test_people_and_models_are_timed_apart() -> None:
    model = learned(60.0)
    model.learn(QUEUE._replace(labeler_kind="model"), 1.4)
    assert model.forecast(QUEUE) == pytest.approx(60.0)


@pytest.mark.parametrize("count", [1, 9, 14, 15, 40])
def test_restored_before_and_after_it_begins_to_forget_it_goes_on_the_same(count: int) -> None:
    seen = learned(*[10.0 + n for n in range(count)])
    again = HandlingTimeModel(10.0)
    again.load(seen.dump())
    for value in (5.0, 500.0, 50.0):
        seen.learn(QUEUE, value)
        again.learn(QUEUE, value)
        assert again.forecast(QUEUE) == seen.forecast(QUEUE)


def test_one_lunch_break_moves_the_forecast_by_little() -> None:
    model = HandlingTimeModel(500)
    for _ in range(1_000):
        model.learn(QUEUE, 30.0)
    model.learn(QUEUE, 3_600.0)
    assert model.forecast(QUEUE) == pytest.approx(30.0, rel=0.01)


def test_queues_are_apart() -> None:
    model = learned(30.0)
    assert model.forecast(Queue("animals", "caption", "human")) is None
    model.learn(Queue("animals", "caption", "human"), 90.0)
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
        model.learn(Queue(name, "", "human"), 10.0)
    assert [state.queue.project_id for state in model.dump()] == ["c", "a", "d"]
