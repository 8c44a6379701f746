"""``labelwatch thresholds check`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams import cli
from streams.settings import CONFIG_VARIABLE

GOLD = """version: 1
rules:
- name: gold
  metric: gold_accuracy
  scope: 'project_id = "x" and vendor_id in ("a", "b")'
  level: 0.92
  smallest_drop: 0.12
"""
SEGMENT = {"project_id": "x", "task_type": "box", "vendor_id": "a", "labelers": 20, "answers": 90_000}
VOLUMES = {"segments": [{**SEGMENT, "golds": 9_360, "golds_right": 8_600}]}


@pytest.fixture
def folder(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> Path:
    no_settings.setenv(CONFIG_VARIABLE, "")
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", "http://127.0.0.1:9")  # nobody answers there
    (tmp_path / "t.yaml").write_text(GOLD + "...\n")
    (tmp_path / "v.json").write_text(json.dumps(VOLUMES))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, ["thresholds", "check", *map(str, arguments)])


def report(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    loaded = json.loads(result.output)
    assert isinstance(loaded, dict)
    return loaded


def test_in_words(folder: Path) -> None:
    result = run(folder / "t.yaml", "--volumes", folder / "v.json")
    assert result.exit_code == 0
    said = 'a drop of 12 points in gold accuracy of project_id = "x" and vendor_id in ("a", "b") is expected to be seen'
    assert said in result.output
    assert "golds: " in result.output
    assert "at today's 6.5 golds a minute" in result.output
    assert "at most 1 false alarm a week" in result.output
    assert "t.yaml can be used: 1 rule" in result.output


def test_as_json(folder: Path) -> None:
    shown = report(folder / "t.yaml", "--volumes", folder / "v.json")
    (rule,) = shown["rules"]
    assert (rule["name"], rule["line"], rule["scopes"], rule["level_from"]) == ("gold", 3, 1, "stated")
    assert rule["values_per_week"] == 7 * 9_360
    assert rule["false_alarms_per_week"] == pytest.approx(1.0)
    assert 60 * rule["delay_values"] / 6.5 == pytest.approx(rule["delay_seconds"]), "answers wait for nothing"
    assert shown["volumes"] == {"source": "the volumes file", "is_real": True, "segments": 1}


def test_only_hours_wait_for_their_end(folder: Path) -> None:
    (folder / "t.yaml").write_text(
        "version: 1\nrules:\n- {name: a, metric: volume, method: seasonal, for: 5m}\n"
        "- {name: b, metric: stall_seconds, method: fixed, limit: 60, min_count: 1}\n"
    )
    hourly, stalled = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert hourly["delay_seconds"] == pytest.approx(3_600 * hourly["delay_values"] + 3_720 + 300)
    assert "up to 62 minutes more until the first whole hour after it began is closed" in hourly["words"]
    assert not any("closed" in sentence for sentence in stalled["words"])


def test_volumes_may_be_of_fewer_hours_than_a_day(folder: Path) -> None:
    (day,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    of_two = {"hours": 2, "segments": [{**SEGMENT, "golds": 780, "golds_right": 717}]}
    (folder / "v.json").write_text(json.dumps(of_two))
    (two,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert two["values_per_week"] == day["values_per_week"] == 7 * 24 * 390
    assert two["delay_seconds"] == day["delay_seconds"]


def test_habits_are_counted_as_they_are_watched(folder: Path) -> None:
    (folder / "t.yaml").write_text(
        "version: 1\nrules:\n- {name: a, metric: constant_answer_share, scope: labeler}\n"
        "- {name: b, metric: repeated_answer_share, scope: labeler}\n"
    )
    (folder / "v.json").write_text(json.dumps({"segments": [{**SEGMENT, "free": 10_000}]}))
    pairs, texts = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert (pairs["values_per_week"], texts["values_per_week"]) == (7 * 80_000 / 2, 7 * 10_000)


def test_assumed_volumes_are_said_plainly(folder: Path) -> None:
    result = run(folder / "t.yaml")
    assert result.exit_code == 0
    assert "ASSUMED volumes, not yours (cannot reach ClickHouse at http://127.0.0.1:9" in result.output
    assert "nothing to go by" in result.output  # nobody assumes a project x
    assert not report(folder / "t.yaml", "--offline")["volumes"]["is_real"]


def test_what_is_often_not_seen_at_all_is_said(folder: Path) -> None:
    file = folder / "labelers.yaml"
    file.write_text(
        "version: 1\nrules:\n"
        "- {name: learned, metric: gold_accuracy, scope: labeler, smallest_drop: 0.15, false_alarms_per_week: 0.1}\n"
        "- {name: stated, metric: gold_accuracy, scope: labeler, smallest_drop: 0.15, level: 0.92}\n...\n"
    )
    learned, stated = run(file, "--offline").output.split("stated (line")
    assert "(3,000 are not enough in more than one case of ten): " in learned
    assert "not enough" not in stated


def test_one_budget_for_all_labelers(folder: Path) -> None:
    (folder / "t.yaml").write_text(
        "version: 1\nrules:\n- {name: a, metric: gold_accuracy, scope: labeler, level: 0.92}\n"
    )
    (rule,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert rule["scopes"] == 20
    assert rule["values_per_week"] == 7 * 9_360
    assert rule["false_alarms_per_week"] == pytest.approx(1.0)
    assert "with it, a half-written file" in run(folder / "t.yaml", "--volumes", folder / "v.json").output


def test_a_refusal_says_line_and_reason(folder: Path) -> None:
    (folder / "t.yaml").write_text(GOLD + "  colour: red\n")
    result = run(folder / "t.yaml", "--offline")
    assert result.exit_code == 1
    assert f"{folder / 't.yaml'}:8:3: rules[0].colour: there is no such field" in result.output
    as_json = run(folder / "t.yaml", "--offline", "--json")
    assert as_json.exit_code == 1
    shown = json.loads(as_json.output)
    assert shown["ok"] is False
    assert (shown["problems"][0]["line"], shown["problems"][0]["field"]) == (8, "rules[0].colour")


def test_a_missing_file_is_refused(folder: Path) -> None:
    result = run(folder / "no.yaml", "--offline")
    assert result.exit_code == 1
    assert "does not exist" in result.output


def test_an_unknown_project_is_refused_unless_declared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t.yaml").write_text(GOLD.replace('"x"', '"y"'))
    result = run(folder / "t.yaml", "--volumes", folder / "v.json")
    assert result.exit_code == 1
    assert "t.yaml:5:1: gold.scope: project_id 'y' is in none of the data" in result.output
    monkeypatch.setenv("LABELWATCH_PROJECTS", '{"y": {}}')
    declared = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"][0]
    assert any("selects no segment" in warning for warning in declared["warnings"])
    (folder / "t.yaml").write_text(GOLD.replace("'project_id", "'segment where project_id").replace('"x"', '"y"'))
    (segment,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert "of segment where project_id" in segment["words"][0]


def test_an_unknown_vendor_is_a_warning(folder: Path) -> None:
    (rule,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert any(warning.startswith("vendor_id 'b' is in none of the data") for warning in rule["warnings"])


def test_what_cannot_keep_its_budget_is_said(folder: Path) -> None:
    rule = "version: 1\nrules:\n- {name: a, metric: gold_accuracy, method: %s}\n"
    (folder / "t.yaml").write_text(rule % "adwin")
    (adwin,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert adwin["warnings"][0].startswith("will not run at these volumes: adwin cannot keep 1 false alarms a week")
    (folder / "t.yaml").write_text(rule % "fixed, limit: 0.9, min_count: 20, level: 0.92")
    (fixed,) = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert "above its budget of 1" in fixed["warnings"][0]


def test_rules_that_will_not_run_are_counted_and_named(folder: Path) -> None:
    rules = ["{name: a, metric: gold_accuracy, method: adwin}", "{name: b, metric: gold_accuracy, level: 0.92}"]
    rules.append('{name: c, metric: gold_accuracy, scope: segment where vendor_id = "nobody"}')
    (folder / "t.yaml").write_text("version: 1\nrules:\n" + "".join(f"- {rule}\n" for rule in rules))
    result = run(folder / "t.yaml", "--volumes", folder / "v.json")
    assert result.exit_code == 0
    assert "t.yaml can be used, but only 1 of 3 rules will run at these volumes, false" in result.output
    assert "Will not run: a, c." in result.output
    shown = report(folder / "t.yaml", "--volumes", folder / "v.json")["rules"]
    assert [rule["will_run"] for rule in shown] == [False, True, False]
    assert "of 3 rules will run at these ASSUMED volumes" in run(folder / "t.yaml", "--offline").output


@pytest.mark.parametrize("volumes", ["", "[]", '{"segments": []}', '{"segments": [{"project_id": "x"}]}', "\xff"])
def test_bad_volumes_are_wrong_usage(folder: Path, volumes: str) -> None:
    (folder / "v.json").write_text(volumes, encoding="latin-1")
    result = run(folder / "t.yaml", "--volumes", folder / "v.json")
    assert result.exit_code == 2
    assert "v.json: " in result.output


def test_a_bar_names_the_rule_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = folder / "t.yaml", "--volumes", folder / "v.json"
    assert run(*arguments).stderr == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert "gold" in run(*arguments).stderr
    assert run(*arguments, "--json").stderr == ""


def test_wrong_usage(folder: Path) -> None:
    assert run().exit_code == 2
    assert run(folder / "t.yaml", "--volumes", folder / "no.json").exit_code == 2
    assert run(folder / "t.yaml", "--volumes", folder / "v.json", "--offline").exit_code == 2
    assert "Examples:" in run("--help").output
