"""``labelwatch forecast`` as a person meets it, and what it says; ClickHouse is stood in for."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest
from click.testing import CliRunner, Result

from detectors.capacity import DAY_MS, HOUR_MS, Stint
from detectors.capacity_plan import Interval
from streams.cli import cli
from streams.cli.forecast_report import as_object, print_object, print_report, sentence, warnings
from streams.work_forecast import Forecast, NoHistoryError, Question, answer
from streams.work_history import PROJECTS_NAMED, Begun, Span, WorkHistory
from tests.builders import START_MS

GIVEN = Begun(tasks=2, answers=5)
KEYS = [
    "project_id", "as_of", "history_from", "history_annotations", "history_labelers", "history_labeler_hours",
    "history_by_days", "history_units", "history_units_worked", "labelers_usual", "labeler_hours_by_hour_of_week",
    "tasks", "overlap", "tasks_begun", "annotations_given", "annotations_missing", "seconds_per_annotation",
    "labeler_hours", "labelers", "done_at", "deadline", "probability_by_deadline", "labelers_needed_50",
    "labelers_needed_90", "seed", "warnings",
]  # fmt: skip
NOW_MS = START_MS + 28 * DAY_MS


class Remembered:
    """What `WorkHistory` would read."""

    def __init__(self, works: list[Stint], begun: Begun, projects: tuple[str, ...]) -> None:
        self.works, self.answers, self.names = works, begun, list(projects)

    def span(self) -> Span | None:
        return Span(self.works[0].at_ms, self.works[-1].at_ms) if self.works else None

    def work(self, since_ms: int) -> list[Stint]:
        return [work for work in self.works if work.at_ms >= since_ms]

    def begun(self, overlap: int, tasks: int) -> Begun:
        return self.answers

    def projects(self) -> list[str]:
        return self.names


def every_day(days: int = 28, each: int = 60) -> list[Stint]:
    """Three people, an hour a day each in annotations of a minute, at 7 o'clock; START is that of a Monday."""
    return [
        Stint(name, START_MS + day * DAY_MS + 1_000, each, 60.0 * each)
        for day in range(days)
        for name in ("ana", "ben", "cy")
    ]


def ask(works: list[Stint], begun: Begun = GIVEN, projects: tuple[str, ...] = (), **overrides: int | None) -> Forecast:
    asked: dict[str, int | None] = {"tasks": 100, "overlap": 9, "now_ms": NOW_MS, "since_ms": START_MS, **overrides}
    question = Question("captions", **asked)  # type: ignore[arg-type]  # tests name them freely
    return answer(question, cast(WorkHistory, Remembered(works, begun, projects)))


def run(*more: str, json_only: bool = False) -> Result:
    asked = ["forecast", "--project", "captions", "--tasks", "10", "--overlap", "3"]
    return CliRunner().invoke(cli, [*asked, *more], terminal_width=110)


def test_the_forecast_takes_off_what_is_given() -> None:
    found = ask(every_day())
    assert found.missing == 100 * 9 - 5
    assert found.seconds == pytest.approx(60)
    assert found.hours.median == pytest.approx(895 / 60, rel=0.02)
    assert found.done.median == pytest.approx(NOW_MS + 895 / 180 * DAY_MS, rel=0, abs=DAY_MS)
    assert found.history.worked == 28
    assert found.deadline is None


def test_json_has_the_documented_keys_and_nothing_that_is_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_object(as_object(ask(every_day(), deadline_ms=NOW_MS + DAY_MS)))
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert found["deadline"] == "2026-02-03T07:00:00Z"
    assert found["labelers_needed_50"] <= found["labelers_needed_90"]
    assert found["probability_by_deadline"] < 0.1
    assert list(found["labeler_hours"]) == list(found["done_at"]) == list(Interval._fields)
    assert found["labeler_hours_by_hour_of_week"][0][7] == pytest.approx(12)


def test_centuries_are_no_date() -> None:
    found = ask([Stint("ana", START_MS, 1, 9.0)], tasks=10_000_000)
    assert math.isinf(found.done.median)
    assert as_object(found)["done_at"]["median"] is None
    assert "in over 100 years" in sentence(found)


