"""Consensus on real labels with a known truth: not worse than counting votes, and sometimes better."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.truth import active_crowd, truth_inference
from streams.evaluate.baselines import majority
from streams.evaluate.dataset import Dataset
from streams.evaluate.forecast import accuracy
from streams.evaluate.models import new_models
from streams.evaluate.truth import run_pass
from streams.settings import Settings

REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("LABELWATCH_DATA", REPO.parent / "shared" / "data"))
pytestmark = [
    pytest.mark.integration,  # not for what it starts, but for the seconds that it takes
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no annotation data in {DATA}; set LABELWATCH_DATA"),
]
#: Plain Dawid-Skene is below the majority on ZenCrowd_us, so equality would be too much to ask of every order.
AT_MOST_WORSE = 0.015


@pytest.mark.parametrize(
    ("read", "at_least"),
    [
        pytest.param(truth_inference("rte"), 0.92, id="rte"),  # majority .875-.906, Dawid-Skene .928
        pytest.param(active_crowd("ZenCrowd_us"), 0.85, id="ZenCrowd_us"),  # majority .867, Dawid-Skene .836
    ],
)
def test_the_consensus_is_as_often_right_as_the_majority(read: Callable[[Path], Dataset], at_least: float) -> None:
    data = read(DATA).shuffled(1)
    found = accuracy(run_pass(data, new_models(Settings())).final.raw, data.truth)
    votes = accuracy(majority(data).tasks, data.truth)
    assert found is not None
    assert votes is not None
    assert found >= votes - AT_MOST_WORSE
    assert found >= at_least
