"""``labelwatch thresholds backtest`` as a person meets it; the history is in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from detectors.watch.watch import Watch
from schemas.measurements import Measurements, RulesChange
from streams import cli
from streams.settings import CONFIG_VARIABLE
from tests.histories import BAD, HOUR, MINUTES, Remembered, at, change, measured, moment, rules_text, with_changes
from tests.measured import quick_plan

SINCE = moment(6 * HOUR)
TRUTH = f"""start,end,kind,labeler_ids,points
{moment(BAD[0][0])},{moment(BAD[0][1])},labelers,ann,47
{moment(HOUR)},{moment(2 * HOUR)},vendor,,
{moment(20 * HOUR)},{moment(21 * HOUR)},labelers,bob zoe,
"""


class Place:
    """A folder with rules, and a history."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, patch
        self.stores(with_changes(measured("labelwatch"), (0, change(rules_text(), 0, app_id="labelwatch"))))
        for name, text in (("new.yaml", rules_text(more=", for: 20m")), ("old.yaml", rules_text()), ("t.csv", TRUTH)):
            (folder / name).write_text(text)

    def stores(self, messages: Iterable[Measurements | RulesChange]) -> None:
        self.history = Remembered(messages)
        self._patch.setattr("streams.cli.thresholds_backtest.open_history", lambda settings, source: self.history)

    def run(self, *more: object, file: str = "old.yaml", since: str = SINCE) -> Result:
        arguments = ["thresholds", "backtest", str(self.folder / file), "--since", since, *map(str, more)]
        return CliRunner().invoke(cli.cli, arguments, terminal_width=110)

    def object(self, *more: object, **named: Any) -> dict[str, Any]:
        result = self.run("--json", *more, **named)
        assert result.exit_code == 0, result.output
        loaded = json.loads(result.stdout)
        assert isinstance(loaded, dict)
        return loaded


