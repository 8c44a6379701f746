"""Thresholds of e-SR detectors: one bounded simulation for all run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.change import calibrate, overshoot
from detectors.change.bets import bets_on
from detectors.change.e_process import Learning
from detectors.change.overshoot import run_lengths_of, simulated_arl


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize("arl", [2_000, 7_000, 50_000, 3_000_000])
def test_the_measured_run_length_is_the_declared_one(arl: float, at_once: int) -> None:
    """Measured by another simulation, at the very threshold; beyond 10,000 it is extrapolated."""
    method = calibrate.e_process(arl, 0.92, rng(), at_once=at_once)
    measured, error = simulated_arl(method.bets(), 0.92, method.threshold, rng(2), at_once=at_once)
    assert measured >= arl * (1 - 3 * error)
    assert measured <= arl * 1.25


def test_a_lower_threshold_would_not_do() -> None:
    method = calibrate.e_process(50_000, 0.92, rng())
    measured, error = simulated_arl(method.bets(), 0.92, 0.85 * method.threshold, rng(2))
    assert measured < 50_000 * (1 - 3 * error)


def test_another_run_length_is_not_simulated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate.e_process(5_000, 0.92, rng()).threshold
    monkeypatch.setattr(overshoot, "simulated_arls", None)
    assert calibrate.e_process(5_000, 0.92, rng()).threshold == first
    assert calibrate.e_process(2.0**30, 0.92, rng()).threshold > first
    with pytest.raises(TypeError):
        calibrate.e_process(5_000, 0.91, rng())


@pytest.mark.parametrize(("level", "drop"), [(0.9999, 0.5), (0.5, 1e-3)])
def test_what_takes_for_ever_is_given_up_on_the_safe_side(
    level: float, drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overshoot, "STEPS", 100)
    found = run_lengths_of.__wrapped__(bets_on(level, drop), level, 1, 1)
    assert (np.diff(found.arls) >= 0).all()
    assert (found.arls >= found.thresholds).all()
    assert found.threshold(1e6) <= 1e6
    assert found.arls[-1] <= 1.2 * found.thresholds[-1], "nearly no run came so far"


def test_a_learned_level_next_to_one_is_calibrated_at_once() -> None:
    for level in (0.975, 0.985, 0.999):
        method = calibrate.e_process(7_000, level, rng(), learning=Learning(10.0, 50, 0))
        assert method.threshold == 7_000


def test_nothing_counts_at_once_less_than_one() -> None:
    with pytest.raises(ValueError, match="at_once must be above 0"):
        calibrate.e_process(5_000, 0.92, rng(), at_once=0)
