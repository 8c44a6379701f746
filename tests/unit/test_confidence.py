"""Calibrated confidence."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from detectors import confidence
from detectors.beliefs import Beliefs
from detectors.confidence import Calibration, ConfidenceModel, Grounds
from detectors.consensus import Answer, Task, Truth
from detectors.forgetting import HalfLives
from detectors.logistic import sigmoid

#: Nobody disagrees, and the posterior says it is all but certain.
SURE = Grounds(0.9999, 0.001, labels=5, classes=2, vote_share=1.0, accuracy=0.9)
DIVIDED = SURE._replace(posterior=0.9, entropy=0.325, vote_share=0.6)

Outcome = tuple[Grounds, bool]


def overconfident(seed: int, count: int, exaggeration: float = 3.0) -> list[Outcome]:
    """Posteriors whose logit is so many times what it should be."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        logit = abs(rng.gauss(0.0, 1.2))
        said = min(sigmoid(exaggeration * logit), 1 - 1e-12)
        entropy = -said * math.log(said) - (1 - said) * math.log(1 - said)
        grounds = Grounds(said, entropy, 5, 2, rng.choice([0.6, 0.8, 1.0]), 0.8)
        made.append((grounds, rng.random() < sigmoid(logit)))
    return made


def learned(outcomes: list[Outcome], task_type: str = "sentiment") -> ConfidenceModel:
    model = ConfidenceModel()
    for grounds, is_right in outcomes:
        model.learn(task_type, grounds, is_right)
    return model


def judged(outcomes: list[Outcome], forecast: Callable[[Grounds], float]) -> Calibration:
    counts = Calibration()
    for grounds, is_right in outcomes:
        counts.count(forecast(grounds), is_right)
    return counts


def test_without_any_truth_extreme_posteriors_are_pulled_in() -> None:
    model = ConfidenceModel()
    for posterior in (0.99, 0.999, 1.0 - 1e-9, 1.0):
        grounds = DIVIDED._replace(posterior=posterior, entropy=0.01)
        assert 0.6 < model.forecast("sentiment", grounds) < 0.95
        assert model.forecast("sentiment", SURE._replace(posterior=posterior)) < 0.99


def test_without_any_truth_no_evidence_is_a_guess() -> None:
    for classes in (2, 4, 10):
        nothing = Grounds(1 / classes, math.log(classes), 1, classes, 1 / classes, 1 / classes)
        assert 0.5 / classes < ConfidenceModel().forecast("sentiment", nothing) < 0.5 + 0.5 / classes


def test_a_posterior_beyond_what_labels_can_tell_says_no_more() -> None:
    model = learned(overconfident(11, 50))
    for classes in (2, 10):
        told = [
            model.forecast("sentiment", SURE._replace(posterior=1.0 - doubt, classes=classes))
            for doubt in (1e-2, 1e-3 * (classes - 1) / 2, 1e-4, 1e-9, 0.0)
        ]
        assert told[0] < told[1]
        assert len(set(told[2:])) == 1
        assert told[1] == pytest.approx(told[2], abs=0.002)


def test_an_overconfident_posterior_becomes_calibrated_after_200_golds() -> None:
    outcomes, rest = overconfident(1, 200), overconfident(2, 4_000)
    raw = judged(rest, lambda grounds: grounds.posterior)
    model, ignorant = learned(outcomes), ConfidenceModel()
    prior = judged(rest, lambda grounds: ignorant.forecast("sentiment", grounds))
    after = judged(rest, lambda grounds: model.forecast("sentiment", grounds))
    assert raw.expected_calibration_error() > 0.15
    assert prior.expected_calibration_error() < raw.expected_calibration_error() - 0.05
    assert after.expected_calibration_error() < 0.04
    assert after.brier() < prior.brier() < raw.brier()


def test_an_honest_posterior_stays_calibrated() -> None:
    model, rest = learned(overconfident(3, 200, 1.0)), overconfident(4, 4_000, 1.0)
    after = judged(rest, lambda grounds: model.forecast("sentiment", grounds))
    assert after.expected_calibration_error() < 0.05


