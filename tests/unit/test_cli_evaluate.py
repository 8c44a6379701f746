"""``labelwatch evaluate truth`` as a person meets it, with the model that the agents run."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.cli import cli

KEYS = [
    "items", "labels", "labelers", "classes", "accuracy_streaming", "accuracy_final", "ece_raw", "ece_calibrated",
    "spearman", "auc_worst_fifth", "us_per_label", "baselines",
]  # fmt: skip


@pytest.fixture(autouse=True)
def without_crowd_kit(no_settings: pytest.MonkeyPatch) -> None:
    """Importing it takes longer than all of these tests."""
    no_settings.setitem(sys.modules, "crowdkit", None)


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """Eighty tasks; three labelers are right in nine of ten, and two of those who answer just as much guess."""
    draw = random.Random(11)
    skill = {"ann": 0.95, "bob": 0.92, "cy": 0.9, "dee": 0.5, "eve": 0.5}
    truth = {f"t{n}": draw.choice(["bad", "good"]) for n in range(80)}
    wrong = {"bad": "good", "good": "bad"}
    rows = [
        f"{task},{name},{true if draw.random() < share else wrong[true]},{draw.uniform(2, 9):.1f}\n"
        for task, true in truth.items()
        for name, share in skill.items()
    ]
    (tmp_path / "label.csv").write_text("item,worker,label,seconds\n" + "".join(rows), "utf-8")
    (tmp_path / "truth.csv").write_text("item,truth\n" + "".join(f"{t},{true}\n" for t, true in truth.items()), "utf-8")
    return tmp_path


def run(folder: Path, *more: str) -> Result:
    files = ("--labels", str(folder / "label.csv"), "--truth", str(folder / "truth.csv"))
    return CliRunner().invoke(cli, ["evaluate", "truth", *files, *more], terminal_width=200)


def test_json_is_one_object_with_every_figure_and_nothing_beside_it(crowd: Path) -> None:
    result = run(crowd, "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    figures = json.loads(result.stdout)
    assert list(figures) == KEYS
    assert [figures[name] for name in ("items", "labels", "labelers", "classes")] == [80, 400, 5, 2]
    assert list(figures["baselines"]) == ["majority"]
    assert list(figures["baselines"]["majority"]) == ["accuracy", "ece", "spearman"]
    assert figures["us_per_label"] > 0


def test_the_model_finds_the_truth_and_those_who_guess(crowd: Path) -> None:
    figures = json.loads(run(crowd, "--json").stdout)
    majority = figures["baselines"]["majority"]["accuracy"]
    assert figures["accuracy_final"] >= figures["accuracy_streaming"] - 0.05
    assert figures["accuracy_final"] >= majority
    assert figures["spearman"] > 0.6
    assert figures["auc_worst_fifth"] > 0.6
    assert 0 <= figures["ece_calibrated"] < 0.2


def test_a_seed_gives_the_same_figures_again_and_another_seed_another_order(crowd: Path) -> None:
    def figures(*more: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(run(crowd, "--json", *more).stdout)
        del found["us_per_label"]
        return found

    first = figures("--seed", "1")
    assert first == figures("--seed", "1") != figures("--seed", "2")
    assert figures("--golds", "0", "--seed", "1") != figures("--golds", "0", "--seed", "2")
    assert figures() == figures()


def test_people_get_a_table_and_are_told_how_to_get_the_other_methods(crowd: Path) -> None:
    result = run(crowd)
    assert result.exit_code == 0
    for text in ("majority vote", "labelwatch, streaming", "labelwatch, final", "40 of them revealed"):
        assert text in result.stdout
    assert "us of CPU a label" in result.stdout
    assert "pip install 'labelwatch[bench]'" in result.stderr


def test_people_see_confidence_beside_what_came_of_it(crowd: Path) -> None:
    text = run(crowd).stdout
    rows = re.findall(r"^ *(0\.\d) to (\d\.\d) +([\d,]+) +([\d.]+)% {3}(.*)$", text, re.MULTILINE)
    assert rows, text
    assert sum(int(items) for _, _, items, _, _ in rows) == 40, "the items whose truth was not revealed"
    for low, high, _, right, bar in rows:
        assert bar.count("┃") == 1
        assert 40 * float(low) - 0.5 <= bar.index("┃") <= 40 * float(high) + 0.5, "mean confidence lies in its bin"
        assert abs(bar.count("█") - 40 * float(right) / 100) <= 1.5, "one cell may be under the mark"


def test_nothing_to_see_of_confidence_where_all_truth_is_revealed(crowd: Path) -> None:
    (crowd / "truth.csv").write_text("item,truth\n", "utf-8")
    assert "what came of it" not in run(crowd).stdout


def test_later_labels_of_a_worker_on_an_item_are_said_to_be_left_out(crowd: Path) -> None:
    with (crowd / "label.csv").open("a", encoding="utf-8") as file:
        file.write("t0,ann,bad,1\nt0,ann,good,1\n")
    assert "2 later labels" in run(crowd).stdout


def test_golds_are_as_many_as_asked_for(crowd: Path) -> None:
    assert "80 items with truth, 7 of them revealed" in run(crowd, "--golds", "7").stdout
    assert "80 items with truth, 0 of them revealed" in run(crowd, "--golds", "0").stdout


def test_a_file_that_cannot_be_used_is_one_sentence_and_exit_code_1(crowd: Path) -> None:
    (crowd / "truth.csv").write_text("item,truth\nnone,good\n", "utf-8")
    result = run(crowd, "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    said = f"Error: {crowd / 'truth.csv'}, row 1, column item: 'none' has no label in {crowd / 'label.csv'}"
    assert result.stderr.startswith(said)
    assert "Traceback" not in result.stderr


def test_a_warning_about_a_file_does_not_get_between_the_figures(crowd: Path) -> None:
    with (crowd / "label.csv").open("a", encoding="latin-1") as file:
        file.write("t0,zoë,bad,1\n")
    result = run(crowd, "--json")
    assert "source.not_utf8" in result.stderr
    assert json.loads(result.stdout)["labelers"] == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "nowhere.csv", "--truth", "nowhere.csv"], "'nowhere.csv' does not exist"),
        (["--labels", str(Path(__file__).parent), "--truth", "x"], "is a directory"),
        (["--truth", __file__], "Missing option '--labels'"),
        (["--labels", __file__, "--truth", __file__, "--golds", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["evaluate", "truth", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_help_shows_the_files_and_the_rules() -> None:
    text = CliRunner().invoke(cli, ["evaluate", "truth", "--help"]).output
    for part in ("item,worker,label[,seconds][,time]", "item,truth", "Examples:", "sorts first", "first label"):
        assert part in text
