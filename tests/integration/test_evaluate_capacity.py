"""The back-test of forecasts of work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import capacity as benchmark
from detectors.capacity import DAY_MS, Stint
from streams.evaluate.capacity import backtest, coverage, naive_days, steady_workforce

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def team() -> list[Stint]:
    return steady_workforce(np.random.default_rng(4), days=28)[::10]


def test_each_cut_forecasts_what_is_left_from_what_came_before(team: list[Stint]) -> None:
    cuts = list(backtest(team, seed=1))
    assert [(cut.by, cut.share) for cut in cuts] == [
        (by, share) for by in ("annotations", "time") for share in (0.3, 0.5, 0.7)
    ]
    for cut in cuts[:3]:
        assert cut.remaining == len(team) - int(cut.share * len(team))
        rest = team[-cut.remaining :]
        assert cut.hours.actual == pytest.approx(sum(work.seconds for work in rest) / 3_600)
        assert cut.days.actual == pytest.approx((team[-1].at_ms - team[-cut.remaining - 1].at_ms - 1) / DAY_MS)


def test_a_steady_team_is_forecast_well(team: list[Stint]) -> None:
    cuts = list(backtest(team, seed=1))
    hours = coverage([(cut.hours.actual, cut.hours.ours) for cut in cuts])
    days = coverage([(cut.days.actual, cut.days.ours) for cut in cuts])
    assert hours.coverage_90 == days.coverage_90 == 1
    assert hours.error < 1.05
    assert days.error < 1.3
    assert hours.ratio_90 < 2


def test_nothing_of_what_follows_is_known(team: list[Stint]) -> None:
    first = next(iter(backtest(team, seed=1)))
    keep = len(team) - first.remaining
    changed = [*team[:keep], *(work._replace(seconds=work.seconds * 9) for work in team[keep:])]
    other = next(iter(backtest(changed, seed=1)))
    assert (other.hours.ours, other.days.ours) == (first.hours.ours, first.days.ours)
    assert other.hours.actual == pytest.approx(9 * first.hours.actual)


def test_history_that_counts_is_cut(team: list[Stint]) -> None:
    whole, cut = (list(backtest(team, 1, since))[2] for since in (100.0, 2.5))
    assert whole.remaining == cut.remaining
    assert cut.hours.ours != whole.hours.ours


def test_a_cut_in_a_long_silence_is_left_out() -> None:
    works = [Stint("ana", at, 1, 30.0) for at in (0, 1_000, 2_000, 3_000, 100 * DAY_MS)]
    assert {cut.by for cut in backtest(works, 1, since_days=28)} == {"annotations"}


def test_the_naive_date_is_the_mean_rate() -> None:
    known = naive_days(50, 10.0, 25)
    assert known.median == pytest.approx(5)
    assert known.low_90 < known.low_50 < 5 < known.high_50 < known.high_90


def test_the_benchmark_reports_coverage_by_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        benchmark, "read", lambda data, name: steady_workforce(np.random.default_rng(len(name)), 14)[::30]
    )
    result = CliRunner().invoke(benchmark.main, ["--data", str(tmp_path), "--seeds", "0", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found["coverage"]) == {"crowds over months", "crowds over hours", "all real sets"}
    ours = found["coverage"]["all real sets"]["labeler-hours"]["labelwatch"]
    assert ours["forecasts"] == len(found["forecasts"]) == 36
    assert 0 <= ours["coverage_50"] <= ours["coverage_90"] <= 1


def test_the_benchmark_says_where_data_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(benchmark.main, ["--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no such folder" in result.output
    result = CliRunner().invoke(benchmark.main, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "no *.csv.gz" in result.output