def test_what_helps_in_one_task_type_is_learned() -> None:
    """Here whoever is fast is wrong, and nothing else tells."""
    model, rng = ConfidenceModel(), random.Random(5)
    for _ in range(1_000):
        ratio = rng.gauss(0, 1)
        model.learn("sentiment", DIVIDED._replace(handling_log_ratio=ratio), rng.random() < sigmoid(1 + 2 * ratio))
    fast, unknown, slow = (
        model.forecast("sentiment", DIVIDED._replace(handling_log_ratio=ratio)) for ratio in (-1.0, None, 1.0)
    )
    assert fast < 0.45 < 0.6 < unknown < 0.8 < slow


def test_a_new_task_type_starts_from_the_others_and_becomes_its_own() -> None:
    bad = [(SURE, n % 10 < 5) for n in range(200)]
    model = ConfidenceModel()
    start = model.forecast("new", SURE)
    for task_type in ("a", "b", "c", "d"):
        for grounds, is_right in bad:
            model.learn(task_type, grounds, is_right)
    population = model.forecast("new", SURE)
    assert model.forecast("a", SURE) < population < start - 0.05
    for _ in range(5):
        model.learn("new", SURE, True)
    some = model.forecast("new", SURE)
    for _ in range(195):
        model.learn("new", SURE, True)
    assert population < some < 0.96 < model.forecast("new", SURE)
    assert model.forecast("a", SURE) == pytest.approx(0.5, abs=0.05)


def test_what_was_long_ago_counts_less() -> None:
    model = ConfidenceModel(half_life=50)
    for is_right in [False] * 300 + [True] * 200:
        model.learn("sentiment", SURE, is_right)
    assert model.forecast("sentiment", SURE) > 0.85
    for _ in range(200):
        model.learn("sentiment", SURE, False)
    assert model.forecast("sentiment", SURE) < 0.25


def test_annotations_are_judged_apart_from_the_consensus() -> None:
    model = ConfidenceModel()
    alone = Grounds(0.05, 0.2, labels=1, classes=2, vote_share=0.2, accuracy=0.6)
    before = model.forecast("sentiment", alone)
    assert model.forecast_annotation("sentiment", alone) < 0.4
    for _ in range(200):
        model.learn_annotation("sentiment", alone, True)
    assert model.forecast_annotation("sentiment", alone) > 0.8
    assert model.forecast("sentiment", alone) == before


def test_the_last_of_many_answers_to_a_task_counts_less_than_an_only_one() -> None:
    moved = []
    for labels in (1, 10):
        model, grounds = ConfidenceModel(), SURE._replace(labels=labels)
        before = model.forecast_annotation("sentiment", grounds)
        model.learn_annotation("sentiment", grounds, False)
        moved.append(before - model.forecast_annotation("sentiment", grounds))
    assert moved[0] > 3 * moved[1] > 0


def test_a_weighted_annotation_counts_less() -> None:
    moved = []
    for weight in (1.0, 0.25):
        model = ConfidenceModel()
        before = model.forecast_annotation("sentiment", SURE)
        model.learn_annotation("sentiment", SURE, False, weight)
        moved.append(before - model.forecast_annotation("sentiment", SURE))
    assert moved[0] > 2 * moved[1] > 0


def test_a_truth_is_learned_when_it_is_known_and_again_at_the_last_look() -> None:
    beliefs = Beliefs(HalfLives(1_000, 90))
    model = beliefs.confidence_model
    task = Task("captions", "t1", "sentiment")
    for labeler_id in ("ann", "bob"):
        beliefs.answer(task, labeler_id, Answer("good", 1_000), "class")
    start = model.dump()
    beliefs.close(task)
    assert model.dump() == start, "no truth"
    told = [model.forecast("sentiment", SURE)]
    looks: list[Callable[[], Any]] = [
        lambda: beliefs.know(task, Truth("bad", "review", 2_000)),
        lambda: beliefs.close(task),
    ]
    for look in looks:
        beliefs.is_confidence_changed = False
        look()
        assert beliefs.is_confidence_changed
        told.append(model.forecast("sentiment", SURE))
    assert told == sorted(told, reverse=True)
    assert sum(model.calibration("sentiment").outcomes) == 2
    once = learned([])
    once.learn("sentiment", SURE, False)
    assert told[-1] > once.forecast("sentiment", SURE) - 0.02, "both looks together count about once"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [name for name in Grounds._fields if name not in ("labels", "classes")])
