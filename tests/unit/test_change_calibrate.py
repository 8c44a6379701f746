"""Thresholds keep to the budget they were made for: against simulation, linear algebra and known tables."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.change import calibrate, calibrate_river, overshoot, river_table
from detectors.change.baselines import Always, LastUnder
from detectors.change.bets import bets_on
from detectors.change.budget import average_run_length
from detectors.change.cusum import BernoulliCusum
from detectors.change.e_process import EProcess, Learning
from detectors.change.fleet import DetectorFleet, fleet_of, run_lengths
from detectors.change.river_adapters import PageHinkleyMethod
from detectors.change.seasonal import HOUR_MS, Seasonal, hour_of_week
from detectors.change.threshold import FixedThreshold

ARL = 300


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def lengths_of(method: Any, level: float = 0.92, streams: int = 1_200, arl: float = ARL) -> np.ndarray[Any, Any]:
    found = run_lengths(fleet_of(method, streams), np.full(streams, level), rng(2), at_most=int(30 * arl))
    assert np.isfinite(found).all()
    return found


def at_least(lengths: np.ndarray[Any, Any], arl: float, errors: float = 3.0) -> bool:
    return bool(lengths.mean() >= arl - errors * lengths.std() / math.sqrt(len(lengths)))


class TestBudgetOfAnswers:
    @pytest.mark.parametrize(
        ("method", "level"),
        [
            (calibrate.e_process(ARL, 0.92, rng()), 0.92),
            (calibrate.e_process(ARL, 0.7, rng(), smallest_drop=0.15), 0.7),
            (calibrate.e_process(ARL, 0.08, rng(), direction="up"), 0.08),
            (calibrate.e_cusum(ARL, 0.92, rng()), 0.92),
            (calibrate.bernoulli_cusum(ARL, 0.92, 0.8), 0.92),
            (calibrate.bernoulli_cusum(ARL, 0.08, 0.2, direction="up"), 0.08),
            (calibrate.fixed_threshold(ARL, 0.92, 30), 0.92),
            (calibrate.fixed_threshold(ARL, 0.08, 30, direction="up"), 0.08),
        ],
    )
    def test_it_is_kept_while_nothing_changes(self, method: Any, level: float) -> None:
        lengths = lengths_of(method, level)
        assert at_least(lengths, ARL)
        assert lengths.mean() < 2.2 * ARL, "and not by never firing"

    def test_it_is_broken_by_a_lower_threshold(self) -> None:
        method = calibrate.e_process(ARL, 0.92, rng())
        assert not at_least(lengths_of(replace(method, threshold=0.8 * method.threshold)), ARL)

    def test_guaranteed_needs_no_simulation_and_waits_longer(self) -> None:
        method = calibrate.e_process(ARL, 0.92, rng(), mode="guaranteed")
        assert method.threshold == ARL
        assert lengths_of(method).mean() > 1.25 * ARL

    @pytest.mark.parametrize("level", [0.87, 0.95])
    @pytest.mark.parametrize("lag", [0, 60])
    def test_it_is_kept_where_the_level_is_learned(self, level: float, lag: int) -> None:
        method = calibrate.e_process(ARL, 0.9, rng(), learning=Learning(25, 50, lag))
        assert at_least(lengths_of(method, level, streams=600), ARL)

    def test_a_labeler_on_gold(self) -> None:
        """In control .92, at most .15 false alarms in 1,000 answers: median delays of at most 65 and 16."""
        method = calibrate.e_process(7_000, 0.92, rng())
        arl, error = overshoot.simulated_arl(method.bets(), 0.92, method.threshold, rng(3))
        assert 1_000 / (arl * (1 - 2 * error)) <= 0.15
        for after, most in ((0.80, 62), (0.60, 16)):
            changes = np.full(1_000, 300)
            levels = np.full(1_000, 0.92)
            found = run_lengths(fleet_of(method, 1_000), levels, rng(4), at_most=1_000, change=(changes, after))
            assert np.median(found - changes) <= most


class TestShortSimulation:
    @pytest.mark.parametrize(("level", "drop"), [(0.92, 0.1), (0.97, 0.05), (0.6, 0.2)])
    def test_it_agrees_with_runs_to_the_end(self, level: float, drop: float) -> None:
        bets = bets_on(level, drop)
        short, error = overshoot.simulated_arl(bets, level, 100, rng())
        lengths = lengths_of(EProcess(100, level, drop), level)
        assert error < 0.015
        assert lengths.mean() == pytest.approx(short, rel=3 * (error + 1 / math.sqrt(len(lengths))))

    def test_a_level_that_is_learned_may_be_low(self) -> None:
        known = calibrate.e_process(ARL, 0.9, rng()).threshold
        assert calibrate.e_process(ARL, 0.9, rng(), learning=Learning(lag=0)).threshold > 1.02 * known

    def test_counts_at_once_have_the_same_budget(self) -> None:
        method = calibrate.e_process(ARL, 0.92, rng(), at_once=20)
        assert method.threshold < 0.8 * calibrate.e_process(ARL, 0.92, rng()).threshold
        detector, generator = method.build(), rng(6)
        alarms = sum(
            detector.update_counts(int(generator.binomial(20, 0.92)), 20, minute) is not None for minute in range(6_000)
        )
        assert alarms * ARL <= 1.15 * 120_000, "within three standard errors"
        assert alarms * ARL > 0.6 * 120_000

    def test_the_same_seed_gives_the_same_threshold(self) -> None:
        found = {calibrate.e_process(ARL, 0.92, rng(seed)).threshold for seed in (1, 1)}
        assert len(found) == 1
        others = [calibrate.e_process(ARL, 0.92, rng(seed)).threshold for seed in range(3)]
        assert max(others) < 1.05 * min(others)

    def test_what_it_cannot_do_is_refused(self) -> None:
        with pytest.raises(ValueError, match="e_cusum"):
            calibrate.e_process(ARL, 0.92, rng(), form="cusum")
        with pytest.raises(ValueError, match="guaranteed"):
            calibrate.e_process(ARL, 0.92, rng(), variance=0.01)
        with pytest.raises(ValueError, match="above 1"):
            calibrate.e_process(0, 0.92, rng())
        with pytest.raises(ValueError, match="nothing is guaranteed"):
            calibrate.e_process(ARL, 0.92, rng(), mode="guaranteed", learning=Learning())


class TestExact:
    @pytest.mark.parametrize(("level", "penalty", "threshold"), [(0.92, 7, 46), (0.8, 3, 2), (0.6, 1, 9)])
    def test_bernoulli_is_the_solution_of_the_markov_chain(self, level: float, penalty: int, threshold: int) -> None:
        moves = np.zeros((threshold, threshold))
        for s in range(threshold):
            moves[s, max(s - 1, 0)] += level
            if s + penalty < threshold:
                moves[s, s + penalty] += 1 - level
        expected = np.linalg.solve(np.eye(threshold) - moves, np.ones(threshold))[0]
        assert calibrate.bernoulli_cusum_arl(level, penalty, threshold) == pytest.approx(expected, rel=1e-9)

    def test_the_threshold_is_the_lowest_that_keeps_the_budget(self) -> None:
        method = calibrate.bernoulli_cusum(50_000, 0.95, 0.9)
        assert calibrate.bernoulli_cusum_arl(0.95, method.penalty, method.threshold) >= 50_000
        assert calibrate.bernoulli_cusum_arl(0.95, method.penalty, method.threshold - 1) < 50_000

    @pytest.mark.parametrize(("shift", "threshold", "arl"), [(1.0, 4.0, 335.4), (1.0, 5.0, 930.9), (0.5, 8.0, 734.0)])
    def test_gaussian_is_as_in_published_tables(self, shift: float, threshold: float, arl: float) -> None:
        assert calibrate.gaussian_cusum_arl(shift, threshold) == pytest.approx(arl, rel=0.02)

    def test_no_block_is_too_short_to_fail(self) -> None:
        assert calibrate.fixed_threshold(1e9, 0.5, 3) is None


class TestSeasonal:
    @pytest.mark.parametrize("noise", ["normal", "heavy", "carried"])
    def test_the_budget_is_kept_whatever_the_noise(self, noise: str) -> None:
        method = calibrate.seasonal(150)
        values, found = 0, 0
        for seed in range(2):
            generator = rng(seed)
            off = generator.standard_t(4, 1_000) if noise == "heavy" else generator.standard_normal(1_000)
            if noise == "carried":
                for hour in range(1, 1_000):
                    off[hour] += 0.3 * off[hour - 1]
            detector = method.build()
            for hour in range(1_000):
                at_ms = hour * HOUR_MS
                weekend = hour_of_week(at_ms) >= 120
                usual = (60 if weekend else 200) * (1 + 0.5 * math.sin(hour / 24 * 2 * math.pi))
                finding = detector.update(usual + 15 * float(off[hour]), at_ms)
                values += hour >= method.min_count
                found += finding is not None
        assert found <= 2 * values / 150

    @pytest.mark.parametrize(("min_count", "is_found"), [(168, False), (100, True)])
    def test_it_only_learns_at_first(self, min_count: int, is_found: bool) -> None:
        detector = calibrate.seasonal(150, min_count=min_count).build()
        values = [100.0 + 7 * hour % 11 - 90 * (hour >= 120) for hour in range(140)]
        assert any(detector.update(value, hour * HOUR_MS) for hour, value in enumerate(values)) == is_found

    def test_it_keeps_some_weeks(self) -> None:
        detector = Seasonal(5.0, weeks=2).build()
        for hour in range(168 * 3):
            detector.update(float(hour % 7), hour * HOUR_MS)
        values = detector.dump()[0]
        assert isinstance(values, dict)
        assert {len(kept) for kept in values.values()} == {2}

    def test_it_forecasts_the_hour_of_the_week(self) -> None:
        detector = calibrate.seasonal(150).build()
        for hour in range(168 * 3):
            detector.update(10.0 if hour_of_week(hour * HOUR_MS) >= 120 else 100.0 + hour % 24, hour * HOUR_MS)
        tuesday, sunday = 96 + 24 + 5, 96 + 6 * 24 + 5
        assert detector.forecast(tuesday * HOUR_MS) == 105.0
        assert detector.forecast(sunday * HOUR_MS) == 10.0


@pytest.mark.parametrize(
    "method",
    [
        EProcess(60, 0.92, min_count=9),
        EProcess(60, 0.08, direction="up"),
        EProcess(30, 0.9, form="cusum"),
        EProcess(60, 0.9, learning=Learning(20, 30, 0, 100)),
        EProcess(60, 0.9, learning=Learning(20, 30, 25)),
        BernoulliCusum(15, 7, 0.92, min_count=12),
        BernoulliCusum(15, 7, 0.08, direction="up"),
        FixedThreshold(0.85, 12),
        FixedThreshold(0.2, 12, "up"),
        Always(31),
        LastUnder(10, 0.7),
    ],
    ids=repr,
)
def test_the_simulated_fleet_is_the_detectors(method: Any) -> None:
    level = 0.15 if getattr(method, "direction", "down") == "up" else 0.85
    answers = rng(8).random((200, 12)) < level
    quick, plain = fleet_of(method, 12), DetectorFleet(method, 12)
    assert not isinstance(quick, DetectorFleet)
    fired = np.array([quick.step(one) for one in answers])
    assert fired.sum() > 10
    assert (fired == np.array([plain.step(one) for one in answers])).all()
    kept = np.arange(12) % 3 == 0
    quick.keep(kept)
    plain.keep(kept)
    for one in answers:
        assert (quick.step(one[kept]) == plain.step(one[kept])).all()


class TestRiver:
    def test_the_table_keeps_to_the_budget(self) -> None:
        answers = (rng(9).random(30_000) < 0.92).astype(float).tolist()
        for method in (river_table.adwin(500, 0.92), river_table.page_hinkley(500, 0.92)):
            assert calibrate_river.false_alarms(method, answers) <= 1.3 * 60

    def test_windows_that_do_not_change(self) -> None:
        method = river_table.kswin(100)
        assert calibrate_river.false_alarms(method, rng(10).random(300).tolist()) <= 8

    def test_a_level_between_two_takes_the_lower_and_a_rise_its_mirror(self) -> None:
        assert river_table.page_hinkley(2_000, 0.91).threshold == pytest.approx(4.9)
        assert river_table.page_hinkley(2_000, 0.09, "up").threshold == pytest.approx(4.9)
        assert river_table.adwin(8_000, 0.99).delta == pytest.approx(0.723)

    @pytest.mark.parametrize(("arl", "level"), [(499, 0.92), (8_001, 0.92), (1_000, 0.69)])
    def test_beyond_the_table_is_refused(self, arl: float, level: float) -> None:
        with pytest.raises(ValueError, match="e-detector has no such limit"):
            river_table.adwin(arl, level)

    def test_the_search_stops_at_what_keeps_the_budget(self) -> None:
        found = calibrate_river.page_hinkley(10, 0.9, rng())
        assert found is not None
        answers = (rng().random(1_650) < 0.9).astype(float).tolist()
        assert calibrate_river.false_alarms(PageHinkleyMethod(found), answers) <= calibrate_river.ALARMS

    def test_the_search_says_when_there_is_nothing(self) -> None:
        assert calibrate_river.search(lambda _: PageHinkleyMethod(0.1, min_count=1), 1, 2, 30, 0.5, rng()) is None


def test_a_budget_is_the_fleets() -> None:
    assert average_run_length(answers_per_week=10_000 * 40, false_alarms_per_week=2) == 200_000
    for wrong in ((0, 1), (1, 0), (math.nan, 1)):
        with pytest.raises(ValueError, match="must be above 0"):
            average_run_length(*wrong)
