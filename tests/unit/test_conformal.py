"""Conformal intervals: quantiles, ranks, and coverage that holds when the data change."""

from __future__ import annotations

import json
import random

import pytest

from detectors.conformal import FIRST_SCORES, KEPT_SCORES, AdaptiveLevel, Conformal, ScoreWindow


def covered(scores: list[float]) -> list[bool]:
    """Whether the 90 % interval held each score, each learned after."""
    calibration, held = Conformal(), []
    for score in scores:
        half, most = calibration.intervals()
        held.append(most[0] <= score <= most[1])
        calibration.add(score, (not half[0] <= score <= half[1], not held[-1]))
    return held


def test_a_window_forgets_the_oldest() -> None:
    window = ScoreWindow([])
    for score in range(KEPT_SCORES + 100):
        window.add(float(score))
    assert window.dump() == [float(score) for score in range(100, KEPT_SCORES + 100)]
    assert window.quantile(0.0) == 100.0
    assert window.quantile(1.0) == KEPT_SCORES + 99.0


def test_ranks_of_exchangeable_scores_are_uniform() -> None:
    draw = random.Random(3)
    window = ScoreWindow(draw.gauss(0, 1) for _ in range(KEPT_SCORES))
    ranks = []
    for _ in range(4_000):
        score = draw.gauss(0, 1)
        ranks.append(window.rank(score))
        window.add(score)
    assert sum(rank <= 0.025 for rank in ranks) / len(ranks) == pytest.approx(0.025, abs=0.008)
    assert sum(rank >= 0.975 for rank in ranks) / len(ranks) == pytest.approx(0.025, abs=0.008)
    assert 0.0 < min(ranks) < max(ranks) < 1.0


@pytest.mark.parametrize("seed", [1, 2])
def test_coverage_holds_in_every_stretch_though_the_law_changes(seed: int) -> None:
    draw = random.Random(seed)
    scores = [draw.gauss(0, 1) for _ in range(3_000)]
    scores += [draw.gauss(0.5, 2.5) for _ in range(3_000)]
    scores += [draw.expovariate(1.0) for _ in range(3_000)]
    held = covered(scores)
    assert sum(held) / len(held) == pytest.approx(0.9, abs=0.01)
    blocks = [sum(held[at : at + 500]) / 500 for at in range(0, len(held), 500)]
    changes = (6, 12)
    usual = [block for at, block in enumerate(blocks) if at not in changes]
    assert min(usual) >= 0.86
    assert max(usual) <= 0.94
    assert min(blocks[at] for at in changes) >= 0.8


def test_without_adaptation_the_same_change_breaks_coverage() -> None:
    """What the test above would show if levels did not move."""
    draw = random.Random(1)
    window, held = ScoreWindow([draw.gauss(0, 1) for _ in range(1_000)]), []
    level = AdaptiveLevel(0.1)
    for _ in range(500):
        low, high = level.ends(window)
        held.append(low <= draw.gauss(0.5, 2.5) <= high)
    assert sum(held) / len(held) < 0.7


def test_misses_widen_and_hits_narrow() -> None:
    window, level = ScoreWindow(), AdaptiveLevel(0.1)
    before = level.ends(window)
    for _ in range(5):
        level.happened(is_miss=True)
    wider = level.ends(window)
    for _ in range(100):
        level.happened(is_miss=False)
    narrower = level.ends(window)
    assert wider[1] - wider[0] > before[1] - before[0] > narrower[1] - narrower[0]


def test_the_split_shortens_intervals_of_skewed_scores() -> None:
    draw = random.Random(5)
    window = ScoreWindow(draw.expovariate(1.0) for _ in range(KEPT_SCORES))
    level = AdaptiveLevel(0.1)
    even = level.ends(window)
    level.split(window)
    short = level.ends(window)
    assert short[1] - short[0] < 0.9 * (even[1] - even[0])
    assert short[0] < even[0]


def test_it_is_restored_as_it_was() -> None:
    draw = random.Random(7)
    one = Conformal()
    for _ in range(1_234):
        one.add(draw.gauss(0, 1), (draw.random() < 0.5, draw.random() < 0.1))
    other = Conformal.load(json.loads(json.dumps(one.dump())))
    for _ in range(100):
        score, misses = draw.gauss(0, 1), (draw.random() < 0.5, draw.random() < 0.1)
        assert one.intervals() == other.intervals()
        assert one.rank(score) == other.rank(score)
        one.add(score, misses)
        other.add(score, misses)
    assert one.dump() == other.dump()


def test_it_starts_with_something_to_say() -> None:
    half, most = Conformal().intervals()
    assert min(FIRST_SCORES) <= most[0] < half[0] < 0 < half[1] < most[1] <= max(FIRST_SCORES)
