"""Bayesian logistic regression, alone and in families."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

from detectors.logistic import BayesianLogistic, LogisticFamily, _settled, sigmoid

Example = tuple[dict[str, float], bool]


def examples(seed: int, count: int, intercept: float = 0.5, slope: float = 1.5) -> list[Example]:
    """Outcomes of a logistic law with one feature that matters and one that does not."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        x = {"a": rng.gauss(0, 1), "b": rng.gauss(0, 1)}
        made.append((x, rng.random() < sigmoid(intercept + slope * x["a"])))
    return made


def learned(made: list[Example], **given: Any) -> BayesianLogistic:
    model = BayesianLogistic(**given)
    for x, y in made:
        model.learn_one(x, y)
    return model


def mean_and_spread(model: BayesianLogistic) -> tuple[Any, Any]:
    covariance = np.linalg.inv(model.prior[0] + model.evidence[0])
    return covariance @ (model.prior[1] + model.evidence[1]), np.sqrt(np.diag(covariance))


def test_it_learns_the_law_within_its_own_uncertainty() -> None:
    mean, spread = mean_and_spread(learned(examples(1, 2_000)))
    assert np.all(np.abs(mean - [0.5, 1.5, 0.0]) < 3 * spread)
    assert np.all(spread < 0.1)


def test_learned_one_by_one_it_is_near_the_fit_to_all_at_once() -> None:
    made = examples(2, 300)
    design = np.array([[1.0, x["a"], x["b"]] for x, _ in made])
    right = np.array([float(y) for _, y in made])
    at_once = np.zeros(3)
    for _ in range(50):
        expected = 1 / (1 + np.exp(-design @ at_once))
        curvature = (design * (expected * (1 - expected))[:, None]).T @ design + np.eye(3)
        at_once += np.linalg.solve(curvature, design.T @ (right - expected) - at_once)
    mean, spread = mean_and_spread(learned(made))
    assert np.all(np.abs(mean - at_once) < spread)
    assert spread == pytest.approx(np.sqrt(np.diag(np.linalg.inv(curvature))), rel=0.2)


@pytest.mark.parametrize(("start", "reach"), [(0.0, 0.0), (0.0, 1.0), (8.0, 40.0), (1.3, 9.0), (-3.0, 1e6)])
@pytest.mark.parametrize("right", [0.0, 1.0])
def test_an_outcome_moves_the_logit_to_where_it_is_most_probable(start: float, reach: float, right: float) -> None:
    logit = _settled(start, reach, right)
    assert logit == pytest.approx(start + reach * (right - sigmoid(logit)), abs=1e-6 * max(1.0, reach))


def test_uncertain_weights_pull_a_forecast_towards_half() -> None:
    sure = BayesianLogistic(mean={"a": 3.0}, spread={"a": 0.01, "intercept": 0.01})
    unsure = BayesianLogistic(mean={"a": 3.0}, spread={"a": 3.0, "intercept": 0.01})
    assert sure.predict_proba_one({"a": 1.0})[True] == pytest.approx(sigmoid(3.0), abs=0.001)
    assert unsure.predict_proba_one({"a": 1.0})[True] == pytest.approx(
        sigmoid(3.0 / math.sqrt(1 + math.pi * 9 / 8)), abs=0.001
    )


def test_mackays_forecast_is_near_the_true_average_over_weights() -> None:
    model = learned(examples(3, 20))
    mean, _ = mean_and_spread(model)
    covariance = np.linalg.inv(model.prior[0] + model.evidence[0])
    drawn = np.random.default_rng(0).multivariate_normal(mean, covariance, 20_000)
    for a in (-2.0, 0.5, 3.0):
        x = np.array([1.0, a, 1.0])
        forecast = model.predict_proba_one({"a": a, "b": 1.0})[True]
        assert forecast == pytest.approx(np.mean(1 / (1 + np.exp(-drawn @ x))), abs=0.02)
        assert forecast == pytest.approx(sigmoid(mean @ x / math.sqrt(1 + math.pi / 8 * x @ covariance @ x)), rel=1e-9)


