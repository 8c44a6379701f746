"""The parts of the forecast beside what they stand for: River's regression, numpy's moments."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from detectors.labeler_speed import KEPT_PAGES, SESSION_BREAK_MS, Speed, Speeds
from detectors.queue_level import Differences, QueueLevels
from detectors.robust_regression import HUBER, RobustRegression
from detectors.time_features import MAX_NUMBERS, TaskEffects, TaskNumbers


def test_one_outlier_moves_the_regression_no_further_than_a_large_error() -> None:
    far, near = RobustRegression({}), RobustRegression({})
    far.learn({"one": 1.0}, 1e6)
    near.learn({"one": 1.0}, HUBER)
    assert far.weights() == near.weights()


def test_numbers_are_standardised_by_mean_and_deviation() -> None:
    draw = random.Random(2)
    numbers, seen = TaskNumbers(), []
    for _ in range(900):
        value = draw.uniform(0, 100)
        seen.append(np.log1p(value))
        numbers.standardised("clip", {"duration": value}, learn=True)
    found = numbers.standardised("clip", {"duration": 30.0})["clip duration"]
    assert found == pytest.approx((np.log1p(30.0) - np.mean(seen)) / np.std(seen), abs=0.01)


def test_numbers_that_are_constant_new_or_too_many_are_left_out() -> None:
    numbers = TaskNumbers()
    for at in range(50):
        features: dict[str, object] = {f"f{n}": at * n for n in range(MAX_NUMBERS + 5)}
        numbers.standardised("clip", features, learn=True)
    found = numbers.standardised("clip", {**features, "new": 3})
    assert list(found) == [f"clip f{n}" for n in range(1, MAX_NUMBERS)]
    assert numbers.standardised("other", {"f1": 1}) == {}
    assert numbers.standardised("clip", {"f1": None}) == {}


def test_a_task_is_believed_to_be_like_the_others_until_it_was_seen() -> None:
    effects, key = TaskEffects(), TaskEffects.key("p", "t")
    assert effects.get(key) == 0.0
    beliefs = []
    for _ in range(12):
        effects.learn(key, 1.0, 1.0)
        beliefs.append(effects.get(key))
    assert beliefs == sorted(beliefs)
    assert (beliefs[0], beliefs[-1]) == (pytest.approx(0.2), pytest.approx(0.75))
    assert TaskEffects.key("p", "t") != TaskEffects.key("pt", "")


def test_a_labeler_that_changes_is_followed_but_one_odd_page_is_not() -> None:
    speed = Speed()
    for _ in range(50):
        speed.learn(0.0, 3.0, -1.0, 0.3)
    speed.learn(8.0, 11.0, -1.0, 0.3)
    assert speed.recent < 0.2
    assert speed.typical == 0.0
    for _ in range(KEPT_PAGES):
        speed.learn(0.5, 3.5, -1.0, 0.3)
    assert speed.recent == pytest.approx(0.5, abs=0.01)
    assert speed.typical == 0.5
    assert speed.lasting == pytest.approx(3.5, abs=0.01)


def test_a_session_ends_with_a_break() -> None:
    speed = Speed()
    speed.worked(0, 10_000, 3)
    speed.worked(11_000, 20_000, 2)
    assert (speed.session, speed.is_back(30_000)) == (5, False)
    back = 20_000 + SESSION_BREAK_MS + 1
    assert speed.is_back(back)
    speed.worked(back, back + 5, 1)
    assert speed.session == 1


def test_what_was_heard_with_no_weight_says_nothing() -> None:
    from detectors.labeler_speed import SpeedEvidence, SpeedKey

    speeds, key = Speeds(), SpeedKey("a", "p", "t")
    speeds.hear(key, 1, SpeedEvidence(0.0, 3.0, -1.0, 5))
    assert speeds.heard(key) is None
    speeds.hear(key, 2, SpeedEvidence(2.0, 3.0, -1.0, 5))
    speeds.hear(key, 3, SpeedEvidence(2.0, 4.0, -2.0, 5))
    assert speeds.heard(key) == (4.0, 3.5, -1.5)


def test_vendors_are_believed_as_far_as_their_labelers_agree() -> None:
    levels = QueueLevels()
    for _ in range(30):
        levels.learn_vendor("slow", 0.6, pages=0)
    assert levels.vendor("slow") == pytest.approx(0.6 * 30 / 50)
    assert levels.vendor("unknown") == 0.0


def test_differences_are_restored() -> None:
    one = Differences()
    for at in range(20):
        one.learn(at, 0.3, -0.2)
    assert Differences(*json.loads(json.dumps(one.dump()))).dump() == one.dump()
