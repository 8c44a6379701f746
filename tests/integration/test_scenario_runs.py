"""Runs of a scenario in processes of their own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures.process import BrokenProcessPool

import pytest
from click.testing import CliRunner

from schemas.thresholds import Rule
from streams.cli import cli
from streams.evaluate.scenario.file import parse_scenario
from streams.evaluate.scenario.play import as_rows
from streams.evaluate.scenario.runs import play_runs
from tests.scenarios import SMALL

pytestmark = pytest.mark.integration

SCENARIO = parse_scenario(SMALL + "incidents: [{kind: vendor, vendor: acme, points: 40, start: 7h, lasts: 8h}]\n", "x")
RULES = [
    Rule.model_validate(
        {"name": "gold", "metric": "gold_accuracy", "scope": "vendor", "method": "fixed", "limit": 0.7, "min_count": 50}
    )
]
SEEDS = range(1, 4)


def test_as_many_at_once_as_one_likes_find_the_same() -> None:
    shares: list[float] = []
    at_once = play_runs(SCENARIO, SEEDS, RULES, at_once=2, done=shares.append)
    one_by_one = play_runs(SCENARIO, SEEDS, RULES)
    assert [run.seed for run in at_once] == [*SEEDS]
    assert [as_rows(run) for run in at_once] == [as_rows(run) for run in one_by_one]
    assert any(as_rows(run) for run in at_once)
    assert shares == sorted(shares)
    assert shares[-1] == len(SEEDS)


def test_what_a_run_raises_is_raised() -> None:
    nowhere = parse_scenario(
        SMALL + "incidents: [{kind: constant, labelers: 19, start: 5h, lasts: 9h, project: zoo, vendor: acme}]\n", "x"
    )
    with pytest.raises(ValueError, match="found no place"):
        play_runs(nowhere, SEEDS, RULES, at_once=2)


def test_an_interrupt_ends_all_of_them() -> None:
    def interrupt(runs: float) -> None:
        assert multiprocessing.active_children()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_runs(SCENARIO, range(100), RULES, at_once=2, done=interrupt)
    assert not multiprocessing.active_children()


def test_one_that_is_killed_is_noticed() -> None:
    def kill(runs: float) -> None:
        multiprocessing.active_children()[0].kill()

    with pytest.raises(BrokenProcessPool):
        play_runs(SCENARIO, SEEDS, RULES, at_once=2, done=kill)


def test_the_command_says_what_to_do_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr("streams.evaluate.scenario.runs.play_runs", broken)
    result = CliRunner().invoke(cli, ["evaluate", "detectors", "--scenario", "calm", "--runs", "2"])
    assert result.exit_code == 1
    assert "--jobs 1" in result.stderr