@pytest.mark.parametrize("weight", [60.0, -60.0])
def test_no_forecast_is_certain(weight: float) -> None:
    model = BayesianLogistic(mean={"intercept": weight}, spread={"intercept": 0.01})
    told = model.predict_proba_one({})
    assert 0.0 < told[True] < 1.0
    assert 0.0 < told[False] < 1.0


def test_an_increasing_feature_never_counts_against() -> None:
    against = [({"a": x["a"] + 2.0, "b": x["b"]}, not y) for x, y in examples(4, 400)]
    free, bound = learned(against), learned(against, increasing=frozenset({"a"}))
    assert free.predict_proba_one({"a": 4.0})[True] < 0.2
    forecasts = [bound.predict_proba_one({"a": a})[True] for a in (0.0, 2.0, 4.0)]
    assert forecasts[0] == forecasts[1] == forecasts[2]
    assert forecasts[0] == pytest.approx(np.mean([y for _, y in against]), abs=0.1)


def test_a_weighted_outcome_counts_as_often() -> None:
    once, thrice = BayesianLogistic(), BayesianLogistic()
    once.learn_one({"a": 1.0}, True, w=3.0)
    for _ in range(3):
        thrice.learn_one({"a": 1.0}, True)
    # Three small steps and a big one linearise at different points.
    assert once.predict_proba_one({"a": 1.0})[True] == pytest.approx(
        thrice.predict_proba_one({"a": 1.0})[True], abs=0.02
    )


def test_half_is_forgotten_after_the_half_life() -> None:
    model = learned([({"a": 0.0}, True)] * 4_000, half_life=100.0)
    before = model.evidence[0][0, 0]
    for _ in range(100):
        model.learn_one({"a": 1e4}, True)  # tells of another weight, nearly
    assert model.evidence[0][0, 0] == pytest.approx(before / 2, rel=0.05)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e5])
def test_an_unscaled_feature_is_refused_and_changes_nothing(value: float) -> None:
    model = learned(examples(5, 10))
    before = model.predict_proba_one({"a": 1.0})
    for bad in ({"a": value}, {"never seen": value}):
        with pytest.raises(ValueError, match="standardised"):
            model.learn_one(bad, True)
        with pytest.raises(ValueError, match="standardised"):
            model.predict_proba_one(bad)
    assert model.predict_proba_one({"a": 1.0}) == before
    assert model.features == ("a", "b")


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_a_senseless_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        BayesianLogistic().learn_one({"a": 1.0}, True, w=weight)


def family(max_members: int = 10, common: float = 0.5) -> LogisticFamily:
    template = BayesianLogistic(mean={"a": 0.5}, spread={"intercept": 1.0, "a": 0.5})
    return LogisticFamily(template, common, max_members)


def taught(*outcomes: tuple[str, bool, int], **given: Any) -> LogisticFamily:
    made = family(**given)
    for name, right, count in outcomes:
        for _ in range(count):
            made.learn(name, [1.0, 0.3], right)
    return made


def forecast(of: LogisticFamily, name: str) -> float:
    return of.model(name).probability([1.0, 0.3])


def test_before_any_outcome_all_members_have_the_templates_prior() -> None:
    alone = BayesianLogistic(mean={"a": 0.5}, spread={"intercept": 1.0, "a": 0.5})
    assert forecast(family(), "x") == pytest.approx(alone.probability([1.0, 0.3]), rel=1e-12)


def test_an_only_member_learns_as_if_alone() -> None:
    alone = BayesianLogistic(mean={"a": 0.5}, spread={"intercept": 1.0, "a": 0.5})
    for _ in range(5):
        alone.learn([1.0, 0.3], False)
    assert forecast(taught(("x", False, 5)), "x") == pytest.approx(alone.probability([1.0, 0.3]), rel=1e-9)


def test_a_stranger_starts_between_the_prior_and_what_others_taught() -> None:
    one, many = taught(("x", False, 200)), taught(*((f"x{n}", False, 200) for n in range(8)))
    assert forecast(family(), "new") > forecast(one, "new") > forecast(many, "new") > forecast(many, "x1")


