"""``labelwatch evaluate detectors``: what it measures and prints, on few streams and a small budget."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.detection import microseconds
from detectors.change import calibrate
from detectors.change.baselines import Always, LastUnder
from detectors.change.river_adapters import Kswin
from detectors.change.threshold import FixedThreshold
from streams.cli import cli
from streams.evaluate.detectors import Drop, Entry, entries, measure

KEYS = {"method", "arl", "false_per_1000", "delay_p50", "delay_p90", "missed", "drop", "runs"}
DROP = Drop(0.9, 0.5)
QUICK = ("--arl", "200", "--runs", "8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "detectors", *arguments], terminal_width=200)


def figures(entry: Entry, drop: Drop, *, runs: int = 400, null_only: bool = False) -> dict[str, Any]:
    ((row,),) = measure([entry], 200, [drop], null_only=null_only, runs=runs, seed=1)
    return row.as_object()


def test_json_is_a_list_of_rows_and_nothing_beside_it() -> None:
    result = run(*QUICK, "--json", "--drop", ".92:.80", "--drop", ".92:.5")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    rows = json.loads(result.stdout)
    assert all(row.keys() == KEYS for row in rows)
    names = [row["method"] for row in rows]
    for name in ("e_sr", "e_sr_learned", "e_cusum", "cusum_8", "adwin_default", "last_ten", "always"):
        assert names.count(name) == 2
    assert {row["drop"] for row in rows} == {".92:.8", ".92:.5"}
    of = {(row["method"], row["drop"]): row for row in rows}
    assert of["e_sr", ".92:.5"]["delay_p50"] < of["e_sr", ".92:.8"]["delay_p50"] < 90
    assert of["always", ".92:.5"]["arl"] == 100.0
    assert of["always", ".92:.5"]["false_per_1000"] == 10.0


def test_null_has_no_delays() -> None:
    rows = json.loads(run(*QUICK, "--null", "--json").stdout)
    assert {row["delay_p50"] for row in rows} == {None}
    assert len({row["method"] for row in rows}) == len(rows)


def test_the_same_seed_gives_the_same_figures() -> None:
    entry = Entry("last", "last", LastUnder(5, 0.7))
    first, again, other = (list(measure([entry], 200, [DROP], null_only=False, runs=50, seed=s)) for s in (1, 1, 2))
    assert first == again != other


def test_people_get_one_table() -> None:
    result = run(*QUICK, "--drop", ".9:.7")
    assert result.exit_code == 0
    for text in ("e-SR", "CUSUM that knows .70", "ADWIN, River's defaults", "to .7", "budget: 5.000 false alarms"):
        assert text in result.stdout
    assert "Not calibrated for this budget: adwin, page_hinkley, kswin." in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--null", "--drop", ".92:.80"), "exclude each other"),
        (("--drop", ".80:.92"), "the lower one last"),
        (("--drop", "much"), "not like .92:.80"),
        (("--drop", ".92:.80", "--drop", ".9:.8"), "from the same share"),
        (("--drop", "nan:.8"), "is no drop"),
        (("--arl", "1"), "not in the range"),
        (("--runs", "0"), "not in the range"),
        (("--scenario", "calm", "--arl", "7000"), "each rule there has a budget of its own"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize("is_readonly", [False, True])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readonly: bool
) -> None:
    monkeypatch.setattr("streams.evaluate.scenario.runs.play_runs", lambda *args, **named: pytest.fail("it ran"))
    if is_readonly:
        monkeypatch.setattr("os.access", lambda path, mode: False)
    folder = tmp_path if is_readonly else tmp_path / "none"
    result = run("--scenario", "calm", "--truth", str(folder / "x.csv"))
    assert result.exit_code == 2
    assert "x.csv cannot be written" in " ".join(result.stderr.split())


def test_help_has_examples() -> None:
    text = run("--help").output
    for part in ("Examples:", "--null --runs 4000 --json", "false_per_1000", "average run length"):
        assert part in text


def test_every_method_takes_part_that_has_a_budget_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "LONGEST_SIMULATED", 50.0)
    names = [entry.name for entry in entries(2_500, [Drop(0.92, 0.8)], 0)]
    assert len(set(names)) == len(names)
    assert {"adwin", "page_hinkley", "kswin", "adwin_default", "fixed_threshold"} <= set(names)
    beyond = [entry.name for entry in entries(50_000, [Drop(0.6, 0.4)], 0)]
    assert not {"adwin", "page_hinkley", "kswin"} & set(beyond), "River's table does not go so far"


def test_a_method_that_never_fires_has_no_arl_and_misses_all() -> None:
    never = Entry("never", "never", FixedThreshold(-1.0, 10))
    assert figures(never, Drop(0.9, 0.5), runs=5) == {
        "method": "never",
        "arl": None,
        "false_per_1000": 0.0,
        "delay_p50": None,
        "delay_p90": None,
        "missed": 1.0,
        "drop": ".9:.5",
        "runs": 5,
    }


def test_delays_count_from_the_drop_whatever_was_found_before() -> None:
    found = figures(Entry("always", "always", Always(50)), Drop(0.9, 0.5))
    assert (found["arl"], found["missed"]) == (50.0, 0.0)
    assert 20 <= found["delay_p50"] <= 30 <= 40 <= found["delay_p90"] <= 50


def test_the_rule_of_thumb_is_as_its_arithmetic() -> None:
    found = figures(Entry("last", "last", LastUnder(2, 0.4)), Drop(0.9, 0.2), null_only=True, runs=2_000)
    assert found["arl"] == pytest.approx((1 + 0.1) / 0.1**2, rel=0.1)  # two wrong in a row
    assert found["drop"] is None


def test_windows_are_fed_shares() -> None:
    entry = Entry("kswin", "KSWIN", Kswin(0.05, 20, 8), window=10)
    found = figures(entry, Drop(0.95, 0.3), runs=3)
    assert found["runs"] == 3
    assert found["delay_p50"] % 10 in range(10)
    assert found["delay_p50"] <= 110
    fleet = entry.fleet(4)
    fired = [fleet.step(np.ones(4, dtype=np.bool_)).any() for _ in range(9)]
    assert not any(fired)
    fleet.keep(np.array([True, False, True, False]))
    assert len(fleet.step(np.ones(2, dtype=np.bool_))) == 2


def test_time_is_taken_around_the_values() -> None:
    ticks = itertools.count(0, 4_000_000)  # 2,000 values a stretch
    assert microseconds(Entry("always", "always", Always(50)), lambda: next(ticks)) == 2.0
