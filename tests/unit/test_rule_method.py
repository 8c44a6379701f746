"""From rules to detectors: the budget is met in what they are calibrated to, whatever the method."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detectors.change import calibrate
from detectors.change.e_process import EProcess
from detectors.change.seasonal import Seasonal
from detectors.change.sparse import SparseProcess
from detectors.change.threshold import FixedThreshold
from detectors.metrics_registry import METRICS
from detectors.rule_method import (
    LEAST_ARL,
    CannotPlanError,
    Level,
    detecting,
    expected_delay,
    level_of,
    seasonal_delay,
)
from schemas.thresholds import Rule


def rule(**said: Any) -> Rule:
    return Rule.model_validate({"name": "a", "metric": "gold_accuracy", "scope": "labeler", **said})


def made(of: Rule, per_week: float = 7_000, **more: Any) -> Any:
    return detecting(of, per_week, np.random.default_rng(0), **more)


@pytest.mark.parametrize(
    "said",
    [
        {"method": "e_sr"},
        {"method": "e_sr", "level": 0.92},
        {"method": "e_sr_guaranteed"},
        {"method": "e_cusum"},
        {"method": "e_sparse", "scope": "segment"},
        {"method": "cusum", "level": 0.92},
        {"method": "fixed", "min_count": 50},
        {"method": "adwin"},
        {"method": "page_hinkley"},
        {"metric": "too_fast_share", "method": "e_sr"},
        {"metric": "invalid_share", "scope": "all", "level": 0.002},
        {"metric": "mean_confidence", "method": "e_sr_guaranteed", "level": 0.9},
        {"metric": "volume", "method": "seasonal", "direction": "down"},
    ],
)
def test_the_budget_is_an_average_run_length(said: dict[str, Any]) -> None:
    found, *more = made(rule(**said))
    assert not more
    assert found.arl == 7_000
    detector = found.method.build()
    assert detector.update(0.5 if said.get("metric") == "mean_confidence" else 1.0, 0) is None


def test_the_same_seed_gives_the_same_detectors() -> None:
    assert made(rule(level=0.92)) == made(rule(level=0.92))


def test_two_directions_share_the_budget() -> None:
    down, up = made(rule(metric="volume", method="seasonal"))
    assert (down.direction, up.direction, down.arl) == ("down", "up", 14_000)


def test_hardly_any_volume_does_not_make_it_fire_at_anything() -> None:
    (found,) = made(rule(), per_week=0)
    assert found.arl == LEAST_ARL


def test_what_is_not_calibrated_so_far_says_so() -> None:
    with pytest.raises(CannotPlanError, match="adwin cannot keep 1 false alarms a week: calibrated for 500 to 8000"):
        made(rule(method="adwin"), per_week=1_000_000)
    with pytest.raises(CannotPlanError, match="blocks of 2"):
        made(rule(method="fixed", min_count=2), per_week=1_000_000)


@pytest.mark.parametrize(
    ("said", "per_week", "why"),
    [
        ({"method": "e_sr", "false_alarms_per_week": 1e-12}, 1e6, "allow more of them"),
        ({"method": "e_sr", "false_alarms_per_week": 1e-308}, 1e6, "allow more of them"),
        ({"metric": "volume", "method": "seasonal", "false_alarms_per_week": 1e-12}, 1e6, "allow more of them"),
        ({"method": "e_cusum", "level": 0.995}, 7e3, "levels up to 0.99, not 0.995; an e-SR has no such limit"),
        ({"method": "cusum", "level": 0.5, "smallest_drop": 1e-5}, 1e11, "take a larger drop"),
    ],
)
def test_what_would_take_too_long_says_what_to_do(said: dict[str, Any], per_week: float, why: str) -> None:
    with pytest.raises(CannotPlanError, match=why):
        made(rule(**said), per_week=per_week)


def test_blocks_are_as_large_as_they_may_be() -> None:
    (found,) = made(rule(method="fixed", min_count=1_000_000, level=0.92), per_week=1e9)
    assert 0.915 < found.method.limit < 0.92


def test_levels_next_to_one_are_planned() -> None:
    for level in (0.985, 0.999, 0.99999):
        (found,) = made(rule(level=level))
        assert 1.0 < found.method.threshold <= 7_000


def test_a_limit_has_the_run_length_it_has() -> None:
    (found,) = made(rule(method="fixed", min_count=50, limit=0.81, level=0.92))
    assert isinstance(found.method, FixedThreshold)
    assert found.arl == pytest.approx(8_992, rel=0.05)  # docs/detectors.md measured it
    (plain,) = made(rule(metric="lag_seconds", method="fixed", min_count=5, limit=900, scope="all"))
    assert plain.arl is None


def test_levels_are_stated_or_measured_or_usual() -> None:
    assert level_of(rule(level=0.9), measured=0.8) == Level(0.9, True)
    assert level_of(rule(), measured=0.8) == Level(0.8, False)
    assert level_of(rule()) == Level(0.92, False)
    coverage = rule(metric="interval_coverage_90")
    assert level_of(coverage, measured=0.96) == Level(0.9, True), "what is promised is not learned"
    assert level_of(rule(metric="volume", method="seasonal")) is None
    # nothing learns from 1 exactly, and a drop needs somewhere to go
    assert level_of(rule(), measured=1.0) == Level(0.985, False)
    assert level_of(rule(smallest_drop=0.3), measured=0.1) == Level(0.315, False)
    (found,) = made(rule(), per_week=500, measured=1.0)
    assert isinstance(found.method, EProcess)


@pytest.mark.parametrize("method", ["e_sr", "e_sr_guaranteed", "e_cusum"])
def test_metrics_whose_counts_vary_more_ask_for_more_evidence(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "LONGEST_SIMULATED", 100.0)  # where the thresholds are does not matter here

    def threshold(metric: str, scope: str) -> float:
        said = {"name": "a", "metric": metric, "scope": scope, "method": method, "level": 0.85, "smallest_drop": 0.1}
        (found,) = detecting(Rule.model_validate(said), 5_000, np.random.default_rng(1))
        assert isinstance(found.method, EProcess)
        assert found.arl == 5_000, "the promise is the same"
        return found.method.threshold

    one = math.log(threshold("gold_accuracy", "labeler"))
    assert METRICS["gold_accuracy"].spread == 1.0
    agreement, gold = METRICS["consensus_agreement"], METRICS["gold_accuracy"]
    assert gold.pooled_spread is not None
    assert agreement.pooled_spread is None, "the same in all scopes"
    assert min(agreement.spread, gold.pooled_spread) > 1.0
    for metric, scope, spread in (
        ("consensus_agreement", "labeler", agreement.spread),
        ("consensus_agreement", "vendor", agreement.spread),
        ("gold_accuracy", "vendor", gold.pooled_spread),
    ):
        assert math.log(threshold(metric, scope)) == pytest.approx(spread * one, 1e-3)


def test_a_larger_drop_is_seen_sooner() -> None:
    generator, delays = np.random.default_rng(0), []
    for drop in (0.1, 0.2, 0.4):
        one = rule(smallest_drop=drop, level=0.92)
        (found,) = made(one)
        delay = expected_delay(one, found, generator, Level(0.92, True))
        assert delay is not None
        assert delay.median <= delay.most
        delays.append(delay.median)
    assert delays == sorted(delays, reverse=True)


def test_a_few_labelers_are_seen_as_soon_as_they_fall_deep() -> None:
    delays = []
    for drop in (0.05, 0.2, 0.4):
        one = rule(smallest_drop=drop, level=0.85, method="e_sparse", scope="segment", metric="consensus_agreement")
        (found,) = made(one, per_week=1_000_000)
        assert isinstance(found.method, SparseProcess)
        assert (found.method.threshold, found.method.spread) == (1_000_000, METRICS["consensus_agreement"].spread)
        delay = expected_delay(one, found, np.random.default_rng(0), Level(0.85, False))
        assert delay is not None
        delays.append(delay.median)
    assert delays[0] == math.inf, "so little is not seen"
    assert 200 < delays[2] < delays[1] < 5_000


def test_a_shift_of_a_number_is_seen_in_hours() -> None:
    (found,) = made(rule(metric="volume", method="seasonal", direction="down"), per_week=168)
    assert isinstance(found.method, Seasonal)
    assert 3 < seasonal_delay(found.method) < 8


def test_hours_of_the_week_are_those_of_the_rules_time_zone() -> None:
    """Also when clocks are put back: who works from nine to five does so in summer and in winter."""
    said = rule(metric="volume", method="seasonal", direction="down", schedule={"time_zone": "Europe/Berlin"})
    (found,) = made(said)
    assert isinstance(found.method, Seasonal)
    berlin, utc = (
        found.method.build(),
        made(rule(metric="volume", method="seasonal", direction="down"))[0].method.build(),
    )
    zone = ZoneInfo("Europe/Berlin")
    for hour in range(24 * 56):
        at = datetime(2026, 8, 31, tzinfo=UTC) + timedelta(hours=hour)
        value = 100.0 + hour % 7 if 9 <= at.astimezone(zone).hour < 17 else float(hour % 7)
        for detector in (berlin, utc):
            detector.update(value, int(at.timestamp() * 1_000))
    winter = int(datetime(2026, 10, 28, 8, tzinfo=zone).timestamp() * 1_000)
    assert berlin.forecast(winter) < 10.0
    assert utc.forecast(winter) > 90.0, "which takes eight o'clock for nine"