def test_what_is_common_decides_how_far_a_stranger_moves() -> None:
    moved = [forecast(taught(("x", False, 200), common=share), "new") for share in (0.01, 0.3, 0.99)]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] == pytest.approx(forecast(family(), "new"), abs=0.02)
    assert moved[2] == pytest.approx(forecast(taught(("x", False, 200)), "x"), abs=0.06)


def test_a_member_with_much_evidence_is_its_own() -> None:
    mixed = taught(*((f"x{n}", False, 100) for n in range(5)), ("y", True, 300))
    assert forecast(mixed, "y") > 0.9
    assert forecast(mixed, "x1") < 0.1


def test_the_weights_of_all_are_those_of_the_joint_model() -> None:
    """Against the posterior over population and members in one go, from the same evidence."""
    made = taught(("x", False, 30), ("y", True, 4), ("z", True, 50))
    members = {name: member.model.evidence for name, member in made._members.items()}
    variance = np.diag([1.0, 0.25])
    between = np.linalg.inv(variance * 0.5)
    size = 2 * (len(members) + 1)
    joint, shift = np.zeros((size, size)), np.zeros(size)
    joint[:2, :2] = np.linalg.inv(variance * 0.5)
    shift[:2] = joint[:2, :2] @ [0.0, 0.5]
    for at, (precision, told) in enumerate(members.values(), 1):
        own = slice(2 * at, 2 * at + 2)
        joint[:2, :2] += between
        joint[:2, own] -= between
        joint[own, :2] -= between
        joint[own, own] += between + precision
        shift[own] += told
    weights, covariance = np.linalg.solve(joint, shift), np.linalg.inv(joint)
    for at, name in enumerate(members, 1):
        own = slice(2 * at, 2 * at + 2)
        mean, spread = mean_and_spread(made.model(name))
        assert mean == pytest.approx(weights[own], rel=1e-9)
        assert spread == pytest.approx(np.sqrt(np.diag(covariance[own, own])), rel=1e-9)


def test_the_member_that_learned_longest_ago_is_forgotten() -> None:
    made = taught(("x", False, 5), ("y", True, 100), ("x", False, 1), ("z", True, 1), max_members=2)
    assert [name for name, *_ in made.dump()["members"]] == ["x", "z"]
    remembered = taught(("x", False, 5), ("y", True, 100), ("x", False, 1), ("z", True, 1))
    never = taught(("x", False, 6), ("z", True, 1))
    assert forecast(made, "y") == forecast(made, "never seen")
    assert forecast(made, "never seen") == pytest.approx(forecast(never, "never seen"), abs=0.005)
    assert forecast(remembered, "never seen") > forecast(made, "never seen") + 0.05


def test_restored_it_goes_on_the_same_to_the_last_digit() -> None:
    made = taught(("x", False, 7), ("y", True, 3))
    again = family()
    again.load(json.loads(json.dumps(made.dump())))
    for name in ("x", "y", "z", "x"):
        assert forecast(again, name) == forecast(made, name)
        made.learn(name, [1.0, -0.7], True)
        again.learn(name, [1.0, -0.7], True)
    assert again.dump() == made.dump()


def test_what_was_known_before_is_gone_once_a_state_is_loaded() -> None:
    used = taught(("x", False, 7))
    assert forecast(used, "x") < 0.3
    assert forecast(used, "new") < 0.5
    used.load(family().dump())
    assert forecast(used, "x") == forecast(used, "new") == forecast(family(), "new")
    unused = family()
    assert forecast(unused, "new") > 0.5
    unused.load(taught(("x", False, 7)).dump())
    assert forecast(unused, "new") == forecast(taught(("x", False, 7)), "new")


def test_state_of_other_features_is_refused() -> None:
    with pytest.raises(ValueError, match="features"):
        LogisticFamily(BayesianLogistic(spread={"b": 1.0}), 0.5, 10).load(family().dump())
