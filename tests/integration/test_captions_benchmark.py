"""The benchmark on captions: what the system sees of the file, what is held against it, and the report."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.captions import FILE, auc_with_interval, in_top, main, measure, read_given, read_truth

pytestmark = pytest.mark.integration

HEADER = [
    *("_unit_id", "_created_at", "_id", "_started_at", "_tainted", "_channel", "_worker_id"),
    *("sentence", "sentence_category", "sentence_gold"),
]
NOUNS = ["dog", "horse", "child", "tram", "kitchen", "beach"]
BAD = {"w0", "w1", "w2"}
CAUGHT = {"w0", "w1"}


def write(folder: Path, *, verdicts: bool = True) -> Path:
    """Captions of ten workers: the bad ones always write the same; the platform found two of them."""
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for task in range(12):
            for who in range(10):
                name = f"w{who}"
                noun = NOUNS[task % len(NOUNS)]
                text = "nice" if name in BAD else f"{task} times a {noun} that {NOUNS[who % 6]} {who} will look at"
                category = "spam" if name in BAD and verdicts else "OK"
                tainted = "true" if name in CAUGHT and verdicts else "false"
                created = f"9/7/2016 {10 + task}:{who:02}:30"
                started = f"9/7/2016 {10 + task}:{who:02}:00"
                channel = "x" if name in BAD else "y"
                judgement = str(task * 10 + who)
                rows.writerow([f"u{task}", created, judgement, started, tainted, channel, name, text, category, ""])
    return path


def test_the_system_sees_nothing_of_the_verdicts(tmp_path: Path) -> None:
    with_verdicts = read_given(write(tmp_path / "one"))
    assert with_verdicts == read_given(write(tmp_path / "two", verdicts=False))
    assert len(with_verdicts) == 120
    assert with_verdicts[0][:5] == ("w0", "x", "u0", "nice", 30.0)
    assert with_verdicts[-1].p_value is not None
    assert read_truth(tmp_path / "two" / FILE).bad == frozenset()


def test_truth_is_what_most_of_a_labelers_rows_say(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path))
    assert truth.bad == BAD
    assert truth.caught == CAUGHT
    assert truth.missed == {"w2"}


def test_the_report_finds_those_who_always_write_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    rows = {row.pop("by"): row for row in report.pop("rows")}
    assert report == {
        "answers": 120, "labelers": 10, "bad": 3, "passed": 8, "missed": 1,
        "chance_in_top": 1.0, "chance_in_top_passed": 1.0, "top": 20,
    }  # fmt: skip
    assert rows["all evidence"]["auc"] == rows["repetition: repeated"]["auc"] == 1.0
    assert rows["most judgements first"]["auc"] == 0.5
    assert {row["section"] for row in rows.values()} == {"all", "kinds", "traits", "baselines"}
    assert len(rows) == 2 + 5 + 13 + 2
    table = CliRunner().invoke(main, ["--data", str(tmp_path)])
    assert "3 bad of 10 labelers" in table.output


@pytest.mark.parametrize(("folder", "said"), [("none", "no such folder"), ("", "no such file")])
def test_absent_data_is_said_to_be_absent(tmp_path: Path, folder: str, said: str) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path / folder)])
    assert result.exit_code == 1
    assert said in result.output


def test_auc_counts_ties_half_and_its_interval_holds_it() -> None:
    bad = frozenset({"a", "b"})
    assert auc_with_interval(dict.fromkeys("abcd", 1.0), bad) == (0.5, 0.5, 0.5)
    assert auc_with_interval({"a": 2.0, "b": 1.0, "c": 0.0, "d": 0.0}, bad) == (1.0, 1.0, 1.0)
    scores = {name: float(n * 7 % 10) for n, name in enumerate("abcdefghij")}
    auc, low, high = auc_with_interval(scores, frozenset("abcde"))
    assert 0.0 < low < auc < high < 1.0
    many = {f"{n:02}": n * 37 % 101 / 101 for n in range(60)}
    half = frozenset(name for name in many if name.endswith(("1", "2", "3")))
    turned = dict(sorted(many.items(), key=lambda one: one[1]))
    assert auc_with_interval(turned, half) == auc_with_interval(many, half)
    with pytest.raises(ValueError, match="at least one bad"):
        auc_with_interval(scores, frozenset())


def test_those_whom_the_platform_caught_are_left_out_of_the_second_order(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path))
    scores = {f"w{n}": float(-n) for n in range(10)} | {"w2": -8.5}
    figures = measure(scores, truth)
    assert figures.auc == pytest.approx((7 + 7 + 1) / 21)
    assert figures.auc_passed == pytest.approx(1 / 7)
    assert in_top(scores, truth.missed, top=8) == 0
    assert in_top(scores, truth.missed, top=9) == 1
