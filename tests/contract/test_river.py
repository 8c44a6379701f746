"""What we say is an estimator of River's, or computes what one of its does. Importing it takes a second."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from river import checks
from river.linear_model import LinearRegression
from river.optim import AdaGrad
from river.optim.losses import Huber
from river.utils import VectorDict

from detectors.logistic import BayesianLogistic
from detectors.robust_regression import FIRST_SQUARES, HUBER, STEP, RobustRegression


def test_the_logistic_passes_every_check_of_a_river_estimator() -> None:
    ran = 0
    for check in checks.yield_checks(BayesianLogistic()):
        check(BayesianLogistic())
        ran += 1
    assert ran > 20


def test_the_regression_computes_what_rivers_does() -> None:
    draw = random.Random(1)
    start = {"a": 0.5, "b": -0.2}
    optimizer = AdaGrad(STEP, eps=0.0)
    optimizer.g2 = defaultdict(lambda: FIRST_SQUARES)
    river = LinearRegression(optimizer, loss=Huber(HUBER), intercept_lr=0.0)
    river._weights = VectorDict(dict(start))
    ours = RobustRegression(start)
    for _ in range(500):
        features = {name: draw.gauss(0, 1) for name in "abc" if draw.random() < 0.8}
        target, weight = draw.gauss(features.get("a", 0.0), 2.0), draw.choice([1.0, 0.2])
        assert ours.predict(features) == pytest.approx(river.predict_one(features), abs=1e-9)
        ours.learn(features, target, weight)
        river.learn_one(features, target, w=weight)
    assert ours.weights() == pytest.approx(dict(river.weights))
