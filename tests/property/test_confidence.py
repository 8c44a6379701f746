"""Confidence is a probability for every input and after any learning, and rises with the posterior."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.confidence import Calibration, ConfidenceModel, Grounds

ANY = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
SHARES = st.floats(0.0, 1.0)
GROUNDS = st.builds(
    Grounds,
    posterior=SHARES,
    entropy=st.floats(0.0, 3.0),
    labels=st.integers(1, 2_000),
    classes=st.integers(2, 100),
    vote_share=SHARES,
    accuracy=SHARES,
    handling_log_ratio=st.none() | st.floats(-10.0, 10.0),
)
WILD = st.builds(Grounds, ANY, ANY, st.integers(-3, 10**9), st.integers(-3, 10**9), ANY, ANY, st.none() | ANY)
TYPES = st.sampled_from(["a", "b"])
OUTCOMES = st.lists(st.tuples(TYPES, GROUNDS, st.booleans()), max_size=30)


def learned(outcomes: list[tuple[str, Grounds, bool]]) -> ConfidenceModel:
    model = ConfidenceModel(half_life=20)
    for task_type, grounds, is_right in outcomes:
        model.learn(task_type, grounds, is_right)
        model.learn_annotation(task_type, grounds, is_right)
    return model


@given(OUTCOMES, GROUNDS | WILD)
def test_it_is_a_probability_and_never_certain(outcomes: list[tuple[str, Grounds, bool]], grounds: Grounds) -> None:
    model = learned([*outcomes, ("a", grounds, True), ("a", grounds, False)])
    for task_type in ("a", "b", "new"):
        assert 0.0 < model.forecast(task_type, grounds) < 1.0
        assert 0.0 < model.forecast_annotation(task_type, grounds) < 1.0


@given(OUTCOMES, GROUNDS, SHARES, st.floats(0.0, 3.0))
def test_it_never_falls_with_the_posterior_nor_rises_with_entropy(
    outcomes: list[tuple[str, Grounds, bool]], grounds: Grounds, posterior: float, entropy: float
) -> None:
    # Against what is asked: the higher the posterior, the more often wrong.
    against = [(name, given, given.posterior < 0.5) for name, given, _ in outcomes]
    below = grounds._replace(posterior=min(posterior, grounds.posterior), entropy=max(entropy, grounds.entropy))
    for model in (learned(outcomes), learned(against)):
        for task_type in ("a", "b", "new"):
            assert model.forecast(task_type, below) <= model.forecast(task_type, grounds)
            assert model.forecast_annotation(task_type, below) <= model.forecast_annotation(task_type, grounds)


@settings(max_examples=30)
@given(OUTCOMES, OUTCOMES, GROUNDS)
def test_stopping_and_resuming_anywhere_changes_nothing(
    before: list[tuple[str, Grounds, bool]], after: list[tuple[str, Grounds, bool]], grounds: Grounds
) -> None:
    model = learned(before)
    again = ConfidenceModel(half_life=20)
    again.load(json.loads(json.dumps(model.dump())))
    for task_type, one, is_right in after:
        assert again.forecast(task_type, one) == model.forecast(task_type, one)
        for each in (model, again):
            each.learn(task_type, one, is_right)
            each.learn_annotation(task_type, one, is_right)
    assert again.forecast("new", grounds) == model.forecast("new", grounds)
    assert again.dump() == model.dump()


@given(st.lists(st.tuples(SHARES, st.booleans()), min_size=1))
def test_calibration_error_is_a_share_and_zero_only_if_each_bin_is_right(told: list[tuple[float, bool]]) -> None:
    counts = Calibration()
    for said, came in told:
        counts.count(said, came)
    assert 0.0 <= counts.expected_calibration_error() <= 1.0
    assert 0.0 <= counts.brier() <= 1.0
    assert sum(counts.outcomes) == len(told)