def test_the_sentence_says_what_comes_out() -> None:
    said = sentence(ask(every_day(), labelers=3, deadline_ms=NOW_MS + 10 * DAY_MS))
    assert said.startswith(
        "895 annotations are missing, about 14.8 labeler-hours of work. With 3 labelers they are done"
    )
    assert "By 2026-02-12 07:00 UTC they are with a probability of 9" in said
    assert said.endswith("to be so in 9 of 10 cases takes 3 labelers a day.")
    assert "With those who came" in sentence(ask(every_day()))


def test_a_deadline_before_anybody_comes_is_said_to_be_hopeless() -> None:
    found = ask(every_day(), now_ms=NOW_MS + 2 * HOUR_MS, deadline_ms=NOW_MS + 4 * HOUR_MS)
    assert "no number of labelers" in sentence(found)
    assert as_object(found)["labelers_needed_90"] is None


def test_the_report_has_figures_the_week_and_their_origin(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(ask(every_day(), deadline_ms=NOW_MS + 10 * DAY_MS))
    shown = capsys.readouterr()
    text = " ".join(shown.out.split())
    for part in (
        "labeler-hours that remain", "done (UTC)", "labelers needed for the deadline", "in 9 of 10", "Mon",
        "100 tasks x 9 annotations, 5 given already on 2 begun tasks", "3.0 labelers a worked day",
    ):  # fmt: skip
        assert part in text, part
    assert shown.err == ""


def test_campaigns_short_histories_and_silence_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    campaign = [work for work in every_day() if (work.at_ms - START_MS) // DAY_MS % 3 == 0]
    (said,) = warnings(ask(campaign))
    assert "people came unevenly, and on 10 of 28 days" in said
    burst = [
        work._replace(seconds=work.seconds * (9 if work.at_ms < START_MS + 7 * DAY_MS else 1)) for work in every_day()
    ]
    (said,) = warnings(ask(burst))
    assert "people came unevenly, and on 28 of 28 days" in said
    (said,) = warnings(ask(every_day(2), now_ms=START_MS + 2 * DAY_MS))
    assert "less than three days of history" in said
    assert "nobody has worked for 8 days" in warnings(ask(every_day(20)))[-1]
    assert warnings(ask(every_day())) == []
    print_report(ask(campaign))
    assert capsys.readouterr().err.startswith("Note: people came unevenly, and on 10 of 28 days")


def test_an_unknown_project_names_some_that_are_known() -> None:
    with pytest.raises(NoHistoryError, match=r"'captions' has no annotations of people.* There are: a, b$"):
        ask([], projects=("a", "b"))
    many = tuple(f"p{number}" for number in range(PROJECTS_NAMED + 1))
    with pytest.raises(NoHistoryError, match=rf"p{PROJECTS_NAMED - 1}, \.\.\.$"):
        ask([], projects=many)
    with pytest.raises(NoHistoryError, match="no annotations yet"):
        ask([])


def test_nobody_worked_lately_says_when_somebody_did() -> None:
    with pytest.raises(NoHistoryError, match=r"latest annotation is of 2026-02-01 07:00\. Say how far back"):
        ask(every_day(), now_ms=NOW_MS + 30 * DAY_MS, since_ms=NOW_MS + 2 * DAY_MS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deadline", "2020-01-01T00:00:00Z"], "2020-01-01 00:00 UTC has passed: the forecast is made from"),
        (["--as-of", "2026-01-05T00:00:00Z", "--deadline", "2026-01-05T00:00:00Z"], "has passed"),
        (["--deadline", "2026-01-05"], "time has no zone"),
        (["--deadline", "soon"], "not an ISO 8601 time: 'soon'. Write a time such as"),
        (["--since", "2099-01-01T00:00:00Z"], "is not before"),
        (["--since", "lately"], "Write an age (14d, 8w) or a time"),
        (["--labelers", "0"], "0 is not in the range"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["--tasks", "0"], "0 is not in the range"),
        (["--overlap", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_is_exit_code_2(no_settings: pytest.MonkeyPatch, options: list[str], said: str) -> None:
    result = run(*options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_nobody_there_is_exit_code_1_and_one_sentence(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", "http://127.0.0.1:9")
    result = run("--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot reach ClickHouse at http://127.0.0.1:9" in result.stderr


def test_help_has_examples_and_exit_codes() -> None:
    text = CliRunner().invoke(cli, ["forecast", "--help"]).output
    for part in ("labelwatch forecast --project", "Exit codes", "All times are UTC", "docs/capacity.md", "begun ones"):
        assert part in " ".join(text.split()), part
