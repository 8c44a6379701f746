"""Shipped rules keep to their budgets while nothing changes: ``python -m benchmarks.rule_budgets``, made small."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import rule_budgets
from benchmarks.rule_budgets import (
    LIFE,
    PER_HOURLY,
    Row,
    alarms_of,
    binary_rows,
    hourly_rows,
    measure,
    parts,
    planned,
    real_rows,
)
from detectors.change import calibrate
from detectors.metrics_registry import METRICS
from detectors.rule_method import level_of
from schemas.thresholds import Rule
from streams.thresholds import SHIPPED, load

pytestmark = pytest.mark.integration  # not for what it starts, but for the seconds that it takes

RULES = [rule for rule in load(SHIPPED).rules if METRICS[rule.metric].law == "answers" and rule.limit is None]
BY_NAME = {rule.name: rule for rule in RULES}


@pytest.mark.parametrize("name", ["labeler-gold-accuracy", "labeler-constant-answers", "messages-refused"])
def test_a_shipped_rule_keeps_to_its_budget(name: str) -> None:
    for row in binary_rows(BY_NAME[name], runs=200, seed=1, arls=(2_000.0,)):
        assert row.alarms > 30, "enough to tell"
        assert row.kept, row


def test_a_lower_threshold_is_found_out() -> None:
    rule = BY_NAME["labeler-gold-accuracy"]
    (found,) = planned(rule, 2_000.0)
    low = replace(found.method, threshold=500.0)  # type: ignore[type-var]  # an e-process
    level = level_of(rule)
    assert level is not None
    streams = [one < level.value for one in np.random.default_rng(1).random((200, LIFE))]
    assert not Row("", "down", "", 2_000.0, 200 * LIFE, alarms_of(low, streams)).kept


@pytest.mark.parametrize("surcharge", [0.6, calibrate.SEASONAL_SURCHARGE])
def test_hours_that_vary_by_day(surcharge: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "SEASONAL_SURCHARGE", surcharge)
    monkeypatch.setattr(rule_budgets, "HOURLY_ARL", 150.0)
    monkeypatch.setattr(rule_budgets, "HOURLY", {"counts": rule_budgets.HOURLY["hours: counts"]})
    rule = Rule.model_validate({"name": "volume", "metric": "volume", "method": "seasonal", "direction": "down"})
    (row,) = hourly_rows(rule, runs=4 * PER_HOURLY, seed=3)
    assert row.kept == (surcharge > 1.0), row


def test_real_answers_in_random_order() -> None:
    answers = [np.random.default_rng(n).random(300) < 0.7 + 0.05 * n for n in range(5)]
    (row,) = real_rows(BY_NAME["labeler-gold-accuracy"], "made up", answers, 1, arls=(500.0,))
    assert row.values >= 100 * 500
    assert row.kept


def test_alarms_are_those_of_each_stream_alone() -> None:
    (found,) = planned(BY_NAME["labeler-gold-accuracy"], 500.0)
    streams = [np.random.default_rng(n).random(200 + 40 * n) < 0.8 for n in range(6)]
    alone = 0
    for stream in streams:
        detector = found.method.build()
        alone += sum(detector.update(float(one), 0) is not None for one in stream)
    assert alarms_of(found.method, streams) == alone


def test_rows_do_not_depend_on_how_many_processes_count() -> None:
    rules = [BY_NAME["messages-refused"], next(one for one in load(SHIPPED).rules if one.method == "seasonal")]
    todo = [part for rule in rules for part in parts(rule, {}, PER_HOURLY, 1)]
    ended: list[None] = []
    alone = measure(todo, 1, lambda: ended.append(None))
    assert measure(todo, 2, lambda: ended.append(None)) == alone
    assert {row.rule for row in alone} == {rule.name for rule in rules}
    assert len(ended) == 2 * len(todo)


def test_a_part_that_fails_ends_all() -> None:
    todo = [partial(hourly_rows, BY_NAME["messages-refused"], 1, 1)] * 2  # not a seasonal rule
    for jobs in (1, 2):
        with pytest.raises(AssertionError):
            measure(list(todo), jobs, lambda: None)


def test_budgets_add_up_to_one_false_page_a_week() -> None:
    assert sum(rule.false_alarms_per_week for rule in load(SHIPPED).rules) <= 1.0 + 1e-9


def test_the_report_says_which_rule_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def made_up(rule: Rule, *_: object) -> list[Callable[[], list[Row]]]:
        alarms = 9_000 if rule.name == "labeler-too-fast" else 10
        rows = [Row(rule.name, "down", "level", 2_000.0, 20_000, alarms)]
        return [lambda: rows] if rule.name in BY_NAME else []

    monkeypatch.setattr(rule_budgets, "parts", made_up)
    few = SimpleNamespace(rules=[one for one in load(SHIPPED).rules if one.metric in ("too_fast_share", "lag_seconds")])
    monkeypatch.setattr(rule_budgets, "SETS", {})
    monkeypatch.setattr(rule_budgets, "load", lambda _: few)
    result = CliRunner().invoke(rule_budgets.main, ["--json", "--jobs", "1"])
    assert result.exit_code == 1
    assert [row["rule"] for row in json.loads(result.stdout) if not row["kept"]] == ["labeler-too-fast"]
    shown = CliRunner().invoke(rule_budgets.main, ["--jobs", "1"])
    assert "NO" in shown.stdout
    assert "a plain limit: no budget" in shown.stdout
    monkeypatch.undo()
    assert CliRunner().invoke(rule_budgets.main, ["--data", str(tmp_path)]).exit_code == 2
