"""The benchmark's sets and its report; the sets are real, and absent where nobody has put them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.truth import COLUMNS, DATA_VARIABLE, SETS, main, mean_of, river_us

pytestmark = pytest.mark.integration

DATA = Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; {DATA_VARIABLE} names another folder")


@needs_data
@pytest.mark.parametrize(
    ("name", "tasks", "labelers", "labels"),
    [
        ("ZenCrowd_us", 2_040, 74, 12_190),
        ("ZenCrowd_in", 2_040, 25, 11_205),
        ("SP_amt", 500, 143, 10_000),
        ("product", 8_315, 176, 24_945),
        ("rte", 800, 164, 8_000),
        ("dog", 807, 109, 8_070),
        ("face", 584, 27, 5_242),
    ],
)
def test_every_set_is_read_whole_but_for_later_labels(name: str, tasks: int, labelers: int, labels: int) -> None:
    data = SETS[name](DATA)
    assert (len(data.tasks), len(data.labelers)) == (tasks, labelers)
    assert 0.7 * labels < len(data.labels) <= labels
    assert len({given[:2] for given in data.labels}) == len(data.labels)
    assert set(data.truth) <= set(data.tasks)
    assert set(data.truth.values()) <= set(data.classes)


@needs_data
def test_json_has_a_row_a_set_and_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crowdkit", None)
    arguments = ["--data", str(DATA), "--seeds", "1", "--set", "face", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert report.keys() == {"seeds", "golds", "rows", "means"}
    (row,) = report["rows"]
    assert (row["set"], row["items"], row["labels"]) == ("face", 584, 5_242)
    without = {"dawid_skene", "one_coin", "glad", "ece_dawid_skene", "spearman_dawid_skene", "spearman_one_coin"}
    assert set(COLUMNS) - without <= row.keys()
    assert report["means"]["accuracy_final"] == row["accuracy_final"] > 0.55
    assert row["ece_chance"] > 0
    assert row["river_us"] > 0


def test_an_absent_folder_is_said_to_be_absent(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert f"{tmp_path / 'none'}: no such folder" in result.stderr
    result = CliRunner().invoke(main, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "ZenCrowd_us.csv.gz: no such file" in result.stderr


def test_means_are_over_the_sets_that_have_the_figure() -> None:
    assert mean_of([{"a": 1.0, "b": None}, {"a": 2.0, "b": 4.0}, {"a": 6.0, "b": None}]) == {"a": 3.0, "b": 4.0}
    assert mean_of([{"a": None}]) == {"a": None}


def test_the_regression_is_timed_around_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.truth.RIVER_EVENTS", 500)
    ticks = iter(range(0, 10**9, 2_000))
    assert river_us(1, lambda: next(ticks)) == 2.0
