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
from streams.cli.demo_report import hours_table, incidents_table
from streams.sources.simulate import Scenario, Simulation

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
def test_incidents_are_whole(width: int) -> None:
    simulation = Simulation(Scenario.load("incidents").scaled(0.05), 7)
    text = render(incidents_table(simulation), width)
    assert "…" not in text
    for incident in simulation.truth().incidents:
        assert incident.id in text
        assert f"{incident.start:%d %b %H:%M}" in text


@pytest.mark.parametrize("width", [80, 132])
def test_next_steps_fit_and_quote_the_folder(width: int) -> None:
    text = "\n".join(next_steps("my data", width, stays=False))
    assert "labelwatch up --detach --data-dir 'my data'" in text
    assert max(map(len, text.splitlines())) <= width
    assert "up --detach" not in "\n".join(next_steps("my data", width, stays=True))