def test_what_is_not_a_number_is_refused_and_changes_nothing(name: str, value: float) -> None:
    model = learned([(SURE, True)])
    before = model.dump()
    bad = SURE._replace(**{name: value})  # type: ignore[arg-type]
    calls: list[Callable[[], Any]] = [
        lambda: model.forecast("new", bad),
        lambda: model.learn("new", bad, True),
        lambda: model.forecast_annotation("new", bad),
        lambda: model.learn_annotation("new", bad, True),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="finite"):
            call()
    assert model.dump() == before


def test_a_senseless_weight_is_refused_and_changes_nothing() -> None:
    model = learned([(SURE, True)])
    before = model.dump()
    with pytest.raises(ValueError, match="weight"):
        model.learn("new", SURE, True, weight=-1.0)
    assert model.dump() == before


def test_what_is_out_of_range_by_rounding_is_taken_for_the_end_of_its_range() -> None:
    beyond = Grounds(1.0 + 1e-12, -1e-12, 5, 2, 1.0 + 1e-12, 1.0 + 1e-12)
    assert ConfidenceModel().forecast("x", beyond) == ConfidenceModel().forecast("x", Grounds(1.0, 0.0, 5, 2, 1.0, 1.0))


def test_restored_it_goes_on_the_same_to_the_last_digit() -> None:
    model = learned(overconfident(6, 30))
    for grounds, is_right in overconfident(7, 20):
        model.learn("image_class", grounds, is_right)
        model.learn_annotation("sentiment", grounds, is_right)
    again = ConfidenceModel()
    again.load(json.loads(json.dumps(model.dump())))
    for grounds, is_right in overconfident(8, 20):
        for task_type in ("sentiment", "image_class", "new"):
            assert again.forecast(task_type, grounds) == model.forecast(task_type, grounds)
            assert again.forecast_annotation(task_type, grounds) == model.forecast_annotation(task_type, grounds)
            for one in (model, again):
                one.learn(task_type, grounds, is_right)
                one.learn_annotation(task_type, grounds, is_right)
    assert again.dump() == model.dump()


def test_a_dump_does_not_change_with_the_model() -> None:
    model = learned(overconfident(9, 5))
    state = model.dump()
    kept = json.dumps(state)
    model.learn("sentiment", SURE, True)
    again = ConfidenceModel()
    again.load(state)
    again.learn("sentiment", SURE, True)
    assert json.dumps(state) == kept


def test_the_task_type_without_truth_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidence, "MAX_TASK_TYPES", 3)
    model = ConfidenceModel()
    for task_type in ("a", "b", "c", "a", "d"):
        model.learn(task_type, SURE, True)
        model.learn_annotation(task_type, SURE, True)
    state = model.dump()
    for part in (state["consensus"]["members"], state["annotation"]["members"], state["calibration"]):
        assert [row[0] for row in part] == ["c", "a", "d"]


def test_calibration_counts_the_forecasts_made_before_each_outcome() -> None:
    model, wanted = ConfidenceModel(), Calibration()
    for grounds, is_right in overconfident(10, 50):
        wanted.count(model.forecast("sentiment", grounds), is_right)
        model.learn("sentiment", grounds, is_right)
    assert model.calibration("sentiment") == wanted
    assert model.calibration("never seen") == Calibration()


def test_calibration_adds_up_over_models() -> None:
    outcomes = [(0.05, False), (0.55, True), (0.95, True), (0.97, False), (1.0, True)]
    apart, together = [Calibration(), Calibration()], Calibration()
    for n, (said, is_right) in enumerate(outcomes):
        apart[n % 2].count(said, is_right)
        together.count(said, is_right)
    both = apart[0] + apart[1]
    assert both.outcomes == together.outcomes == [1, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert both.expected_calibration_error() == pytest.approx((0.05 + 0.45 + abs(2.92 - 2)) / 5)
    assert both.brier() == pytest.approx((0.05**2 + 0.45**2 + 0.05**2 + 0.97**2) / 5)


def test_nothing_counted_has_no_error() -> None:
    assert math.isnan(Calibration().expected_calibration_error())
    assert math.isnan(Calibration().brier())
