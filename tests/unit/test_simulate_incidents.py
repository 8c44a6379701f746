"""Each incident does to the stream what the scenario says, when it says so, and to nobody else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from streams.sources.simulate import Simulation
from streams.sources.simulation.incident import IncidentType
from streams.sources.simulation.scenario import Scenario, ScenarioError, parse_scenario
from tests.simulated_operation import BASE, scenario_with


def test_incidents_of_one_labeler_add_up() -> None:
    data = copy.deepcopy(BASE)
    data["incidents"] = [
        {"id": "tired", "type": "vendor_degradation", "start": "4h", "end": "8h", "target": {"vendor": "north"}},
        {
            "id": "swap",
            "type": "guideline_change",
            "start": "6h",
            "target": {"project": "images"},
            "classes": ["cat", "dog"],
        },
    ]
    truth = Simulation(parse_scenario(yaml.safe_dump(data), "test"), seed=1).truth()
    north = next(t for t in truth.labelers if t.vendor_id == "north" and t.accuracy[0].project_id == "images")
    rows = [a for a in north.accuracy if a.project_id == "images"]
    assert [a.incidents for a in rows] == [[], ["tired"], ["tired", "swap"], ["swap"]]
    assert [a.end - a.start for a in rows if a.end] == [timedelta(hours=4), timedelta(hours=2), timedelta(hours=2)]
    assert rows[0].accuracy > rows[1].accuracy > rows[2].accuracy


def test_shipped_incidents_hold_every_type_once_or_more() -> None:
    assert _types(Scenario.load("incidents")) == set(IncidentType)
    assert _types(Scenario.load("calm")) == set()


def _types(scenario: Scenario) -> set[IncidentType]:
    return {incident.type for incident in scenario.incidents}


def test_incident_that_hits_nobody_is_refused() -> None:
    data = copy.deepcopy(BASE)
    data["vendors"][1].update(labelers=0, models=1)  # models do not slow down
    target = {"vendor": "south", "project": "videos"}
    data["incidents"] = [{"id": "trouble", "type": "handling_time_drift", "start": "1h", "target": target}]
    scenario = parse_scenario(yaml.safe_dump(data), "test")
    with pytest.raises(ScenarioError, match=r"incidents\[0\] \(trouble\).target: nobody of south works on videos"):
        Simulation(scenario, seed=1)


def _problems(incident: dict[str, Any]) -> Iterable[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario_with(**incident)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("incident", "says"),
    [
        ({"type": "earthquake"}, "incidents[0].type: Input should be 'spammer_wave'"),
        ({"type": "spammer_wave", "target": {"project": "images"}}, "incidents[0]: target.labelers is missing"),
        (
            {"type": "vendor_degradation", "target": {"vendor": "north", "labelers": 2}},
            "target.labelers means nothing for vendor_degradation",
        ),
        (
            {"type": "vendor_degradation", "target": {"vendor": "east"}},
            "incidents[0] (trouble).target.vendor: no vendor 'east'; known: north, south",
        ),
        (
            {"type": "handling_time_drift", "target": {"project": "audio"}},
            "incidents[0] (trouble).target.project: no project 'audio'; known: images, videos",
        ),
        (
            {"type": "vendor_degradation", "target": {"vendor": "north"}, "strength": 18},
            "strength 18 is outside 0.01 to 0.5",
        ),
        ({"type": "missing_class", "target": {"project": "images"}, "classes": ["emu"]}, "no class 'emu' in images"),
        ({"type": "missing_class", "target": {"project": "videos"}, "classes": ["1"]}, "needs kind class, not rating"),
        ({"type": "guideline_change", "target": {"project": "images"}, "classes": ["cat"]}, "takes 2 different ones"),
        ({"type": "ingestion_stall"}, "target.project or target.vendor is missing"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "start": "20h"}, "is outside the scenario"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "end": "4h"}, "is not after its start"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "duration": "1h"}, "give end or duration"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "start": "noon"}, "incidents[0].start: not a dur"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "answers": "random"}, "answers means nothing"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "color": 1}, "incidents[0].color: Extra inputs"),
    ],
)
def test_wrong_incidents_are_refused_by_key(incident: dict[str, Any], says: str) -> None:
    assert any(says in line for line in _problems(incident)), list(_problems(incident))


def _without_classes(data: dict[str, Any]) -> None:
    del data["projects"][0]["classes"]


def _bad_zone(data: dict[str, Any]) -> None:
    data["vendors"][1]["time_zone"] = "Mars/Olympus"


def _lost_project(data: dict[str, Any]) -> None:
    data["vendors"][0]["projects"] = ["audio"]


def _twice(data: dict[str, Any]) -> None:
    data["projects"][1]["id"] = "images"


def _subjective_gold(data: dict[str, Any]) -> None:
    data["projects"][0]["subjective"] = True


def _naive(data: dict[str, Any]) -> None:
    data["start"] = "2026-01-05T00:00:00"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_classes, "test: projects[0]: classes: kind class needs at least two"),
        (_bad_zone, "test: vendors[1]: time_zone: 'Mars/Olympus' is not an IANA zone"),
        (_lost_project, "test: vendors[0].projects: no project 'audio'; known: images, videos"),
        (_twice, "test: projects: id 'images' is used twice"),
        (_subjective_gold, "test: projects[0]: gold_share must be 0"),
        (_naive, "test: start: time has no zone"),
    ],
)
def test_wrong_scenarios_are_refused_by_key(change: Callable[[dict[str, Any]], None], says: str) -> None:
    data = copy.deepcopy(BASE)
    change(data)
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(yaml.safe_dump(data), "test")
    assert says in str(caught.value)


def test_unknown_names_and_unreadable_files_are_told_apart(tmp_path: Any) -> None:
    with pytest.raises(ScenarioError, match="no scenario 'storm': give one of calm, incidents"):
        Scenario.load("storm")
    for text, says in (
        ("a: [", "not YAML"),
        ("- a\n", "a scenario is a mapping"),
        ("!!python/object:a.b {}", "not YAML"),
    ):
        path = tmp_path / "s.yaml"
        path.write_text(text)
        with pytest.raises(ScenarioError, match=says):
            Scenario.load(path)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), 1e9])
def test_unusable_scales_are_refused(factor: float) -> None:
    with pytest.raises(ScenarioError, match="is not usable"):
        Scenario.load("calm").scaled(factor)