@pytest.fixture
def place(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> Place:
    no_settings.setenv(CONFIG_VARIABLE, "")
    no_settings.setattr("streams.backtest.rules_run.Watch", lambda planner: Watch(quick_plan))
    return Place(tmp_path, no_settings)


class TestOutput:
    def test_in_words(self, place: Place) -> None:
        result = place.run("--against", "current", "--incidents", place.folder / "t.csv", file="new.yaml")
        assert result.exit_code == 0, result.output
        said = result.stdout
        for words in (
            f"on {MINUTES:,} answers",
            "ann / t / p",
            "gold accuracy 9",
            "20 min later",
            "0 new, 0 gone, 0 earlier, 2 later, 0 same",
            "1 of 2 incidents found, recall 50 %",
            "1 of 2 alerts false",
            "missed",
            "because they began before or after: 1.",
        ):
            assert words in said, (words, said)
        assert "history begins at" in result.stderr

    def test_as_json(self, place: Place) -> None:
        shown = place.object(
            "--against", place.folder / "old.yaml", "--incidents", place.folder / "t.csv", file="new.yaml"
        )
        (rule,) = shown["rules"]
        assert (rule["name"], rule["alerts"], rule["alerts_by_week"], rule["false_alarms_per_week"]) == (
            "gold",
            2,
            [2],
            1,
        )
        first = shown["alerts"][0]
        assert first["scope"] == {"project_id": "p", "task_type": "t", "labeler_id": "ann"}
        assert (first["ended"], first["severity"], first["metric"]) == ("recovered", "warning", "gold_accuracy")
        assert first["level"] < first["baseline"]
        assert shown["differences"]["counts"]["later"] == 2
        assert [one["later_seconds"] for one in shown["differences"]["alerts"]] == [1_200.0, 1_200.0]
        assert shown["differences"]["alerts"][0]["tried"] == first["alert_id"]
        judged = shown["incidents"]["judged"]
        assert [one["delay_seconds"] is None for one in judged] == [False, True]
        assert shown["incidents"]["recall"] == 0.5
        assert shown["against"]["incidents"]["judged"][0]["delay_seconds"] == judged[0]["delay_seconds"] - 1_200
        assert (shown["since"], shown["history_from"]) == (SINCE, moment(0))

    def test_without_alerts(self, place: Place) -> None:
        said = place.run("--until", moment(8 * HOUR)).stdout
        assert "No alert would have fired." in said
        assert place.object("--until", moment(8 * HOUR))["alerts"] == []

    def test_warm_up_is_what_was_asked_for(self, place: Place) -> None:
        result = place.run("--warm-up", "2h", since=moment(30 * HOUR))
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"on {18 * HOUR + 2 * HOUR:,} answers" in result.stdout

    def test_no_warm_up_at_all_is_warned_of(self, place: Place) -> None:
        assert "there was no warm-up" in place.run("--warm-up", "0s", since=moment(-HOUR)).stderr

    def test_rules_in_force_that_are_not_known_are_warned_of(self, place: Place) -> None:
        place.stores(measured("labelwatch"))
        result = place.run("--against", "current")
        assert result.exit_code == 0
        assert "history has no rules, so current has none either" in result.stderr


class TestLog:
    def test_is_the_same_again_and_begins_at_since(self, place: Place) -> None:
        logs = []
        for name in ("a.jsonl", "b.jsonl"):
            assert place.run("--log", place.folder / name).exit_code == 0
            logs.append((place.folder / name).read_bytes())
        assert logs[0] == logs[1]
        lines = [orjson.loads(line) for line in logs[0].splitlines()]
        changes = [one["change"] for one in lines if one["change"] != "updated"]
        assert changes == ["fired", "resolved"] * 2
        assert all(one["at_ms"] >= at(6 * HOUR) for one in lines)
        assert not (place.folder / "a.jsonl.part").exists()

    def test_is_not_there_half(self, place: Place) -> None:
        def broken(from_ms: int) -> Any:
            from streams.measurement_history import HistoryError

            yield from Remembered(measured("labelwatch")).read(from_ms)
            raise HistoryError("cannot reach it any more")

        place.history.read = broken  # type: ignore[method-assign]
        result = place.run("--log", place.folder / "log.jsonl")
        assert (result.exit_code, result.stderr) == (1, "Error: cannot reach it any more\n")
        assert {one.name for one in place.folder.iterdir()} == {"new.yaml", "old.yaml", "t.csv"}

    def test_that_cannot_be_written(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "replace", no_space)
        result = place.run("--log", place.folder / "log.jsonl")
        assert result.exit_code == 1
        assert "log.jsonl: cannot be written: no space" in result.stderr


def no_space(*args: object) -> None:
    raise OSError(28, "no space")


class TestRefusals:
    @pytest.mark.parametrize("option", ["--plot", "--log"])
    def test_of_files_in_no_folder_before_anything_is_read(self, place: Place, option: str) -> None:
        result = place.run(option, place.folder / "none" / "out")
        assert result.exit_code == 2
        assert "none/out cannot be written: there is no folder" in " ".join(result.stderr.split())
        assert place.history.given == 0

    def test_of_files(self, place: Place) -> None:
        (place.folder / "bad.yaml").write_text(rules_text().replace("gold_accuracy", "gold_acuracy"))
        result = place.run(file="bad.yaml")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "bad.yaml:3:" in result.stderr
        assert "did you mean gold_accuracy" in result.stderr
        result = place.run("--against", place.folder / "none.yaml")
        assert result.exit_code == 1
        assert "none.yaml: does not exist" in result.stderr
        (place.folder / "t.csv").write_text("start,end,kind\nyesterday,today,vendor\n")
        result = place.run("--incidents", place.folder / "t.csv")
        assert result.exit_code == 1
        assert "t.csv:2: start" in result.stderr
        result = place.run("--incidents", place.folder / "none.csv")
        assert "none.csv: cannot be read: No such file" in result.stderr
        (place.folder / "t.csv").write_bytes(b"\xff\xfe")
        assert "is not text in UTF-8" in place.run("--incidents", place.folder / "t.csv").stderr
        assert place.history.given == 0

    def test_of_nothing_to_read(self, place: Place) -> None:
        result = place.run(since=moment(MINUTES + 30 * 24 * HOUR))
        assert result.exit_code == 1
        assert (
            f"nothing to read: the latest answer in the memory of a test is of {moment(MINUTES - 1)[:10]}"
            in result.stderr
        )
        assert "Choose an earlier --since" in result.stderr
        assert place.run(since=moment(MINUTES + HOUR)).exit_code == 1  # all of it is warm-up
        place.stores([])
        result = place.run()
        assert result.exit_code == 1
        assert "has no measurements of labelwatch. Workers write them" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--until", moment(HOUR)), "is not after --since"),
            (("--warm-up", "soon"), "not a duration"),
            (("--source", "files"), "'files' is not one of"),
            (("--until", "soon"), "Write an age"),
        ],
    )
    def test_of_wrong_usage(self, place: Place, arguments: tuple[str, ...], words: str) -> None:
        result = place.run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr

    def test_of_a_plot_without_matplotlib(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        result = place.run("--plot", place.folder / "a.png")
        assert result.exit_code == 2
        assert "pip install 'labelwatch[plot]'" in result.stderr
        assert place.history.given == 0


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self) -> None:
        pytest.importorskip("matplotlib", reason="the plot extra is not installed")

    def test_is_a_picture(self, place: Place) -> None:
        result = place.run(
            "--plot",
            place.folder / "a.png",
            "--against",
            "current",
            "--incidents",
            place.folder / "t.csv",
            file="new.yaml",
        )
        assert result.exit_code == 0, result.output
        assert (place.folder / "a.png").read_bytes().startswith(b"\x89PNG")
        assert "matplotlib.pyplot" not in sys.modules  # which would look for a screen

    def test_that_cannot_be_written(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streams.backtest.timeline.draw", no_space)
        result = place.run("--plot", place.folder / "a.png")
        assert result.exit_code == 1
        assert "a.png: cannot be written: no space" in result.stderr


def test_help_has_examples() -> None:
    said = CliRunner().invoke(cli.cli, ["thresholds", "backtest", "--help"]).output
    assert "--against current" in said
    assert "Exit codes: 0 done, 1 a file is refused" in said
