"""What labelers have in common is estimated from how much their hits scatter."""

from __future__ import annotations

import random

import pytest

from detectors.confusion import ConfusionModel
from detectors.consensus import Answer, Task, Truth
from detectors.forgetting import HalfLives
from detectors.one_coin import OneCoinModel
from detectors.population import FIRST_ACCURACY, HIGHEST, LOWEST, Overdispersion, Population


def hits(rng: random.Random, concentration: float, trials: int) -> int:
    rate = rng.betavariate(0.8 * concentration, 0.2 * concentration)
    return sum(rng.random() < rate for _ in range(trials))


@pytest.mark.parametrize(("concentration", "trials"), [(3.0, 100), (10.0, 100), (40.0, 100), (3.0, 4)])
def test_a_known_concentration_is_found(concentration: float, trials: int) -> None:
    rng = random.Random(7)
    found = Overdispersion(20.0, weight=30.0)
    for _ in range(40_000 // trials):
        found.add(hits(rng, concentration, trials), trials, 0.8)
    assert found.concentration() == pytest.approx(concentration, rel=0.2)


def test_before_there_is_data_the_prior_is_believed() -> None:
    assert Overdispersion(20.0, weight=300.0).concentration() == pytest.approx(20.0)


def test_the_prior_is_worth_its_weight() -> None:
    light, heavy = Overdispersion(20.0, weight=1.0), Overdispersion(20.0, weight=10_000.0)
    for one in (light, heavy):
        for found in (50, 100):
            one.add(found, 100, 0.75)
    assert light.concentration() < 10.0 < heavy.concentration() < 20.0


def test_estimates_stay_in_range() -> None:
    same, far = Overdispersion(20.0, weight=1.0), Overdispersion(20.0, weight=1.0)
    for _ in range(100):
        same.add(80, 100, 0.8)
    for found in (0, 100) * 50:
        far.add(found, 100, 0.5)
    assert (same.concentration(), far.concentration()) == (HIGHEST, LOWEST)


def test_less_than_two_trials_say_nothing() -> None:
    one = Overdispersion(20.0, weight=10.0)
    for _ in range(1_000):
        one.add(0.0, 1.99, 0.8)
    assert one.concentration() == pytest.approx(20.0)


def test_the_mean_is_over_ordinary_and_hard_tasks() -> None:
    assert Population((0.9, 0.5), share_hard=0.25).accuracy == pytest.approx(0.8)
    assert Population((0.6,)).accuracy == pytest.approx(0.6), "one coin: there is one kind"
    assert Population().accuracy == pytest.approx(sum(FIRST_ACCURACY) / 2)


@pytest.mark.parametrize("make", [ConfusionModel, OneCoinModel])
def test_a_model_learns_how_alike_its_labelers_are(make: type[ConfusionModel] | type[OneCoinModel]) -> None:
    found = {}
    for name, accuracies in {"alike": [0.8] * 24, "unlike": [0.98] * 12 + [0.62] * 12}.items():
        rng, model = random.Random(3), make(HalfLives(1_000, 90))
        for number in range(2_000):
            task = Task("p", f"t-{number}", "c", truth=Truth(rng.choice("ab"), "gold", number))
            assert task.truth is not None
            labeler = number % 24
            other = "b" if task.truth.label == "a" else "a"
            answer = Answer(task.truth.label if rng.random() < accuracies[labeler] else other, number)
            task.stand(f"l-{labeler}", answer)
            model.answer(task, f"l-{labeler}", answer)
        found[name] = model.population
    assert found["unlike"].concentration < 15.0 < 30.0 < found["alike"].concentration
    for population in found.values():
        assert population.accuracy == pytest.approx(0.8, abs=0.05)
    stranger = model.accuracy("nobody")
    assert stranger == pytest.approx(found["unlike"].accuracy)
