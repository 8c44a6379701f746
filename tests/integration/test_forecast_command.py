"""``labelwatch forecast`` against the embedded ClickHouse engine."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.rows import AnnotationScoreRow
from schemas.times import to_ms
from streams.cli import cli
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.session import session

pytestmark = pytest.mark.integration

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NOW = MONDAY + timedelta(days=28)
PEOPLE = ("ana", "ben", "cy", "dee", "eve", "'; DROP TABLE state; --")


def row(at: datetime, task: str, labeler: str, seconds: float = 60.0, **overrides: Any) -> AnnotationScoreRow:
    made = AnnotationScoreRow(
        "captions", "image_caption", "acme", to_ms(at), task, f"{task}/{labeler}/{at}", labeler, "human", "class",
        "cat", None, None, None, to_ms(at) - int(seconds * 1_000), seconds, seconds, False, False, to_ms(at), 0,
        to_ms(at),
    )  # fmt: skip
    return made._replace(**overrides)


def weekdays() -> Iterator[AnnotationScoreRow]:
    """Four weeks: six people, two hours each on weekdays from 9 to 11, an annotation of a minute a minute."""
    for day in range(28):
        if day % 7 >= 5:
            continue
        for number, labeler in enumerate(PEOPLE):
            start = MONDAY + timedelta(days=day, hours=9, seconds=number)
            for minute in range(120):
                yield row(start + timedelta(minutes=minute), f"task-{day}-{minute}", labeler)


def extras() -> Iterator[AnnotationScoreRow]:
    """What is not to be counted, and two begun tasks."""
    last = NOW - timedelta(hours=14)
    yield row(last, "begun-1", "ana", 0.0)
    yield row(last, "begun-1", "ben", 0.0)
    yield row(last, "begun-1", "ben", 0.0, event_id="again", is_revision=True)
    yield row(last, "begun-2", "cy", 9e6, expected_handling_seconds=0.0, time_flag="idle")
    yield row(last, "begun-2", "gpt", 9e6, labeler_kind="model")
    yield row(last, "other", "zoe", 9e6, project_id="sounds")
    yield row(NOW + timedelta(days=1), "later", "ana", 9e6)


@pytest.fixture(scope="module")
def database(stack: EmbeddedStack) -> str:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"forecast_{uuid.uuid4().hex}")
    with session(settings, use_database=False) as client:
        migrate(client)

    async def fill() -> None:
        sink = ClickHouseSink(settings)
        await sink.write({"annotation_scores": [*weekdays(), *extras()]})
        await sink.close()

    asyncio.run(fill())
    return settings.database


@pytest.fixture
def run(stack: EmbeddedStack, database: str, no_settings: pytest.MonkeyPatch) -> Any:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", stack.clickhouse_url)
    no_settings.setenv("LABELWATCH_CLICKHOUSE__DATABASE", database)

    def invoke(*more: str, project: str = "captions", tasks: int = 1_000, overlap: int = 3) -> Result:
        asked = ("--project", project, "--tasks", str(tasks), "--overlap", str(overlap))
        return CliRunner().invoke(cli, ["forecast", *asked, "--as-of", NOW.isoformat(), *more], terminal_width=110)

    return invoke


def test_json_is_one_object_with_what_the_rows_say(run: Any) -> None:
    result = run("--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert (found["project_id"], found["as_of"]) == ("captions", "2026-02-02T00:00:00Z")
    assert found["history_from"] == "2026-01-05T09:00:00Z"
    assert found["history_annotations"] == 20 * 6 * 120 + 3, "neither revision nor model nor what came later"
    assert (found["history_labelers"], found["labelers_usual"]) == (6, pytest.approx(6, abs=0.2))
    assert found["history_labeler_hours"] == pytest.approx(20 * 6 * 2)
    assert (found["tasks_begun"], found["annotations_given"], found["annotations_missing"]) == (2, 3, 2_997)
    assert found["seconds_per_annotation"] == pytest.approx(60, rel=0.01)
    hours, done = found["labeler_hours"], found["done_at"]
    assert hours["median"] == pytest.approx(2_997 / 60, rel=0.02)
    assert hours["low_90"] < hours["low_50"] < hours["median"] < hours["high_50"] < hours["high_90"]
    # 50 hours at 12 a weekday: from Monday to Friday, between 9 and 11.
    assert "2026-02-05T09" <= done["median"] <= "2026-02-06T11"
    assert done["low_90"] < done["median"] < done["high_90"]
    week = found["labeler_hours_by_hour_of_week"]
    assert [sum(day) for day in week] == pytest.approx([48] * 5 + [0] * 2)
    assert [hour for hour in range(24) if week[0][hour]] in ([9, 10], [9, 10, 11])
    assert (found["deadline"], found["labelers_needed_90"], found["warnings"]) == (None, None, [])


def test_more_labelers_are_done_sooner_and_a_deadline_says_how_many(run: Any) -> None:
    few, many = (
        json.loads(run("--json", "--labelers", str(count), "--deadline", "2026-02-04T00:00:00Z").stdout)
        for count in (6, 40)
    )
    assert many["done_at"]["median"] < few["done_at"]["median"]
    assert many["probability_by_deadline"] > 0.9 > 0.1 > few["probability_by_deadline"]
    # Two weekdays of two hours: 50 hours take 12 or 13 labelers, and some more to be sure.
    assert few["labelers_needed_50"] == many["labelers_needed_50"] == pytest.approx(13, abs=1)
    assert 13 < few["labelers_needed_90"] < 30
    enough = run("--json", "--labelers", str(few["labelers_needed_90"]), "--deadline", "2026-02-04T00:00:00Z")
    assert json.loads(enough.stdout)["probability_by_deadline"] == pytest.approx(0.9, abs=0.05)


def test_people_are_told_in_words(run: Any) -> None:
    result = run("--deadline", "2026-02-06T00:00:00Z")
    assert result.exit_code == 0, result.output
    for text in ("2,997 annotations are missing", "labeler-hours of work", "By 2026-02-06 00:00 UTC", "labelers a day"):
        assert text in result.stdout.replace("\n", " ")
    assert "Mon" in result.stdout
    assert "When labeler-hours came, UTC" in result.stdout


def test_the_same_seed_gives_the_same_answer(run: Any) -> None:
    assert run("--json").stdout == run("--json", "--seed", "0").stdout
    assert run("--json").stdout != run("--json", "--seed", "1").stdout


def test_the_week_is_that_of_the_view(run: Any, stack: EmbeddedStack, database: str) -> None:
    sql = (
        "SELECT hour_of_week, sum(labeler_hours) FROM capacity_by_hour"
        " WHERE project_id = 'captions' AND labeler_kind = 'human' AND hour < {now:DateTime('UTC')}"
        " GROUP BY hour_of_week HAVING sum(labeler_hours) > 0"
    )
    with session(ClickHouseSettings(url=stack.clickhouse_url, database=database)) as client:
        shown = dict(client.query(sql, parameters={"now": NOW}).result_rows)
    week = [hours for day in json.loads(run("--json").stdout)["labeler_hours_by_hour_of_week"] for hours in day]
    assert {hour: hours for hour, hours in enumerate(week) if hours} == pytest.approx(shown, abs=0.001)


def test_history_that_counts_can_be_cut(run: Any) -> None:
    found = json.loads(run("--json", "--since", "7d").stdout)
    assert found["history_from"] == "2026-01-26T00:00:00Z"
    assert found["history_annotations"] == 5 * 6 * 120 + 3


def test_a_short_history_and_a_long_silence_are_said(run: Any) -> None:
    short = run("--as-of", "2026-01-06T12:00:00Z")
    assert "less than three days of history" in short.stderr
    silent = run("--as-of", "2026-02-20T00:00:00Z", "--since", "60d")
    assert "nobody has worked for" in silent.stderr


def test_an_unknown_project_names_those_there_are(run: Any) -> None:
    result = run("--json", project="caption\x1b[31m")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There are: captions, sounds" in result.stderr
    assert "\x1b" not in result.stderr


def test_no_history_says_when_there_was_some(run: Any) -> None:
    result = run("--as-of", "2026-06-01T00:00:00Z")
    assert result.exit_code == 1
    assert "nobody worked on project captions between 2026-05-04 00:00 and 2026-06-01 00:00 UTC" in result.stderr
    assert "latest annotation is of 2026-02-03 00:00" in result.stderr


def test_a_database_without_annotations(stack: EmbeddedStack, run: Any, no_settings: pytest.MonkeyPatch) -> None:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"forecast_{uuid.uuid4().hex}")
    no_settings.setenv("LABELWATCH_CLICKHOUSE__DATABASE", settings.database)
    assert "labelwatch migrate" in run().stderr
    with session(settings, use_database=False) as client:
        migrate(client)
    result = run()
    assert result.exit_code == 1
    assert "there are no annotations yet" in result.stderr
