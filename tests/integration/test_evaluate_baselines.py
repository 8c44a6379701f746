"""Methods to be measured beside."""

from __future__ import annotations

import random

import pytest

from streams.evaluate import baselines
from streams.evaluate.baselines import METHODS, TITLES, available, majority
from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.forecast import Forecast, accuracy, ranking

pytestmark = pytest.mark.integration


def crowd(tasks: int = 60) -> Dataset:
    """Six labelers of known accuracy; the last two are guessing against the truth."""
    draw = random.Random(5)
    skill = {"a": 0.95, "b": 0.9, "c": 0.85, "d": 0.8, "e": 0.3, "f": 0.2}
    truth = {f"t{n}": draw.choice(["no", "yes"]) for n in range(tasks)}
    wrong = {"no": "yes", "yes": "no"}
    labels = [
        GivenLabel(task, name, true if draw.random() < share else wrong[true], 0)
        for task, true in truth.items()
        for name, share in skill.items()
    ]
    return Dataset(tuple(labels), truth)


def test_a_tied_majority_goes_to_the_label_that_sorts_first() -> None:
    tied = (GivenLabel("1", "ann", "dog", 0), GivenLabel("1", "bob", "cat", 1), GivenLabel("2", "bob", "dog", 2))
    opinion = majority(Dataset(tied, {}))
    assert opinion.tasks == {"1": Forecast("cat", 0.5), "2": Forecast("dog", 1.0)}
    assert opinion.labelers == {"ann": 0.0, "bob": 1.0}


def test_without_crowd_kit_there_is_still_majority_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "crowd_kit_is_here", lambda: False)
    assert available() == ["majority"]


def test_every_method_has_a_title() -> None:
    assert METHODS.keys() == TITLES.keys()


@pytest.mark.integration  # of crowd-kit, which takes seconds to import
@pytest.mark.parametrize("name", ["dawid_skene", "one_coin", "glad"])
def test_batch_methods_see_through_two_who_guess_against_the_truth(name: str) -> None:
    pytest.importorskip("crowdkit", reason="needs labelwatch[bench]")
    data = crowd()
    opinion = METHODS[name](data)
    assert opinion.tasks.keys() == set(data.tasks)
    assert opinion.labelers.keys() == set(data.labelers)
    ours, plain = accuracy(opinion.tasks, data.truth), accuracy(majority(data).tasks, data.truth)
    assert ours is not None
    assert plain is not None
    assert ours > plain
    assert all(0 < forecast.confidence <= 1 for forecast in opinion.tasks.values())
    assert (ranking(opinion.labelers, data).spearman or 0) > 0.8
    if name != "glad":  # its alpha is no probability
        assert all(abs(opinion.labelers[one] - share) < 0.1 for one, share in data.labeler_accuracy.items())
    assert name in available()
    assert (name == "glad") != (name in available(with_glad=False))
