"""The demo's report can be read in terminals of all widths."""

from __future__ import annotations

import io
import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client
from rich.console import Console

from streams.cli.demo import next_steps
from streams.cli.demo_report import hours_table, incidents_table, labelers_table
from streams.sources.simulate import Scenario, Simulation, Truth
from streams.sources.simulation.truth import BadTruth

START = datetime(2026, 1, 5, tzinfo=UTC)
SEGMENTS = (
    ("image-attributes", "baltic-labels"),
    ("image-attributes", "studio-inhouse"),
    ("video-captions", "studio-inhouse"),
    ("video-preference", "manila-works"),
)


def fake(hours: int, segments: tuple[tuple[str, str], ...] = SEGMENTS) -> Client:
    """Answers as ClickHouse would: free text for captions, many answers, agreement that falls hour by hour."""
    rows: list[tuple[Any, ...]] = []
    for project, vendor in segments:
        free = project == "video-captions"
        by_hour = [
            (START + timedelta(hours=hour), 0 if free else 100, 0 if free else 100 - hour % 60) for hour in range(hours)
        ]
        rows.append((project, vendor, 1_234_567, None if free else 0.821, None if free else 0.711, 1_212.5, by_hour))
    return cast("Client", SimpleNamespace(query=lambda sql: SimpleNamespace(result_rows=rows)))


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Simulation(Scenario.load("incidents").scaled(0.05), 7).truth()


def leaderboard(truth: Truth, count: int = 8) -> tuple[Client, list[tuple[str, str]]]:
    """Answers as ClickHouse would, of the first labelers that worked, and who they are."""
    worked = [(one.labeler_id, a.project_id) for one in truth.labelers for a in one.accuracy if a.answered][:count]
    rows = [
        (*who, 0.29, 0.251, 0.338, 1_247.12, "text_overlay", "suggestive", 0.262, 0.013)
        if number % 2
        else (*who, 0.58, 0.53, 0.63, 254.03, "", "", None, None)
        for number, who in enumerate(worked)
    ]
    return cast("Client", SimpleNamespace(query=lambda sql: SimpleNamespace(result_rows=rows))), worked


def render(thing: object, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, color_system=None).print(thing)
    return out.getvalue()


@pytest.mark.parametrize(("width", "hours"), list(itertools.product([80, 100, 132, 200], [1, 12, 60, 61, 240])))
def test_nothing_is_cut(width: int, hours: int) -> None:
    text = render(hours_table(fake(hours), width), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for figure in (
        "image-attributes",
        "studio-inhouse",
        "1,234,567",
        "82.1%",
        "71.1%",
        "1212.5",
        "AHT s",
        "free text",
    ):
        assert figure in text
    rows = [line for line in lines if "1,234,567" in line]
    assert len(rows) == len(SEGMENTS), "no row takes two lines"


@pytest.mark.parametrize(("width", "step"), [(80, "6 hours"), (100, "2 hours"), (132, "hour")])
def test_a_bar_is_as_many_hours_as_the_title_says(width: int, step: str) -> None:
    text = render(hours_table(fake(60), width), width)
    assert f"a bar every {step}" in " ".join(text.split())
    count = 60 if step == "hour" else 60 // int(step.split()[0])
    chart = next(line for line in text.splitlines() if "baltic-labels" in line).rsplit(" ", 1)[1]
    assert len(chart) == count
    assert set(chart) <= set("▁▂▃▄▅▆▇█")


def test_figures_give_way_to_bars() -> None:
    long = (("a-project-with-quite-a-long-name", "a-vendor-with-a-long-name"),)
    text = render(hours_table(fake(60, long), 80), 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "a-project-with-quite-a-long-name" in text
    assert "AHT s" not in text


def test_no_hours_is_a_sentence() -> None:
    assert "Nothing was scored" in render(hours_table(fake(0), 80), 80)


@pytest.mark.parametrize("width", [80, 100, 132])
def test_incidents_are_whole(truth: Truth, width: int) -> None:
    text = render(incidents_table(truth), width)
    assert "…" not in text
    for incident in truth.incidents:
        assert incident.id in text
        assert f"{incident.start:%d %b %H:%M}" in text


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_labelers_are_whole(truth: Truth, width: int) -> None:
    client, worked = leaderboard(truth)
    text = render(labelers_table(client, truth, width), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for labeler_id, _ in worked:
        assert labeler_id in text
    assert text.count("29% (25-34)") == text.count("58% (53-63)") == len(worked) // 2


def test_least_telling_figures_of_labelers_give_way(truth: Truth) -> None:
    client, _ = leaderboard(truth)
    shown = {width: render(labelers_table(client, truth, width), width) for width in (80, 96, 108, 132)}
    for heading, least in {"really": 80, "takes for": 96, "spammer": 108, "labels": 132}.items():
        widths = {width for width, text in shown.items() if heading in text.splitlines()[1]}
        assert widths == {width for width in shown if width >= least}, heading
    assert "text_overlay → suggestive 26%" in shown[132]
    assert "labels: what that rests on" not in shown[80], "what is not there is not explained"


def test_labelers_stand_beside_what_the_simulation_knows(truth: Truth) -> None:
    def line(truth: Truth, labeler_id: str) -> str:
        row = (labeler_id, "image-safety", 0.3, 0.2, 0.4, 50.0, "", "", None, None)
        client = cast("Client", SimpleNamespace(query=lambda sql: SimpleNamespace(result_rows=[row])))
        return render(labelers_table(client, truth, 132), 132).splitlines()[3].rstrip()

    newcomers = next(incident for incident in truth.incidents if incident.id == "spam-newcomers")
    spammer = next(one for one in truth.labelers if one.labeler_id in newcomers.labelers)
    periods = [one for one in spammer.accuracy if one.answered]
    share = sum(one.right for one in periods) / sum(one.answered for one in periods)
    assert f"{share:.1%}" in line(truth, spammer.labeler_id)
    assert line(truth, spammer.labeler_id).endswith("  spam-newcomers"), "and not what came when they had gone"
    poor = spammer.model_copy(update={"bad": [BadTruth(start=START, end=None, incident=None)]})
    assert line(truth.model_copy(update={"labelers": [poor]}), spammer.labeler_id).endswith(
        "  poor from the start, spam-newcomers"
    )
    assert line(truth, "nobody").split()[-2:] == ["-", "-"]


def test_no_labelers_is_a_sentence(truth: Truth) -> None:
    client, _ = leaderboard(truth, count=0)
    assert labelers_table(client, truth, 80) == "No labeler was judged"


@pytest.mark.parametrize("width", [80, 132])
def test_next_steps_fit_and_quote_the_folder(width: int) -> None:
    text = "\n".join(next_steps("my data", width, stays=False))
    assert "labelwatch up --detach --data-dir 'my data'" in text
    assert max(map(len, text.splitlines())) <= width
    assert "up --detach" not in "\n".join(next_steps("my data", width, stays=True))
