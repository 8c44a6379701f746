"""``labelwatch evaluate handling-time`` as a person meets it, and the benchmark over the public sets."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.handling_time import DATA_VARIABLE, SETS, main, means_of
from streams.cli import cli
from streams.evaluate.handling_time import BLOCK, evaluate, run_baselines
from streams.evaluate.time_baselines import ENOUGH, FIRST_SECONDS
from tests.timed_labelers import simulated

DATA = Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; {DATA_VARIABLE} names another folder")
KEYS = [
    "events", "mae", "median_absolute_error", "pinball", "coverage_50", "coverage_90", "coverage_90_block_min",
    "coverage_90_block_max", "width_90_log", "us_per_event", "baselines",
]  # fmt: skip
MAPPING = """
columns: [worker, task, label, seconds]
fields: {labeler_id: worker, task_id: task, label: label, seconds: seconds}
label: {kind: class}
clock: {start: "2026-01-05T09:00:00Z", step_seconds: 20}
"""


@pytest.fixture
def answers(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> Path:
    """Three labelers of different speed, 600 answers."""
    draw = random.Random(4)
    speeds = {"ann": 10.0, "bob": 20.0, "cy": 40.0}
    rows = []
    for at in range(600):
        name = draw.choice(list(speeds))
        rows.append(f"{name},t{at // 3},yes,{speeds[name] * draw.lognormvariate(0, 0.3):.2f}\n")
    (tmp_path / "answers.csv").write_text("".join(rows), "utf-8")
    (tmp_path / "mapping.yaml").write_text(MAPPING, "utf-8")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "handling-time", *map(str, arguments)], terminal_width=200)


def run_csv(folder: Path, *more: str) -> Result:
    return run("csv", "--mapping", folder / "mapping.yaml", folder / "answers.csv", *more)


def test_json_is_one_object_with_every_figure_and_nothing_beside_it(answers: Path) -> None:
    result = run_csv(answers, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    figures = json.loads(result.stdout)
    assert list(figures) == KEYS
    assert figures["events"] == 600
    assert list(figures["baselines"]) == ["global_median", "own_mean", "own_median", "shrunk_log_ewma"]
    assert list(figures["baselines"]["own_mean"]) == ["mae", "median_absolute_error"]
    assert figures["us_per_event"] > 0
    assert figures["mae"] < 0.8 * figures["baselines"]["global_median"]["mae"]
    assert figures["coverage_90"] == pytest.approx(0.9, abs=0.03)
    assert figures["coverage_50"] == pytest.approx(0.5, abs=0.06)


def test_people_get_tables(answers: Path) -> None:
    result = run_csv(answers)
    assert result.exit_code == 0
    for text in ("600 annotations", "labeler's own mean", "shrunk log-EWMA", "own quantiles", "us of CPU an event"):
        assert text in result.stdout


def test_rejected_rows_are_said_and_impossible_times_left_out(answers: Path) -> None:
    with (answers / "answers.csv").open("a", encoding="utf-8") as file:
        file.write("ann,t1,yes,soon\nann,t2,yes,0\n")
    result = run_csv(answers)
    assert "1 rows rejected, the first:" in result.stderr
    assert "'soon' is not a number of seconds" in result.stderr
    assert "1 with an impossible time left out" in result.stdout


def test_own_events_are_read_as_they_are(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    from tests.builders import annotation

    lines = [json.dumps(annotation(at=30.0 * n, event_id=f"e{n}", task_id=f"t{n}")) + "\n" for n in range(1, 20)]
    (tmp_path / "events.jsonl").write_text("".join(lines), "utf-8")
    figures = json.loads(run("jsonl", tmp_path / "events.jsonl", "--json").stdout)
    assert figures["events"] == 19
    assert figures["coverage_90_block_min"] == figures["coverage_90_block_max"] == figures["coverage_90"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["csv", __file__], 2, "csv needs --mapping"),
        (["figure-eight", __file__, "--mapping", "m.yaml"], 2, "--mapping is for csv and jsonl"),
        (["excel", __file__], 2, "'excel' is not one of"),
        (["jsonl", "nowhere.jsonl"], 2, "'nowhere.jsonl' does not exist"),
        (["csv", __file__, "--mapping", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["figure-eight", __file__], 1, "Error: "),
    ],
)
def test_what_cannot_be_used_is_one_sentence(arguments: list[str], code: int, said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_nothing_to_measure_is_an_error(answers: Path) -> None:
    (answers / "answers.csv").write_text("ann,t1,yes,0\n", "utf-8")
    result = run_csv(answers)
    assert result.exit_code == 1
    assert "no annotation has a time that can be trusted" in result.stderr


def test_baselines_learn_a_page_only_when_all_of_it_was_forecast() -> None:
    (one,) = simulated(1, 1)
    works = [one._replace(seconds=80.0) for _ in range(3)]
    later = one._replace(labeler_id="other", submitted_ms=one.submitted_ms + 1, seconds=5.0)
    forecasts, intervals = run_baselines([*works, later])
    for name, values in forecasts.items():
        assert values[:3] == pytest.approx([FIRST_SECONDS] * 3), name
        assert values[3] == pytest.approx(80.0), name
    assert intervals == [None] * 4


def test_blocks_widths_and_beginnings_are_those_of_the_events() -> None:
    report = evaluate(list(simulated(2, 3 * BLOCK + 100, projects=1, labelers=10)))
    result, widths = report.evaluation, report.widths
    assert result.events == 3 * BLOCK + 100
    assert result.coverage_90_block_min <= result.coverage_90 <= result.coverage_90_block_max
    assert report.beginnings.events == 50
    assert widths is not None
    assert widths.events == pytest.approx(result.events - 10 * ENOUGH, abs=15)
    assert 0.5 < widths.ours / widths.own_quantiles < 1.5
    assert report.untrusted == 0


@needs_data
def test_the_benchmark_has_a_row_a_set_and_their_means() -> None:
    result = CliRunner().invoke(main, ["--data", str(DATA), "--set", "video binary-choice", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    (row,) = report["rows"]
    assert row["set"] == "video binary-choice"
    assert set(KEYS) < set(row)
    assert row["ratios"]["own_mean"] < 0.75
    assert row["beginnings"]["ratio"] < 1.0
    assert report["means"]["ratios"] == row["ratios"]
    assert row["river_us"] > 0


def test_the_benchmark_says_what_is_absent(tmp_path: Path) -> None:
    assert len(SETS) == 9
    result = CliRunner().invoke(main, ["--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no such folder" in result.stderr
    result = CliRunner().invoke(main, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "no such file" in result.stderr


def test_means_of_widths_are_over_large_sets() -> None:
    row = {"ratios": {"own_mean": 0.5}, "beginnings": {"ratio": 0.9}, "us_per_event": 1.0, "river_us": 2.0}
    small = {**row, "events": 1_000, "own_quantiles": None}
    large = {**row, "events": 2_000, "own_quantiles": {"ratio": 1.25}}
    assert means_of([small, large])["width_ratio"] == 1.25
    assert means_of([small])["width_ratio"] is None
