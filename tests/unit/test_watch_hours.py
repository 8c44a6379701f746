"""Hours: what they add up to, and seasons, where what follows a finding is held against what is usual at its hour."""

from __future__ import annotations

import random

import pytest

from detectors.change.seasonal import Seasonal
from detectors.rule_method import Detecting
from detectors.watch.hours import AlphaTally
from detectors.watch.planner import HOUR_MS
from detectors.watch.rule_watch import RuleWatch
from tests.measured import SEGMENT, START_MS, answer, rule


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("begins", [10, 22])
def test_a_drop_ends_when_it_ends(begins: int, seed: int) -> None:
    volume = rule("volume", scope="segment", method="seasonal", resolve_after="1h")
    watch = RuleWatch(volume, lambda *_: (Detecting(Seasonal(8.0), "down", 1_000.0),))
    scope, rng = watch.at(SEGMENT, "", START_MS), random.Random(seed)
    assert scope is not None
    first, lasts = 24 * 28 + begins, 72
    told = []
    for hour in range(first + lasts + 48):
        usual = 200 if 8 <= hour % 24 < 20 else 20
        share = 0.2 if first <= hour < first + lasts else 1.0
        said = watch.take(scope, round(rng.gauss(usual, usual**0.5) * share), hour * HOUR_MS)
        told += [(one.kind, hour - first) for one in said if first <= hour]
    assert [kind for kind, _ in told if kind != "breach"] == ["recovered"]
    assert told[-1][0] == "recovered"
    assert lasts <= told[-1][1] <= lasts + 6


def test_alpha_is_of_each_kind_of_work() -> None:
    """Where labels of others are no chance, that others answer something else is no agreement."""
    tally = AlphaTally()
    for number in range(80):
        work = f"p{number % 2}"
        label = f"{work}-{number // 2 % 2}"
        tally.add(answer(number, label=label, peers=1, peers_agreeing=number // 4 % 2), (work, "t"))
    assert tally.value() == pytest.approx(1.0 - 0.5 / (20 / 39))
    assert AlphaTally(tally.dump()).value() == tally.value()
    assert AlphaTally([12.0, 40, {"cat": 40}]).value() is None, "of an earlier version"
